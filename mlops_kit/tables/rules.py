"""What holds of a data set, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_kit.errors import DataError

Status = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True)
class Rule:
    """One rule of the contract, and how many rows (or columns, for a leak) break it."""

    name: str
    expected: str
    status: Status
    count: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """What was found in the rows of a table, rule by rule.

    `note` says how many rows were read and sampled, where not all are in memory.
    """

    rows: int
    rules: tuple[Rule, ...]
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether every rule was judged and holds."""
        return all(rule.status == "pass" for rule in self.rules)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each way in which a rule is broken, with the first rows."""
        broken = [rule for rule in self.rules if rule.status != "pass"]
        unknown = ("not judged, because another rule is broken.",)
        return tuple(f"{rule.name}: {said}" for rule in broken for said in rule.reasons or unknown)

    def raise_if_failed(self) -> None:
        """Raise DataError with all the reasons, unless every rule holds."""
        if not self.passed:
            broken = [rule.name for rule in self.rules if rule.status != "pass"]
            raise DataError(
                f"The data break the contract in {broken} ({self.rows:,} rows, counted from 0); "
                "expected what the table's declaration says.",
                reasons=self.reasons,
            )

    def _repr_markdown_(self) -> str:
        lines = ["| rule | expected | result | found |", "|---|---|---|---:|"]
        for rule in self.rules:
            result = {"pass": "pass", "fail": "**fail**"}.get(rule.status, rule.status)
            lines.append(f"| {rule.name} | {rule.expected} | {result} | {rule.count:,} |")
        lines += ["", self.note] if self.note else []
        # Indented, so that a value from the data is shown and never rendered.
        details = [f"    {' '.join(reason.split())}" for reason in self.reasons]
        return "\n".join([*lines, "", *details]) + "\n"
