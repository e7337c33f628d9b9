"""Find what is wrong in the columns of a table: types, ranges, labels, pandera's checks.

A rule about single rows is judged on a batch of them as on all; `Finding.merged` puts two batches
together, so there is one definition for a table in memory and for one that is streamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.table import Column, Table, Value

    Mask = npt.NDArray[np.bool_]

MAX_SHOWN = 3
"""Rows that a finding shows."""

_DTYPES = {
    "float": ("float64",),
    "int": ("int64", "Int64"),
    "bool": ("bool", "boolean"),
    "datetime": ("datetime64[us]", "datetime64[ns]", "datetime64[ms]", "datetime64[s]"),
    "str": ("str", "string", "object"),
    "category": ("str", "string", "object", "category"),
}


@dataclass(frozen=True)
class Place:
    """Where the first row of a batch stands: its number in its part, and the part's name.

    The name is empty where there is one part only. Rows count from 0.
    """

    row: int = 0
    part: str = ""

    def of(self, row: int) -> str:
        """Return where a row of the batch stands, in words."""
        return f"row {self.row + row}" + (f" of {self.part!r}" if self.part else "")


START = Place()


@dataclass(frozen=True)
class Finding:
    """A way in which a rule is broken, and by how many rows.

    `words` are the whole sentence, or of a finding with rows its start: `first` shows some.
    """

    rule: str
    count: int
    words: str
    tolerated: float = 0.0
    first: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The finding as a sentence."""
        if not self.first:
            return self.words
        more = ", …" if self.count > len(self.first) else ""
        return f"{self.words} in {self.count:,} row(s): {', '.join(self.first)}{more}."

    def merged(self, later: Finding) -> Finding:
        """Return the same finding of this batch and a later one."""
        first = (*self.first, *later.first)[:MAX_SHOWN]
        return replace(self, count=self.count + later.count, first=first)


def wrong_types(frame: pd.DataFrame, table: Table) -> tuple[list[Finding], list[Column]]:
    """Return what has another type, and the columns that can be judged further."""
    found, sound = [], []
    for column in table.columns:
        if column.name not in frame.columns:
            continue
        series = frame[column.name]
        if str(series.dtype) not in _DTYPES[column.kind]:
            words = f"{column.name} is {series.dtype}, not {_DTYPES[column.kind][0]}"
            found.append(Finding("types", 1, f"{words}{_odd(column, series)}."))
        elif series.dtype == object and (odd := _odd(column, series)):
            found.append(Finding("types", 1, f"{column.name} holds what isn't text{odd}."))
        else:
            sound.append(column)
    return found, sound


def _odd(column: Column, series: pd.Series[Any]) -> str:
    """Return the first value that makes a column another type, where one does."""
    import pandas as pd

    if column.is_number:
        if series.dtype.kind in "biuf":
            return ""
        wrong = pd.to_numeric(series, errors="coerce").isna() & series.notna()
    else:
        is_text = [isinstance(each, str) for each in series]
        wrong = ~pd.Series(is_text, index=series.index) & series.notna()
    rows = np.flatnonzero(wrong.to_numpy(dtype=bool))
    return f"; row {rows[0]} is {series.iloc[rows[0]]!r:.80}" if rows.size else ""


