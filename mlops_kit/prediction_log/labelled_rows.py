"""Answers that are old enough for their labels, read in order and each once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_

from mlops_kit.prediction_log import schema
from mlops_kit.prediction_log.logged_rows import Cursor, LabelledRows, Wanted, gathered
from mlops_kit.prediction_log.sql import bucket

_predictions = schema.predictions.c
_labels = schema.labels.c
_changes = schema.label_changes.c
_tallies = schema.tallies.c
_ORDER = (_predictions.time, _predictions.key)


@dataclass(frozen=True)
class Query:
    """Whose answers are read: without errors, from `since` to `before`, in seconds, both within."""

    answerer: int
    before: float
    since: float = -math.inf
    role: str | None = None
    features: bool = True
    most: int = 5_000

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """What a prediction must meet."""
        found = [
            _predictions.answerer == self.answerer,
            _predictions.outcome == "ok",
            _predictions.time.between(self.since, self.before),
        ]
        return found if self.role is None else [*found, _predictions.role == self.role]


def matured(connection: Connection, query: Query, after: Cursor) -> LabelledRows:
    """Return the next rows, labelled or not, oldest first."""
    end, is_last = _end(connection, query, after)
    if end == after:
        return LabelledRows(after, True)
    chosen = _between(query, after, end)
    labels = connection.execute(_labelled(chosen))
    found = {(prediction, row): label for prediction, row, label in labels}
    records = connection.execute(_records(chosen, query))
    wanted = (
        (record, [(row, found.get((record.key, row)), None) for row in range(record.rows)])
        for record in records
    )
    return gathered(wanted, end, is_last, has_features=query.features)


def labelled(connection: Connection, query: Query, after: Cursor) -> LabelledRows:
    """Return labelled rows that were not read before, or that had another label then.

    Who reads on with the cursors has seen each row with the label that counts now: a label of
    what was read before comes as a change, in the order of `seq`, any other one together with its
    prediction. So further predictions are read only when no change is left, in one state of the
    store.
    """
    if after == Cursor():
        # Nothing was read, so no change concerns it.
        after = replace(after, seq=connection.scalar(select(func.max(_changes.seq))) or 0)
    changes = connection.execute(
        select(schema.label_changes)
        .where(_changes.answerer == query.answerer, _changes.seq > after.seq)
        .order_by(_changes.seq)
        .limit(query.most)
    ).all()
    if changes:
        return _changed(connection, query, after, changes)
    end, is_last = _end(connection, query, after)
    if end == after:
        return LabelledRows(after, True)
    chosen = _between(query, after, end)
    wanted: dict[int, list[Wanted]] = defaultdict(list)
    for prediction, row, label in connection.execute(_labelled(chosen)):
        wanted[prediction].append((row, label, None))
    is_labelled = select(_labels.prediction).where(_labels.prediction == _predictions.key).exists()
    records = connection.execute(_records([*chosen, is_labelled], query))
    return gathered(
        ((each, wanted[each.key]) for each in records), end, is_last, has_features=query.features
    )


def coverage(connection: Connection, query: Query) -> tuple[int, int]:
    """Return how many rows there are, and how many of them are labelled.

    The tallies have the whole intervals; only what lies in those at the ends is counted.
    """
    since, before = query.since, query.before
    first = (
        math.ceil(since / schema.TALLY_SECONDS) * schema.TALLY_SECONDS
        if math.isfinite(since)
        else since
    )
    last = bucket(before, schema.TALLY_SECONDS) if math.isfinite(before) else before
    if first >= last:
        return _count(connection, query)
    tallied = connection.execute(
        select(func.sum(_tallies.rows), func.sum(_tallies.labelled)).where(
            _tallies.answerer == query.answerer,
            _tallies.outcome == "ok",
            _tallies.bucket >= first,
            _tallies.bucket < last,
        )
    ).one()
    older = _count(connection, replace(query, before=math.nextafter(first, -math.inf)))
    newer = _count(connection, replace(query, since=last))
    rows, labels = (
        sum(part or 0 for part in parts) for parts in zip(tallied, older, newer, strict=True)
    )
    return rows, labels


def _count(connection: Connection, query: Query) -> tuple[int, int]:
    counted = select(func.sum(_predictions.rows)).where(*query.conditions)
    labels = select(func.count()).select_from(_labelled(query.conditions).subquery())
    return connection.scalar(counted) or 0, connection.scalar(labels) or 0


def _changed(
    connection: Connection, query: Query, after: Cursor, changes: Sequence[Any]
) -> LabelledRows:
    """Return the changes of labels that concern what was read before."""
    end = replace(after, seq=changes[-1].seq)
    wanted: dict[int, list[Wanted]] = defaultdict(list)
    for each in changes:
        wanted[each.prediction].append((each.row, each.label, each.previous))
    concerned = (
        select(_changes.prediction)
        .where(_changes.answerer == query.answerer, _changes.seq.between(after.seq + 1, end.seq))
        .distinct()
        .subquery()
    )
    read = tuple_(*_ORDER) <= tuple_(after.time, after.key)
    # What was read stays read, also when a clock that went back makes `before` smaller.
    until = replace(query, before=after.time)
    # Joined, so that SQLite looks up these few by their key; by `in_` it goes through all times.
    found = _records([*until.conditions, read], query).join(
        concerned, _predictions.key == concerned.c.prediction
    )
    records = connection.execute(found)
    return gathered(
        ((each, wanted[each.key]) for each in records), end, False, has_features=query.features
    )


def _end(connection: Connection, query: Query, after: Cursor) -> tuple[Cursor, bool]:
    """Return where to stop so that at most `most` rows are read, or one prediction; and if last."""
    found = connection.execute(
        select(*_ORDER, _predictions.rows)
        .where(*_between(query, after))
        .order_by(*_ORDER)
        .limit(query.most + 1)
    )
    end, total, is_last = (after.time, after.key), 0, True
    for time, key, rows in found:
        total += rows
        is_last = total <= query.most
        if not is_last and total > rows:
            break
        end = (time, key)
    return Cursor(*end, after.seq), is_last


def _between(query: Query, after: Cursor, end: Cursor | None = None) -> list[ColumnElement[bool]]:
    """Return what a prediction after a cursor must meet, up to the other one."""
    order = tuple_(*_ORDER)
    # The index finds a range of times; the tuples then only part those of one time.
    since, before = max(query.since, after.time), query.before
    found = [order > tuple_(after.time, after.key)]
    if end is not None:
        before = min(before, end.time)
        found.append(order <= tuple_(end.time, end.key))
    return [*replace(query, since=since, before=before).conditions, *found]


def _labelled(conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Return the query for the labels of the predictions that meet the conditions."""
    together = schema.predictions.join(schema.labels, _labels.prediction == _predictions.key)
    columns = (_labels.prediction, _labels.row, _labels.label)
    return select(*columns).select_from(together).where(*conditions)


def _records(conditions: Sequence[ColumnElement[bool]], query: Query) -> Select[Any]:
    names = ["key", "id", "rows", "scores", "decisions", *["features", "encoding"] * query.features]
    columns = [_predictions[name] for name in names]
    # Streamed, as the rows of all requests together may be more than the memory has room for.
    found = select(*columns).where(*conditions).order_by(*_ORDER)
    return found.execution_options(stream_results=True, max_row_buffer=100)
