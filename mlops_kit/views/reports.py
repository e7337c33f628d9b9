"""The report of a release, and the evidence that is committed beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_kit.views import charts, markdown, records
from mlops_kit.views.masks import Machine

REPORT = "report.md"
PICTURE = "gates.svg"


@dataclass(frozen=True)
class Report:
    """What a reviewer reads; `evaluation` is what the notebook `evaluate` publishes.

    `about` are further facts for the foot of the report, such as digests and revisions.
    """

    evaluation: Mapping[str, Any]
    environment: str
    about: Mapping[str, str]

    @property
    def verdict(self) -> Mapping[str, Any]:
        """The verdict as plain data: status, sentence, reasons, gates."""
        return dict(self.evaluation["verdict"])

    def markdown(self) -> str:
        """Return the report as Markdown: sentence, gates, scores, slices, digests."""
        verdict = self.verdict
        names = self.evaluation["names"]
        title = f"{names['candidate']} to {self.environment}: {str(verdict['status']).upper()}"
        parts = [
            f"# {markdown.escape(title)}",
            markdown.escape(verdict["sentence"]),
            scores_table(self.evaluation),
            markdown.escape(self.evaluation["note"]),
            "## Gates",
            *(f"- {markdown.escape(reason)}" for reason in verdict["reasons"]),
            gates_table(verdict["gates"]),
            f"![Each gate's interval against its bound]({PICTURE})",
            "<details><summary>Slices</summary>",
            slices_table(self.evaluation["slices"]),
            "</details>",
            markdown.table(("", "what this rests on"), list(self.about.items()), left=2),
        ]
        return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"

    def files(self) -> dict[str, bytes]:
        """Return the report and its picture, by name."""
        picture = gates_chart(self.verdict["gates"]).svg()
        return {REPORT: self.markdown().encode(), PICTURE: picture.encode()}

    def _repr_markdown_(self) -> str:
        # The picture is shown by a cell of its own; here there is no file to point to.
        lines = self.markdown().splitlines()
        return "\n".join(line for line in lines if PICTURE not in line)


def evidence(notebooks: Sequence[str | Path], report: Report, project: Path) -> dict[str, bytes]:
    """Return what is committed beside a release: its report, and its notebooks as Git keeps them.

    A notebook is named after its step, the folder that it was executed in.
    """
    machine = Machine.here(project)
    files = report.files()
    for path in map(Path, notebooks):
        files[f"{path.parent.name}.ipynb"] = records.git_safe(path, machine=machine)
    return files


def scores_table(evaluation: Mapping[str, Any]) -> str:
    """Return both models' scores with their intervals as a Markdown table."""
    names = evaluation["names"]
    title = f"{evaluation['rows']:,} rows, {evaluation['frauds']} frauds"
    header = (title, names["reference"], names["candidate"], "difference, 95 % interval")
    rows = [
        (
            row["metric"],
            shown(row["reference"]),
            shown(row["candidate"]),
            shown(row["difference"]) if row["difference"] else "",
        )
        for row in evaluation["scores"]
    ]
    return markdown.table(header, rows)


def gates_table(gates: Sequence[Mapping[str, Any]]) -> str:
    """Return the gates as a Markdown table."""
    rows = [
        (
            gate["name"],
            shown(gate["estimate"]),
            f"{_sign(gate)} {number(gate['bound'])}",
            gate["status"].upper(),
        )
        for gate in gates
    ]
    return markdown.table(("gate", "value, 95 % interval", "bound", "verdict"), rows)


def slices_table(slices: Sequence[Mapping[str, Any]]) -> str:
    """Return the recall of each part of the holdout, the worst first."""
    rows = [
        (part["name"], part["candidate"]["n"], shown(part["reference"]), shown(part["candidate"]))
        for part in slices
    ]
    return markdown.table(("recall", "frauds", "reference", "candidate"), rows)


def gates_chart(gates: Sequence[Mapping[str, Any]]) -> charts.Intervals:
    """Return each gate's interval against its bound as a chart."""
    rows = tuple(
        charts.Interval(
            gate["name"],
            *(_drawn(gate["estimate"][part]) for part in ("value", "low", "high")),
            gate["bound"],
        )
        for gate in gates
    )
    return charts.Intervals("Each gate's interval against its bound", rows)


def shown(estimate: Mapping[str, Any]) -> str:
    """Return an estimate as tables show it: value (low to high)."""
    low, high = number(estimate["low"]), number(estimate["high"])
    return f"{number(estimate['value'])} ({low} to {high})"


def number(value: float | None) -> str:
    """Return a number in three significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return "0" if value == 0 else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _sign(gate: Mapping[str, Any]) -> str:
    return "≥" if gate["side"] == "at_least" else "≤"


def _drawn(value: float | None) -> float:
    return math.nan if value is None else value
