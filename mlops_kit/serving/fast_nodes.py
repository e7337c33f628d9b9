"""Trees of any library as arrays of nodes, and what becomes of their sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.fast_trees import NODE, Floats, Sets

_MOST_SINGLE = float(np.finfo(np.float32).max)
Finish = Callable[[NDArray[Any]], Floats]


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves are added to a baseline; `finish` makes scores of the sums.

    `groups` is how many outputs have trees of their own, those of one output after the other;
    `sets` are the categories at which a node's rows go left. `is_single` says that features are
    rounded to float32 first, `dtype` is that of the sum. `has_sums` says that the estimator's
    decision_function is the sum, which a calibrator is fitted on; else it is fitted on the score.
    `complement` makes the other class's score of a score, where that isn't one less it.
    `categories` are those that a frame's column is coded by, by the feature's place; None where the
    codes are as declared.
    """

    trees: list[Any]
    baseline: Any
    features: int
    finish: Finish
    is_single: bool = False
    dtype: Any = np.float64
    has_sums: bool = False
    complement: Finish | None = None
    groups: int = 1
    sets: Sets = field(default_factory=dict)
    categories: Mapping[int, tuple[Any, ...] | None] = field(default_factory=dict)


def edges(found: Ensemble) -> dict[int, Floats]:
    """Return the numbers of each feature at which an answer changes: thresholds, categories."""
    inner = [~tree["is_leaf"].astype(bool) for tree in found.trees]
    codes: dict[int, set[float]] = {}
    for (at, node), accepted in found.sets.items():
        inner[at][node] = False
        own = codes.setdefault(int(found.trees[at]["feature_idx"][node]), {-0.5})
        own.update(map(float, range(-1, len(accepted) + 1)))
    features, numbers = (
        np.concatenate([tree[name][kept] for tree, kept in zip(found.trees, inner, strict=True)])
        for name in ("feature_idx", "num_threshold")
    )
    # A node that only parts missing values from others has an infinite one.
    known = np.abs(numbers) < (_MOST_SINGLE if found.is_single else np.inf)
    features, numbers = features[known], numbers[known]
    of_each = {int(at): np.unique(numbers[features == at]) for at in np.unique(features)}
    return of_each | {place: np.array(sorted(own)) for place, own in codes.items()}


def nodes(
    left: Any, right: Any, feature: Any, threshold: Any, missing_left: Any, value: Any
) -> NDArray[Any]:
    """Return a tree's nodes, one an entry.

    Args:
        left: the place of the child on the left, negative for a leaf.
        right: the place of the child on the right.
        feature: the place of the feature that is tested.
        threshold: a row goes left where its feature is at most this.
        missing_left: whether a missing value goes left.
        value: a leaf's, one number or one for each output.
    """
    value = np.asarray(value)
    kind = np.dtype([("value", "f8", value.shape[1:]), *NODE.descr[1:]])
    made = np.zeros(len(left), dtype=kind)
    made["left"], made["right"], made["value"] = left, right, value
    made["is_leaf"] = made["left"] < 0
    made["feature_idx"], made["num_threshold"] = feature, threshold
    made["missing_go_to_left"] = missing_left
    waiting = [(0, 0)]
    while waiting:
        place, depth = waiting.pop()
        made["depth"][place] = depth
        if not made["is_leaf"][place]:
            waiting += [(int(made[side][place]), depth + 1) for side in ("left", "right")]
    return made


def accepted(codes: Any, others_left: bool) -> NDArray[np.bool_]:
    """Return which codes go left, the last entry for all that aren't among them."""
    return np.array([*codes, others_left], dtype=np.bool_)
