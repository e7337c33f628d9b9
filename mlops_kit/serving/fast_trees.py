"""Which leaf of every tree a row falls into, and the leaves' sum: two ways, in numpy alone.

Both add the leaves in the order of the trees, one after the other, so that the sum rounds as the
library's does. Trees are arrays of nodes, with the fields of NODE, as HistGradientBoosting keeps
them. These are private there: the caller compares the results before it uses them.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A row goes left where its feature is at most the threshold, or missing and that goes left. `left`
# and `right` are places in the tree, whose first node is the root.
NODE = np.dtype(
    [
        ("value", "f8"),
        ("feature_idx", "i8"),
        ("num_threshold", "f8"),
        ("missing_go_to_left", "?"),
        ("left", "i8"),
        ("right", "i8"),
        ("depth", "i8"),
        ("is_leaf", "?"),
    ]
)
# Masks have one bit a leaf; numpy's widest integer has 64.
MAX_LEAVES = 64
# Bytes that one model's masks may take.
_MAX_MASK_BYTES = 64 * 2**20
# Rows at a time: what is worked on stays in the processor's cache.
_CHUNK = 256


class QuickScorer:
    """The sum of the leaves by masks: one table row for each interval of a feature's thresholds.

    A bit stands for a leaf, from left to right. A node whose test fails rules out the leaves on
    its left; the tests that fail for a value of a feature are those of all smaller thresholds, so
    the masks of a feature's nodes can be joined beforehand. A row's leaf is the lowest bit that
    all features leave. Source: C. Lucchese and others, QuickScorer, SIGIR 2015, there tree by
    tree and node by node. Raises ValueError for trees that are too large for it.
    """

    def __init__(
        self, trees: list[Any], baseline: float, features: int, dtype: Any = np.float64
    ) -> None:
        """Join the masks; `baseline` is added before the leaves, `dtype` is the sum's."""
        leaves = [_leaves(nodes) for nodes in trees]
        most = max(len(each) for each in leaves)
        if most > MAX_LEAVES:
            raise ValueError(f"a tree has {most} leaves; expected at most {MAX_LEAVES}")
        width = next(bits for bits in (8, 16, 32, 64) if bits >= most)
        self._dtype = np.dtype(f"u{width // 8}")
        # The place of a leaf's value, if the first of a tree is counted as one.
        self._starts = np.arange(len(trees)) * width - 1
        values = np.zeros((len(trees), width), dtype=dtype)
        splits: list[list[_Split]] = [[] for _ in range(features)]
        for tree, (nodes, order) in enumerate(zip(trees, leaves, strict=True)):
            values[tree, : len(order)] = nodes["value"][order]
            _collect(nodes, order, tree, splits)
        # The sum begins with the baseline and the first tree's leaf.
        values[0] += values.dtype.type(baseline)
        self._values = values.ravel()
        self._join(splits, len(trees), int(np.iinfo(self._dtype).max))

    def _join(self, splits: list[list[_Split]], trees: int, full: int) -> None:
        edges = [sorted({split[0] for split in each} | {np.inf}) for each in splits]
        lengths = [len(each) + 1 for each in edges]
        if sum(lengths) * trees * self._dtype.itemsize > _MAX_MASK_BYTES:
            raise ValueError("the masks take too much memory")
        self._table = np.full((sum(lengths), trees), full, dtype=self._dtype)
        self._offsets = [0, *np.cumsum(lengths).tolist()]
        self._used = [column for column, each in enumerate(splits) if each]
        self._edges = [np.array(each) for each in edges]
        for column in self._used:
            rows = self._table[self._offsets[column] : self._offsets[column + 1]]
            for threshold, tree, left, missing_left in splits[column]:
                kept = self._dtype.type(full ^ left)
                # The last row is for a missing value, the one before for what is above all.
                rows[edges[column].index(threshold) + 1 : -1, tree] &= kept
                if not missing_left:
                    rows[-1, tree] &= kept
        self._single = [
            (column, edges[column], self._offsets[column], self._offsets[column + 1] - 1)
            for column in self._used
        ]

    def sums(self, rows: Floats) -> Floats:
        """Return the baseline and the leaves of each row, added up; shape (n,)."""
        if len(rows) == 1:
            leaves = self._leaves(self._of_one(rows[0]))
            # This adds from left to right; sum would add in pairs, and round otherwise.
            return np.add.accumulate(leaves)[-1:]
        parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        found = [self._leaves(self._of_many(part)) for part in parts]
        return np.concatenate([np.add.accumulate(each, axis=1)[:, -1] for each in found])

    def _of_one(self, row: Floats) -> NDArray[Any]:
        values = row.tolist()
        # A value that differs from itself is missing.
        chosen = [
            offset + bisect_left(edges, value) if (value := values[column]) == value else missing
            for column, edges, offset, missing in self._single
        ]
        joined: NDArray[Any] = np.bitwise_and.reduce(self._table.take(chosen, axis=0), axis=0)
        return joined

    def _of_many(self, rows: Floats) -> NDArray[Any]:
        shape = (len(rows), len(self._starts))
        joined: NDArray[Any] = np.full(shape, np.iinfo(self._dtype).max, dtype=self._dtype)
        for column in self._used:
            # searchsorted puts NaN behind infinity, which is the last edge.
            place = self._edges[column].searchsorted(rows[:, column]) + self._offsets[column]
            np.bitwise_and(joined, self._table.take(place, axis=0), out=joined)
        return joined

    def _leaves(self, joined: NDArray[Any]) -> NDArray[Any]:
        # The lowest bit and all below it are as many as its place, counted from one.
        place = np.bitwise_count(joined ^ (joined - 1))
        found: NDArray[Any] = self._values.take(place + self._starts)
        return found


