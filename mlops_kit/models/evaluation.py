"""Compare a candidate with the model that it has to beat, on the same rows of the holdout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_kit.models import intervals, operating_points
from mlops_kit.models.columns import Columns
from mlops_kit.models.evaluation_summary import (
    EstimateSummary,
    EvaluationSummary,
    Names,
    ScoreSummary,
    SliceSummary,
    VerdictSummary,
    VersionIdentity,
)
from mlops_kit.models.evaluation_summary import read as read
from mlops_kit.models.gates import Costs, Estimate, Gate, Rules, Verdict
from mlops_kit.models.intervals import Judged
from mlops_kit.models.latency import one_row_ms

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.models.registry import ModelVersion

CANDIDATE, REFERENCE = "candidate", "reference"
METRICS = ("recall", "precision", "average_precision", "calibration_error", "cost")
TITLES = {
    "recall": "recall",
    "precision": "precision",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
    "cost": "cost per 1,000",
    "latency_ms": "latency of one row, median in ms",
}


@dataclass(frozen=True)
class Slice:
    """Recall of both models on a part of the holdout."""

    name: str
    candidate: Estimate
    reference: Estimate


@dataclass(frozen=True)
class SliceTable:
    """The slices as a notebook shows them."""

    names: Mapping[str, str]
    slices: tuple[Slice, ...]

    def _repr_markdown_(self) -> str:
        lines = [
            f"| recall | frauds | {self.names[REFERENCE]} | {self.names[CANDIDATE]} |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {part.name} | {part.candidate.n} | {part.reference} | {part.candidate} |"
            for part in self.slices
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Evaluation:
    """What the holdout says of candidate and reference; differences are candidate minus reference.

    `labels`, and the scores in `judged`, are by row of the holdout, for the charts.
    """

    names: Mapping[str, str]
    estimates: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Estimate]
    slices: tuple[Slice, ...]
    labels: Any
    judged: Mapping[str, Judged]
    costs: Any
    note: str = ""

    @property
    def rows(self) -> int:
        """How many rows the holdout has."""
        return len(self.labels)

    @property
    def frauds(self) -> int:
        """How many of them are frauds."""
        return int(self.labels.sum())

    @property
    def slice_table(self) -> SliceTable:
        """The recall of each slice, worst first, as a table."""
        return SliceTable(self.names, self.slices)

    def summary(
        self, verdict: Verdict, candidate: ModelVersion, reference: ModelVersion | None = None
    ) -> EvaluationSummary:
        """Return the numbers and the verdict, for the report and the next step.

        `reference` is the registered version that the candidate was compared with, if it is one.
        """
        scores = [
            ScoreSummary(
                metric=TITLES[metric],
                candidate=EstimateSummary.of(found),
                reference=EstimateSummary.of(self.estimates[REFERENCE][metric]),
                difference=EstimateSummary.of(self.differences[metric])
                if metric in self.differences
                else None,
            )
            for metric, found in self.estimates[CANDIDATE].items()
        ]
        slices = [
            SliceSummary(
                name=part.name,
                candidate=EstimateSummary.of(part.candidate),
                reference=EstimateSummary.of(part.reference),
            )
            for part in self.slices
        ]
        return EvaluationSummary(
            candidate=VersionIdentity.of(candidate),
            reference=VersionIdentity.of(reference) if reference is not None else None,
            names=Names(candidate=self.names[CANDIDATE], reference=self.names[REFERENCE]),
            rows=self.rows,
            frauds=self.frauds,
            note=self.note,
            scores=scores,
            slices=slices,
            verdict=VerdictSummary.of(verdict),
            curves=operating_points.curves(self.labels, self.judged, self.costs),
        )

    def _repr_markdown_(self) -> str:
        title = f"{self.rows:,} rows, {self.frauds} frauds"
        names = f"{self.names[REFERENCE]} | {self.names[CANDIDATE]}"
        lines = [f"| {title} | {names} | difference, 95 % interval |", "|---|---:|---:|---:|"]
        for metric, candidate in self.estimates[CANDIDATE].items():
            difference = self.differences.get(metric)
            cells = [str(self.estimates[REFERENCE][metric]), str(candidate)]
            lines.append(
                f"| {TITLES[metric]} | {' | '.join(cells)} | {difference if difference else ''} |"
            )
        return "\n".join([*lines, "", self.note])


def compare(
    candidate: Any,
    reference: Any,
    holdout: pd.DataFrame,
    columns: Columns,
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
        candidate: a classifier with `predict_proba`.
        reference: the one to beat.
        holdout: rows that neither was fitted on.
        columns: the roles of their columns; its slices are judged on their own.
        names: what to call the two, by role.
        costs: of each kind of error.
        rules: how many resamples, and with which confidence.
        note: what a reader of the numbers has to know of the holdout.
        seed: of the bootstrap.
        clock: in seconds, for the latency.
    """
    rows, labels = holdout[list(columns.features)], holdout[columns.label].to_numpy()
    models = {CANDIDATE: candidate, REFERENCE: reference}
    judged = {role: _judge(model, rows) for role, model in models.items()}
    by_row = intervals.costs_by_row(columns.amounts(holdout), costs)
    estimates, differences = intervals.bootstrap(
        labels,
        judged,
        by_row,
        resamples=rules.resamples,
        seed=seed,
        confidence=rules.confidence,
    )
    for role, model in models.items():
        estimates[role] |= _exact(labels, judged[role], rules.confidence)
        estimates[role]["latency_ms"] = one_row_ms(model, rows, rules.confidence, clock)
    return Evaluation(
        names=dict(names),
        estimates={
            role: {metric: found[metric] for metric in (*METRICS, "latency_ms")}
            for role, found in estimates.items()
        },
        differences={metric: differences[metric] for metric in METRICS},
        slices=_slices(columns.slices(holdout), labels, judged, rules.confidence),
        labels=labels,
        judged=judged,
        costs=by_row,
        note=note,
    )


