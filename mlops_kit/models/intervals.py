"""Intervals for offline numbers: exact ones for shares, paired bootstrap ones for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.models.gates import Costs, Estimate

Array = NDArray[Any]

CALIBRATION_BINS = 10
# Rows times resamples held at once: 8 million weights of 4 bytes.
_MAX_DRAWS_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Judged:
    """What one model says of the holdout rows: scores in [0, 1] and decisions (True is fraud)."""

    scores: Array
    decisions: Array


def costs_by_row(amounts: Array, costs: Costs) -> Array:
    """Return what a missed fraud (first row) and a false alarm (second row) costs, by amount."""
    return np.vstack([amounts + costs.missed_fee, np.full(len(amounts), costs.review)])


def share(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Return a share with its exact interval (Clopper and Pearson, Biometrika 26, 1934)."""
    from scipy.stats import beta

    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return Estimate(successes / n, low, high, n)


def quantile(values: Array, q: float, confidence: float = 0.95) -> Estimate:
    """Return a quantile with its interval by order statistics, exact for any distribution.

    Source: David and Nagaraja, Order Statistics, 3rd ed. (2003), section 7.1.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    n = len(ordered)
    tail = (1 - confidence) / 2
    low = int(np.clip(binom.ppf(tail, n, q) - 1, 0, n - 1))
    high = int(np.clip(binom.ppf(1 - tail, n, q), 0, n - 1))
    return Estimate(float(np.quantile(ordered, q)), float(ordered[low]), float(ordered[high]), n)


class Metrics:
    """One model's metrics as sums over groups of rows, quick to weigh again and again.

    `costs` is what a missed fraud (first row) and a false alarm (second row) costs, by row of
    data. Average precision and calibration error are those of scikit-learn and of Naeini, Cooper
    and Hauskrecht (AAAI 2015, bins of equal mass), on weighted rows.
    """

    def __init__(self, labels: Array, judged: Judged, costs: Array) -> None:
        """Sort the rows into groups; `labels` are 0 and 1."""
        frauds, flagged = labels.astype(bool), judged.decisions.astype(bool)
        order = np.argsort(-judged.scores, kind="stable")
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        ranked = judged.scores[order]
        # A threshold can't part equal scores: a group ends where a fraud's group of ties does.
        ends = np.unique(np.searchsorted(-ranked, -ranked[frauds[order]], side="right") - 1)
        self._groups = len(ends)
        groups = np.searchsorted(ends, position)
        bins = position * CALIBRATION_BINS // max(len(order), 1)
        spent = np.where(frauds, costs[0] * ~flagged, costs[1] * flagged)
        self._sums = _stacked(
            _by_group(groups, np.ones(len(order)), len(ends) + 1),
            _by_group(groups, frauds, len(ends) + 1),
            _by_group(bins, frauds - judged.scores, CALIBRATION_BINS),
            np.vstack([frauds, frauds & flagged, flagged, spent]),
        )

    def weighed(self, weights: Array) -> dict[str, Array]:
        """Return each metric for each column of weights; shape: columns."""
        sums = self._sums @ weights
        k = self._groups + 1
        seen, found = np.cumsum(sums[:k], axis=0), np.cumsum(sums[k : 2 * k], axis=0)
        gaps = sums[2 * k : 2 * k + CALIBRATION_BINS]
        frauds, caught, flagged, spent = sums[2 * k + CALIBRATION_BINS :]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision_there = found / np.maximum(seen, 1e-12)
            return {
                "recall": caught / frauds,
                "precision": caught / flagged,
                "average_precision": (sums[k : 2 * k] * precision_there).sum(axis=0) / frauds,
                "calibration_error": np.abs(gaps).sum(axis=0) / seen[-1],
                "cost": 1000 * spent / seen[-1],
            }


def _by_group(groups: Array, values: Array, count: int) -> Any:
    """Return the matrix that sums a value of each row by its group."""
    from scipy.sparse import csr_array

    rows = np.arange(len(groups))
    return csr_array((values.astype(np.float64), (groups, rows)), shape=(count, len(groups)))


def _stacked(*parts: Any) -> Any:
    from scipy.sparse import csr_array, vstack

    return csr_array(vstack([csr_array(part) for part in parts]))


def bootstrap(
    labels: Array,
    models: dict[str, Judged],
    costs: Array,
    *,
    resamples: int,
    seed: int,
    confidence: float,
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Estimate]]:
    """Return every model's metrics with intervals, and the first minus the second, paired.

    Percentile intervals of a Poisson bootstrap (Hanley and MacGibbon, 2006): each row has the same
    random weight for all models, so that a difference is of models, not of rows.
    """
    metrics = {name: Metrics(labels, judged, costs) for name, judged in models.items()}
    point = {name: metric.weighed(np.ones((len(labels), 1))) for name, metric in metrics.items()}
    drawn: dict[str, list[dict[str, Array]]] = {name: [] for name in models}
    for weights in _poisson_weights(len(labels), resamples, seed):
        for name, metric in metrics.items():
            drawn[name].append(metric.weighed(weights))
    joined = {
        name: {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
        for name, parts in drawn.items()
    }
    n = len(labels)
    estimates = {
        name: {m: _estimate(point[name][m][0], joined[name][m], n, confidence) for m in point[name]}
        for name in models
    }
    first, second = (list(models) * 2)[:2]
    differences = {
        metric: _estimate(
            point[first][metric][0] - point[second][metric][0],
            joined[first][metric] - joined[second][metric],
            n,
            confidence,
        )
        for metric in point[first]
    }
    return estimates, differences


def _poisson_weights(rows: int, resamples: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    at_once = max(1, _MAX_DRAWS_AT_ONCE // max(rows, 1))
    # Looked up by 16 random bits, in a tenth of the time of `rng.poisson`: probabilities are right
    # to 2**-16, while some hundred resamples tell an interval's end to percents of its width.
    bits = 2**16
    cumulated = np.cumsum([exp(-1) / factorial(k) for k in range(12)])
    weights = np.searchsorted(cumulated, (np.arange(bits) + 0.5) / bits).astype(np.float64)
    for start in range(0, resamples, at_once):
        size = (rows, min(at_once, resamples - start))
        yield weights[rng.integers(bits, size=size, dtype=np.uint16)]


def _estimate(value: float, drawn: Array, n: int, confidence: float) -> Estimate:
    tail = (1 - confidence) / 2
    finite = drawn[np.isfinite(drawn)]
    if not finite.size or not np.isfinite(value):
        return Estimate(float("nan"), float("-inf"), float("inf"), n)
    low, high = np.quantile(finite, (tail, 1 - tail))
    return Estimate(float(value), float(low), float(high), n)
