"""Predictions are stored once, and counted as they are stored."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Table, select

from mlops_kit.errors import ObservationsError
from mlops_kit.rollouts import schema
from mlops_kit.rollouts.prediction import Prediction
from mlops_kit.rollouts.statements import add_up, bucket, chunks, key

# The keys of a prediction's split and of its answerer.
_Place = tuple[int, int]
_PLACE = ("split", "answerer")
_COLUMNS = [c.name for c in schema.predictions.columns if c.name not in ("key", *_PLACE)]
# Each other column is named as what it holds.
_VALUES = attrgetter(*_COLUMNS)
_NAMES = ", ".join(f'"{name}"' for name in (*_PLACE, *_COLUMNS))
_MARKS = ", ".join("?" * (len(_PLACE) + len(_COLUMNS)))
_INSERT = f"INSERT INTO {schema.predictions.name} ({_NAMES}) VALUES ({_MARKS})"


def record(
    connection: Connection, predictions: Sequence[Prediction], *, slow_ms: float, interval: float
) -> list[str]:
    """Store the predictions whose id is new, count these alone, and return their ids.

    `interval` is the length of a counter's bucket in seconds. Raises ObservationsError for a
    prediction that contradicts itself, and stores none then.
    """
    fresh = _fresh(connection, predictions)
    if not fresh:
        return []
    for each in fresh:
        _check(each)
    splits = _keys(connection, schema.splits, fresh, _split)
    answerers = _keys(connection, schema.answerers, fresh, _answerer)
    placed = [(each, (splits[_split(each)], answerers[_answerer(each)])) for each in fresh]
    _store(connection, placed)
    _count(connection, placed, slow_ms, interval)
    _tally(connection, placed)
    return [each.id for each in fresh]


def _fresh(connection: Connection, predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return those whose id isn't stored yet, the first of each id, in their order."""
    given: dict[str, Prediction] = {}
    for each in predictions:
        given.setdefault(each.id, each)
    column = schema.predictions.c.id
    for chunk in chunks(list(given)):
        for stored in connection.scalars(select(column).where(column.in_(chunk))).all():
            del given[stored]
    return list(given.values())


def _check(prediction: Prediction) -> None:
    rows = prediction.rows
    scores, decisions = (8 * rows, rows) if prediction.outcome == "ok" else (0, 0)
    sizes = (len(prediction.scores), len(prediction.decisions))
    if rows < 1 or sizes != (scores, decisions) or len(prediction.features) % (8 * rows):
        raise ObservationsError(
            f"The prediction {prediction.id!r} has {rows} rows, {sizes[0]} bytes of scores, "
            f"{sizes[1]} of decisions and {len(prediction.features)} of features; expected "
            f"{scores}, {decisions} and a multiple of {8 * rows}. Look at what logs predictions."
        )
    if not (math.isfinite(prediction.time) and prediction.latency_ms >= 0):
        raise ObservationsError(
            f"The prediction {prediction.id!r} has the time {prediction.time!r} and the latency "
            f"{prediction.latency_ms!r}; expected seconds since the epoch, and milliseconds. "
            "Look at what logs predictions."
        )


def _split(each: Prediction) -> tuple[Any, ...]:
    return (each.model, each.environment, each.champion, each.candidate, each.weight)


def _answerer(each: Prediction) -> tuple[Any, ...]:
    return (each.model, each.environment, each.digest)


def _keys(
    connection: Connection,
    table: Table,
    predictions: Iterable[Prediction],
    of: Callable[[Prediction], tuple[Any, ...]],
) -> dict[tuple[Any, ...], int]:
    """Return the keys of what these predictions name; there are few, as all name the same."""
    named = dict.fromkeys(of(each) for each in predictions)
    return {values: key(connection, table, values) for values in named}


def _store(connection: Connection, placed: Sequence[tuple[Prediction, _Place]]) -> None:
    # Straight to the driver: this runs in the server's process for each request, and SQLAlchemy's
    # own work on a row takes longer than SQLite's.
    rows = [(*place, *_VALUES(each)) for each, place in placed]
    connection.exec_driver_sql(_INSERT, rows)


def _count(
    connection: Connection,
    placed: Sequence[tuple[Prediction, _Place]],
    slow_ms: float,
    interval: float,
) -> None:
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for each, (split, _) in placed:
        count = counts[split, each.role, slow_ms, bucket(each.time, interval)]
        is_error = each.outcome == "error"
        count[0] += 1
        count[1] += is_error
        count[2] += not is_error and each.latency_ms > slow_ms
    names = ("split", "role", "slow_ms", "bucket", "requests", "errors", "slow")
    rows = [dict(zip(names, (*of, *count), strict=True)) for of, count in counts.items()]
    add_up(connection, schema.counters, rows)


def _tally(connection: Connection, placed: Sequence[tuple[Prediction, _Place]]) -> None:
    tallies: dict[tuple[Any, ...], int] = defaultdict(int)
    for each, (_, answerer) in placed:
        tallies[answerer, each.outcome, bucket(each.time, schema.TALLY)] += each.rows
    names = ("answerer", "outcome", "bucket", "rows", "labelled", "conflicts")
    rows = [dict(zip(names, (*of, added, 0, 0), strict=True)) for of, added in tallies.items()]
    add_up(connection, schema.tallies, rows)
