"""What a model's answers mean on the holdout, as plain data for charts and the panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.models.metric_sums import Array, Judged

if TYPE_CHECKING:
    from mlops_kit.tables.table import Task

POINTS = 100
_BINS = 10
_QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def curves(task: Task, judged: Mapping[str, Judged], errors: Array) -> dict[str, Any]:
    """Return what each model does as plain data of some 10 kB, by role in `models`.

    Binary: counts and costs by threshold; `errors` is what a false negative (first row) and a
    false positive (second row) costs, by row. Multi-class: the confusion matrix, a row a true
    class. Regression: quantiles of the errors, prediction minus truth.
    """
    if task == "binary":
        thresholds = np.logspace(-4, 0, POINTS)
        models = {role: _by_threshold(each, errors, thresholds) for role, each in judged.items()}
        return {"thresholds": _plain(thresholds), "models": models}
    if task == "multiclass":
        return {"models": {role: {"confusion": confusion(each)} for role, each in judged.items()}}
    return {
        "quantiles": [*_QUANTILES],
        "models": {
            role: {"errors": _plain(np.quantile(each.scores - each.labels, _QUANTILES))}
            for role, each in judged.items()
        },
    }


def confusion(judged: Judged) -> list[list[int]]:
    """Return how many rows of each true class (row) were decided as each class (column)."""
    count = judged.scores.shape[1]
    pairs = judged.labels * count + judged.decisions
    found: list[list[int]] = np.bincount(pairs, minlength=count**2).reshape(count, count).tolist()
    return found


def by_threshold(
    labels: Array, scores: Array, errors: Array, thresholds: Array
) -> tuple[Array, Array, Array]:
    """Return the true positives, the false positives and the cost per 1,000 rows, by threshold.

    A score that reaches the threshold is positive; `errors` are as for `curves`.
    """
    order = np.argsort(-scores)
    # How many rows, in falling order of their score, reach each threshold.
    flagged = np.searchsorted(-scores[order], -thresholds, side="right")
    positives = labels[order] == 1

    def summed(values: Array) -> Array:
        return np.concatenate([[0.0], np.cumsum(values)])[flagged]

    caught = summed(positives.astype(float))
    missed_cost = errors[0][labels == 1].sum() - summed(np.where(positives, errors[0][order], 0.0))
    alarm_cost = summed(np.where(positives, 0.0, errors[1][order]))
    return caught, flagged - caught, 1000 * (missed_cost + alarm_cost) / max(len(labels), 1)


def reliability(labels: Array, scores: Array) -> tuple[list[float], list[float]]:
    """Return mean score and share of positives in bins with about equally many positives."""
    order = np.argsort(scores)
    found = np.cumsum(labels[order])
    edges = np.searchsorted(found, np.linspace(0, found[-1], _BINS + 1)[1:-1])
    parts = [part for part in np.split(order, np.unique(edges)) if len(part)]
    expected = [float(scores[part].mean()) for part in parts]
    return expected, [float(labels[part].mean()) for part in parts]


def _by_threshold(judged: Judged, errors: Array, thresholds: Array) -> dict[str, Any]:
    labels = judged.labels
    caught, alarms, cost = by_threshold(labels, judged.scores, errors, thresholds)
    flagged = judged.decisions == 1
    return {
        "caught": [int(value) for value in caught],
        "alarms": [int(value) for value in alarms],
        "cost": _plain(cost),
        "calibration": [
            _plain(pair) for pair in zip(*reliability(labels, judged.scores), strict=True)
        ],
        "positives": int(labels.sum()),
        "rows": len(labels),
        "threshold": float(judged.scores[flagged].min()) if flagged.any() else 1.0,
    }


def _plain(values: Any) -> list[float]:
    """Return numbers in four significant digits, which no picture can tell from more."""
    return [float(f"{value:.4g}") for value in values]
