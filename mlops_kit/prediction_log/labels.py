"""Labels find their predictions, whichever comes first, and the newest one counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mlops_kit.prediction_log import schema
from mlops_kit.prediction_log.label import Label
from mlops_kit.prediction_log.sql import add_up, bucket, chunks, driver

# In this order, as the new predictions are few, and the labels of unknown ids may be many.
_WAITED_FOR = (
    "SELECT DISTINCT id FROM predictions CROSS JOIN waiting ON waiting.prediction = predictions.id "
    "WHERE predictions.key > ?"
)


@dataclass(frozen=True)
class _Given:
    """What was said about one row so far; `is_conflict` once both labels were."""

    label: int
    time: float
    is_conflict: bool

    def merge(self, other: _Given | None) -> _Given:
        """Return both as one, the same in any order: the newest counts, of two at once fraud."""
        if other is None:
            return self
        newest = max(self, other, key=lambda given: (given.time, given.label))
        both = self.is_conflict or other.is_conflict or self.label != other.label
        return _Given(newest.label, newest.time, both)


# By the prediction (its id while it waits, else its key) and its row.
_Labels = dict[tuple[Any, int], _Given]


def store(connection: Connection, labels: Sequence[Label]) -> None:
    """Store labels: with their predictions where these are known, else to wait for them."""
    given: _Labels = {}
    for each in labels:
        place = (str(each.prediction), int(each.row))
        given[place] = _Given(int(each.label), float(each.time), False).merge(given.get(place))
    known = _known(connection, {prediction for prediction, _row in given})
    here, waiting = _parted(given, known)
    _attach(connection, here, known)
    earlier = _stored(connection, schema.waiting, {prediction for prediction, _row in waiting})
    merged = {place: label.merge(earlier.get(place)) for place, label in waiting.items()}
    _write(connection, schema.waiting, merged)


def find(connection: Connection, newest: int) -> None:
    """Give the predictions of a key above this one, which are new, the labels that waited."""
    # Straight to the driver, because most batches end here.
    ask = driver(connection).execute
    if not ask("SELECT EXISTS (SELECT 1 FROM waiting)").fetchone()[0]:
        return
    ids = [name for (name,) in ask(_WAITED_FOR, (newest,))]
    if not ids:
        return
    waited = _stored(connection, schema.waiting, ids)
    known = _known(connection, {prediction for prediction, _row in waited})
    here, _ = _parted(waited, known)
    column = schema.waiting.c
    for prediction, row in here:
        place = (column.prediction == prediction) & (column.row == row)
        connection.execute(delete(schema.waiting).where(place))
    _attach(connection, here, known)


def _parted(given: _Labels, known: Mapping[str, Any]) -> tuple[_Labels, _Labels]:
    """Return the labels whose row is stored, and those that wait for it."""
    here: _Labels = {}
    waiting: _Labels = {}
    for (prediction, row), label in given.items():
        is_here = prediction in known and row < known[prediction].rows
        (here if is_here else waiting)[prediction, row] = label
    return here, waiting


def _attach(connection: Connection, given: _Labels, known: Mapping[str, Any]) -> None:
    """Let labels count for rows of stored predictions, and write down what that changes."""
    keys = {known[prediction].key for prediction, _row in given}
    earlier = _stored(connection, schema.labels, keys)
    changed: _Labels = {}
    changes = []
    added: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for (prediction, row), label in given.items():
        of = known[prediction]
        before = earlier.get((of.key, row))
        now = label.merge(before)
        if now == before:
            continue
        changed[of.key, row] = now
        count = added[of.answerer, of.outcome, bucket(of.time, schema.TALLY_SECONDS)]
        count[0] += before is None
        count[1] += now.is_conflict and not (before and before.is_conflict)
        previous = -1 if before is None else before.label
        if now.label != previous:
            values = (of.answerer, of.key, row, now.label, previous)
            names = ("answerer", "prediction", "row", "label", "previous")
            changes.append(dict(zip(names, values, strict=True)))
    _write(connection, schema.labels, changed)
    if changes:
        connection.execute(insert(schema.label_changes), changes)
    columns = ("answerer", "outcome", "bucket", "rows", "labelled", "conflicts")
    rows = [dict(zip(columns, (*of, 0, *count), strict=True)) for of, count in added.items()]
    add_up(connection, schema.tallies, rows)


def _known(connection: Connection, ids: Collection[str]) -> dict[str, Any]:
    """Return, by their id, what must be known of the predictions that are stored."""
    here = schema.predictions.c
    columns = (here.id, here.key, here.answerer, here.outcome, here.time, here.rows)
    return {
        row.id: row
        for chunk in chunks(ids)
        for row in connection.execute(select(*columns).where(here.id.in_(chunk)))
    }


def _stored(connection: Connection, table: Any, predictions: Collection[Any]) -> _Labels:
    """Return the labels that a table has for these predictions."""
    return {
        (row.prediction, row.row): _Given(row.label, row.time, row.is_conflict)
        for chunk in chunks(predictions)
        for row in connection.execute(select(table).where(table.c.prediction.in_(chunk)))
    }


def _write(connection: Connection, table: Any, labels: _Labels) -> None:
    if not labels:
        return
    statement = upsert(table)
    names = ("label", "time", "is_conflict")
    statement = statement.on_conflict_do_update(
        index_elements=["prediction", "row"],
        set_={name: statement.excluded[name] for name in names},
    )
    rows = [
        {"prediction": prediction, "row": row, **vars(label)}
        for (prediction, row), label in labels.items()
    ]
    connection.execute(statement, rows)
