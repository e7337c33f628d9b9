"""Count what holds of single rows: of a table in memory as one batch, of a larger one in many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_kit.tables import findings
from mlops_kit.tables.findings import START, Finding, Place

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table, Value


class Tally:
    """What was found in the rows so far; the same whatever the batches are."""

    def __init__(self, table: Table, columns: Sequence[Column]) -> None:
        """Judge these columns, which have the types of the table."""
        self.table = table
        self.columns = columns
        self.rows = 0
        self.classes: dict[Value, int] = dict.fromkeys(table.classes, 0)
        self._names = [column.name for column in columns]
        self._found: dict[tuple[str, str], Finding] = {}
        self._labels: set[float] = set()
        self._last_time: Any = None

    def add(self, frame: pd.DataFrame, place: Place = START) -> None:
        """Count the rows of a batch, whose index counts from 0."""
        self.rows += len(frame)
        for column in self.columns:
            self._keep(findings.of_values(frame[column.name], column, self.table, place))
        if self.table.label in self._names:
            self._count_labels(frame[self.table.label])
        if self.table.time in self._names:
            self._keep([self._earlier(frame[self.table.time], place)])
            self._keep(findings.of_later_dates(frame[self._names], self.table, place))

    def _keep(self, found: Sequence[Finding]) -> None:
        for each in found:
            before = self._found.get((each.rule, each.words))
            self._found[each.rule, each.words] = before.merged(each) if before else each

    def _count_labels(self, series: pd.Series[Any]) -> None:
        for each in self.classes:
            self.classes[each] += int((series == each).sum())
        if self.table.task == "regression" and len(self._labels) < 2:
            self._labels |= {*series.dropna().unique()[:2].tolist()}

    def _earlier(self, times: pd.Series[Any], place: Place) -> Finding:
        """Return the rows whose time is before that of the row above, also of another batch."""
        earlier = (times < times.shift()).to_numpy(dtype=bool, na_value=False).copy()
        if self._last_time is not None and len(times):
            earlier[0] = bool(times.iloc[0] < self._last_time)
        self._last_time = times.iloc[-1] if len(times) else self._last_time
        words = f"{times.name} is before the row above"
        return findings.of_rows("times", words, times, earlier, place=place)

    def findings(
        self,
        rows: int,
        class_rows: int,
        missing: float = 1.0,
        known_ahead: Collection[str] = (),
    ) -> list[Finding]:
        """Return what is wrong, in the order of the columns.

        Args:
            rows: how many it takes at least.
            class_rows: how many of each class.
            missing: the tolerated share of missing values in a column that may lack some.
            known_ahead: dates that may lie after a row's own time.
        """
        allowed = {("future", f"{name} is later than {self.table.time}") for name in known_ahead}
        found = [
            replace(each, tolerated=missing * self.rows) if _is_optional(each) else each
            for key, each in self._found.items()
            if each.count and key not in allowed and not (missing >= 1 and _is_optional(each))
        ]
        if self.table.label in self._names:
            found += findings.of_classes(self.classes, class_rows)
            if self.table.task == "regression" and len(self._labels) < 2:
                found.append(Finding("classes", 1, f"{self.table.label} is the same in each row."))
        if self.rows < rows:
            found.append(Finding("rows", 1, f"{self.rows:,} rows, not {rows:,}."))
        return found


def _is_optional(finding: Finding) -> bool:
    """Whether it counts the missing values of a column that may lack some."""
    return finding.rule == "missing" and finding.tolerated > 0
