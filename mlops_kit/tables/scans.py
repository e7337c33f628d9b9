"""Look once at every row of a table that is too large to be held, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_kit.tables.findings import MAX_SHOWN, START, Finding, Place
from mlops_kit.tables.sketches import Copies, Distinct, column_hashes, row_hashes
from mlops_kit.tables.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table


@dataclass
class ColumnScan:
    """All values of one column: how many are missing, the least, the largest, how many differ."""

    missing: int = 0
    low: Any = None
    high: Any = None
    distinct: Distinct = field(default_factory=Distinct)


class Scan:
    """What was found in the rows so far, in a fixed amount of memory.

    Exact, but for distinct values and repeated rows where there are many: see `Distinct` and
    `Copies`.
    """

    def __init__(self, table: Table) -> None:
        """Nothing was looked at yet."""
        self.tally = Tally(table, table.columns)
        self.columns = {column.name: ColumnScan() for column in table.columns}
        self.copies = Copies()
        self._parts: list[tuple[int, Place]] = []

    def add(self, frame: pd.DataFrame, place: Place = START) -> None:
        """Look at a batch, as `read` would return it."""
        first = self.tally.rows
        if not self._parts or self._parts[-1][1].part != place.part:
            self._parts.append((first, place))
        self.tally.add(frame, place)
        hashes = column_hashes(frame)
        self.copies.add(row_hashes(hashes, len(frame)), first)
        for column, values in zip(self.tally.columns, hashes, strict=True):
            series = frame[column.name]
            known = series.notna().to_numpy(dtype=bool)
            found = self.columns[column.name]
            found.missing += len(known) - int(known.sum())
            found.distinct.add(values if known.all() else values[known])
            if known.any():
                _widen(found, series, column)

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return self.tally.rows

    @property
    def duplicates(self) -> int:
        """How many rows repeat an earlier one: exact while `copies.halvings` is 0."""
        return len(self.copies.found()) << self.copies.halvings

    def repeated(self, tolerated: float) -> list[Finding]:
        """Return the rows that repeat an earlier one, if there are any."""
        rows = self.copies.found()
        if not len(rows):
            return []
        first = tuple(self._place(int(row)) for row in rows[:MAX_SHOWN])
        words = "a copy of an earlier row"
        if self.copies.halvings:
            words += f", estimated from {self.copies.looked_at:,} rows,"
        return [Finding("duplicates", self.duplicates, words, tolerated, first)]

    def _place(self, row: int) -> str:
        """Return where a row stands, counted over all parts, in words."""
        start, place = max(
            (each for each in self._parts if each[0] <= row), key=lambda each: each[0]
        )
        return place.of(row - start)


def _widen(found: ColumnScan, series: pd.Series[Any], column: Column) -> None:
    """Take the least and the largest value of a batch, which holds some."""
    if column.kind in ("float", "int", "datetime"):
        low, high = series.min(), series.max()
        found.low = low if found.low is None else min(found.low, low)
        found.high = high if found.high is None else max(found.high, high)
