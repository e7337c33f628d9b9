"""Trees of scikit-learn, LightGBM and XGBoost as arrays of nodes, and what their sum becomes.

LightGBM and XGBoost are read in their own formats. What isn't known here raises ValueError, and
the caller compares results before it uses them.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.fast_trees import NODE, Floats

Finish = Callable[[NDArray[Any]], Floats]
# LightGBM's bits of a decision: a categorical one, where a missing value goes, what is missing.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_ZERO, _MISSING_NAN = 1, 2, 4, 8
_NEAR_ZERO = float(np.float32(1e-35))
_IDENTITIES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves are added to a baseline; `finish` makes a score of the sum.

    `is_single` says that features are rounded to float32 first, `dtype` is that of the sum.
    `has_sums` says that the estimator's decision_function is the sum, which a calibrator is fitted
    on; else it is fitted on the score. `complement` makes the other class's score of a score, where
    that isn't one less it.
    """

    trees: list[Any]
    baseline: float
    features: int
    finish: Finish
    is_single: bool = False
    dtype: Any = np.float64
    has_sums: bool = False
    complement: Finish | None = None


def ensemble(model: Any, column: int = 1) -> Ensemble:
    """Return the trees of a fitted binary classifier or regressor; raises ValueError.

    `column` is the class whose probability a forest's leaves hold, 0 or 1.
    """
    library = getattr(model, "library", "") or type(model).__module__.partition(".")[0]
    name = type(model).__name__
    if name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        return _histogram(model)
    if name in _FORESTS and library == "sklearn":
        return _forest(model, column)
    booster = getattr(model, "booster_", None)
    if library == "lightgbm" and booster is not None:
        return _lightgbm(model, booster)
    if library == "xgboost":
        return _xgboost(model, booster if booster is not None else model.get_booster())
    raise ValueError(f"no trees of {name}")


def edges(found: Ensemble) -> dict[int, Floats]:
    """Return the thresholds of each feature."""
    nodes = np.concatenate([tree[[*_EDGE]] for tree in found.trees])
    nodes = nodes[~nodes["is_leaf"].astype(bool)]
    return {
        int(place): np.unique(nodes["num_threshold"][nodes["feature_idx"] == place])
        for place in np.unique(nodes["feature_idx"])
    }


_EDGE = ("is_leaf", "feature_idx", "num_threshold")


def _histogram(model: Any) -> Ensemble:
    from scipy.special import expit

    if model.is_categorical_ is not None or model.n_trees_per_iteration_ != 1:
        raise ValueError("it has categories or several classes")
    is_classifier = hasattr(model, "classes_")
    if not is_classifier and model.loss not in ("squared_error", "absolute_error", "quantile"):
        raise ValueError(f"no arithmetic for the loss {model.loss!r}")
    trees = [of_iteration[0].nodes for of_iteration in model._predictors]
    baseline = float(np.ravel(model._baseline_prediction)[0])
    finish: Finish = expit if is_classifier else _itself
    return Ensemble(trees, baseline, model.n_features_in_, finish, has_sums=is_classifier)


_FORESTS = (
    *("RandomForestClassifier", "RandomForestRegressor", "DecisionTreeClassifier"),
    *("ExtraTreesClassifier", "ExtraTreesRegressor", "DecisionTreeRegressor"),
)


