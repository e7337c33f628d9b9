"""Trees behind a ColumnTransformer: a category chooses its masks at once, not column by column."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.fast_columns import Block, Columns
from mlops_kit.serving.fast_trees import MAX_MASK_BYTES, QuickScorer

# Rows up to which a row at a time is faster.
_BY_ROW = 6
# Rows at a time: what is worked on stays in the processor's cache.
_CHUNK = 256
# A number's place in the block, its thresholds, its first masks, and those of a missing value.
_Number = tuple[int, list[float], int, int]


class FusedScorer:
    """The sums of a QuickScorer on what a ColumnTransformer makes of rows.

    Of the columns of a one-hot encoder one at most is 1, so the masks of all of them are joined
    beforehand, a category each. `is_single` says that numbers are rounded to float32 first.
    Raises ValueError where the masks take too much memory.
    """

    def __init__(self, scorer: QuickScorer, columns: Columns, *, is_single: bool) -> None:
        """Join the masks of each category."""
        self._scorer, self._columns, self._is_single = scorer, columns, is_single
        tables, size = [scorer.table], len(scorer.table)
        # By block: the masks of the code 0 of each input, or its numbers.
        self._parts: list[tuple[Block, list[int], list[_Number]]] = []
        for block in columns.blocks:
            bases: list[int] = []
            for start, count in zip(block.starts, _counts(block), strict=True):
                tables.append(self._joined(start, count))
                # The masks of no category stand before those of the first.
                bases.append(size + 1)
                size += count + 1
            if size * scorer.table[0].nbytes > MAX_MASK_BYTES:
                raise ValueError("the masks take too much memory")
            self._parts.append((block, bases, [] if block.one_hot else self._numbers(block)))
        self._table = np.concatenate(tables)

    def _joined(self, start: int, count: int) -> NDArray[Any]:
        """Return the masks of no category, and of each of the categories from `start` on."""
        zeros, ones = (
            self._scorer.table[[self._row(start + at, value) for at in range(count)]]
            for value in (0.0, 1.0)
        )
        full = np.full_like(self._scorer.table[:1], np.iinfo(self._scorer.table.dtype).max)
        # All that are before a category, and all that are after it, are zero.
        before = np.bitwise_and.accumulate(np.concatenate([full, zeros]), axis=0)
        after = np.bitwise_and.accumulate(np.concatenate([full, zeros[::-1]]), axis=0)[::-1]
        return np.concatenate([before[-1:], before[:-1] & ones & after[1:]])

    def _row(self, column: int, value: float) -> int:
        place = bisect_left(self._scorer.edges[column].tolist(), value)
        return int(self._scorer.offsets[column] + place)

    def _numbers(self, block: Block) -> list[_Number]:
        offsets, found = self._scorer.offsets, []
        for at in range(block.width):
            column = block.start + at
            if column in self._scorer.used:
                edges = self._scorer.edges[column].tolist()
                found.append((at, edges, offsets[column], offsets[column + 1] - 1))
        return found

    def sums(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of rows (n, inputs), shape (n,) or (n, outputs)."""
        if len(rows) == 1:
            chosen = self._table.take(self._of_one(rows[0].tolist()), axis=0)
            return self._scorer.sum_one(np.bitwise_and.reduce(chosen, axis=0))
        if len(rows) <= _BY_ROW:
            chosen = self._table.take([self._of_one(row) for row in rows.tolist()], axis=0)
            return self._scorer.sum_many(np.bitwise_and.reduce(chosen, axis=1))
        parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        return np.concatenate([self._scorer.sum_many(self._of_many(part)) for part in parts])

    def _of_one(self, row: list[Any]) -> list[int]:
        values = self._columns.row(row)
        chosen: list[int] = []
        for block, bases, numbers in self._parts:
            found = block.one(values)
            if bases:
                chosen += [base + code for base, code in zip(bases, found, strict=True)]
                continue
            if self._is_single:
                found = _single(np.array(found)).tolist()
            # A value that differs from itself is missing.
            chosen += [
                first + bisect_left(edges, value) if (value := found[at]) == value else missing
                for at, edges, first, missing in numbers
            ]
        return chosen

    def _of_many(self, rows: NDArray[Any]) -> NDArray[Any]:
        columns, scorer = self._columns.columns(rows), self._scorer
        full = np.iinfo(scorer.table.dtype).max
        joined: NDArray[Any] = np.full((len(rows), scorer.table.shape[1]), full, scorer.table.dtype)
        for block, bases, numbers in self._parts:
            found = block.many(columns)
            places = (
                [base + codes for base, codes in zip(bases, found, strict=True)] if bases else []
            )
            for at, _, first, _ in numbers:
                values = _single(found[at]) if self._is_single else found[at]
                # searchsorted puts NaN behind infinity, which is the last edge.
                places.append(scorer.edges[block.start + at].searchsorted(values) + first)
            for place in places:
                np.bitwise_and(joined, self._table.take(place, axis=0), out=joined)
        return joined


def _counts(block: Block) -> list[int]:
    return block.one_hot.counts if block.one_hot else []


def _single(numbers: NDArray[Any]) -> NDArray[Any]:
    # What float32 doesn't hold, libraries refuse each in their own words.
    with np.errstate(over="raise"):
        return numbers.astype(np.float32)
