"""Rows that a table allows: one for each thing that may be in them, and random ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.tables.table import Column, Unseen

UNDECLARED = "a value that nobody declared"
# Of one column; more are much like these.
_MAX_CATEGORIES = 64
_DATES = ("2020-01-01T00:00:00+00:00", "1999-12-31T23:59:59.123456", "2024-02-29")
_WORDS = ("text", "", "another text", UNDECLARED)
_MISSING_SHARE = 0.1
# Whole numbers from here on are far apart as float64.
_MOST_WHOLE = 2.0**52


def declared(
    columns: Sequence[Column], unseen: Unseen, first: Sequence[Any] | None = None
) -> list[tuple[str, list[Any]]]:
    """Return what each row tries, and the row: a value a column, None where it is missing.

    `first`, or else a usual row, with each category and bound, a missing value in each column
    where one may be, and all of these at once.
    """
    usual = list(first) if first is not None else [usual_value(column) for column in columns]
    found = [] if first is not None else [("a usual row", usual)]
    for place, column in enumerate(columns):
        for value in _values(column, unseen):
            what = f"with {value!r} in" if value is not None else "without"
            row = [*usual[:place], value, *usual[place + 1 :]]
            found.append((f"a row {what} {column.name!r}", row))
    nullable = [column.name for column in columns if column.nullable]
    if nullable:
        pairs = zip(usual, columns, strict=True)
        row = [None if column.nullable else value for value, column in pairs]
        found.append((f"a row without any of {nullable}", row))
    return found


def usual_value(column: Column) -> Any:
    """Return a value that a column allows, not at its edge."""
    if column.categories:
        return column.categories[0]
    if column.kind == "datetime":
        return _DATES[0]
    if not column.is_number:
        return _WORDS[0]
    if column.kind == "bool":
        return True
    low, high = bounds(column)
    middle = (low + high) / 2 + (0.25 if column.low is None and column.high is None else 0)
    return round(middle) if column.kind == "int" else middle


def bounds(column: Column) -> tuple[float, float]:
    """Return the least and the greatest value to try in a column of numbers."""
    low = -10.0 if column.low is None and column.high is None else column.low
    low = column.high - 20.0 if low is None and column.high is not None else low
    low = -10.0 if low is None else float(low)
    return low, float(column.high) if column.high is not None else low + 20.0


def _values(column: Column, unseen: Unseen) -> Iterator[Any]:
    yield from column.categories[:_MAX_CATEGORIES]
    if column.kind == "bool":
        yield False
    elif column.kind in ("float", "int"):
        edges = (each for each in (column.low, column.high) if each is not None)
        yield from (int(each) if column.kind == "int" else each for each in edges)
    elif column.kind in ("str", "category") and not _is_closed(column, unseen):
        yield UNDECLARED
    if column.nullable:
        yield None


def _is_closed(column: Column, unseen: Unseen) -> bool:
    """Tell whether a column holds declared categories alone."""
    return bool(column.categories) and unseen == "refuse"


def random_rows(
    columns: Sequence[Column],
    unseen: Unseen,
    count: int,
    generator: np.random.Generator,
    edges: Mapping[int, NDArray[np.float64]] | None = None,
) -> list[list[Any]]:
    """Return rows of any values that the columns allow, a tenth of them missing where they may be.

    Args:
        columns: what each value may be.
        unseen: what happens to a category that isn't declared; "refuse" lets none be tried.
        count: how many rows.
        generator: where the randomness comes from.
        edges: a column's numbers at which a model's answer changes, by its place: these and their
            neighbours are tried too.
    """
    found = []
    for place, column in enumerate(columns):
        if column.kind in ("float", "int"):
            values = _numbers(column, count, generator, (edges or {}).get(place))
        else:
            choices = np.array([*_choices(column, unseen)], dtype=object)
            values = choices[generator.integers(len(choices), size=count)].tolist()
        if column.nullable:
            gaps = generator.random(count) < _MISSING_SHARE
            values = [None if gap else value for gap, value in zip(gaps, values, strict=True)]
        found.append(values)
    return [list(row) for row in zip(*found, strict=True)]


def _choices(column: Column, unseen: Unseen) -> Iterator[Any]:
    if column.kind == "bool":
        yield from (True, False)
    elif column.kind == "datetime":
        yield from _DATES
    elif column.categories:
        yield from column.categories
        if not _is_closed(column, unseen):
            yield UNDECLARED
    else:
        yield from _WORDS


def _numbers(
    column: Column,
    count: int,
    generator: np.random.Generator,
    edges: NDArray[np.float64] | None,
) -> list[Any]:
    low, high = bounds(column)
    found = generator.uniform(low, high, count)
    if column.low is None and column.high is None:
        found = generator.normal(scale=10.0, size=count)
        found[:2] = (0.0, 1e6)
    if edges is not None and len(edges):
        taken = generator.choice(edges, count)
        beside = np.nextafter(taken, generator.choice([-np.inf, np.inf], count))
        kind = generator.integers(3, size=count)
        found = np.select([kind == 0, kind == 1], [taken, beside], found)
    found = np.nan_to_num(found)
    if column.kind == "int":
        found = np.clip(np.round(found), -_MOST_WHOLE, _MOST_WHOLE)
        return [int(each) for each in found.tolist()]
    values: list[Any] = found.tolist()
    return values
