"""How two versions that share the traffic compare in one rate, also when events come in bursts."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.rollouts.sequential_tests import log_e, log_mean

Array = NDArray[Any]

# Looked at for ever, so a chance finding must be rare.
_SPLIT_ALPHA = 0.001
# A split up to this much beside the weight is still believed: clients are few.
_SPLIT_TOLERANCE = 0.02


def log_against(
    total: tuple[Array, Array],
    candidate: tuple[Array, Array],
    champion: tuple[Array, Array],
    weights: Array,
    bound: float,
    regression: float,
) -> Array:
    """Return the log evidence that a candidate's rate is higher than allowed, of shape (...).

    Averages two e-values. One tests that the candidate exceeds its bound *and* the champion's
    rate, so that a shared outage isn't blamed on it; the other, that it exceeds `regression` times
    the champion's rate.

    Given an event, which version it hits is a coin toss: with a rate of at most r times the
    champion's, the candidate's share of the events at weight w is at most r w / (r w + 1 - w).
    Source: the conditional test of Lindon and Malek, NeurIPS 2022.

    Args:
        total: the candidate's events and requests over all weights, each of shape (...).
        candidate: its events and requests by weight, each of shape (..., k).
        champion: the champion's, likewise.
        weights: the k weights, in percent.
        bound: the rate that the candidate may have.
        regression: how many times the champion's rate it may have.
    """
    events, requests = candidate
    absolute = log_e(*total, bound, ">")
    # A few busy clients may bring more than the weight; the larger share blames less.
    real = requests / np.maximum(requests + champion[1], 1e-9)
    share = np.maximum(weights / 100, real)
    # Where the champion had no traffic there is nothing to compare with but the bound.
    alone = champion[1] <= 0
    n = np.where(alone, requests, events + champion[0])

    def relative(ratio: float) -> Array:
        odds = ratio * share / np.maximum(1 - share, 1e-9)
        return np.asarray(log_e(events, n, np.where(alone, bound, odds / (1 + odds)), ">").sum(-1))

    blamed = np.minimum(absolute, relative(1.0))
    return log_mean(np.stack([blamed, relative(regression)], axis=-1))


def by_weight(weights: Array, *values: Array) -> tuple[Array, ...]:
    """Return the weights that occur, and the sum of each of the values by them."""
    found = np.unique(weights)
    at = (weights == found[:, None]).astype(float)
    return found, *(at @ value for value in values)


def inflation(n: Array, variation: float, rate: float) -> Array:
    """Return by how much bursts widen the variance of a block's events; shape as `n`.

    1 + r (n - 1), where r = variation rate / (1 - rate) is the correlation within a block at this
    rate. Counts are divided by it (quasi-likelihood: McCullagh and Nelder, Generalized Linear
    Models, 1989, 9.2), which is approximate, and exact without bursts.
    """
    return np.asarray(1 + variation * rate / (1 - rate) * np.maximum(n - 1, 0))


def inflation_of_two(n: Array, m: Array, variation: float, rate: float) -> Array:
    """Return by how much bursts of each arm alone widen the variance of the log ratio of two.

    1 + 2 r n m / (n + m), with r as in `inflation`: by the delta method the log of a share of n
    has the variance (1 + r n) / (rate n).
    """
    correlation = variation * rate / (1 - rate)
    return np.asarray(1 + 2 * correlation * n * m / np.maximum(n + m, 1))


def variation(events: Array, n: Array) -> float:
    """Return the squared coefficient of variation of the blocks' rates, beyond chance; 0 or more.

    By moments of the beta-binomial distribution; 0 for under two blocks. Source: Kleinman, J. Am.
    Statist. Assoc. 68 (1973).
    """
    pairs, rate = float((n * (n - 1)).sum()), float(events.sum() / max(n.sum(), 1))
    if len(n) < 2 or pairs == 0 or not 0 < rate < 1:
        return 0.0
    spread = ((events - n * rate) ** 2).sum() / (rate * (1 - rate)) * len(n) / (len(n) - 1)
    correlation = max(float(spread - n.sum()) / pairs, 0.0)
    return correlation * (1 - rate) / rate


def sample_ratio(candidate: int, clients: int, weight: int) -> float:
    """Return the log evidence that the split of the clients isn't the weight, in percent.

    Two-sided, the mean of both; up to two points beside the weight count as right.
    """
    high, low = weight / 100 + _SPLIT_TOLERANCE, weight / 100 - _SPLIT_TOLERANCE
    above = float(log_e(candidate, clients, high, ">")) if high < 1 else 0.0
    below = float(log_e(candidate, clients, low, "<")) if low > 0 else 0.0
    return float(log_mean([above, below]))


def is_split_broken(candidate: int, clients: int, weight: int) -> bool:
    """Tell whether the clients' split is proved to be another than the weight, at 0.1 %."""
    return sample_ratio(candidate, clients, weight) >= -log(_SPLIT_ALPHA)
