"""Labels find their predictions, whichever comes first; the newest final one counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mlops_kit.prediction_log import schema
from mlops_kit.prediction_log.label import Label, LabelCounts
from mlops_kit.prediction_log.sql import add_up, bucket, chunks, driver

# In this order, as the new predictions are few, and the labels of unknown ids may be many.
_WAITED_FOR = (
    "SELECT DISTINCT id FROM predictions CROSS JOIN waiting ON waiting.prediction = predictions.id "
    "WHERE predictions.key > ?"
)
_NEW_KEYS = (
    "SELECT DISTINCT model, environment, client_key FROM predictions CROSS JOIN answerers ON "
    "answerers.key = predictions.answerer WHERE predictions.key > ? AND client_key <> ''"
)

# A model and an environment.
Where = tuple[str, str]


@dataclass(frozen=True)
class _Given:
    """What was said about one row so far; `is_conflict` once different final labels were."""

    label: float
    time: float
    is_conflict: bool
    origin: str
    is_final: bool

    def merge(self, other: _Given | None) -> _Given:
        """Return both as one, the same in any order.

        A final label counts before a provisional one, then the newest, of two at once the larger.
        Of two that say the same at once, the origin that comes first by the alphabet is kept.
        """
        if other is None:
            return self
        newest = max((self, other), key=_Given._rank)
        differ = self.is_final and other.is_final and self.label != other.label
        is_same = self._rank() == other._rank()
        origin = min(self.origin, other.origin) if is_same else newest.origin
        is_conflict = self.is_conflict or other.is_conflict or differ
        return replace(newest, is_conflict=is_conflict, origin=origin)

    def _rank(self) -> tuple[bool, float, float]:
        return self.is_final, self.time, self.label


def _of_row(row: Any) -> _Given:
    return _Given(row.label, row.time, row.is_conflict, row.origin, row.is_final)


# By the prediction (its id while it waits, else its key) and its row.
_Labels = dict[tuple[Any, int], _Given]


def store(connection: Connection, labels: Sequence[Label], where: Where = ("", "")) -> LabelCounts:
    """Store labels: with their predictions where these are known, else to wait for them.

    `where` is the model and the environment of labels by key.
    """
    places, missing = _places(connection, labels, where)
    _wait_by_key(connection, _merged((each.key, each) for each in missing), where)
    given = _merged(places)
    known = _known(connection, {prediction for prediction, _row in given})
    here, waiting = _parted(given, known)
    _attach(connection, here, known)
    earlier = _stored(connection, schema.waiting, {prediction for prediction, _row in waiting})
    merged = {place: label.merge(earlier.get(place)) for place, label in waiting.items()}
    _write(connection, schema.waiting, merged)
    stored = sum((name, each.row) in here for name, each in places)
    unknown = sum((name, each.row) not in here and name in known for name, each in places)
    return LabelCounts(stored, len(labels) - stored - unknown, unknown)


def _merged(labels: Iterable[tuple[str, Label]]) -> _Labels:
    """Return labels by what they are about, a prediction's id or a key, and by row."""
    given: _Labels = {}
    for name, each in labels:
        place: tuple[Any, int] = (str(name), int(each.row))
        label, time = float(each.label), float(each.time)
        said = _Given(label, time, False, str(each.origin), bool(each.is_final))
        given[place] = said.merge(given.get(place))
    return given


def find(connection: Connection, newest: int) -> None:
    """Give the predictions of a key above this one, which are new, the labels that waited."""
    # Straight to the driver, because most batches end here.
    ask = driver(connection).execute
    if ask("SELECT EXISTS (SELECT 1 FROM waiting_keys)").fetchone()[0]:
        _find_by_key(connection, ask(_NEW_KEYS, (newest,)).fetchall())
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


