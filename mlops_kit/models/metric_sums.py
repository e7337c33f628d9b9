"""What each metric computes: a function of row weights, from sums over rows where it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.models import rankings

Array = NDArray[Any]
# Weights of shape (rows, resamples) become values of shape (resamples,).
Weighed = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Judged:
    """What one model says of labelled rows, and what its errors cost.

    `labels` are class indices or numbers, `scores` as `outputs` returns them, `decisions` class
    indices (empty for a regression), `spent` the cost of each row, in the currency of the costs.
    """

    labels: Array
    scores: Array
    decisions: Array
    spent: Array

    def at(self, mask: Array) -> Judged:
        """Return the rows of a mask."""
        decisions = self.decisions[mask] if len(self.decisions) else self.decisions
        return Judged(self.labels[mask], self.scores[mask], decisions, self.spent[mask])


def prepared(kind: str, of: int | None, judged: Judged, classes: int) -> Weighed:
    """Return a metric of a model as a function of row weights.

    Args:
        kind: its name, without a class.
        of: the index of the class that it is about, or None.
        judged: what the model says of the rows.
        classes: how many classes the table has.
    """
    if kind in _RANKED:
        return _RANKED[kind](judged.labels == of, judged.scores)
    return _SUMS[kind](judged, of, classes)


def _linear(combine: Callable[..., Array], *rows: Any) -> Weighed:
    """Return a metric that is a function of sums over rows."""
    matrix = np.vstack([np.asarray(each, dtype=np.float64) for each in rows])

    def weighed(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(combine(*(matrix @ weights)))

    return weighed


def _ratio(numerator: Any, denominator: Any) -> Weighed:
    return _linear(lambda a, b: a / b, numerator, denominator)


def _mean(values: Any) -> Weighed:
    return _ratio(values, np.ones(len(values)))


def _f1(judged: Judged, of: int | None, _classes: int) -> Weighed:
    hit, truth = judged.decisions == of, judged.labels == of
    return _linear(lambda a, b, c: 2 * a / (b + c), hit & truth, hit, truth)


def _by_class(judged: Judged, classes: int) -> tuple[list[Array], list[Array], list[Array]]:
    """Return the rows caught, flagged and true, class by class."""
    truth = [judged.labels == each for each in range(classes)]
    flagged = [judged.decisions == each for each in range(classes)]
    return [a & b for a, b in zip(truth, flagged, strict=True)], flagged, truth


def _balanced(judged: Judged, _of: int | None, classes: int) -> Weighed:
    caught, _flagged, truth = _by_class(judged, classes)

    def combine(*sums: Array) -> Array:
        found = np.array(sums[:classes]) / np.array(sums[classes:])
        # As scikit-learn's: over the classes that the rows have.
        return np.asarray(np.nanmean(found, axis=0))

    return _linear(combine, *caught, *truth)


def _macro_f1(judged: Judged, _of: int | None, classes: int) -> Weighed:
    caught, flagged, truth = _by_class(judged, classes)

    def combine(*sums: Array) -> Array:
        hit, of_flag, of_truth = np.array(sums).reshape(3, classes, -1)
        return np.asarray(np.nanmean(2 * hit / (of_flag + of_truth), axis=0))

    return _linear(combine, *caught, *flagged, *truth)


def _log_loss(judged: Judged, _of: int | None, _classes: int) -> Weighed:
    scores, tiny = judged.scores, np.finfo(np.float64).eps
    if scores.ndim == 1:
        true = np.where(judged.labels == 1, scores, 1 - scores)
    else:
        true = np.take_along_axis(scores, judged.labels[:, np.newaxis], axis=1)[:, 0]
        true = true / scores.sum(axis=1)
    return _mean(-np.log(np.clip(true, tiny, 1.0)))


def _r2(judged: Judged, _of: int | None, _classes: int) -> Weighed:
    labels, gaps = judged.labels, judged.labels - judged.scores
    # About the middle, so that the sums of squares keep their digits.
    centred = labels - labels.mean()

    def combine(n: Array, residual: Array, first: Array, second: Array) -> Array:
        return np.asarray(1 - residual / (second - first**2 / n))

    return _linear(combine, np.ones(len(labels)), gaps**2, centred, centred**2)


def _median(judged: Judged, _of: int | None, _classes: int) -> Weighed:
    gaps = np.abs(judged.labels - judged.scores)
    order = np.argsort(gaps, kind="stable")

    def weighed(weights: Array) -> Array:
        found = np.cumsum(weights[order], axis=0)
        half = found[-1] / 2
        low = (found < half).sum(axis=0).clip(max=len(order) - 1)
        # Half-way between two rows, as the median of an even number of them.
        high = (found <= half).sum(axis=0).clip(max=len(order) - 1)
        return np.asarray((gaps[order][low] + gaps[order][high]) / 2)

    return weighed


_SUMS: dict[str, Callable[[Judged, int | None, int], Weighed]] = {
    "recall": lambda j, of, _: _ratio((j.labels == of) & (j.decisions == of), j.labels == of),
    "precision": lambda j, of, _: _ratio((j.labels == of) & (j.decisions == of), j.decisions == of),
    "specificity": lambda j, of, _: _ratio((j.labels != of) & (j.decisions != of), j.labels != of),
    "f1": _f1,
    "accuracy": lambda j, _of, _: _mean(j.labels == j.decisions),
    "balanced_accuracy": _balanced,
    "macro_f1": _macro_f1,
    "log_loss": _log_loss,
    "brier_score": lambda j, of, _: _mean((j.scores - (j.labels == of)) ** 2),
    "mean_absolute_error": lambda j, _of, _: _mean(np.abs(j.labels - j.scores)),
    "median_absolute_error": _median,
    "root_mean_squared_error": lambda j, _of, _: _linear(
        lambda a, n: np.sqrt(a / n), (j.labels - j.scores) ** 2, np.ones(len(j.labels))
    ),
    "mean_absolute_percentage_error": lambda j, _of, _: _mean(
        np.abs(j.labels - j.scores) / np.maximum(np.abs(j.labels), np.finfo(np.float64).eps)
    ),
    "r2": _r2,
    "bias": lambda j, _of, _: _mean(j.scores - j.labels),
    "cost": lambda j, _of, _: _mean(1000 * j.spent),
}
_RANKED: dict[str, Callable[[Array, Array], Weighed]] = {
    "average_precision": rankings.average_precision,
    "roc_auc": rankings.roc_auc,
    "calibration_error": rankings.calibration_error,
}
