"""Write the report of a release and the evidence committed beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.formatting import number
from mlops_kit.models import slice_confusions
from mlops_kit.models.class_curves import ClassCurves
from mlops_kit.models.evaluation_summary import (
    EvaluationSummary,
    GateSummary,
    SliceSummary,
    VerdictSummary,
)
from mlops_kit.reporting import markdown, task_reports
from mlops_kit.reporting.charts.gate_charts import gates_chart as gates_chart
from mlops_kit.reporting.notebooks import git_safe
from mlops_kit.reporting.notebooks.redaction import MachineIdentity

if TYPE_CHECKING:
    from mlops_kit.models.evaluation import Evaluation
    from mlops_kit.models.model_version import ModelVersion

REPORT = "report.md"
PICTURE = "gates.svg"


@dataclass(frozen=True)
class Report:
    """A release's report for a reviewer.

    `evaluation` comes from the notebook `evaluate`; `about` holds further facts for the end of
    the report, such as digests and revisions.
    """

    evaluation: EvaluationSummary
    environment: str
    about: Mapping[str, str]

    @property
    def verdict(self) -> VerdictSummary:
        """The verdict of the gates."""
        return self.evaluation.verdict

    def markdown(self, notebooks: Sequence[str] = ()) -> str:
        """Return the report as Markdown, with links to the `notebooks` in its folder."""
        gates, slices = self.verdict.gates, self.evaluation.slices
        reasons = _list(self.verdict.reasons)
        is_pass = self.verdict.status == "pass"
        parts = [
            f"# {self._title}",
            *self._findings(),
            "## Gates",
            # A pass's reasons only repeat the picture; otherwise they are the news.
            "" if is_pass else reasons,
            f"![Each gate's interval against its bound]({PICTURE})",
            *_folded(
                f"All {len(gates)} gates in numbers", gates_table(gates), reasons if is_pass else ""
            ),
            *(
                _folded(f"{len(slices)} slices, worst first", slices_table(slices))
                if slices
                else []
            ),
            *(text for part in self._sections for text in _section(part)),
            *_folded("Sources", markdown.table(("", ""), [*self.about.items()], left=2)),
            "Notebooks: " + ", ".join(markdown.link(n, n) for n in notebooks) if notebooks else "",
        ]
        return _paragraphs(parts)

    def files(self, notebooks: Sequence[str] = ()) -> dict[str, bytes]:
        """Return the report and its pictures by file name; the report links to the notebooks."""
        charts = {PICTURE: gates_chart(self.verdict.gates)} | {
            part.file: part.chart for part in self._sections if part.chart is not None
        }
        pictures = {name: chart.svg().encode() for name, chart in charts.items()}
        return {REPORT: self.markdown(notebooks).encode(), **pictures}

    @property
    def _sections(self) -> list[task_reports.Section]:
        names = self.evaluation.names.model_dump()
        return task_reports.sections(names, self.evaluation.curves)

    @property
    def _title(self) -> str:
        status = self.verdict.status.upper()
        candidate = self.evaluation.names.candidate
        return markdown.escape(f"{candidate} to {self.environment}: {status}")

    def _findings(self) -> list[str]:
        said = f"{self.verdict.sentence} {headline(self.evaluation)}"
        note = markdown.escape(self.evaluation.note)
        return [markdown.escape(said), scores_table(self.evaluation), note]

    def _repr_markdown_(self) -> str:
        # Without the picture, which is a file of the release; the notebook shows it in a cell.
        reasons = "" if self.verdict.status == "pass" else _list(self.verdict.reasons)
        return _paragraphs([f"**{self._title}**", *self._findings(), reasons])


@dataclass(frozen=True)
class Table:
    """A Markdown table that a notebook shows; all its cells are escaped."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


def recalls(compared: Evaluation) -> Table:
    """Return the recall of each class of both models, worst first; empty for another task."""
    found = ClassCurves.found(compared.curves)
    return Table(task_reports.recalls(compared.names, found) if found else "")


def confusion_by_slice(compared: Evaluation) -> Table:
    """Return what each binary model catches, misses and flags wrongly in each slice."""
    found = slice_confusions.read(compared.curves)
    return Table(task_reports.confusion_by_slice(compared.names, found) if found else "")


