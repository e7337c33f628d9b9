"""Say what the rows of a table must hold before a model may learn from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops_kit.errors import DataError
from mlops_kit.tables import leaks

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

    Mask = npt.NDArray[np.bool_]

MIN_ROWS, MIN_CLASS_ROWS = 100, 10
TOLERATED_DUPLICATES = 0.01
"""Share of rows that may repeat another."""

_MAX_SHOWN = 3
_RULES = ("columns", "types", "missing", "finite", "ranges", "categories", "labels", "classes")
_ORDER = (*_RULES, "rows", "times", "duplicates", "leak", "future", "checks")
_DTYPES = {
    "float": ("float64",),
    "int": ("int64", "Int64"),
    "bool": ("bool", "boolean"),
    "datetime": ("datetime64[us]", "datetime64[ns]", "datetime64[ms]", "datetime64[s]"),
    "str": ("str", "string", "object"),
    "category": ("str", "string", "object", "category"),
}

Status = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True)
class Rule:
    """One rule of the contract, and how many rows (or columns, for a leak) break it."""

    name: str
    expected: str
    status: Status
    count: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """What was found in the rows of a table, rule by rule."""

    rows: int
    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule was judged and holds."""
        return all(rule.status == "pass" for rule in self.rules)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each way in which a rule is broken, with the first rows."""
        broken = [rule for rule in self.rules if rule.status != "pass"]
        unknown = ("not judged, because another rule is broken.",)
        return tuple(f"{rule.name}: {said}" for rule in broken for said in rule.reasons or unknown)

    def raise_if_failed(self) -> None:
        """Raise DataError with all the reasons, unless every rule holds."""
        if not self.passed:
            broken = [rule.name for rule in self.rules if rule.status != "pass"]
            raise DataError(
                f"The data break the contract in {broken} ({self.rows:,} rows, counted from 0); "
                "expected what the table's declaration says.",
                reasons=self.reasons,
            )

    def _repr_markdown_(self) -> str:
        lines = ["| rule | expected | result | found |", "|---|---|---|---:|"]
        for rule in self.rules:
            result = {"pass": "pass", "fail": "**fail**"}.get(rule.status, rule.status)
            lines.append(f"| {rule.name} | {rule.expected} | {result} | {rule.count:,} |")
        # Indented, so that a value from the data is shown and never rendered.
        details = [f"    {' '.join(reason.split())}" for reason in self.reasons]
        return "\n".join([*lines, "", *details]) + "\n"


@dataclass(frozen=True)
class _Finding:
    """A way in which a rule is broken, and by how much."""

    rule: str
    count: int
    said: str
    tolerated: float = 0.0


def examine(
    frame: pd.DataFrame,
    table: Table,
    *,
    duplicates: float = TOLERATED_DUPLICATES,
    rows: int = MIN_ROWS,
    class_rows: int = MIN_CLASS_ROWS,
    known_ahead: Sequence[str] = (),
) -> Contract:
    """Return what holds of the frame, and what doesn't.

    Args:
        frame: the rows, as `read` returns them.
        table: what they have to be; the checks of its pandera schema are run as they are.
        duplicates: the tolerated share of rows that repeat another.
        rows: how many rows it takes at least.
        class_rows: how many of each class.
        known_ahead: dates that may lie after a row's own time, as the end of a contract.
    """
    expected = _expected(table, duplicates, rows, class_rows)
    names = _names(frame, table)
    # Row numbers, whatever the index is.
    frame = frame.loc[:, ~frame.columns.duplicated()].reset_index(drop=True)
    types, sound = _types(frame, table)
    found = [*names, *types]
    for column in sound:
        found += _values(frame[column.name], column, table)
    unjudged = set() if len(sound) == len(table.columns) else {"checks"}
    if any(column.name == table.label for column in sound):
        found += _classes(frame, table, class_rows)
    else:
        unjudged |= {"labels", "classes"}
    if len(frame) < rows:
        found.append(_Finding("rows", 1, f"{len(frame):,} rows, not {rows:,}."))
    found += _whole(frame, table, sound, duplicates, known_ahead)
    if unjudged or any(each.rule in ("labels", "classes") for each in found):
        unjudged.add("leak")
    else:
        found += [_Finding("leak", 1, f"{leak.said}.") for leak in leaks.told(frame, table)]
    found += [] if "checks" in unjudged else _checks(frame, table)
    return Contract(len(frame), tuple(_rules(expected, found, unjudged)))


def check(frame: pd.DataFrame, table: Table, **bounds: Any) -> pd.DataFrame:
    """Return the frame if it keeps the contract; raise DataError with all reasons if not."""
    examine(frame, table, **bounds).raise_if_failed()
    return frame


def _expected(table: Table, duplicates: float, rows: int, class_rows: int) -> dict[str, str]:
    """Return each rule's name with what it expects."""
    is_number = table.task == "regression"
    return {
        "columns": "the declared columns, nothing else",
        "types": "the declared types",
        "missing": "no missing value where the declaration allows none",
        "finite": "no infinite number",
        "ranges": "each value within its column's range",
        "categories": "the declared categories"
        + ("" if table.unseen == "refuse" else "; others are counted, and pass"),
        "labels": "a finite number" if is_number else f"one of {list(table.classes)[:5]}",
        "classes": "two labels or more" if is_number else f"at least {class_rows} rows of each",
        "rows": f"at least {rows:,} rows",
        "times": f"{table.time} never decreasing" if table.time else "no time declared",
        "duplicates": f"at most {duplicates:.2%} of the rows repeat another",
        "leak": f"no column alone tells the label (up to {leaks.MAX_TOLD})",
        "future": "no date after the row's own time",
        "checks": "what else the schema checks",
    }


