"""Estimate metrics of candidate and reference on the same rows, all of them or a slice's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_kit.models import intervals
from mlops_kit.models.gates import Estimate, Rules
from mlops_kit.models.metric_sums import Judged
from mlops_kit.models.metrics import SHOWN, Metric, metric
from mlops_kit.tables.table import Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Mask = npt.NDArray[np.bool_]

CANDIDATE, REFERENCE = "candidate", "reference"


@dataclass(frozen=True)
class Compared:
    """One metric of both models on the same rows; `difference` is candidate minus reference."""

    metric: Metric
    candidate: Estimate
    reference: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Slice:
    """One metric of both models on a part of the holdout."""

    name: str
    metric: Metric
    candidate: Estimate
    reference: Estimate
    difference: Estimate


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both models on the holdout; `judged` is by role, `seed` is of the bootstrap."""

    holdout: pd.DataFrame
    table: Table
    judged: Mapping[str, Judged]
    rules: Rules
    seed: int

    def of(self, names: Iterable[str], mask: Mask | None = None) -> dict[str, Compared]:
        """Return metrics of both models by name, on the rows of a mask or on all.

        Raises EvaluationError for a name that the table's task doesn't have.
        """
        metrics = [metric(name, self.table) for name in names]
        judged, frame = self.judged, self.holdout
        if mask is not None:
            judged = {role: each.at(mask) for role, each in judged.items()}
            frame = frame[mask]
        classes = len(self.table.classes)
        prepared = {
            role: {found.name: found.prepare(each, classes, frame) for found in metrics}
            for role, each in judged.items()
        }
        estimates, differences = intervals.bootstrap(
            prepared,
            len(frame),
            resamples=self.rules.resamples,
            seed=self.seed,
            confidence=self.rules.confidence,
        )
        compared = {}
        for found in metrics:
            n = int(found.support(judged[CANDIDATE]).sum())
            own, other = (
                self._exact(found, judged[role], estimates[role][found.name], n)
                for role in (CANDIDATE, REFERENCE)
            )
            compared[found.name] = Compared(
                found, own, other, replace(differences[found.name], n=n)
            )
        return compared

    def _exact(self, found: Metric, judged: Judged, estimate: Estimate, n: int) -> Estimate:
        counted = found.share(judged)
        if counted is not None:
            estimate = intervals.share(*counted, self.rules.confidence)
        return replace(estimate, n=n)


def slices(comparison: Comparison, masks: Mapping[str, Mask]) -> tuple[Slice, ...]:
    """Return each slice's metrics: the task's first, and what gates ask of slices; worst first."""
    found = []
    for name, mask in masks.items():
        asked = [
            rule.metric
            for rule in comparison.rules.gates
            if rule.slice and is_meant(rule.slice, name)
        ]
        wanted = dict.fromkeys([SHOWN[comparison.table.task][0], *asked])
        found += [Slice(name, **vars(each)) for each in comparison.of(wanted, mask).values()]
    return tuple(sorted(found, key=_badness))


def is_meant(wanted: str, name: str) -> bool:
    """Tell whether a gate's slice is this one: by its name, its column, or "*" for each."""
    return wanted in ("*", name) or name.startswith(f"{wanted} ")


def _badness(part: Slice) -> tuple[str, float]:
    """Return the order of slices: by metric, the worst end of the interval first, unknown last."""
    if not part.candidate.n:
        return part.metric.name, float("inf")
    is_high = part.metric.better == "high"
    return part.metric.name, part.candidate.low if is_high else -part.candidate.high