def judge(evaluation: Evaluation, rules: Rules) -> Verdict:
    """Return the verdict of the gates; `rules` are the bounds, as in `[gates]` of the settings."""
    found = evaluation.estimates[CANDIDATE]
    frauds = evaluation.frauds

    def gate(name: str, estimate: Estimate, bound: float, side: Any, **more: Any) -> Gate:
        counted = Estimate(estimate.value, estimate.low, estimate.high, frauds)
        return Gate(name, counted, bound, side, rules.minimum_frauds, "frauds", **more)

    at_least = [
        gate(TITLES[metric], found[metric], getattr(rules, metric), "at_least")
        for metric in ("recall", "precision", "average_precision")
    ]
    compared = [
        gate(
            f"{TITLES[metric]} against {evaluation.names[REFERENCE]}",
            evaluation.differences[metric],
            getattr(rules, f"{metric}_difference"),
            "at_most" if metric == "cost" else "at_least",
        )
        for metric in ("recall", "precision", "average_precision", "cost")
    ]
    latency_gate = Gate(TITLES["latency_ms"], found["latency_ms"], rules.latency_ms, "at_most")
    calibration = gate(
        TITLES["calibration_error"], found["calibration_error"], rules.calibration_error, "at_most"
    )
    slices = [
        Gate(
            f"recall, {part.name}",
            part.candidate,
            rules.slice_recall,
            "at_least",
            0,
            "frauds",
            True,
        )
        for part in evaluation.slices
        if part.candidate.n >= rules.minimum_slice_frauds
    ]
    gates = (*at_least, calibration, latency_gate, *compared, *slices)
    return Verdict(gates, evaluation.names[CANDIDATE], evaluation.names[REFERENCE])


def _judge(model: Any, features: pd.DataFrame) -> Judged:
    scores = model.predict_proba(features)[:, 1]
    threshold = getattr(model, "threshold", None)
    # Asking predict as well would score every row a second time.
    decisions = (
        scores >= threshold if isinstance(threshold, float) else model.predict(features) == 1
    )
    return Judged(scores, decisions)


def _exact(labels: Any, judged: Judged, confidence: float) -> dict[str, Estimate]:
    caught = int(judged.decisions[labels == 1].sum())
    return {
        "recall": intervals.share(caught, int(labels.sum()), confidence),
        "precision": intervals.share(caught, int(judged.decisions.sum()), confidence),
    }


def _slices(
    masks: Mapping[str, Any], labels: Any, judged: Mapping[str, Judged], confidence: float
) -> tuple[Slice, ...]:
    def recall(role: str, mask: Any) -> Estimate:
        frauds = mask & (labels == 1)
        return intervals.share(
            int(judged[role].decisions[frauds].sum()), int(frauds.sum()), confidence
        )

    parts = (Slice(n, recall(CANDIDATE, m), recall(REFERENCE, m)) for n, m in masks.items())
    return tuple(sorted(parts, key=lambda part: part.candidate.low if part.candidate.n else 2.0))
