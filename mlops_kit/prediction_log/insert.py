"""Predictions are stored once, and counted as they are stored.

This runs in the server's process, beside the requests, so each batch takes few statements. They go
straight to the driver: SQLAlchemy's own work on a row takes longer than SQLite's.
"""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

from sqlalchemy import Table

from mlops_kit.errors import ObservationsError
from mlops_kit.prediction_log import schema
from mlops_kit.prediction_log.prediction import Prediction
from mlops_kit.prediction_log.sql import bucket

# Each other column is named as what it holds; in the table's order, the id first.
_VALUES = attrgetter(
    *(
        c.name
        for c in schema.predictions.columns
        if c.name not in ("key", "id", "split", "answerer")
    )
)
_NAMED = attrgetter("model", "environment", "champion", "candidate", "weight", "role")
# Rows a statement. At the end of each this thread waits for the interpreter's lock, and as long as
# it does, every request that lets go of it has to wake it: few statements, so.
_AT_ONCE = (128, 64, 32, 16, 8, 4, 2, 1)
_NEWEST = f"SELECT coalesce(max(key), 0) FROM {schema.predictions.name}"
_IDS = f"SELECT id FROM {schema.predictions.name} WHERE key > ?"


def record(
    connection: sqlite3.Connection,
    predictions: Sequence[Prediction],
    *,
    slow_ms: float,
    interval: float,
) -> int:
    """Store the predictions whose id is new, and count these alone.

    `interval` is the length of a counter's bucket in seconds. What was stored has keys above the
    one that is returned. Raises ObservationsError for a prediction that contradicts itself, and
    stores none then.
    """
    for each in predictions:
        _check(each)
    newest = int(connection.execute(_NEWEST).fetchone()[0])
    named = [_NAMED(each) for each in predictions]
    # There are few, as all name the same.
    places = {
        names: _place(connection, each)
        for names, each in dict(zip(named, predictions, strict=True)).items()
    }
    placed = [(each, places[names]) for each, names in zip(predictions, named, strict=True)]
    if _store(connection, [(each.id, *place, *_VALUES(each)) for each, place in placed]) < len(
        placed
    ):
        new = {name for (name,) in connection.execute(_IDS, (newest,))}
        first = {both[0].id: both for both in reversed(placed)}
        placed = [both for name, both in first.items() if name in new]
    _count(connection, placed, slow_ms, interval)
    return newest


def _check(each: Prediction) -> None:
    rows, scores, decisions = each.rows, len(each.scores), len(each.decisions)
    if rows >= 1 and each.outcome == "ok":
        is_whole = scores > 0 and scores % (8 * rows) == 0 and decisions in (0, rows)
    else:
        is_whole = rows >= 1 and scores == decisions == 0
    if not is_whole or not _has_features(each):
        raise ObservationsError(
            f"The prediction {each.id!r} ({each.outcome}, {each.encoding}) has {rows} rows, "
            f"{scores} bytes of scores, {decisions} of decisions and {len(each.features)} of "
            f"features; expected a multiple of {8 * rows}, 0 or {rows}, and features of each row; "
            "without an answer neither scores nor decisions. Look at what logs predictions."
        )
    if not (-math.inf < each.time < math.inf and each.latency_ms >= 0):
        raise ObservationsError(
            f"The prediction {each.id!r} has the time {each.time!r} and the latency "
            f"{each.latency_ms!r}; expected seconds since the epoch, and milliseconds. "
            "Look at what logs predictions."
        )


def _has_features(each: Prediction) -> bool:
    """Tell whether the features are those of all rows, or not kept."""
    if each.encoding == "json":
        return not each.features or len(each.features.splitlines()) == each.rows
    return len(each.features) % (8 * each.rows) == 0


def _place(connection: sqlite3.Connection, each: Prediction) -> tuple[int, int]:
    """Return the keys of a prediction's split and of its answerer."""
    split = (each.model, each.environment, each.champion, each.candidate, each.weight)
    answerer = (each.model, each.environment, each.digest)
    return _key(connection, schema.splits, split), _key(connection, schema.answerers, answerer)


def _key(connection: sqlite3.Connection, table: Table, values: tuple[Any, ...]) -> int:
    """Return the key of the row that has these values; it is made where there is none."""
    found = connection.execute(_FIND[table.name], values).fetchone()
    return int(found[0] if found else connection.execute(_MAKE[table.name], values).lastrowid or 0)


def _store(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> int:
    """Store the rows whose id is new, of one id the first, and return how many those were."""
    before = connection.total_changes
    done = 0
    for size, statement in _STORE.items():
        while len(rows) - done >= size:
            connection.execute(statement, [*chain.from_iterable(rows[done : done + size])])
            done += size
    return connection.total_changes - before


def _count(
    connection: sqlite3.Connection,
    placed: Sequence[tuple[Prediction, tuple[int, int]]],
    slow_ms: float,
    interval: float,
) -> None:
    """Add the predictions to the counters, and their rows to the tallies."""
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    tallies: dict[tuple[Any, ...], int] = defaultdict(int)
    for each, (split, answerer) in placed:
        count = counts[split, each.role, bucket(each.time, interval)]
        is_error = each.outcome == "error"
        count[0] += 1
        count[1] += is_error
        count[2] += not is_error and each.latency_ms > slow_ms
        tallies[answerer, each.outcome, bucket(each.time, schema.TALLY_SECONDS)] += each.rows
    counted = [(*of[:2], slow_ms, of[2], *count) for of, count in counts.items()]
    connection.executemany(_ADD[schema.counters.name], counted)
    tallied = [(*of, rows, 0, 0) for of, rows in tallies.items()]
    connection.executemany(_ADD[schema.tallies.name], tallied)


def _insert(table: Table, rows: int = 1) -> str:
    """Return the statement that inserts rows; the store itself gives each its key."""
    names = _names(table)
    marks = f"({', '.join('?' * len(names))})"
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([marks] * rows)}"


def _find(table: Table) -> str:
    same = " AND ".join(f"{name} = ?" for name in _names(table))
    return f"SELECT key FROM {table.name} WHERE {same}"


def _add(table: Table) -> str:
    """Return the statement that adds amounts to the row of the same primary key, or makes it."""
    amounts = [
        f"{c.name} = {c.name} + excluded.{c.name}" for c in table.columns if not c.primary_key
    ]
    same = ", ".join(column.name for column in table.primary_key)
    return f"{_insert(table)} ON CONFLICT ({same}) DO UPDATE SET {', '.join(amounts)}"


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name != "key"]


_NAMED_ONCE = (schema.splits, schema.answerers)
_FIND = {table.name: _find(table) for table in _NAMED_ONCE}
_MAKE = {table.name: _insert(table) for table in _NAMED_ONCE}
_ADD = {table.name: _add(table) for table in (schema.counters, schema.tallies)}
_STORE = {
    size: f"{_insert(schema.predictions, size)} ON CONFLICT (id) DO NOTHING" for size in _AT_ONCE
}
