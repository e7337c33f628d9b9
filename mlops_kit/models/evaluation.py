"""Compare a candidate with the model that it has to beat, on the same rows of the holdout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.errors import EvaluationError
from mlops_kit.formatting import escape_markdown
from mlops_kit.models import costs as costing
from mlops_kit.models import task_curves
from mlops_kit.models.comparison import (
    CANDIDATE,
    REFERENCE,
    Compared,
    Comparison,
    Slice,
    is_meant,
    slices,
)
from mlops_kit.models.costs import Costs
from mlops_kit.models.evaluation_summary import (
    EstimateSummary,
    EvaluationSummary,
    Names,
    ScoreSummary,
    SliceSummary,
    VerdictSummary,
    VersionIdentity,
    holdout_title,
)
from mlops_kit.models.evaluation_summary import read as read
from mlops_kit.models.gates import Estimate, Gate, GateRule, Rules, Verdict
from mlops_kit.models.latency import one_row_ms
from mlops_kit.models.metric_sums import Judged
from mlops_kit.models.metrics import LATENCY, SHOWN, metric
from mlops_kit.models.outputs import decisions, outputs, threshold
from mlops_kit.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.models.model_version import ModelVersion


@dataclass(frozen=True)
class SliceTable:
    """The slices as a notebook shows them."""

    names: Mapping[str, str]
    slices: tuple[Slice, ...]

    def _repr_markdown_(self) -> str:
        if not self.slices:
            return "No slices: the table's declaration may name some in `slices=[…]`."
        lines = [
            f"| slice | metric | rows | {escape_markdown(self.names[REFERENCE])} "
            f"| {escape_markdown(self.names[CANDIDATE])} |",
            "|---|---|---:|---:|---:|",
        ]
        lines += [
            f"| {escape_markdown(part.name)} | {escape_markdown(part.metric.title)} "
            f"| {part.candidate.n} | {part.reference} "
            f"| {part.candidate} |"
            for part in self.slices
        ]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What the holdout says of candidate and reference.

    `judged` is by role and by row of the holdout, `latency` by role; `curves` is what the charts
    of its task show, as `task_curves` has it.
    """

    table: Table
    names: Mapping[str, str]
    compared: Mapping[str, Compared]
    latency: Mapping[str, Estimate]
    slices: tuple[Slice, ...]
    judged: Mapping[str, Judged]
    curves: Mapping[str, Any]
    errors: Any = None
    note: str = ""

    @property
    def rows(self) -> int:
        """How many rows the holdout has."""
        return len(self.labels)

    @property
    def labels(self) -> Any:
        """The labels by row: class indices, or numbers."""
        return self.judged[CANDIDATE].labels

    @property
    def counts(self) -> list[int]:
        """How many rows each class has; empty for a regression."""
        return [int((self.labels == each).sum()) for each in range(len(self.table.classes))]

    @property
    def slice_table(self) -> SliceTable:
        """The slices as a table, worst first."""
        return SliceTable(self.names, self.slices)

    @property
    def scores(self) -> dict[str, tuple[str, Estimate, Estimate, Estimate | None]]:
        """Each metric's title with candidate, reference and difference, by its name."""
        found: dict[str, tuple[str, Estimate, Estimate, Estimate | None]] = {
            name: (each.metric.title, each.candidate, each.reference, each.difference)
            for name, each in self.compared.items()
        }
        title = metric(LATENCY, self.table).title
        found[LATENCY] = (title, self.latency[CANDIDATE], self.latency[REFERENCE], None)
        return found

    def summary(
        self, verdict: Verdict, candidate: ModelVersion, reference: ModelVersion | None = None
    ) -> EvaluationSummary:
        """Return the numbers and the verdict, for the report and the next step.

        `reference` is the registered version that the candidate was compared with, if it is one.
        """
        scores = [
            ScoreSummary(
                name=name,
                metric=title,
                candidate=EstimateSummary.of(own),
                reference=EstimateSummary.of(other),
                difference=EstimateSummary.of(difference) if difference else None,
            )
            for name, (title, own, other, difference) in self.scores.items()
        ]
        slices = [
            SliceSummary(
                name=part.name,
                metric=part.metric.title,
                candidate=EstimateSummary.of(part.candidate),
                reference=EstimateSummary.of(part.reference),
            )
            for part in self.slices
        ]
        return EvaluationSummary(
            candidate=VersionIdentity.of(candidate),
            reference=VersionIdentity.of(reference) if reference is not None else None,
            names=Names(candidate=self.names[CANDIDATE], reference=self.names[REFERENCE]),
            task=self.table.task,
            classes=[str(each) for each in self.table.classes],
            counts=self.counts,
            rows=self.rows,
            note=self.note,
            scores=scores,
            slices=slices,
            verdict=VerdictSummary.of(verdict),
            curves=dict(self.curves),
        )

    def __repr__(self) -> str:
        # A notebook keeps it in Git, beside the table.
        title = holdout_title(self.rows, self.counts, self.table.task)
        return f"Evaluation of {self.names[CANDIDATE]} against {self.names[REFERENCE]}: {title}"

    def _repr_markdown_(self) -> str:
        names = " | ".join(escape_markdown(self.names[role]) for role in (REFERENCE, CANDIDATE))
        title = holdout_title(self.rows, self.counts, self.table.task)
        lines = [
            f"| {title} | {names} | difference, 95 % interval |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {escape_markdown(title)} | {other} | {own} | {difference if difference else ''} |"
            for title, own, other, difference in self.scores.values()
        ]
        return "\n".join([*lines, "", escape_markdown(self.note)])


