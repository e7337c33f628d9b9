"""Native files of LightGBM, XGBoost and CatBoost, checked before their library reads them.

Their readers are compiled and trust what they read: an index beyond an array ends the process. So
LightGBM's text and XGBoost's JSON are parsed here first, and what was checked is what the library
gets. CatBoost's binary form can't be parsed here, so a process of its own reads it first. Faults
are ValueErrors.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.models.tree_bounds import check_tree

MAX_BOOSTER_BYTES = 256 * 2**20
_MAX_CATEGORY = 2**24
_PROBE_SECONDS = 120
_CATEGORICAL = 1  # the first bit of LightGBM's decision_type
_NODE_FIELDS = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_OPTIONAL_NODE = ("split_gain", "internal_value", "internal_weight", "internal_count")
_OPTIONAL_LEAF = ("leaf_weight", "leaf_count")
_HEADER = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
    *("objective", "feature_names", "feature_infos", "monotone_constraints"),
)
_TREE = ("num_leaves", "num_cat", "leaf_value", "cat_boundaries", "cat_threshold", "is_linear")
_OBJECTIVES = ("multiclass", "multiclassova", "softmax")


def lightgbm_text(content: bytes) -> str:
    """Return LightGBM's text, written anew from what was checked."""
    text = content.decode("utf-8")
    head, _, rest = text.partition("\nTree=")
    body, end, tail = rest.partition("\nend of trees")
    lines = head.split("\n")
    if lines[0] != "tree" or not body or not end:
        raise ValueError("it doesn't start or end as LightGBM's text does")
    flags = [line for line in lines[1:] if line and "=" not in line]
    header = _fields([line for line in lines[1:] if "=" in line])
    header.pop("tree_sizes", None)  # places in the file, which the library would believe
    if set(header) - set(_HEADER) or set(flags) - {"average_output"}:
        raise ValueError(f"its header has {sorted(set(header) - set(_HEADER)) + flags}")
    features, per_iteration = int(header["max_feature_idx"]) + 1, _groups(header)
    for name in ("feature_names", "feature_infos"):
        if len(header[name].split(" ")) != features:
            raise ValueError(f"{name} aren't {features}")
    trees = []
    for number, block in enumerate(body.split("\nTree=")):
        title, *own = block.strip("\n").split("\n")
        if title != str(number) or "" in own:
            raise ValueError(f"tree {number} is called {title!r:.20}")
        _check_lightgbm_tree(_fields(own), features)
        trees.append("\n".join([f"Tree={number}", *own, "", ""]))
    if len(trees) % per_iteration:
        raise ValueError("its last iteration lacks trees")
    start = "\n".join(["tree", *(f"{n}={v}" for n, v in header.items()), *flags, "", ""])
    return start + "\n" + "\n".join(trees) + "\nend of trees\n" + _pandas_categories(tail)


def _fields(lines: list[str]) -> dict[str, str]:
    pairs = [line.partition("=") for line in lines]
    found = {name: value for name, _, value in pairs}
    if len(found) != len(lines) or not all(mark for _, mark, _ in pairs):
        raise ValueError("a field is there twice, or has no value")
    return found


def _groups(header: Mapping[str, str]) -> int:
    """Return the trees of an iteration: one a class, if there are several."""
    groups = int(header["num_tree_per_iteration"])
    name, *options = header.get("objective", "").split(" ")
    declared = dict(option.partition(":")[::2] for option in options)
    expected = int(declared.get("num_class", 1)) if name in _OBJECTIVES else 1
    if not 0 < groups == int(header["num_class"]) == expected:
        raise ValueError(f"it has {groups} trees an iteration for {expected} outputs")
    return groups


