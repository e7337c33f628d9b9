"""What the scores of a binary model mean at each threshold, as plain data for charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_kit.models.metric_sums import Array, Judged

POINTS = 100
_BINS = 10


def curves(judged: Mapping[str, Judged], errors: Array) -> dict[str, Any]:
    """Return counts and costs by threshold as plain data of some 10 kB, by role in `models`.

    `errors` is what a false negative (first row) and a false positive (second row) costs, by row.
    """
    thresholds = np.logspace(-4, 0, POINTS)
    models = {role: _by_threshold(each, errors, thresholds) for role, each in judged.items()}
    return {"thresholds": _plain(thresholds), "models": models}


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
