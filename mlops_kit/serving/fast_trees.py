"""Which leaf of every tree a row falls into, and the leaves' sum, by masks in numpy alone.

The leaves are added in the order of the trees, one after the other, so that the sum rounds as the
library's does. Trees are arrays of nodes, with the fields of NODE, as HistGradientBoosting keeps
them. These are private there: the caller compares the results before it uses them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

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
# The categories at which a node's rows go left, by tree and node; the last entry is for others.
Sets = Mapping[tuple[int, int], NDArray[np.bool_]]
# Masks have one bit a leaf; numpy's widest integer has 64.
MAX_LEAVES = 64
# Bytes that one model's masks may take.
MAX_MASK_BYTES = 64 * 2**20
# Rows at a time: what is worked on stays in the processor's cache.
_CHUNK = 256


class QuickScorer:
    """The sum of the leaves by masks: one table row for each interval of a feature's thresholds.

    A bit stands for a leaf, from left to right. A node whose test fails rules out the leaves on
    its left; the tests that fail for a value of a feature are those of all smaller thresholds, so
    the masks of a feature's nodes can be joined beforehand. A row's leaf is the lowest bit that
    all features leave. Source: C. Lucchese and others, QuickScorer, SIGIR 2015, there tree by
    tree and node by node. Raises ValueError for trees that are too large for it.

    `table` has the masks of each interval, those of a feature from its `offsets` on; `edges` are a
    feature's thresholds, and `used` the features that have some.
    """

    def __init__(
        self,
        trees: list[Any],
        baseline: Any,
        features: int,
        dtype: Any = np.float64,
        groups: int = 1,
        sets: Sets | None = None,
    ) -> None:
        """Join the masks.

        Args:
            trees: their nodes; those of one group after the other.
            baseline: what is added before the leaves, one number or one for each group.
            features: how many a row has.
            dtype: the sum's.
            groups: how many sums there are, of equally many trees each.
            sets: the categories at which a node's rows go left.
        """
        leaves = [_leaves(nodes) for nodes in trees]
        most = max(len(each) for each in leaves)
        if most > MAX_LEAVES:
            raise ValueError(f"a tree has {most} leaves; expected at most {MAX_LEAVES}")
        width = next(bits for bits in (8, 16, 32, 64) if bits >= most)
        self._dtype = np.dtype(f"u{width // 8}")
        # The place of a leaf's value, if the first of a tree is counted as one.
        self._starts = np.arange(len(trees)) * width - 1
        values = np.zeros((len(trees), width, *trees[0]["value"].shape[1:]), dtype=dtype)
        splits: list[list[_Split]] = [[] for _ in range(features)]
        for tree, (nodes, order) in enumerate(zip(trees, leaves, strict=True)):
            values[tree, : len(order)] = nodes["value"][order]
            _collect(nodes, order, tree, splits, sets or {})
        # A sum begins with the baseline and the first tree's leaf.
        for tree, start in begins(len(trees), baseline, groups, values.dtype):
            values[tree] += start
        self._values = values.reshape(len(trees) * width, *values.shape[2:])
        self._groups = groups
        self._join(splits, len(trees), int(np.iinfo(self._dtype).max))

    def _join(self, splits: list[list[_Split]], trees: int, full: int) -> None:
        edges = [_edges(each) for each in splits]
        lengths = [len(each) + 1 for each in edges]
        if sum(lengths) * trees * self._dtype.itemsize > MAX_MASK_BYTES:
            raise ValueError("the masks take too much memory")
        self.table = np.full((sum(lengths), trees), full, dtype=self._dtype)
        self.offsets = [0, *np.cumsum(lengths).tolist()]
        self.used = [column for column, each in enumerate(splits) if each]
        self.edges = [np.array(each) for each in edges]
        for column in self.used:
            rows = self.table[self.offsets[column] : self.offsets[column + 1]]
            for split in splits[column]:
                kept = self._dtype.type(full ^ split.left)
                # The last row is for a missing value, the one before for what is above all.
                if split.accepted is None:
                    rows[edges[column].index(split.threshold) + 1 : -1, split.tree] &= kept
                else:
                    rows[:-1][_refused(split.accepted, len(rows) - 1), split.tree] &= kept
                if not split.missing_left:
                    rows[-1, split.tree] &= kept
        self._single = [
            (column, edges[column], self.offsets[column], self.offsets[column + 1] - 1)
            for column in self.used
        ]

    def sums(self, rows: Floats) -> NDArray[Any]:
        """Return the baseline and the leaves of each row, added up; shape (n,) or (n, outputs)."""
        if len(rows) == 1:
            joined = self._of_one(rows[0])
            if self._groups > 1:
                return self.sum_one(joined)
            return np.add.accumulate(self._leaves(joined))[-1:]
        parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        return np.concatenate([self.sum_many(self._of_many(part)) for part in parts])

    def sum_one(self, joined: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of one row's masks (trees,), shape (1,) or (1, outputs)."""
        leaves = self._leaves(joined)
        # This adds from left to right; sum would add in pairs, and round otherwise.
        if self._groups == 1:
            return np.add.accumulate(leaves)[-1:]
        return np.add.accumulate(leaves.reshape(1, self._groups, -1), axis=2)[:, :, -1]

    def sum_many(self, joined: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of the masks of rows (n, trees), shape (n,) or (n, outputs)."""
        leaves = self._leaves(joined)
        if self._groups == 1:
            return np.add.accumulate(leaves, axis=1)[:, -1]
        return np.add.accumulate(leaves.reshape(len(leaves), self._groups, -1), axis=2)[:, :, -1]

    def _of_one(self, row: Floats) -> NDArray[Any]:
        values = row.tolist()
        # A value that differs from itself is missing.
        chosen = [
            offset + bisect_left(edges, value) if (value := values[column]) == value else missing
            for column, edges, offset, missing in self._single
        ]
        joined: NDArray[Any] = np.bitwise_and.reduce(self.table.take(chosen, axis=0), axis=0)
        return joined

    def _of_many(self, rows: Floats) -> NDArray[Any]:
        shape = (len(rows), len(self._starts))
        joined: NDArray[Any] = np.full(shape, np.iinfo(self._dtype).max, dtype=self._dtype)
        for column in self.used:
            # searchsorted puts NaN behind infinity, which is the last edge.
            place = self.edges[column].searchsorted(rows[:, column]) + self.offsets[column]
            np.bitwise_and(joined, self.table.take(place, axis=0), out=joined)
        return joined

    def _leaves(self, joined: NDArray[Any]) -> NDArray[Any]:
        # The lowest bit and all below it are as many as its place, counted from one.
        place = np.bitwise_count(joined ^ (joined - 1))
        found: NDArray[Any] = self._values.take(place + self._starts, axis=0)
        return found


class _Split(NamedTuple):
    """A node: the bits of the leaves on its left, and which rows go there."""

    threshold: float
    tree: int
    left: int
    missing_left: bool
    accepted: NDArray[np.bool_] | None


def begins(trees: int, baseline: Any, groups: int, dtype: Any) -> list[tuple[int, Any]]:
    """Return the first tree of each group, and what is added to its leaf beforehand."""
    starts = np.broadcast_to(baseline, groups)
    return [(at * (trees // groups), dtype.type(start)) for at, start in enumerate(starts)]


def _edges(splits: list[_Split]) -> list[float]:
    """Return the thresholds of a feature; of categories, the last number cut down to each code."""
    sets = [split.accepted for split in splits if split.accepted is not None]
    if not sets:
        return sorted({split.threshold for split in splits} | {np.inf})
    if len(sets) < len(splits):
        raise ValueError("a feature is a category to some nodes, and a number to others")
    ends = np.nextafter(np.arange(1, max(map(len, sets))), 0.0)
    return [-1.0, *ends.tolist(), np.inf]


def _refused(accepted: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Return which rows go right: what is below all codes, each code, what is above them."""
    refused = np.full(rows, not accepted[-1])
    refused[1 : len(accepted)] = ~accepted[:-1]
    return refused


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


def _collect(
    nodes: Any, leaves: list[int], tree: int, splits: list[list[_Split]], sets: Sets
) -> None:
    """Add a tree's splits to those of their features."""
    below = {index: 1 << bit for bit, index in enumerate(leaves)}
    # Children are joined before their parent.
    for index in sorted(range(len(nodes)), key=lambda index: -int(nodes[index]["depth"])):
        node = nodes[index]
        if not node["is_leaf"]:
            left, right = below[int(node["left"])], below[int(node["right"])]
            below[index] = left | right
            threshold, missing = float(node["num_threshold"]), bool(node["missing_go_to_left"])
            split = _Split(threshold, tree, left, missing, sets.get((tree, index)))
            splits[int(node["feature_idx"])].append(split)