def of_values(
    series: pd.Series[Any], column: Column, table: Table, place: Place = START
) -> list[Finding]:
    """Return what is missing, infinite, out of range or no category in one column.

    Each check has its finding, with the count 0 where nothing is wrong.
    """
    missing = series.isna().to_numpy(dtype=bool)
    found: list[Finding] = []

    def add(rule: str, words: str, broken: Mask, tolerated: float = 0.0) -> None:
        said = f"{column.name} {words}"
        found.append(of_rows(rule, said, series, broken, tolerated, place))

    add("missing", "is missing", missing, np.inf if column.nullable else 0.0)
    if column.kind in ("float", "int"):
        numbers = series.to_numpy(dtype="float64", na_value=np.nan)
        add("finite", "is infinite", np.isinf(numbers))
        if column.low is not None:
            add("ranges", f"is below {column.low:g}", numbers < column.low)
        if column.high is not None:
            add("ranges", f"is above {column.high:g}", numbers > column.high)
    if column.name == table.label:
        if table.task == "regression":
            numbers = series.to_numpy(dtype="float64", na_value=np.nan)
            add("labels", "is no finite number", ~np.isfinite(numbers))
        else:
            known = series.isin([*table.classes]).to_numpy(dtype=bool)
            add("labels", "is no class", ~known)
    elif column.categories and not column.is_number:
        known = series.isin([*column.categories]).to_numpy(dtype=bool) | missing
        tolerated = 0 if table.unseen == "refuse" else np.inf
        add("categories", "is no declared category", ~known, tolerated)
    return found


def of_later_dates(frame: pd.DataFrame, table: Table, place: Place = START) -> list[Finding]:
    """Return each feature that is a date, with its rows whose date is after the row's own time."""
    found = []
    for column in table.features:
        if column.kind == "datetime" and column.name in frame:
            late = (frame[column.name] > frame[table.time]).to_numpy(dtype=bool)
            words = f"{column.name} is later than {table.time}"
            found.append(of_rows("future", words, frame[column.name], late, place=place))
    return found


def of_rows(
    rule: str,
    words: str,
    series: pd.Series[Any],
    broken: Mask,
    tolerated: float = 0.0,
    place: Place = START,
) -> Finding:
    """Return a finding that names the first broken rows.

    Args:
        rule: the rule's name.
        words: what is wrong, as in "age is missing".
        series: the values that are shown.
        broken: which of them break the rule.
        tolerated: how many may.
        place: where the first row stands.
    """
    rows = np.flatnonzero(broken)
    first = tuple(f"{place.of(row)} ({series.iloc[row]!s:.40})" for row in rows[:MAX_SHOWN])
    return Finding(rule, len(rows), words, tolerated, first)


def of_classes(counts: Mapping[Value, int], least: int) -> list[Finding]:
    """Return the classes with too few rows."""
    few = {each: count for each, count in counts.items() if count < least}
    if not few:
        return []
    said = ", ".join(f"{count:,} rows of {each!r}" for each, count in few.items())
    said += f", not {least:,}; leave them out, or join the class with another"
    # Each of the four parts of a split needs a row.
    if (rarest := min(few.values())) >= 4:
        said += f", or call examine with class_rows={rarest}"
    return [Finding("classes", len(few), f"{said}.")]


def of_checks(frame: pd.DataFrame, table: Table) -> list[Finding]:
    """Run the checks of the table's schema that its declaration doesn't hold by itself."""
    import pandera.pandas as pa

    if table.schema is None:
        return []
    declared = {"isin", "in_range", "greater_than_or_equal_to", "less_than_or_equal_to"}
    columns = {}
    for name, column in table.schema.columns.items():
        own = [each for each in column.checks if each.name not in declared]
        if own or column.unique:
            columns[name] = pa.Column(None, own, nullable=True, unique=column.unique)
    checks, unique = table.schema.checks, table.schema.unique
    if not (columns or checks or unique):
        return []
    schema = pa.DataFrameSchema(columns, checks=checks, unique=unique)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return [_broken(frame, each) for each in errors.schema_errors]
    return []


def _broken(frame: pd.DataFrame, error: Any) -> Finding:
    """Return one of pandera's errors as a finding."""
    name = getattr(error.schema, "name", None)
    words = getattr(error.check, "name", None) or getattr(error.check, "error", None)
    passed = getattr(error, "check_output", None)
    # By row, without those that are missing.
    if name is not None and passed is not None and hasattr(passed, "index"):
        broken = np.zeros(len(frame), dtype=bool)
        broken[passed.index[~passed.to_numpy(dtype=bool)]] = True
        said = f"{name} breaks {words or 'a check'}"
        return of_rows("checks", said, frame[name], broken)
    return Finding("checks", 1, " ".join(str(error).split())[:300])
