"""What each threshold would mean on the holdout: what is caught, what is flagged, what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_kit.models.intervals import Array, Judged

POINTS = 100
_BINS = 10


def curves(labels: Array, judged: Mapping[str, Judged], costs: Array) -> dict[str, Any]:
    """Return counts and costs of each model by threshold, as plain data of some 10 kB.

    `costs` is what a missed fraud (first row) and a false alarm (second row) costs, by row.
    """
    thresholds = np.logspace(-4, 0, POINTS)
    return {
        "thresholds": _plain(thresholds),
        "models": {role: _of(labels, each, costs, thresholds) for role, each in judged.items()},
    }


def by_threshold(
    labels: Array, scores: Array, costs: Array, thresholds: Array
) -> tuple[Array, Array, Array]:
    """Return the frauds caught, the false alarms and the cost per 1,000 rows, by threshold.

    A score that reaches the threshold is flagged; `costs` are as for `curves`.
    """
    order = np.argsort(-scores)
    # How many rows, in falling order of their score, reach each threshold.
    flagged = np.searchsorted(-scores[order], -thresholds, side="right")
    frauds = labels[order] == 1

    def summed(values: Array) -> Array:
        return np.concatenate([[0.0], np.cumsum(values)])[flagged]

    caught = summed(frauds.astype(float))
    missed_cost = costs[0][labels == 1].sum() - summed(np.where(frauds, costs[0][order], 0.0))
    alarm_cost = summed(np.where(frauds, 0.0, costs[1][order]))
    return caught, flagged - caught, 1000 * (missed_cost + alarm_cost) / max(len(labels), 1)


def reliability(labels: Array, scores: Array) -> tuple[list[float], list[float]]:
    """Return mean score and share of frauds in bins with about equally many frauds."""
    order = np.argsort(scores)
    found = np.cumsum(labels[order])
    edges = np.searchsorted(found, np.linspace(0, found[-1], _BINS + 1)[1:-1])
    parts = [part for part in np.split(order, np.unique(edges)) if len(part)]
    said = [float(scores[part].mean()) for part in parts]
    return said, [float(labels[part].mean()) for part in parts]


def _of(labels: Array, judged: Judged, costs: Array, thresholds: Array) -> dict[str, Any]:
    caught, alarms, cost = by_threshold(labels, judged.scores, costs, thresholds)
    flagged = judged.decisions
    return {
        "caught": [int(value) for value in caught],
        "alarms": [int(value) for value in alarms],
        "cost": _plain(cost),
        "calibration": [
            _plain(pair) for pair in zip(*reliability(labels, judged.scores), strict=True)
        ],
        "frauds": int(labels.sum()),
        "rows": len(labels),
        "threshold": float(judged.scores[flagged].min()) if flagged.any() else 1.0,
    }


def _plain(values: Any) -> list[float]:
    """Return numbers in four significant digits, which no picture can tell from more."""
    return [float(f"{value:.4g}") for value in values]
