"""The report of a release, and the evidence that is committed beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.formatting import number
from mlops_kit.models.evaluation_summary import (
    EvaluationSummary,
    GateSummary,
    SliceSummary,
    VerdictSummary,
)
from mlops_kit.reporting import markdown
from mlops_kit.reporting.charts import charts
from mlops_kit.reporting.notebooks import git_safe
from mlops_kit.reporting.notebooks.redaction import MachineIdentity

if TYPE_CHECKING:
    from mlops_kit.models.registry import ModelVersion

REPORT = "report.md"
PICTURE = "gates.svg"


@dataclass(frozen=True)
class Report:
    """What a reviewer reads; `evaluation` is what the notebook `evaluate` publishes.

    `about` are further facts for the foot of the report, such as digests and revisions.
    """

    evaluation: EvaluationSummary
    environment: str
    about: Mapping[str, str]

    @property
    def verdict(self) -> VerdictSummary:
        """The verdict of the gates."""
        return self.evaluation.verdict

    def markdown(self, notebooks: Sequence[str] = ()) -> str:
        """Return the report as Markdown, one screen of it unfolded; `notebooks` lie beside it."""
        gates, slices = self.verdict.gates, self.evaluation.slices
        reasons = _list(self.verdict.reasons)
        is_pass = self.verdict.status == "pass"
        parts = [
            f"# {self._title}",
            *self._findings(),
            "## Gates",
            # Those of a pass say what the picture shows; else they are the news.
            "" if is_pass else reasons,
            f"![Each gate's interval against its bound]({PICTURE})",
            *_folded(
                f"All {len(gates)} gates in numbers", gates_table(gates), reasons if is_pass else ""
            ),
            *(
                _folded(f"{len(slices)} slices, the worst first", slices_table(slices))
                if slices
                else []
            ),
            *_folded("What this rests on", markdown.table(("", ""), [*self.about.items()], left=2)),
            "Notebooks: " + ", ".join(markdown.link(n, n) for n in notebooks) if notebooks else "",
        ]
        return _paragraphs(parts)

    def files(self, notebooks: Sequence[str] = ()) -> dict[str, bytes]:
        """Return the report and its picture, by name; the report links to the notebooks."""
        picture = gates_chart(self.verdict.gates).svg()
        return {REPORT: self.markdown(notebooks).encode(), PICTURE: picture.encode()}

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
        # Without the picture, which is a file of the release: a cell of its own shows it.
        reasons = "" if self.verdict.status == "pass" else _list(self.verdict.reasons)
        return _paragraphs([f"**{self._title}**", *self._findings(), reasons])


@dataclass(frozen=True)
class Versions:
    """Versions of a model side by side, each under the part that it plays."""

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
    """Return the versions side by side, as in `versions(candidate=…, reference=…)`."""
    return Versions(parts)


@dataclass(frozen=True)
class Rollout:
    """How a rollout ended, and its steps, from what `watch_rollout` published."""

    told: Mapping[str, Any]

    def _repr_markdown_(self) -> str:
        rows = [
            (step["act"], f"{step['weight'] or 0} %", step["verdict"], step["counts"], step["why"])
            for step in self.told["steps"]
        ]
        ended = f"**{str(self.told['outcome']).upper()}** {markdown.escape(self.told['sentence'])}"
        header = ("act", "weight", "verdict", "counts", "why")
        return _paragraphs([ended, markdown.table(header, rows, left=5)])


def rollout(told: Mapping[str, Any]) -> Rollout:
    """Return what `watch_rollout` published, to be shown."""
    return Rollout(told)


def evidence(notebooks: Sequence[str | Path], report: Report, project: Path) -> dict[str, bytes]:
    """Return what is committed beside a release: its report and its notebooks, safe for Git."""
    safe = safe_notebooks(notebooks, project)
    return {**report.files(list(safe)), **safe}


def safe_notebooks(notebooks: Sequence[str | Path], project: Path) -> dict[str, bytes]:
    """Return executed notebooks as Git keeps them, by file name.

    A notebook is named after its step, the folder that it was executed in.
    """
    machine = MachineIdentity.here(project)
    names = {f"{Path(path).parent.name}.ipynb": Path(path) for path in notebooks}
    return {name: git_safe.git_safe(path, machine=machine) for name, path in names.items()}


def headline(evaluation: EvaluationSummary) -> str:
    """Return the first difference as a sentence; nothing where no score has one."""
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
    """Return the metrics of each part of the holdout, the worst first."""
    rows = [
        (part.name, part.metric, part.candidate.n, str(part.reference), str(part.candidate))
        for part in slices
    ]
    return markdown.table(("slice", "metric", "rows", "reference", "candidate"), rows, left=2)


def gates_chart(gates: Sequence[GateSummary]) -> charts.Intervals:
    """Return intervals against bounds as a chart; of the gates of a kind only the closest.

    Gates are of a kind when they have the same words before a comma, as slices do. All that
    don't pass are shown, first and by that word.
    """
    missed = [gate for gate in gates if gate.status != "pass"]
    kinds: dict[str, list[GateSummary]] = {}
    for gate in gates:
        if gate.status == "pass":
            words, comma, _ = gate.name.partition(",")
            kinds.setdefault(words + comma, []).append(gate)
    kept = [*missed, *(min(kind, key=_room) for kind in kinds.values())]
    title = "Does each interval keep to its side of the bound (dashed)?"
    return charts.Intervals(title, tuple(_row(gate) for gate in kept))


def _row(gate: GateSummary) -> charts.Interval:
    word = "" if gate.status == "pass" else f"{gate.status.upper()} "
    found = gate.estimate
    value, low, high = (_drawn(each) for each in (found.value, found.low, found.high))
    return charts.Interval(f"{word}{gate.name}", value, low, high, gate.bound)


def _room(gate: GateSummary) -> float:
    """Return how far the interval is from its bound; they are all in the same unit."""
    estimate = gate.estimate
    room = (
        _drawn(estimate.low) - gate.bound
        if gate.side == "at_least"
        else gate.bound - _drawn(estimate.high)
    )
    return room if math.isfinite(room) else -math.inf


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown.escape(said)}" for said in sentences)


def _folded(summary: str, *parts: str) -> list[str]:
    return [f"<details><summary>{summary}</summary>", *parts, "</details>"]


def _paragraphs(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _shortened(text: str) -> str:
    """Return the text with the first digits of each digest, for comparing by eye."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1…", text)


def _sign(gate: GateSummary) -> str:
    return "≥" if gate.side == "at_least" else "≤"


def _drawn(value: float | None) -> float:
    return math.nan if value is None else value
