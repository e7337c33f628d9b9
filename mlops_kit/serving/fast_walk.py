"""The leaves' sum of trees of any size, by one step down all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.fast_trees import Floats, Sets, begins


class LevelWalk:
    """The sum of the leaves by one step down all trees at once, for trees of any size."""

    def __init__(
        self,
        trees: list[Any],
        baseline: Any,
        dtype: Any = np.float64,
        groups: int = 1,
        sets: Sets | None = None,
    ) -> None:
        """Lay all nodes into one array, in which a leaf's children are itself.

        Args:
            trees: their nodes; those of one group after the other.
            baseline: what is added before the leaves, one number or one for each group.
            dtype: the sum's.
            groups: how many sums there are, of equally many trees each.
            sets: the categories at which a node's rows go left.
        """
        sizes = [len(nodes) for nodes in trees]
        self._roots = np.cumsum([0, *sizes[:-1]])
        nodes = np.concatenate(trees)
        shift = np.repeat(self._roots, sizes)
        itself, is_leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
        self._children = np.empty(2 * len(nodes), dtype=np.intp)
        self._children[0::2] = np.where(is_leaf, itself, nodes["right"] + shift)
        self._children[1::2] = np.where(is_leaf, itself, nodes["left"] + shift)
        self._feature = np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.intp)
        self._threshold = np.where(is_leaf, 0.0, nodes["num_threshold"])
        self._missing_left = nodes["missing_go_to_left"].astype(bool)
        self._values = nodes["value"].astype(dtype)
        self._depth = max(int(each["depth"].max()) for each in trees)
        self._begins = begins(len(trees), baseline, groups, self._values.dtype)
        # Which set of categories a node has, the last one for none; codes that none has come last.
        most, count = max((len(each) for each in (sets or {}).values()), default=0), len(sets or {})
        self._set, self._accepted = np.full(len(nodes), count), np.zeros((count, most), np.bool_)
        for number, ((tree, node), each) in enumerate((sets or {}).items()):
            self._set[self._roots[tree] + node] = number
            self._accepted[number] = each[-1]
            self._accepted[number, : len(each) - 1] = each[:-1]
        self._groups = groups

    def sums(self, rows: Floats) -> NDArray[Any]:
        """Return the baseline and the leaves of each row, added up; shape (n,) or (n, outputs)."""
        missing = np.isnan(rows)
        has_missing = bool(missing.any())
        number = np.arange(len(rows))[:, np.newaxis]
        place = np.broadcast_to(self._roots, (len(rows), len(self._roots)))
        for _ in range(self._depth):
            feature = self._feature[place]
            left = rows[number, feature] <= self._threshold[place]
            if len(self._accepted):
                self._by_category(left, rows[number, feature], place)
            if has_missing:
                left |= missing[number, feature] & self._missing_left[place]
            place = self._children[2 * place + left]
        leaves = self._values[place]
        for tree, start in self._begins:
            leaves[:, tree] += start
        if self._groups == 1:
            return np.add.accumulate(leaves, axis=1)[:, -1]
        return np.add.accumulate(leaves.reshape(len(rows), self._groups, -1), axis=2)[:, :, -1]

    def _by_category(self, left: NDArray[Any], values: Floats, place: NDArray[Any]) -> None:
        """Say for the nodes with categories which rows go left, none that is missing."""
        at = self._set[place]
        which = at < len(self._accepted)
        values, last = values[which], self._accepted.shape[1] - 1
        is_code = (values > -1) & (values < last)
        codes = np.where(is_code, values, last).astype(np.intp)
        left[which] = self._accepted[at[which], codes] & ~np.isnan(values)
