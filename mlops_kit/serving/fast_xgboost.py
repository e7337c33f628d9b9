"""XGBoost's trees, read from its own JSON; what isn't known here raises ValueError."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving import fast_finishes as finishes
from mlops_kit.serving.fast_nodes import Ensemble, Finish, accepted, nodes
from mlops_kit.serving.fast_trees import Sets

_IDENTITIES = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")
_LOGARITHMS = ("count:poisson", "reg:gamma", "reg:tweedie")


def trees_of(model: Any, booster: Any) -> Ensemble:
    """Return the trees of a fitted classifier or regressor and of its booster."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    about, inner = learner["learner_model_param"], learner["gradient_booster"]
    missing = getattr(model, "missing_", getattr(model, "missing", math.nan))
    if inner["name"] != "gbtree" or about.get("num_target", "1") != "1" or missing == missing:
        raise ValueError("it isn't of plain trees with NaN for what is missing")
    groups = max(1, int(about["num_class"]))
    count = _count(_best(model, booster), inner["model"]["iteration_indptr"])
    found, of_group = inner["model"]["trees"][:count], inner["model"]["tree_info"][:count]
    # Those of one output after the other.
    order = sorted(range(len(found)), key=lambda at: of_group[at])
    if groups * of_group.count(0) != len(found):
        raise ValueError("its outputs have different numbers of trees")
    read = [_tree(found[at]) for at in order]
    sets: Sets = {
        (at, node): each for at, (_, own) in enumerate(read) for node, each in own.items()
    }
    baseline, finish = _ends(learner["objective"]["name"], groups, about["base_score"])
    return Ensemble(
        [tree for tree, _ in read],
        baseline,
        int(about["num_feature"]),
        finish,
        is_single=True,
        dtype=np.float32,
        complement=finishes.single_complement if groups == 1 else None,
        groups=groups,
        sets=sets,
        categories=_categories(inner["model"].get("cats") or {}),
    )


def _best(model: Any, booster: Any) -> int | None:
    if hasattr(model, "best_iteration_"):
        return None if model.best_iteration_ is None else int(model.best_iteration_)
    best = booster.attr("best_iteration")
    return None if best is None else int(best)


def _count(best: int | None, starts: list[int]) -> int:
    """Return how many trees count, by the first tree of each iteration."""
    return starts[-1] if best is None else starts[best + 1]


def _ends(objective: str, groups: int, base_score: str) -> tuple[Any, Finish]:
    """Return what the sums start from, and what becomes of them."""
    scores = np.ravel(json.loads(base_score)).astype(np.float32)
    if objective == "multi:softprob" and len(scores) in (1, groups):
        return np.broadcast_to(scores, groups), finishes.xgboost_softmax()
    (score,) = scores
    if objective == "binary:logistic":
        one = np.float32(1.0)
        baseline = float(np.float32(-math.log(float(one / score - one))))
        return baseline, finishes.xgboost_sigmoid()
    if objective in _IDENTITIES:
        return float(score), finishes.itself
    if objective in _LOGARITHMS:
        return finishes.single_log(float(score)), finishes.xgboost_exp()
    raise ValueError(f"no arithmetic for {objective!r}")


def _tree(tree: Mapping[str, Any]) -> tuple[NDArray[Any], dict[int, NDArray[np.bool_]]]:
    left = np.array(tree["left_children"])
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    # Less than a threshold is at most the number before it.
    before = np.nextafter(conditions, np.float32(-np.inf), dtype=np.float32)
    default_left = np.array(tree["default_left"]).astype(bool)
    value = np.where(left < 0, conditions, np.float32(0))
    made = nodes(left, tree["right_children"], tree["split_indices"], before, default_left, value)
    return made, _sets(tree)


def _sets(tree: Mapping[str, Any]) -> dict[int, NDArray[np.bool_]]:
    """Return the categories that go left at each node: all but those that it lists."""
    found = {}
    lists = (tree[f"categories_{name}"] for name in ("nodes", "segments", "sizes"))
    for node, start, size in zip(*lists, strict=True):
        listed = tree["categories"][start : start + size]
        goes_left = np.ones(max(listed, default=-1) + 1, dtype=bool)
        goes_left[listed] = False
        found[int(node)] = accepted(goes_left, others_left=True)
    return found


def _categories(cats: Mapping[str, Any]) -> dict[int, None]:
    """Return the places of a frame's columns of text, whose codes are as declared.

    Names that aren't ASCII stand cut in XGBoost's file, so they tell no codes.
    """
    columns = enumerate(cats.get("enc", []))
    return {place: None for place, column in columns if column.get("offsets")}