def _find_by_key(connection: Connection, new: Sequence[Any]) -> None:
    """Give new predictions the labels that waited for their keys."""
    keys: dict[Where, list[str]] = defaultdict(list)
    for model, environment, key in new:
        keys[model, environment].append(key)
    for where, names in keys.items():
        waited = _waiting_by_key(connection, names, where)
        times = _times(connection, names, where)
        found: _Labels = {}
        for (key, row), label in waited.items():
            place = (_of_key(times[key], label.time), row)
            found[place] = label.merge(found.get(place))
        known = _known(connection, {prediction for prediction, _row in found})
        here, beyond = _parted(found, known)
        _attach(connection, here, known)
        _write(connection, schema.waiting, beyond)
        column = schema.waiting_keys.c
        for chunk in chunks({key for key, _row in waited}):
            connection.execute(
                delete(schema.waiting_keys).where(
                    column.model == where[0],
                    column.environment == where[1],
                    column.client_key.in_(chunk),
                )
            )


def _places(
    connection: Connection, labels: Sequence[Label], where: Where
) -> tuple[list[tuple[str, Label]], list[Label]]:
    """Return labels by the id of their prediction, and those by a key that none has."""
    times = _times(connection, {each.key for each in labels if each.key}, where)
    places, missing = [], []
    for each in labels:
        if each.key and each.key not in times:
            missing.append(each)
        else:
            places.append((each.prediction or _of_key(times[each.key], each.time), each))
    return places, missing


def _times(
    connection: Connection, keys: Collection[str], where: Where
) -> dict[str, list[tuple[float, int, str]]]:
    """Return when the predictions of each key were made, with their keys here and their ids."""
    here, who = schema.predictions.c, schema.answerers.c
    times: dict[str, list[tuple[float, int, str]]] = {}
    for chunk in chunks(keys):
        query = (
            select(here.client_key, here.time, here.key, here.id)
            .join(schema.answerers, who.key == here.answerer)
            .where(here.client_key.in_(chunk), here.client_key != "")
            .where(who.model == where[0], who.environment == where[1])
        )
        for key, time, number, name in connection.execute(query):
            times.setdefault(key, []).append((time, number, name))
    return times


def _of_key(times: Sequence[tuple[float, int, str]], time: float) -> str:
    """Return the id of the newest prediction up to a label's time, or else of the first after."""
    before = [each for each in times if each[0] <= time]
    return max(before)[2] if before else min(times)[2]


def _waiting_by_key(connection: Connection, keys: Collection[str], where: Where) -> _Labels:
    column = schema.waiting_keys.c
    same = (column.model == where[0]) & (column.environment == where[1])
    return {
        (row.client_key, row.row): _of_row(row)
        for chunk in chunks(keys)
        for row in connection.execute(
            select(schema.waiting_keys).where(same, column.client_key.in_(chunk))
        )
    }


def _wait_by_key(connection: Connection, labels: _Labels, where: Where) -> None:
    earlier = _waiting_by_key(connection, {key for key, _row in labels}, where)
    rows = [
        {
            **dict(zip(("model", "environment"), where, strict=True)),
            "client_key": key,
            "row": row,
            **vars(label.merge(earlier.get((key, row)))),
        }
        for (key, row), label in labels.items()
    ]
    _put(connection, schema.waiting_keys, rows)


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
        previous = None if before is None else before.label
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
        (row.prediction, row.row): _of_row(row)
        for chunk in chunks(predictions)
        for row in connection.execute(select(table).where(table.c.prediction.in_(chunk)))
    }


def _write(connection: Connection, table: Any, labels: _Labels) -> None:
    rows = [
        {"prediction": prediction, "row": row, **vars(label)}
        for (prediction, row), label in labels.items()
    ]
    _put(connection, table, rows)


def _put(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store labels in place of those of the same primary key."""
    if not rows:
        return
    statement = upsert(table)
    names = ("label", "time", "is_conflict", "origin", "is_final")
    statement = statement.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key.columns],
        set_={name: statement.excluded[name] for name in names},
    )
    connection.execute(statement, list(rows))
