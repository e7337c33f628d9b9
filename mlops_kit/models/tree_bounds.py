"""Bounds of arrays that compiled code walks without checking its indices, trees above all.

A crafted file can send such a walk outside its arrays, which ends the process; so what a tree's
arrays may hold is checked before a library gets them. Faults are ValueErrors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_HIST_FIELDS = {"feature_idx", "left", "right", "is_leaf", "is_categorical", "bitset_idx"}
# scikit-learn's, for a node without children.
_LEAF = -1


def check_tree(
    left: NDArray[Any],
    right: NDArray[Any],
    is_leaf: NDArray[Any],
    features: NDArray[Any],
    n_features: int,
) -> None:
    """Check that the nodes from 0 on are one tree on the features of a row.

    Args:
        left: the index of each node's left child.
        right: the same of its right child.
        is_leaf: whether it has no children; its other fields are then not read.
        features: which feature it splits on.
        n_features: how many a row has.
    """
    count = len(left)
    if not 0 < count == len(right) == len(is_leaf) == len(features):
        raise ValueError("a tree's arrays have different lengths, or none")
    inner = ~np.asarray(is_leaf, dtype=bool)
    children = np.concatenate([left[inner], right[inner]]).astype(np.int64)
    if children.size and (children.min() < 1 or children.max() >= count):
        raise ValueError(f"a child is outside its tree of {count} nodes")
    if children.size and np.bincount(children).max() > 1:
        raise ValueError("a node has two parents, so that the walk may not end")
    used = np.asarray(features[inner], dtype=np.int64)
    if used.size and (used.min() < 0 or used.max() >= n_features):
        raise ValueError(f"a node splits on a feature outside the {n_features} of a row")


def check_sklearn_tree(arguments: Any, state: Any) -> None:
    """Check what `sklearn.tree._tree.Tree` is made of: the constructor's arguments, its state."""
    n_features, n_classes, n_outputs = arguments
    nodes, values = state["nodes"], state["values"]
    if not (type(n_features) is int and type(n_outputs) is int and 0 < n_outputs <= 10_000):
        raise ValueError("a tree's numbers of features and outputs aren't whole numbers")
    if n_classes.shape != (n_outputs,) or n_classes.dtype.kind not in "iu" or n_classes.min() < 1:
        raise ValueError("a tree has no number of classes for each output")
    if nodes.ndim != 1 or state["node_count"] != len(nodes) or nodes.dtype.names is None:
        raise ValueError("a tree's nodes aren't as many as it says")
    if values.shape != (len(nodes), n_outputs, int(n_classes.max())):
        raise ValueError("a tree has no value for each node")
    is_leaf = nodes["left_child"] == _LEAF
    left, right = nodes["left_child"], nodes["right_child"]
    check_tree(left, right, is_leaf, nodes["feature"], n_features)


def check_hist_tree(predictor: Any) -> None:
    """Check a tree of scikit-learn's histogram gradient boosting, but for its features."""
    nodes, bitsets = predictor.nodes, predictor.raw_left_cat_bitsets
    if nodes.ndim != 1 or not set(nodes.dtype.names or ()) >= _HIST_FIELDS:
        raise ValueError("a tree's nodes have other fields")
    is_leaf = nodes["is_leaf"] != 0
    check_tree(nodes["left"], nodes["right"], is_leaf, nodes["feature_idx"], 2**31)
    categorical = nodes["bitset_idx"][~is_leaf & (nodes["is_categorical"] != 0)]
    if categorical.size and not (bitsets.shape[1:] == (8,) and categorical.max() < len(bitsets)):
        raise ValueError("a node's categories are outside the tree's")


