"""Intervals for offline numbers: exact ones for shares, paired bootstrap ones for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.models.gates import Estimate
from mlops_kit.models.metric_sums import Weighed

Array = NDArray[Any]

# Rows times resamples held at once: 8 million weights of 4 bytes.
_MAX_DRAWS_AT_ONCE = 8_000_000


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


def mean(values: Array, confidence: float = 0.95) -> Estimate:
    """Return a mean with its interval by Student's t; one value has no finite interval."""
    from scipy.stats import t

    n = len(values)
    value = float(np.mean(values)) if n else float("nan")
    if n < 2:
        return Estimate(value, float("-inf"), float("inf"), n)
    half = float(t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(value, value - half, value + half, n)


def bootstrap(
    models: Mapping[str, Mapping[str, Weighed]],
    rows: int,
    *,
    resamples: int,
    seed: int,
    confidence: float,
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Estimate]]:
    """Return every model's metrics with intervals, and the first minus the second, paired.

    Percentile intervals of a Poisson bootstrap (Hanley and MacGibbon, 2006): each row has the same
    random weight for all models, so that a difference is of models, not of rows.

    Args:
        models: by role, the metrics by name, as functions of row weights.
        rows: how many rows there are.
        resamples: how many sets of weights are drawn.
        seed: of the weights.
        confidence: of the intervals, such as 0.95.
    """
    ones = np.ones((rows, 1))
    drawn: dict[tuple[str, str], list[Array]] = {}
    for weights in _poisson_weights(rows, resamples, seed):
        for role, metrics in models.items():
            for name, weighed in metrics.items():
                drawn.setdefault((role, name), []).append(weighed(weights))
    point = {
        (role, name): float(weighed(ones)[0])
        for role, metrics in models.items()
        for name, weighed in metrics.items()
    }
    joined = {key: np.concatenate(parts) for key, parts in drawn.items()}
    estimates = {
        role: {
            name: _estimate(point[role, name], joined[role, name], rows, confidence)
            for name in metrics
        }
        for role, metrics in models.items()
    }
    first, second = (list(models) * 2)[:2]
    differences = {
        name: _estimate(
            point[first, name] - point[second, name],
            joined[first, name] - joined[second, name],
            rows,
            confidence,
        )
        for name in models[first]
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
