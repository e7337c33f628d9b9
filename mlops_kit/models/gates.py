"""The offline rules that a candidate must meet, and the verdict that they give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_kit.formatting import escape_markdown, interval, number

PASS: Literal["pass"] = "pass"
FAIL: Literal["fail"] = "fail"
INCONCLUSIVE: Literal["inconclusive"] = "inconclusive"
Status = Literal["pass", "fail", "inconclusive"]
Side = Literal["at_least", "at_most"]


@dataclass(frozen=True)
class GateRule:
    """One bound on one metric.

    `metric` is a name such as "recall", "recall:cat" (a class), "latency_ms" or
    "module:function" of your own. With `against` = "reference" the bound is on the difference,
    candidate minus reference, on the same rows. With a `slice` it is on the rows of that slice,
    or of each slice of that column; "*" is each slice. A slice's gate fails only on proof.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    against: Literal["", "reference"] = ""
    slice: str = ""

    def __post_init__(self) -> None:
        """Refuse a rule without one bound, by ValueError."""
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the gate on {self.metric!r} needs one of at_least and at_most")

    @property
    def side(self) -> Side:
        """On which side of its bound the metric must be."""
        return "at_most" if self.at_least is None else "at_least"

    @property
    def bound(self) -> float:
        """The bound."""
        bound = self.at_most if self.at_least is None else self.at_least
        return math.nan if bound is None else bound


@dataclass(frozen=True)
class Rules:
    """The gates of a model, and how sure they must be.

    Below `minimum` rows of the class that a metric is about (of any class, for the others),
    nothing can be told; slices with fewer than `slice_minimum` of them aren't judged.
    """

    gates: tuple[GateRule, ...] = ()
    minimum: int = 50
    slice_minimum: int = 20
    confidence: float = 0.95
    resamples: int = 500

    def __post_init__(self) -> None:
        """Refuse what would make the intervals meaningless, by ValueError."""
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; expected over 0.5 and under 1")
        if self.resamples < 100 or self.minimum < 1 or self.slice_minimum < 1:
            raise ValueError("resamples must be 100 or more, minimum and slice_minimum 1 or more")


# What is asked where the settings say nothing: to be no worse than the reference.
DEFAULT_GATES: Mapping[str, tuple[GateRule, ...]] = {
    "binary": (
        GateRule("recall", at_least=-0.05, against="reference"),
        GateRule("precision", at_least=-0.20, against="reference"),
        GateRule("average_precision", at_least=-0.03, against="reference"),
        GateRule("latency_ms", at_most=50.0),
    ),
    "multiclass": (
        GateRule("accuracy", at_least=-0.02, against="reference"),
        GateRule("balanced_accuracy", at_least=-0.05, against="reference"),
        GateRule("latency_ms", at_most=50.0),
    ),
    "regression": (
        GateRule("r2", at_least=-0.02, against="reference"),
        GateRule("latency_ms", at_most=50.0),
    ),
}


@dataclass(frozen=True)
class Estimate:
    """A number from the holdout with its interval, and the count that it rests on."""

    value: float
    low: float
    high: float
    n: int = 0

    def __str__(self) -> str:
        return interval(self.value, self.low, self.high)


@dataclass(frozen=True)
class Gate:
    """One rule: an estimate against a bound, `at_least` or `at_most`.

    It passes only where the whole interval keeps the bound, and fails only where the whole
    interval breaks it; between them more data are needed. `minimum` is the count below which
    nothing can be told.
    """

    name: str
    estimate: Estimate
    bound: float
    side: Side
    minimum: int = 0
    what: str = ""
    tolerant: bool = False

    @property
    def status(self) -> Status:
        """Pass, fail or inconclusive."""
        estimate = self.estimate
        if estimate.n < self.minimum or math.isnan(estimate.value):
            return INCONCLUSIVE
        low, high = estimate.low, estimate.high
        is_kept = low >= self.bound if self.side == "at_least" else high <= self.bound
        is_broken = high < self.bound if self.side == "at_least" else low > self.bound
        if is_broken:
            return FAIL
        return PASS if is_kept or self.tolerant else INCONCLUSIVE

    @property
    def reason(self) -> str:
        """One sentence with the estimate, its interval, its count and the bound."""
        side = self.side.replace("_", " ")
        asks = f"the gate asks for {side} {number(self.bound)}"
        if math.isnan(self.estimate.value):
            return f"{self.name} can't be computed on these data; {asks}."
        if self.estimate.n < self.minimum:
            return (
                f"{self.name} rests on {self.estimate.n} {self.what}; at least {self.minimum} "
                f"are needed to tell."
            )
        interval = f"{number(self.estimate.low)} to {number(self.estimate.high)}"
        told = f"{self.name} is {number(self.estimate.value)} (95 % interval {interval}"
        told += f", {self.estimate.n} {self.what})" if self.what else ")"
        end = {PASS: "", FAIL: ": not met", INCONCLUSIVE: ": not yet told apart"}[self.status]
        return f"{told}; {asks}{end}."


@dataclass(frozen=True)
class Verdict:
    """What the gates say together: fail if one fails, else inconclusive if one is."""

    gates: tuple[Gate, ...]
    candidate: str = ""
    reference: str = ""

    @property
    def status(self) -> Status:
        """Pass, fail or inconclusive; no gates at all can't pass."""
        found = {gate.status for gate in self.gates}
        if FAIL in found:
            return FAIL
        return PASS if found == {PASS} else INCONCLUSIVE

    def decision(
        self, force: bool = False, *, by_person: bool = False
    ) -> Literal["promote", "stop", "wait"]:
        """Return what follows from it.

        `force` promotes whatever it is, `by_person` lets a candidate that passes wait for one.
        """
        if self.status != PASS:
            return "promote" if force else "stop"
        return "wait" if by_person else "promote"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the gates that don't pass; of all, when all pass."""
        missed = [gate for gate in self.gates if gate.status != PASS]
        return tuple(gate.reason for gate in missed or self.gates)

    @property
    def sentence(self) -> str:
        """The verdict as one sentence."""
        name = self.candidate or "The candidate"
        total = len(self.gates)
        missed = sum(gate.status == self.status for gate in self.gates)
        gates = "gate" if total == 1 else "gates"
        if self.status == PASS:
            return f"{name} passes all {total} {gates}."
        if self.status == FAIL:
            return f"{name} may not be promoted: {missed} of {total} {gates} fail."
        return f"{name} is inconclusive: {missed} of {total} {gates} can't tell yet."

    def _repr_markdown_(self) -> str:
        said = escape_markdown(self.sentence)
        rows = [f"**{self.status.upper()}** {said}", "", *table(self.gates)]
        return "\n".join(rows)


def table(gates: Iterable[Gate]) -> list[str]:
    """Return the gates as lines of a Markdown table."""
    lines = ["| gate | value | 95 % interval | bound | verdict |", "|---|---:|---:|---:|---|"]
    for gate in gates:
        sign = "≥" if gate.side == "at_least" else "≤"
        estimate, name = gate.estimate, escape_markdown(gate.name)
        lines.append(
            f"| {name} | {number(estimate.value)} | {number(estimate.low)} to "
            f"{number(estimate.high)} | {sign} {number(gate.bound)} | {gate.status.upper()} |"
        )
    return lines
