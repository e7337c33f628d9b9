"""LightGBM's trees, read from its own text; what isn't known here raises ValueError."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving import fast_finishes as finishes
from mlops_kit.serving.fast_nodes import Ensemble, Finish, accepted, nodes
from mlops_kit.serving.fast_trees import Sets

# The bits of a decision: a categorical one, where a missing value goes, what is missing.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_ZERO, _MISSING_NAN = 1, 2, 4, 8
_NEAR_ZERO = float(np.float32(1e-35))
_IDENTITIES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_LOGARITHMS = ("poisson", "gamma", "tweedie")
_FRAME = "\npandas_categorical:"

Accepted = dict[int, NDArray[np.bool_]]


def trees_of(model: Any, booster: Any) -> Ensemble:
    """Return the trees of a fitted classifier or regressor and of its booster."""
    text = booster.model_to_string(num_iteration=-1)
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    header = dict(line.partition("=")[::2] for line in head.split("\n"))
    if "average_output" in header:
        raise ValueError("it averages")
    groups = int(header["num_tree_per_iteration"])
    best = int(getattr(model, "best_iteration_", 0) or 0)
    read = [_tree(block) for block in blocks[: best * groups if best > 0 else None]]
    # Those of one output after the other.
    read = [each for group in range(groups) for each in read[group::groups]]
    sets: Sets = {
        (at, node): each for at, (_, own) in enumerate(read) for node, each in own.items()
    }
    return Ensemble(
        [tree for tree, _ in read],
        0.0,
        int(header["max_feature_idx"]) + 1,
        _finish(header["objective"], groups, hasattr(model, "classes_")),
        has_sums=hasattr(model, "decision_function"),
        groups=groups,
        sets=sets,
        categories=_categories(text),
    )


def _finish(objective: str, groups: int, is_classifier: bool) -> Finish:
    name, *options = objective.split(" ")
    given = dict(option.partition(":")[::2] for option in options)
    if is_classifier and name in ("binary", "multiclassova"):
        return finishes.lightgbm_sigmoid(float(given["sigmoid"]), groups)
    if is_classifier and name == "multiclass":
        return finishes.lightgbm_softmax
    if not is_classifier and groups == 1 and "sqrt" not in given:
        if name in _IDENTITIES and not options:
            return finishes.itself
        if name in _LOGARITHMS:
            return finishes.lightgbm_exp
    raise ValueError(f"no arithmetic for {objective!r}")


def _categories(text: str) -> dict[int, tuple[Any, ...]]:
    """Return the categories of a frame's columns; -1 and so on, as nobody says which they are."""
    kept = json.loads(text.rpartition(_FRAME)[2]) if _FRAME in text else None
    return {-1 - at: tuple(each) for at, each in enumerate(kept or [])}


def _tree(block: str) -> tuple[NDArray[Any], Accepted]:
    fields = dict(line.partition("=")[::2] for line in block.split("\n"))
    leaves = np.array(fields["leaf_value"].split(" "), dtype=np.float64)
    if fields.get("is_linear", "0") != "0":
        raise ValueError("a tree has linear leaves")
    inner = len(leaves) - 1
    none = np.full(len(leaves), -1)
    if inner == 0:
        return nodes(none, none, [0], [0.0], [False], leaves), {}

    def read(name: str, dtype: Any) -> NDArray[Any]:
        return np.array(fields[name].split(" "), dtype=dtype)

    kinds, threshold = read("decision_type", np.int64), read("threshold", np.float64)
    is_set = (kinds & _CATEGORICAL) != 0
    if (kinds[~is_set] & _MISSING_ZERO).any():
        raise ValueError("a zero is a missing value there")
    sets = _sets(fields, {int(at): int(threshold[at]) for at in np.flatnonzero(is_set)})
    # Where nothing was missing in training, a missing value is a zero; of categories it is other.
    goes_left = np.where(kinds & _MISSING_NAN, kinds & _DEFAULT_LEFT, threshold >= 0.0)
    goes_left = np.where(is_set, False, goes_left)
    # What is nearer to zero than this comes to the trees as zero.
    near = np.abs(threshold) <= _NEAR_ZERO
    to_zero = np.where(threshold >= 0.0, _NEAR_ZERO, np.nextafter(-_NEAR_ZERO, -np.inf))
    threshold = np.where(near, to_zero, threshold)
    children = [read(name, np.int64) for name in ("left_child", "right_child")]
    # Leaves are counted from -1 down.
    left, right = (np.where(each >= 0, each, inner - 1 - each) for each in children)
    zeros = np.zeros(len(leaves))
    made = nodes(
        np.concatenate([left, none]),
        np.concatenate([right, none]),
        np.concatenate([read("split_feature", np.int64), zeros]),
        np.concatenate([threshold, zeros]),
        np.concatenate([goes_left, zeros]).astype(bool),
        np.concatenate([np.zeros(inner), leaves]),
    )
    return made, sets


def _sets(fields: Mapping[str, str], which: Mapping[int, int]) -> Accepted:
    """Return the categories that go left at each node, from the words of its bits."""
    if not which:
        return {}
    bounds = [int(each) for each in fields["cat_boundaries"].split(" ")]
    words = np.array(fields["cat_threshold"].split(" "), dtype="<u4")
    found: Accepted = {}
    for node, at in which.items():
        own = words[bounds[at] : bounds[at + 1]]
        bits = np.unpackbits(own.view(np.uint8), bitorder="little")
        found[node] = accepted(np.trim_zeros(bits, "b"), others_left=False)
    return found
