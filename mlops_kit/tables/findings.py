"""Find what is wrong in the columns of a table: types, ranges, labels, pandera's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

    Mask = npt.NDArray[np.bool_]

_MAX_SHOWN = 3
_DTYPES = {
    "float": ("float64",),
    "int": ("int64", "Int64"),
    "bool": ("bool", "boolean"),
    "datetime": ("datetime64[us]", "datetime64[ns]", "datetime64[ms]", "datetime64[s]"),
    "str": ("str", "string", "object"),
    "category": ("str", "string", "object", "category"),
}


@dataclass(frozen=True)
class Finding:
    """A way in which a rule is broken, and by how much."""

    rule: str
    count: int
    said: str
    tolerated: float = 0.0


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
    series: pd.Series[Any], column: Column, table: Table, tolerated_missing: float = 1.0
) -> list[Finding]:
    """Return what is missing, infinite, out of range or no category in one column.

    `tolerated_missing` is the share of values that a nullable column may lack.
    """
    missing = series.isna().to_numpy(dtype=bool)
    allowed = tolerated_missing * len(series) if column.nullable else 0.0
    found = []
    if missing.sum() > allowed:
        found.append(of_rows("missing", column.name, "is missing", series, missing))
    if column.kind in ("float", "int"):
        numbers = series.to_numpy(dtype="float64", na_value=np.nan)
        found.append(of_rows("finite", column.name, "is infinite", series, np.isinf(numbers)))
        if column.low is not None:
            words = f"is below {column.low:g}"
            found.append(of_rows("ranges", column.name, words, series, numbers < column.low))
        if column.high is not None:
            words = f"is above {column.high:g}"
            found.append(of_rows("ranges", column.name, words, series, numbers > column.high))
    if column.categories and column.name != table.label and not column.is_number:
        known = series.isin([*column.categories]).to_numpy(dtype=bool) | missing
        tolerated = 0 if table.unseen == "refuse" else len(series)
        words = "is no declared category"
        found.append(of_rows("categories", column.name, words, series, ~known, tolerated))
    return [each for each in found if each.count]


def of_rows(
    rule: str,
    column: str,
    words: str,
    series: pd.Series[Any],
    broken: Mask,
    tolerated: float = 0.0,
) -> Finding:
    """Return a finding with the first rows, of those that are broken."""
    rows = np.flatnonzero(broken)
    first = [f"row {row} ({series.iloc[row]!s:.40})" for row in rows[:_MAX_SHOWN]]
    more = ", …" if len(rows) > _MAX_SHOWN else ""
    said = f"{column} {words} in {len(rows):,} row(s): {', '.join(first)}{more}."
    return Finding(rule, len(rows), said, tolerated)


def of_classes(frame: pd.DataFrame, table: Table, least: int) -> list[Finding]:
    """Return the labels that are none, and the classes with too few rows."""
    series = frame[table.label]
    if table.task == "regression":
        broken = ~np.isfinite(series.to_numpy(dtype="float64", na_value=np.nan))
        found = [of_rows("labels", table.label, "is no finite number", series, broken)]
        if series.nunique() < 2:
            found.append(Finding("classes", 1, f"{table.label} is the same in each row."))
        return [each for each in found if each.count]
    counts = {each: int((series == each).sum()) for each in table.classes}
    known = series.isin([*table.classes]).to_numpy(dtype=bool)
    found = [of_rows("labels", table.label, "is no class", series, ~known)]
    few = {each: count for each, count in counts.items() if count < least}
    if few:
        said = ", ".join(f"{count:,} rows of {each!r}" for each, count in few.items())
        found.append(Finding("classes", len(few), f"{said}, not {least:,}."))
    return [each for each in found if each.count]


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
        return of_rows("checks", name, f"breaks {words or 'a check'}", frame[name], broken)
    return Finding("checks", 1, " ".join(str(error).split())[:300])