@dataclass(frozen=True)
class Versions:
    """Versions of a model side by side, by role."""

    parts: Mapping[str, ModelVersion]

    def _repr_markdown_(self) -> str:
        columns = {
            part: {"version": str(found), "digest": found.digest, **found.tags}
            for part, found in self.parts.items()
        }
        names = dict.fromkeys(name for column in columns.values() for name in column)
        rows = [
            (name, *(_shortened(column.get(name, "")) for column in columns.values()))
            for name in names
        ]
        return markdown.table(("", *columns), rows, left=1 + len(columns))


def versions(**parts: ModelVersion) -> Versions:
    """Return the versions side by side, by role: `versions(candidate=…, reference=…)`."""
    return Versions(parts)


@dataclass(frozen=True)
class Rollout:
    """A rollout's outcome and steps, as published by `watch_rollout`."""

    told: Mapping[str, Any]

    def _repr_markdown_(self) -> str:
        rows = [
            (step["act"], f"{step['weight'] or 0} %", step["verdict"], step["counts"], step["why"])
            for step in self.told["steps"]
        ]
        ended = f"**{str(self.told['outcome']).upper()}** {markdown.escape(self.told['sentence'])}"
        header = ("action", "weight", "verdict", "counts", "why")
        return _paragraphs([ended, markdown.table(header, rows, left=5)])


def rollout(told: Mapping[str, Any]) -> Rollout:
    """Return `watch_rollout`'s output in a form that notebooks display."""
    return Rollout(told)


def evidence(notebooks: Sequence[str | Path], report: Report, project: Path) -> dict[str, bytes]:
    """Return the files committed beside a release: its report and Git-safe notebooks."""
    safe = safe_notebooks(notebooks, project)
    return {**report.files(list(safe)), **safe}


def safe_notebooks(notebooks: Sequence[str | Path], project: Path) -> dict[str, bytes]:
    """Return executed notebooks in their form for Git, by file name.

    A notebook is named after its step, that is, after its folder.
    """
    machine = MachineIdentity.here(project)
    names = {f"{Path(path).parent.name}.ipynb": Path(path) for path in notebooks}
    return {name: git_safe.git_safe(path, machine=machine) for name, path in names.items()}


def headline(evaluation: EvaluationSummary) -> str:
    """Return the first score's difference as a sentence; empty if no score has one."""
    for row in evaluation.scores:
        if row.difference:
            own, other = number(row.candidate.value), number(row.reference.value)
            return (
                f"Its {row.metric} is {own}, against {other} of "
                f"{evaluation.names.reference}: a difference of {row.difference}."
            )
    return ""


def scores_table(evaluation: EvaluationSummary) -> str:
    """Return both models' scores with their intervals as a Markdown table."""
    names = evaluation.names
    header = (evaluation.title, names.reference, names.candidate, "difference, 95 % interval")
    rows = [
        (
            row.metric,
            str(row.reference),
            str(row.candidate),
            str(row.difference) if row.difference else "",
        )
        for row in evaluation.scores
    ]
    return markdown.table(header, rows)


def gates_table(gates: Sequence[GateSummary]) -> str:
    """Return the gates as a Markdown table."""
    rows = [
        (
            gate.name,
            str(gate.estimate),
            f"{_sign(gate)} {number(gate.bound)}",
            gate.status.upper(),
        )
        for gate in gates
    ]
    return markdown.table(("gate", "value, 95 % interval", "bound", "verdict"), rows)


def slices_table(slices: Sequence[SliceSummary]) -> str:
    """Return the metrics of each part of the holdout, worst first, as a Markdown table."""
    rows = [
        (part.name, part.metric, part.candidate.n, str(part.reference), str(part.candidate))
        for part in slices
    ]
    return markdown.table(("slice", "metric", "rows", "reference", "candidate"), rows, left=2)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown.escape(said)}" for said in sentences)


def _folded(summary: str, *parts: str) -> list[str]:
    return [f"<details><summary>{summary}</summary>", *parts, "</details>"]


def _section(part: task_reports.Section) -> list[str]:
    picture = f"![{markdown.escape(part.says)}]({part.file})" if part.file else ""
    return _folded(markdown.escape(part.summary), picture, part.table)


def _paragraphs(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _shortened(text: str) -> str:
    """Return the text with each digest cut to its first digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1…", text)


def _sign(gate: GateSummary) -> str:
    return "≥" if gate.side == "at_least" else "≤"