def _check_lightgbm_tree(fields: Mapping[str, str], features: int) -> None:
    known = {*_NODE_FIELDS, *_OPTIONAL_NODE, *_OPTIONAL_LEAF, *_TREE, "shrinkage"}
    if set(fields) - known or int(fields.get("is_linear", 0)):
        raise ValueError("a tree has a linear model in its leaves, or an unknown field")
    leaves = int(fields["num_leaves"])
    _numbers(fields["leaf_value"], leaves, np.float64)
    for name in _OPTIONAL_LEAF:
        if fields.get(name):
            _numbers(fields[name], leaves, np.float64)
    if leaves == 1:
        return
    types = {"threshold": np.float64, "decision_type": np.int64}
    for name in _OPTIONAL_NODE:
        if fields.get(name):
            _numbers(fields[name], leaves - 1, np.float64)
    node = {n: _numbers(fields[n], leaves - 1, types.get(n, np.int64)) for n in _NODE_FIELDS}
    left, right = (_whole_index(node[n], leaves) for n in ("left_child", "right_child"))
    ends = np.full(leaves, -1)
    is_leaf = np.arange(2 * leaves - 1) >= leaves - 1
    used = np.concatenate([node["split_feature"], ends])
    check_tree(np.concatenate([left, ends]), np.concatenate([right, ends]), is_leaf, used, features)
    _check_categories(fields, node)


def _whole_index(children: NDArray[Any], leaves: int) -> NDArray[Any]:
    """Return the index among nodes and then leaves; LightGBM counts leaves from -1 down."""
    if children.max() >= leaves - 1 or children.min() < -leaves:
        raise ValueError(f"a child is outside its tree of {leaves} leaves")
    return np.where(children >= 0, children, leaves - 2 - children)


def _check_categories(fields: Mapping[str, str], node: Mapping[str, NDArray[Any]]) -> None:
    count = int(fields.get("num_cat", 0))
    is_categorical = (node["decision_type"] & _CATEGORICAL) != 0
    which = node["threshold"][is_categorical]
    if which.size and not (which.min() >= 0 and which.max() < count):
        raise ValueError("a node's categories are outside the tree's")
    if count:
        bounds = _numbers(fields["cat_boundaries"], count + 1, np.int64)
        if bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise ValueError("the bounds of categories don't ascend")
        _numbers(fields["cat_threshold"], int(bounds[-1]), np.int64)


def _numbers(text: str, count: int, dtype: Any) -> NDArray[Any]:
    found = np.array(text.split(" "), dtype=dtype) if text else np.empty(0, dtype)
    if len(found) != count:
        raise ValueError(f"a field has {len(found)} numbers; expected {count}")
    return found


def _pandas_categories(tail: str) -> str:
    """Return the last line, in which LightGBM keeps the categories of a frame's columns."""
    mark = "\npandas_categorical:"
    kept = json.loads(tail.rpartition(mark)[2]) if mark in tail else None
    values = [each for column in kept or [] for each in column]
    if not all(isinstance(each, (str, int, float)) for each in values):
        raise ValueError("its categories aren't text or numbers")
    return f"{mark}{json.dumps(kept)}\n"