def _rules(
    expected: dict[str, str], found: Iterable[_Finding], unjudged: set[str]
) -> Iterable[Rule]:
    """Yield the rules in order, with the findings of each."""
    found = list(found)
    for name in _ORDER:
        mine = [each for each in found if each.rule == name]
        count = sum(each.count for each in mine)
        broken = [each for each in mine if each.count > each.tolerated]
        status: Status = "fail" if broken else "pass"
        if name in unjudged and not broken:
            status = "not judged"
        yield Rule(name, expected[name], status, count, tuple(each.said for each in broken))


def _names(frame: pd.DataFrame, table: Table) -> list[_Finding]:
    declared = [column.name for column in table.columns]
    twice = [str(name) for name in frame.columns[frame.columns.duplicated()]]
    said = [f"{name!r} stands there twice." for name in twice]
    said += [f"{name!r} is missing." for name in declared if name not in frame.columns]
    said += [f"{name!r:.80} is not declared." for name in frame.columns if name not in declared]
    return [_Finding("columns", 1, each) for each in said]


def _types(frame: pd.DataFrame, table: Table) -> tuple[list[_Finding], list[Column]]:
    """Return what has another type, and the columns that can be judged further."""
    found, sound = [], []
    for column in table.columns:
        if column.name not in frame.columns:
            continue
        series = frame[column.name]
        if str(series.dtype) not in _DTYPES[column.kind]:
            words = f"{column.name} is {series.dtype}, not {_DTYPES[column.kind][0]}"
            found.append(_Finding("types", 1, f"{words}{_odd(column, series)}."))
        elif series.dtype == object and (odd := _odd(column, series)):
            found.append(_Finding("types", 1, f"{column.name} holds what isn't text{odd}."))
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


def _values(series: pd.Series[Any], column: Column, table: Table) -> list[_Finding]:
    """Return what is missing, infinite, out of range or no category in one column."""
    missing = series.isna().to_numpy(dtype=bool)
    found = []
    if not column.nullable:
        found.append(_rows("missing", column.name, "is missing", series, missing))
    if column.kind in ("float", "int"):
        numbers = series.to_numpy(dtype="float64", na_value=np.nan)
        found.append(_rows("finite", column.name, "is infinite", series, np.isinf(numbers)))
        if column.low is not None:
            words = f"is below {column.low:g}"
            found.append(_rows("ranges", column.name, words, series, numbers < column.low))
        if column.high is not None:
            words = f"is above {column.high:g}"
            found.append(_rows("ranges", column.name, words, series, numbers > column.high))
    if column.categories and column.name != table.label and not column.is_number:
        known = series.isin([*column.categories]).to_numpy(dtype=bool) | missing
        tolerated = 0 if table.unseen == "refuse" else len(series)
        words = "is no declared category"
        found.append(_rows("categories", column.name, words, series, ~known, tolerated))
    return [each for each in found if each.count]


