"""Trees of scikit-learn as arrays of nodes, and which library's reader takes a model.

What isn't known here raises ValueError, and the caller compares results before it uses them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving import fast_lightgbm, fast_xgboost
from mlops_kit.serving.fast_finishes import itself, softmax
from mlops_kit.serving.fast_nodes import Ensemble, Finish, accepted, nodes
from mlops_kit.serving.fast_trees import Sets


def ensemble(model: Any, column: int | None = 1) -> Ensemble:
    """Return the trees of a fitted classifier or regressor; raises ValueError.

    `column` is the class whose probability a forest's leaves hold, None for all of them.
    """
    library = getattr(model, "library", "") or type(model).__module__.partition(".")[0]
    name = type(model).__name__
    if library == "sklearn" and name.startswith("HistGradientBoosting"):
        return _histogram(model)
    if library == "sklearn" and name.startswith("GradientBoosting"):
        return _gradient_boosting(model)
    if library == "sklearn" and name in _FORESTS:
        return _forest(model, column)
    booster = getattr(model, "booster_", None)
    if library == "lightgbm" and booster is not None:
        return fast_lightgbm.trees_of(model, booster)
    if library == "xgboost":
        return fast_xgboost.trees_of(model, booster if booster is not None else model.get_booster())
    raise ValueError(f"no trees of {name}")


def _boosted(
    model: Any, trees: list[list[Any]], baseline: Any, order: Any, **more: Any
) -> Ensemble:
    """Return trees, by iteration and output, of gradient boosting in scikit-learn.

    `order` is how it keeps the sums of several classes.
    """
    from scipy.special import expit

    is_classifier, groups = hasattr(model, "classes_"), len(trees[0])
    finish: Finish = expit if is_classifier else model._loss.link.inverse
    if groups > 1:
        finish = partial(softmax, order=order)
    return Ensemble(
        [of_iteration[group] for group in range(groups) for of_iteration in trees],
        baseline if groups > 1 else float(baseline[0]),
        model.n_features_in_,
        finish,
        has_sums=is_classifier,
        groups=groups,
        **more,
    )


def _histogram(model: Any) -> Ensemble:
    trees = [[each.nodes for each in of_iteration] for of_iteration in model._predictors]
    sets: Sets = {}
    if model.is_categorical_ is not None:
        groups = len(trees[0])
        ordered = [stage[group] for group in range(groups) for stage in model._predictors]
        known, places = model._bin_mapper.make_known_categories_bitsets()
        sets = {
            (at, node): each
            for at, predictor in enumerate(ordered)
            for node, each in _histogram_sets(predictor, _bits(known), places).items()
        }
    return _boosted(model, trees, np.ravel(model._baseline_prediction), "F", sets=sets)


def _histogram_sets(predictor: Any, known: Any, places: Any) -> dict[int, NDArray[np.bool_]]:
    """Return the categories that go left; what isn't known goes where a missing value goes."""
    found = {}
    left = _bits(predictor.raw_left_cat_bitsets)
    for place, node in enumerate(predictor.nodes):
        if node["is_categorical"] and not node["is_leaf"]:
            missing_left = bool(node["missing_go_to_left"])
            own = left[node["bitset_idx"]]
            unknown = ~known[places[node["feature_idx"]]] if missing_left else np.False_
            found[place] = accepted(own | unknown, missing_left)
    return found


def _bits(words: Any) -> NDArray[np.bool_]:
    """Return bitsets (n, 8) of 32 bits as truths, shape (n, 256)."""
    content = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    return np.unpackbits(content, axis=1, bitorder="little").astype(np.bool_)


def _gradient_boosting(model: Any) -> Ensemble:
    if model.init_ != "zero" and not type(model.init_).__name__.startswith("Dummy"):
        raise ValueError("it starts from another model")
    first = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    trees = [
        [_tree(each.tree_, model.learning_rate * each.tree_.value[:, 0, 0]) for each in stage]
        for stage in model.estimators_
    ]
    return _boosted(model, trees, first, "C", is_single=True)


_FORESTS = (
    *("RandomForestClassifier", "RandomForestRegressor", "DecisionTreeClassifier"),
    *("ExtraTreesClassifier", "ExtraTreesRegressor", "DecisionTreeRegressor"),
    *("ExtraTreeClassifier", "ExtraTreeRegressor"),
)


def _forest(model: Any, column: int | None) -> Ensemble:
    inner = getattr(model, "estimators_", [model])
    if model.n_outputs_ != 1:
        raise ValueError("it has several outputs")
    is_classifier = hasattr(model, "classes_")
    if is_classifier and column is not None and len(model.classes_) != 2:
        raise ValueError("it has several classes")
    of_class: Any = 0 if not is_classifier else slice(None) if column is None else column
    trees = [_tree(each.tree_, each.tree_.value[:, 0, of_class]) for each in inner]
    count = len(trees)
    return Ensemble(
        trees,
        0.0,
        model.n_features_in_,
        lambda sums: sums / count,
        is_single=True,
        complement=itself,
    )


def _tree(tree: Any, leaves: Any) -> NDArray[Any]:
    missing_left = np.asarray(getattr(tree, "missing_go_to_left", np.zeros(tree.node_count)), bool)
    left, right = tree.children_left, tree.children_right
    return nodes(left, right, tree.feature, tree.threshold, missing_left, leaves)