def compare(
    candidate: Any,
    reference: Any,
    holdout: pd.DataFrame,
    table: Table,
    *,
    names: Mapping[str, str],
    costs: Costs,
    rules: Rules,
    note: str = "",
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """Score both models on the holdout, with exact or paired bootstrap intervals.

    Args:
        candidate: the model to judge.
        reference: the one to beat.
        holdout: labelled rows that neither was fitted on.
        table: their declaration; its slices are judged on their own.
        names: what to call the two, by role.
        costs: of each kind of error.
        rules: the gates, whose metrics are computed beside the task's usual ones.
        note: what a reader of the numbers has to know of the holdout.
        seed: of the bootstrap.
        clock: in seconds, for the latency.

    Raises TableError for rows or a model that don't fit the table, EvaluationError for a metric
    or costs that don't.
    """
    rows = table.inputs(holdout)
    models = {CANDIDATE: candidate, REFERENCE: reference}
    judged = {role: _judge(model, rows, holdout, table, costs) for role, model in models.items()}
    comparison = Comparison(holdout, table, judged, rules, seed)
    asked = [rule.metric for rule in rules.gates if not rule.slice and rule.metric != LATENCY]
    masks = table.slice_masks(holdout)
    parts = slices(comparison, masks)
    errors = costing.of_errors(costs, table.amounts(holdout)) if table.task == "binary" else None
    return Evaluation(
        table=table,
        names=dict(names),
        compared=comparison.of(dict.fromkeys([*SHOWN[table.task], *asked])),
        latency={
            role: one_row_ms(model, rows, rules.confidence, clock) for role, model in models.items()
        },
        slices=parts,
        judged=judged,
        curves=task_curves.curves(
            comparison, masks, dict.fromkeys(part.name for part in parts), errors
        ),
        errors=errors,
        note=note,
    )


def judge(evaluation: Evaluation, rules: Rules) -> Verdict:
    """Return the verdict of the gates.

    Raises EvaluationError for a gate whose metric or slice the evaluation doesn't have.
    """
    gates = [gate for rule in rules.gates for gate in _gates(evaluation, rule, rules)]
    return Verdict(tuple(gates), evaluation.names[CANDIDATE], evaluation.names[REFERENCE])


def _gates(evaluation: Evaluation, rule: GateRule, rules: Rules) -> Iterable[Gate]:
    if rule.metric == LATENCY:
        latency = evaluation.latency[CANDIDATE]
        yield Gate(metric(LATENCY, evaluation.table).title, latency, rule.bound, rule.side)
        return
    found = metric(rule.metric, evaluation.table)
    what = "positives" if evaluation.table.task == "binary" else "rows"
    against = f" against {evaluation.names[REFERENCE]}" if rule.against else ""
    if not rule.slice:
        if found.name not in evaluation.compared:
            raise EvaluationError(
                f"The evaluation has no {found.title}; expected the gates that it was compared by."
            )
        each = evaluation.compared[found.name]
        estimate = each.difference if rule.against else each.candidate
        name = f"{found.title}{against}"
        yield Gate(name, estimate, rule.bound, rule.side, rules.minimum, what)
        return
    parts = [part for part in evaluation.slices if is_meant(rule.slice, part.name)]
    parts = [part for part in parts if part.metric.name == found.name]
    if not parts and rule.slice != "*":
        raise EvaluationError(
            f"A gate asks for the {found.title} of the slice {rule.slice!r}; the holdout has "
            f"{sorted({part.name for part in evaluation.slices})}."
        )
    for part in parts:
        if part.candidate.n >= rules.slice_minimum:
            estimate = part.difference if rule.against else part.candidate
            name = f"{found.title}{against}, {part.name}"
            yield Gate(name, estimate, rule.bound, rule.side, 0, what, tolerant=True)


def _judge(
    model: Any, rows: pd.DataFrame, holdout: pd.DataFrame, table: Table, costs: Costs
) -> Judged:
    scores = outputs(model, rows, table)
    decided = np.empty(0, dtype=np.int64)
    if table.task != "regression":
        bound = threshold(model, table) if table.task == "binary" else 0.5
        decided = decisions(scores, table, bound)
    spent = costing.by_row(costs, table, holdout, scores, decided)
    return Judged(table.labels(holdout), scores, decided, spent)