class LevelWalk:
    """The sum of the leaves by one step down all trees at once, for trees of any size."""

    def __init__(self, trees: list[Any], baseline: float, dtype: Any = np.float64) -> None:
        """Lay all nodes into one array; a leaf's children are itself. `dtype` is the sum's."""
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
        self._baseline = self._values.dtype.type(baseline)

    def sums(self, rows: Floats) -> Floats:
        """Return the baseline and the leaves of each row, added up; shape (n,)."""
        missing = np.isnan(rows)
        has_missing = bool(missing.any())
        number = np.arange(len(rows))[:, np.newaxis]
        place = np.broadcast_to(self._roots, (len(rows), len(self._roots)))
        for _ in range(self._depth):
            feature = self._feature[place]
            left = rows[number, feature] <= self._threshold[place]
            if has_missing:
                left |= missing[number, feature] & self._missing_left[place]
            place = self._children[2 * place + left]
        leaves = self._values[place]
        leaves[:, 0] += self._baseline
        total: Floats = np.add.accumulate(leaves, axis=1)[:, -1]
        return total


# A threshold, the tree, the bits of the leaves on the left, and whether a missing value goes there.
_Split = tuple[float, int, int, bool]


def _leaves(nodes: Any) -> list[int]:
    """Return the indices of a tree's leaves from left to right."""
    found, waiting = [], [0]
    while waiting:
        index = waiting.pop()
        if nodes[index]["is_leaf"]:
            found.append(index)
        else:
            waiting += [int(nodes[index]["right"]), int(nodes[index]["left"])]
    return found


def _collect(nodes: Any, leaves: list[int], tree: int, splits: list[list[_Split]]) -> None:
    """Add a tree's splits to those of their features."""
    below = {index: 1 << bit for bit, index in enumerate(leaves)}
    # Children are joined before their parent.
    for index in sorted(range(len(nodes)), key=lambda index: -int(nodes[index]["depth"])):
        node = nodes[index]
        if not node["is_leaf"]:
            left, right = below[int(node["left"])], below[int(node["right"])]
            below[index] = left | right
            split = (float(node["num_threshold"]), tree, left, bool(node["missing_go_to_left"]))
            splits[int(node["feature_idx"])].append(split)
