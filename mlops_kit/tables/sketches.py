"""Keep little of many rows: a uniform sample, distinct values, rows that repeat another.

Each has a fixed size, and its result doesn't depend on the batches in which the rows come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    Hashes = NDArray[np.uint64]
    Rows = NDArray[np.int64]

_SPAN = 2.0**64
_MIX = np.uint64(0x9E3779B97F4A7C15)
# Rows beyond the sample's size that are held before the sample is cut to it.
_SPARE = 0.25


def column_hashes(frame: pd.DataFrame) -> list[Hashes]:
    """Return the 64-bit hashes of each column's values; every missing value has the same."""
    import pandas as pd

    # By position, as a name may stand there twice.
    columns = (frame.iloc[:, place] for place in range(frame.shape[1]))
    return [
        np.asarray(pd.util.hash_pandas_object(each, index=False), np.uint64) for each in columns
    ]


def row_hashes(columns: list[Hashes], rows: int) -> Hashes:
    """Return the 64-bit hashes of whole rows, from those of their columns."""
    found = np.zeros(rows, np.uint64)
    for each in columns:
        found ^= each
        found *= _MIX
        found ^= found >> np.uint64(29)
    return found


class Sample:
    """Rows drawn uniformly without replacement: each has a random key, and the smallest stay.

    All rows, while they are no more than `most`. The same seed and rows give the same sample.
    """

    def __init__(self, most: int, seed: int) -> None:
        """Nothing is held yet."""
        self.most = most
        self.rows = 0
        self._random = np.random.default_rng(seed)
        self._bound = np.inf
        self._held = 0
        self._keys: list[NDArray[np.float64]] = []
        self._batches: list[list[Any]] = []

    def add(self, arrays: list[Any]) -> None:
        """Take a batch, as Arrow arrays of one length."""
        count = len(arrays[0])
        self.rows += count
        keys = self._random.random(count)
        keys, arrays = _below(keys, arrays, self._bound)
        self._keys.append(keys)
        self._batches.append(arrays)
        self._held += len(keys)
        if self._held > self.most * (1 + _SPARE) + count:
            self._shrink()

    def take(self) -> list[list[Any]]:
        """Return the sampled batches, in the order of the rows, and hold nothing any more."""
        if self._held > self.most:
            self._shrink()
        found, self._batches, self._keys = self._batches, [], []
        return found

    def _shrink(self) -> None:
        """Keep as many rows as the sample has; each batch is freed once it is cut."""
        keys = np.concatenate(self._keys)
        self._bound = float(np.partition(keys, self.most - 1)[self.most - 1])
        for place, batch in enumerate(self._batches):
            self._keys[place], self._batches[place] = _below(self._keys[place], batch, self._bound)
        self._held = sum(map(len, self._keys))


def _below(
    keys: NDArray[np.float64], arrays: list[Any], bound: float
) -> tuple[NDArray[np.float64], list[Any]]:
    """Return the rows whose key is the bound at most."""
    chosen = np.flatnonzero(keys <= bound)
    if len(chosen) == len(keys):
        return keys, arrays
    return keys[chosen], [each.take(chosen) for each in arrays]


class Distinct:
    """How many distinct values there are, from the smallest of their hashes.

    Exact below `most`. Above it, the k-minimum-values estimate, whose standard error is
    1 / sqrt(most - 2), 1.6 % at 4,096 (Bar-Yossef et al. 2002; Beyer et al. 2007).
    """

    def __init__(self, most: int = 4_096) -> None:
        """Nothing is counted yet."""
        self.most = most
        self._kept: Hashes = np.zeros(0, np.uint64)

    def add(self, hashes: Hashes) -> None:
        """Count the values of a batch."""
        import pandas as pd

        if len(self._kept) == self.most:
            hashes = hashes[hashes < self._kept[-1]]
        if not len(hashes):
            return
        new = np.asarray(pd.unique(hashes), np.uint64)
        if len(new) > self.most:
            new = np.partition(new, self.most)[: self.most]
        merged = np.sort(np.concatenate([self._kept, new]))
        is_first = np.concatenate([[True], merged[1:] != merged[:-1]])
        self._kept = merged[is_first][: self.most]

    @property
    def is_exact(self) -> bool:
        """Whether the count is exact."""
        return len(self._kept) < self.most

    @property
    def count(self) -> int:
        """How many distinct values there are."""
        if self.is_exact:
            return len(self._kept)
        return round((self.most - 1) * _SPAN / max(float(self._kept[-1]), 1.0))


class Copies:
    """Rows that repeat an earlier one, among the rows whose hash falls into a part of all hashes.

    Equal rows have equal hashes, so they are all looked at or none is, and the share is unbiased.
    The part is halved each time that more than `most` rows fall into it: up to then, the count
    is exact.
    """

    def __init__(self, most: int = 1 << 20) -> None:
        """Nothing is looked at yet."""
        self.most = most
        self.halvings = 0
        self._held = 0
        self._hashes: list[Hashes] = []
        self._rows: list[Rows] = []

    def add(self, hashes: Hashes, first: int) -> None:
        """Look at a batch; `first` is the number of its first row."""
        chosen = self._chosen(hashes)
        self._hashes.append(hashes[chosen])
        self._rows.append(chosen + first)
        self._held += len(chosen)
        while self._held > self.most:
            self.halvings += 1
            held, numbers = np.concatenate(self._hashes), np.concatenate(self._rows)
            kept = self._chosen(held)
            self._hashes, self._rows = [held[kept]], [numbers[kept]]
            self._held = len(kept)

    def _chosen(self, hashes: Hashes) -> Rows:
        if not self.halvings:
            return np.arange(len(hashes))
        return np.flatnonzero(hashes >> np.uint64(64 - self.halvings) == 0)

    @property
    def looked_at(self) -> int:
        """How many rows the share is of."""
        return self._held

    def found(self) -> Rows:
        """Return the numbers of the rows that repeat an earlier one, among those looked at."""
        if not self._held:
            return np.zeros(0, np.int64)
        hashes, rows = np.concatenate(self._hashes), np.concatenate(self._rows)
        order = np.lexsort((rows, hashes))
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
        return np.sort(rows[order][again])