def xgboost_json(content: bytes) -> bytes:
    """Return XGBoost's JSON, as it is, if its trees and categories are sound."""
    learner = json.loads(content, object_pairs_hook=_once)["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] == "dart":
        drops = booster["weight_drop"]
        booster = booster["gbtree"]
        if len(drops) != len(booster["model"]["trees"]):
            raise ValueError("it has no weight for each tree")
    elif booster["name"] != "gbtree":
        raise ValueError(f"its booster is {booster['name']!r:.20}; expected gbtree or dart")
    about, model = learner["learner_model_param"], booster["model"]
    features, trees = int(about["num_feature"]), model["trees"]
    groups = max(1, int(about["num_class"])) * max(1, int(about.get("num_target", 1)))
    _range(model["tree_info"], len(trees), 0, groups)
    _ascending(model["iteration_indptr"], len(trees))
    if int(model["gbtree_model_param"]["num_trees"]) != len(trees):
        raise ValueError(f"it doesn't have {len(trees)} trees")
    for name in ("feature_names", "feature_types"):
        if len(learner[name]) not in (0, features):
            raise ValueError(f"{name} aren't {features}")
    for number, tree in enumerate(trees):
        # The library puts a tree where its id says.
        if tree["id"] is True or tree["id"] != number:
            raise ValueError(f"tree {number} has another id")
        _check_xgboost_tree(tree, features)
    _check_encodings(model.get("cats") or {}, features)
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice, of which readers take either")
    return found


def _check_xgboost_tree(tree: Mapping[str, Any], features: int) -> None:
    about, count = tree["tree_param"], len(tree["left_children"])
    if int(about["num_nodes"]) != count or int(about["size_leaf_vector"]) not in (0, 1):
        raise ValueError(f"a tree doesn't have {count} nodes of one value")
    if int(about["num_feature"]) != features or not 0 <= int(about["num_deleted"]) < count:
        raise ValueError("a tree is for another number of features, or has no node left")
    whole = ("left_children", "right_children", "parents", "split_indices", "split_type")
    real = ("split_conditions", "base_weights", "loss_changes", "sum_hessian", "default_left")
    for name in (*whole, *real):
        if len(tree[name]) != count:
            raise ValueError(f"a tree has {len(tree[name])} {name} for {count} nodes")
    left, right, parents, used, kinds = (np.asarray(tree[name], dtype=np.int64) for name in whole)
    np.asarray([tree[name] for name in real], dtype=np.float64)
    is_leaf = left == -1
    check_tree(left, right, is_leaf, used, features)
    _range(parents[1:].tolist(), count - 1, 0, count)
    inner = np.flatnonzero(~is_leaf)
    if not ((parents[left[inner]] == inner) & (parents[right[inner]] == inner)).all():
        raise ValueError("a node has another parent than the one whose child it is")
    if parents[0] not in (-1, 2**31 - 1):
        raise ValueError("the root has a parent")
    nodes, starts, sizes = (tree[f"categories_{n}"] for n in ("nodes", "segments", "sizes"))
    if not len(nodes) == len(starts) == len(sizes) == int(((kinds == 1) & ~is_leaf).sum()):
        raise ValueError("a tree's categories aren't one list a node")
    _range(nodes, len(nodes), 0, count)
    if len(set(nodes)) != len(nodes) or not (kinds[np.asarray(nodes, dtype=np.int64)] == 1).all():
        raise ValueError("a list of categories has no node of its own")
    _range(tree["categories"], len(tree["categories"]), 0, _MAX_CATEGORY)
    for start, size in zip(starts, sizes, strict=True):
        _range([start, size, start + size], 3, 0, len(tree["categories"]) + 1)


def _check_encodings(cats: Mapping[str, Any], features: int) -> None:
    """Check the categories of a frame's columns, which XGBoost keeps from 3.1 on."""
    columns = cats.get("enc", [])
    if len(columns) not in (0, features):
        raise ValueError(f"its categories aren't of {features} columns")
    counts = []
    for column in columns:
        offsets, values = column.get("offsets"), column["values"]
        if offsets:
            _ascending(offsets, len(values))
        counts.append(max(0, len(offsets) - 1) if offsets is not None else len(values))
    _range(cats.get("sorted_idx", []), sum(counts), 0, max(counts, default=0))
    if columns:
        segments = cats["feature_segments"]
        _ascending(segments, sum(counts))
        if np.diff(segments).tolist() != counts:
            raise ValueError("its categories aren't one list a column")


def _range(values: Any, count: int, low: int, end: int) -> None:
    found = np.asarray(values)
    if found.shape != (count,) or (count and found.dtype.kind not in "iu"):
        raise ValueError(f"{found.shape} numbers; expected {count} whole ones")
    if count and not low <= found.min() <= found.max() < end:
        raise ValueError(f"a number is outside {low} to {end - 1}")


def _ascending(values: Any, last: int) -> None:
    _range(values, len(values), 0, last + 1)
    if not len(values) or values[0] != 0 or values[-1] != last or (np.diff(values) < 0).any():
        raise ValueError(f"places don't ascend from 0 to {last}")


def catboost_binary(content: bytes) -> bytes:
    """Return CatBoost's binary model, as it is, if another process read and used it unharmed."""
    if not content.startswith(b"CBM1"):
        raise ValueError("it doesn't start as CatBoost's binary model does")
    words = [sys.executable, "-m", "mlops_kit.models.catboost_probe"]
    try:
        done = subprocess.run(
            words, input=content, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"a process that read it didn't end in {_PROBE_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ValueError(f"a process that read it ended with {done.returncode}: {said}")
    return content