def _rows(
    rule: str,
    column: str,
    words: str,
    series: pd.Series[Any],
    broken: Mask,
    tolerated: float = 0.0,
) -> _Finding:
    """Return a finding with the first rows, of those that are broken."""
    rows = np.flatnonzero(broken)
    first = [f"row {row} ({series.iloc[row]!s:.40})" for row in rows[:_MAX_SHOWN]]
    more = ", …" if len(rows) > _MAX_SHOWN else ""
    said = f"{column} {words} in {len(rows):,} row(s): {', '.join(first)}{more}."
    return _Finding(rule, len(rows), said, tolerated)


def _classes(frame: pd.DataFrame, table: Table, least: int) -> list[_Finding]:
    """Return the labels that are none, and the classes with too few rows."""
    series = frame[table.label]
    if table.task == "regression":
        broken = ~np.isfinite(series.to_numpy(dtype="float64", na_value=np.nan))
        found = [_rows("labels", table.label, "is no finite number", series, broken)]
        if series.nunique() < 2:
            found.append(_Finding("classes", 1, f"{table.label} is the same in each row."))
        return [each for each in found if each.count]
    counts = {each: int((series == each).sum()) for each in table.classes}
    known = series.isin([*table.classes]).to_numpy(dtype=bool)
    found = [_rows("labels", table.label, "is no class", series, ~known)]
    few = {each: count for each, count in counts.items() if count < least}
    if few:
        said = ", ".join(f"{count:,} rows of {each!r}" for each, count in few.items())
        found.append(_Finding("classes", len(few), f"{said}."))
    return [each for each in found if each.count]


def _whole(
    frame: pd.DataFrame,
    table: Table,
    sound: Sequence[Column],
    duplicates: float,
    known_ahead: Sequence[str],
) -> list[_Finding]:
    """Return what is wrong between rows and between columns."""
    found = []
    copies = frame.duplicated().to_numpy(dtype=bool)
    key = frame[table.time or frame.columns[0]] if len(frame.columns) else None
    if copies.any() and key is not None:
        words = f"({key.name}): a copy of an earlier row"
        tolerated = duplicates * len(frame)
        found.append(_rows("duplicates", "", words.strip(), key, copies, tolerated))
    if table.time in {column.name for column in sound}:
        times = frame[table.time]
        earlier = (times < times.shift()).to_numpy(dtype=bool, na_value=False)
        if earlier.any():
            words = "is before the row above"
            found.append(_rows("times", table.time, words, times, earlier))
        late = leaks.from_later(frame, table, known_ahead)
        found += [_Finding("future", leak.rows, f"{leak.said}.") for leak in late]
    return found


def _checks(frame: pd.DataFrame, table: Table) -> list[_Finding]:
    """Run the checks of the table's schema that its declaration doesn't hold by itself."""
    import pandera.pandas as pa

    if table.schema is None:
        return []
    declared = {"isin", "in_range", "greater_than_or_equal_to", "less_than_or_equal_to"}
    columns = {
        name: pa.Column(
            None,
            [each for each in column.checks if each.name not in declared],
            nullable=True,
            unique=column.unique,
        )
        for name, column in table.schema.columns.items()
    }
    schema = pa.DataFrameSchema(columns, checks=table.schema.checks, unique=table.schema.unique)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return [_broken(frame, each) for each in errors.schema_errors]
    return []


def _broken(frame: pd.DataFrame, error: Any) -> _Finding:
    """Return one of pandera's errors as a finding."""
    name = getattr(error.schema, "name", None)
    words = getattr(error.check, "name", None) or getattr(error.check, "error", None)
    passed = getattr(error, "check_output", None)
    # By row, without those that are missing.
    if name is not None and passed is not None and hasattr(passed, "index"):
        broken = np.zeros(len(frame), dtype=bool)
        broken[passed.index[~passed.to_numpy(dtype=bool)]] = True
        return _rows("checks", name, f"breaks {words or 'a check'}", frame[name], broken)
    return _Finding("checks", 1, " ".join(str(error).split())[:300])
