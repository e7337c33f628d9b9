"""How large the errors of a regression are, and where they are large."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mlops_kit.models import intervals
from mlops_kit.models.evaluation_summary import EstimateSummary, Value
from mlops_kit.models.gates import Estimate
from mlops_kit.models.metric_sums import Judged

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_BINS, _ROWS = 10, 20


class SizeCurve(Value):
    """A model's errors by the size of its prediction, smallest first.

    `at` are the mean predictions of groups of equally many rows, `error` their median absolute
    errors, and `bias` their mean prediction minus truth.
    """

    at: list[float]
    error: list[EstimateSummary]
    bias: list[EstimateSummary]


class RegressionModel(Value):
    """The errors of one model: quantiles of their absolute values, and by predicted size."""

    absolute: list[EstimateSummary]
    by_size: SizeCurve


class ErrorCurves(Value):
    """What the charts of a regression's evaluation show; `quantiles` are shares of the rows."""

    quantiles: list[float]
    candidate: RegressionModel
    reference: RegressionModel


def of(judged: Mapping[str, Judged], confidence: float) -> ErrorCurves:
    """Return the errors of both models, in the label's unit."""
    models = {role: _of_model(each, confidence) for role, each in judged.items()}
    return ErrorCurves(quantiles=[*QUANTILES], **models)


def _of_model(judged: Judged, confidence: float) -> RegressionModel:
    errors = np.abs(judged.scores - judged.labels)
    absolute = [_short(intervals.quantile(errors, q, confidence)) for q in QUANTILES]
    return RegressionModel(absolute=absolute, by_size=_by_size(judged, confidence))


def _by_size(judged: Judged, confidence: float) -> SizeCurve:
    predicted, errors = judged.scores, judged.scores - judged.labels
    count = max(1, min(_BINS, len(predicted) // _ROWS))
    # A model that predicts few values has fewer groups: equal predictions stay together.
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, count + 1)[1:-1]))
    place = np.searchsorted(edges, predicted, side="right")
    groups = [place == each for each in np.unique(place)]
    return SizeCurve(
        at=[_digits(float(predicted[group].mean())) for group in groups],
        error=[_short(intervals.quantile(np.abs(errors[g]), 0.5, confidence)) for g in groups],
        bias=[_short(intervals.mean(errors[group], confidence)) for group in groups],
    )


def _short(estimate: Estimate) -> EstimateSummary:
    """Return an estimate in five significant digits, which no picture can tell from more."""
    value, low, high = map(_digits, (estimate.value, estimate.low, estimate.high))
    return EstimateSummary.of(replace(estimate, value=value, low=low, high=high))


def _digits(value: float) -> float:
    return float(f"{value:.5g}") if math.isfinite(value) else value