def check_owner(model: Any) -> None:
    """Check that the trees in an estimator of scikit-learn fit it, and other native arrays."""
    module, name = type(model).__module__, type(model).__name__
    if not module.startswith(("sklearn.", "scipy.")):
        return
    if hasattr(model, "tree_"):
        _expect(model.tree_.n_features, model.n_features_in_, "a tree's features")
    if hasattr(model, "_predictors"):
        _check_hist(model)
    elif module == "sklearn.ensemble._gb":
        _check_gradient_boosting(model)
    elif module.startswith("sklearn.ensemble._forest") or module.endswith("_iforest"):
        # A forest checks a row's width once, for all its trees.
        for tree in getattr(model, "estimators_", ()):
            _expect(tree.n_features_in_, model.n_features_in_, "a tree's features")
            outputs = getattr(tree, "n_outputs_", 1)
            _expect(outputs, getattr(model, "n_outputs_", outputs), "a tree's outputs")
    elif module == "sklearn.svm._classes" and hasattr(model, "support_vectors_"):
        _check_support_vectors(model)
    elif module.startswith("sklearn.neighbors") and hasattr(model, "_y"):
        _check_neighbours(model)
    elif name == "BSpline":
        _check_spline(model)
    elif name == "OneHotEncoder" and hasattr(model, "categories_"):
        _check_one_hot(model)
    if hasattr(model, "cluster_centers_"):
        _expect(model.cluster_centers_.shape[1], model.n_features_in_, "a centre's features")
    if hasattr(model, "vocabulary_"):
        # A place becomes an index in a sparse matrix, which nobody checks again.
        places = sorted(model.vocabulary_.values())
        _expect(places, list(range(len(places))), "the places of words")


def _check_hist(model: Any) -> None:
    n_features = int(model.n_features_in_)
    for predictor in (each for stage in getattr(model, "_predictors", ()) for each in stage):
        check_hist_tree(predictor)
        inner = predictor.nodes["feature_idx"][predictor.nodes["is_leaf"] == 0]
        if inner.size and not 0 <= inner.min() <= inner.max() < n_features:
            raise ValueError(f"a tree splits on a feature outside the {n_features} of a row")
    if hasattr(model, "_bin_mapper"):
        _expect(len(model._bin_mapper.is_categorical_), n_features, "the bins' features")
    for stage in getattr(model, "_predictors", ()):
        _expect(len(stage), model.n_trees_per_iteration_, "a stage's trees")
    _expect(np.size(model._baseline_prediction), model.n_trees_per_iteration_, "the baseline")


def _check_gradient_boosting(model: Any) -> None:
    trees = getattr(model, "estimators_", None)
    if trees is None:
        return
    _expect(np.ndim(trees), 2, "the dimensions of its stages")
    _expect(trees.shape[1], model.n_trees_per_iteration_, "a stage's trees")
    for tree in trees.ravel():
        _expect(tree.tree_.n_features, model.n_features_in_, "a tree's features")
        _expect(tree.tree_.value.shape[1:], (1, 1), "the shape of a tree's values")
    first = model._raw_predict_init(np.zeros((1, int(model.n_features_in_)), dtype=np.float32))
    _expect(first.shape, (1, trees.shape[1]), "the shape of its first prediction")


def _check_support_vectors(model: Any) -> None:
    count = len(model.support_)
    _expect(model.support_vectors_.shape[0], count, "its support vectors")
    _expect(model.support_vectors_.shape[1], model.n_features_in_, "a support vector's features")
    _expect(model.dual_coef_.shape[1], count, "its coefficients")
    if hasattr(model, "classes_"):
        _expect(int(model._n_support.min() >= 0), 1, "its counts of support vectors")
        _expect(int(model._n_support.sum()), count, "its counts of support vectors")
        _expect(model.dual_coef_.shape[0], max(1, len(model.classes_) - 1), "its coefficients")


def _check_neighbours(model: Any) -> None:
    _expect(model._fit_X.shape, (len(model._y), model.n_features_in_), "the shape of its rows")
    classes = getattr(model, "classes_", None)
    if classes is not None and model._y.ndim == 1:
        _expect(bool(0 <= model._y.min() <= model._y.max() < len(classes)), True, "its classes")


def _check_one_hot(model: Any) -> None:
    found = list(model._n_features_outs)
    _expect(found, list(model._compute_n_features_outs()), "the columns of its categories")
    for mapping, count in zip(
        getattr(model, "_default_to_infrequent_mappings", ()), found, strict=False
    ):
        if mapping is not None:
            _expect(bool(0 <= mapping.min() <= mapping.max() <= count), True, "rare categories")


def _check_spline(spline: Any) -> None:
    if not (type(spline.k) is int and spline.k >= 0 and spline.t.ndim == 1):
        raise ValueError("a spline has no degree or knots")
    if len(spline.c) < len(spline.t) - spline.k - 1 or len(spline.t) < 2 * spline.k + 2:
        raise ValueError("a spline has too few coefficients for its knots")


def _expect(found: Any, expected: Any, what: str) -> None:
    if not (np.shape(found) == np.shape(expected) and bool(np.all(found == expected))):
        raise ValueError(f"{what}: {found}; expected {expected}")
