"""Rows that a model's table allows: to try a model, and to compare two ways to its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.signature import Signature
from mlops_kit.tables.table import Column

Rows = NDArray[Any]
# Of one column; more are much like these.
_MAX_CATEGORIES = 64
_UNDECLARED = "a value that nobody declared"
_DATES = ("2020-01-01T00:00:00+00:00", "1999-12-31T23:59:59.123456", "2024-02-29")
_WORDS = ("text", "", "another text", _UNDECLARED)
_MISSING_SHARE = 0.1


def declared_rows(signature: Signature) -> tuple[Rows, list[str]]:
    """Return rows that try each thing that the table allows, and what each tries.

    A usual row; each category and bound; a missing value in each column where one may be; and all
    of these at once.
    """
    usual = [_usual(column) for column in signature.columns]
    found, told = [usual], ["a usual row"]
    for place, column in enumerate(signature.columns):
        for value in _values(column, signature):
            found.append([*usual[:place], value, *usual[place + 1 :]])
            told.append(f"a row with {value!r} in {column.name!r}")
    if any(column.nullable for column in signature.columns):
        pairs = zip(usual, signature.columns, strict=True)
        found.append([None if column.nullable else value for value, column in pairs])
        told.append("a row without any value that may be missing")
    return as_rows(found, signature), told


def as_rows(rows: list[list[Any]], signature: Signature) -> Rows:
    """Return rows as a request's become, see `inputs.rows`."""
    if signature.is_matrix:
        return np.array(rows, dtype=np.float64)
    found = np.empty((len(rows), len(signature.features)), dtype=object)
    for place, row in enumerate(rows):
        found[place] = row
    return found


def _usual(column: Column) -> Any:
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
    high = low + 20.0 if column.high is None else float(column.high)
    return low, high


def _values(column: Column, signature: Signature) -> Iterator[Any]:
    yield from column.categories[:_MAX_CATEGORIES]
    if column.kind == "bool":
        yield False
    elif column.kind in ("float", "int"):
        edges = (each for each in (column.low, column.high) if each is not None)
        yield from (int(each) if column.kind == "int" else each for each in edges)
    elif column.kind in ("str", "category") and not _is_closed(column, signature):
        yield _UNDECLARED
    if column.nullable:
        yield None


def _is_closed(column: Column, signature: Signature) -> bool:
    """Tell whether a column holds declared categories alone."""
    table = signature.table
    return bool(column.categories) and table is not None and table.unseen == "refuse"


def random_rows(
    signature: Signature,
    count: int,
    generator: np.random.Generator,
    edges: Mapping[int, NDArray[np.float64]] | None = None,
) -> Rows:
    """Return rows of any values that the table allows, a tenth of them missing where they may be.

    `edges` are a feature's numbers at which a model's answer changes, by its place: these and
    their neighbours are tried too.
    """
    columns = []
    for place, column in enumerate(signature.columns):
        if column.kind in ("float", "int"):
            values = _numbers(column, count, generator, (edges or {}).get(place))
        else:
            choices = np.array([*_choices(column, signature)], dtype=object)
            values = choices[generator.integers(len(choices), size=count)].tolist()
        if column.nullable:
            gaps = generator.random(count) < _MISSING_SHARE
            values = [None if gap else value for gap, value in zip(gaps, values, strict=True)]
        columns.append(values)
    return as_rows([list(row) for row in zip(*columns, strict=True)], signature)


def _choices(column: Column, signature: Signature) -> Iterator[Any]:
    if column.kind == "bool":
        yield from (True, False)
    elif column.kind == "datetime":
        yield from _DATES
    elif column.categories:
        yield from column.categories
        if not _is_closed(column, signature):
            yield _UNDECLARED
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
        limit = 2.0**52
        found = np.clip(np.round(found), -limit, limit)
        return [int(each) for each in found.tolist()]
    values: list[Any] = found.tolist()
    return values
