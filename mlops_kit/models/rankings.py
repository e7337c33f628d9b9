"""Metrics of a ranking by score, as functions of row weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weighed = Callable[[Array], Array]

CALIBRATION_BINS = 10


def average_precision(positives: Array, scores: Array) -> Weighed:
    """Return average precision; `positives` is a mask of the rows, `scores` their P(positive)."""
    groups, count = _ranked(positives, scores)
    of_rows = _by_group(groups, np.ones(len(scores)), count)
    of_positives = _by_group(groups, positives, count)

    def weighed(weights: Array) -> Array:
        found_here = of_positives @ weights
        seen, found = np.cumsum(of_rows @ weights, axis=0), np.cumsum(found_here, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision_there = found / np.maximum(seen, 1e-12)
            return np.asarray((found_here * precision_there).sum(axis=0) / found[-1])

    return weighed


def roc_auc(positives: Array, scores: Array) -> Weighed:
    """Return the area under the ROC curve: Mann-Whitney's U with ties halved."""
    groups, count = _ranked(positives, scores)
    tied = np.zeros(count + 1)
    tied[groups[positives]] = scores[positives]
    is_tied = ~positives & (scores == tied[groups])
    of_positives = _by_group(groups, positives, count)
    of_negatives = _by_group(groups, ~positives, count)
    of_ties = _by_group(groups, is_tied, count)

    def weighed(weights: Array) -> Array:
        here, negatives = of_positives @ weights, of_negatives @ weights
        total = negatives.sum(axis=0)
        # Negatives of a group stand above its positives, or tie with them.
        below = total - np.cumsum(negatives, axis=0) + (of_ties @ weights) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((here * below).sum(axis=0) / (here.sum(axis=0) * total))

    return weighed


def calibration_error(positives: Array, scores: Array) -> Weighed:
    """Return the mean gap between score and share of positives, over bins of equal mass."""
    order = np.argsort(-scores, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    bins = position * CALIBRATION_BINS // max(len(order), 1)
    gaps = _by_group(bins, positives - scores, CALIBRATION_BINS - 1)

    def weighed(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.abs(gaps @ weights).sum(axis=0) / weights.sum(axis=0))

    return weighed


def _ranked(positives: Array, scores: Array) -> tuple[Array, int]:
    """Return each row's group in falling order of the scores, and the number of groups but one.

    A threshold can't part equal scores: a group ends where a positive's group of ties does.
    """
    order = np.argsort(-scores, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    ranked = scores[order]
    ends = np.unique(np.searchsorted(-ranked, -ranked[positives[order]], side="right") - 1)
    return np.searchsorted(ends, position), len(ends)


def _by_group(groups: Array, values: Array, last: int) -> Any:
    """Return the matrix that sums a value of each row by its group, 0 to `last`."""
    from scipy.sparse import csr_array

    rows = np.arange(len(groups))
    shape = (last + 1, len(groups))
    return csr_array((values.astype(np.float64), (groups, rows)), shape=shape)