def _forest(model: Any, column: int) -> Ensemble:
    inner = getattr(model, "estimators_", [model])
    is_classifier = hasattr(model, "classes_")
    if model.n_outputs_ != 1 or (is_classifier and len(model.classes_) != 2):
        raise ValueError("it has several outputs or classes")
    trees = []
    for each in inner:
        tree = each.tree_
        leaves = tree.value[:, 0, 0]
        if is_classifier:
            leaves = tree.value[:, 0, column] / tree.value[:, 0, :].sum(axis=1)
        missing_left = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
        trees.append(
            nodes(
                tree.children_left,
                tree.children_right,
                tree.feature,
                tree.threshold,
                np.asarray(missing_left, dtype=bool),
                leaves,
            )
        )
    count = len(trees)
    return Ensemble(
        trees,
        0.0,
        model.n_features_in_,
        lambda sums: sums / count,
        is_single=True,
        complement=_itself,
    )


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
        value: a leaf's.
    """
    made = np.zeros(len(left), dtype=NODE)
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


def _itself(sums: NDArray[Any]) -> Floats:
    return np.asarray(sums, dtype=np.float64)


def _lightgbm(model: Any, booster: Any) -> Ensemble:
    text = booster.model_to_string(num_iteration=-1)
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    header = dict(line.partition("=")[::2] for line in head.split("\n"))
    if "average_output" in header or header["num_tree_per_iteration"] != "1":
        raise ValueError("it averages, or has several classes")
    best = int(getattr(model, "best_iteration_", 0) or 0)
    trees = [_lightgbm_tree(block) for block in blocks[: best if best > 0 else None]]
    objective, *options = header["objective"].split(" ")
    if objective == "binary" and hasattr(model, "classes_"):
        finish = _lightgbm_sigmoid(float(options[0].removeprefix("sigmoid:")))
    elif objective in _IDENTITIES and not options:
        finish = _itself
    else:
        raise ValueError(f"no arithmetic for {header['objective']!r}")
    has_sums = hasattr(model, "decision_function")
    return Ensemble(trees, 0.0, int(header["max_feature_idx"]) + 1, finish, has_sums=has_sums)


def _lightgbm_tree(block: str) -> NDArray[Any]:
    fields = dict(line.partition("=")[::2] for line in block.split("\n"))
    leaves = np.array(fields["leaf_value"].split(" "), dtype=np.float64)
    if fields.get("is_linear", "0") != "0" or fields["num_cat"] != "0":
        raise ValueError("a tree has categories, or linear leaves")
    inner = len(leaves) - 1
    none = np.full(len(leaves), -1)
    if inner == 0:
        return nodes(none, none, [0], [0.0], [False], leaves)

    def read(name: str, dtype: Any) -> NDArray[Any]:
        return np.array(fields[name].split(" "), dtype=dtype)

    kinds, threshold = read("decision_type", np.int64), read("threshold", np.float64)
    if (kinds & (_CATEGORICAL | _MISSING_ZERO)).any():
        raise ValueError("a zero is a missing value there, or a tree has categories")
    # Where nothing was missing in training, a missing value is a zero.
    goes_left = np.where(kinds & _MISSING_NAN, kinds & _DEFAULT_LEFT, threshold >= 0.0)
    # What is nearer to zero than this comes to the trees as zero.
    near = np.abs(threshold) <= _NEAR_ZERO
    to_zero = np.where(threshold >= 0.0, _NEAR_ZERO, np.nextafter(-_NEAR_ZERO, -np.inf))
    threshold = np.where(near, to_zero, threshold)
    children = [read(name, np.int64) for name in ("left_child", "right_child")]
    # Leaves are counted from -1 down.
    left, right = (np.where(each >= 0, each, inner - 1 - each) for each in children)
    zeros = np.zeros(len(leaves))
    return nodes(
        np.concatenate([left, none]),
        np.concatenate([right, none]),
        np.concatenate([read("split_feature", np.int64), zeros]),
        np.concatenate([threshold, zeros]),
        np.concatenate([goes_left, zeros]).astype(bool),
        np.concatenate([np.zeros(inner), leaves]),
    )


def _lightgbm_sigmoid(slope: float) -> Finish:
    # By C's own exp, as LightGBM: numpy's rounds otherwise.
    def finish(sums: NDArray[Any]) -> Floats:
        return np.array([1.0 / (1.0 + math.exp(-slope * each)) for each in sums.tolist()])

    return finish


def _xgboost(model: Any, booster: Any) -> Ensemble:
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    about, inner = learner["learner_model_param"], learner["gradient_booster"]
    missing = getattr(model, "missing_", getattr(model, "missing", math.nan))
    if inner["name"] != "gbtree" or about["num_class"] not in ("0", "1") or missing == missing:
        raise ValueError("it isn't of plain trees with NaN for what is missing")
    best = _xgboost_best(model, booster)
    found = inner["model"]["trees"]
    trees = [_xgboost_tree(tree) for tree in found[: None if best is None else best + 1]]
    if len(found) > 1 and any(inner["model"]["tree_info"]):
        raise ValueError("it has several outputs")
    score = np.float32(json.loads(about["base_score"].strip("[]")))
    objective, features = learner["objective"]["name"], int(about["num_feature"])
    if objective == "binary:logistic":
        one = np.float32(1.0)
        baseline = float(np.float32(-math.log(float(one / score - one))))
        finish = _xgboost_sigmoid()
        return Ensemble(
            trees, baseline, features, finish, True, np.float32, complement=_single_complement
        )
    if objective == "reg:squarederror":
        return Ensemble(trees, float(score), features, _itself, True, np.float32)
    raise ValueError(f"no arithmetic for {objective!r}")


def _xgboost_best(model: Any, booster: Any) -> int | None:
    if hasattr(model, "best_iteration_"):
        return None if model.best_iteration_ is None else int(model.best_iteration_)
    best = booster.attr("best_iteration")
    return None if best is None else int(best)


def _xgboost_tree(tree: Mapping[str, Any]) -> NDArray[Any]:
    if any(tree["split_type"]):
        raise ValueError("a tree has categories")
    left = np.array(tree["left_children"])
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    # Less than a threshold is at most the number before it.
    before = np.nextafter(conditions, np.float32(-np.inf), dtype=np.float32)
    default_left = np.array(tree["default_left"]).astype(bool)
    value = np.where(left < 0, conditions, np.float32(0))
    return nodes(left, tree["right_children"], tree["split_indices"], before, default_left, value)


def _single_complement(scores: NDArray[Any]) -> Floats:
    return (np.float32(1.0) - scores.astype(np.float32)).astype(np.float64)


def _xgboost_sigmoid() -> Finish:
    # C's own expf, as XGBoost: numpy's rounds otherwise.
    expf = ctypes.CDLL(None).expf
    expf.restype, expf.argtypes = ctypes.c_float, [ctypes.c_float]
    one, most = np.float32(1.0), 88.7

    def finish(sums: NDArray[Any]) -> Floats:
        powers = [expf(min(-each, most)) for each in sums.tolist()]
        scores: Floats = (one / (np.array(powers, dtype=np.float32) + one)).astype(np.float64)
        return scores

    return finish
