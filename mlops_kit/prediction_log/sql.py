"""What the statements on the store share."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects.sqlite import insert as upsert

T = TypeVar("T")
# Values in one query; SQLite allows 32,766.
_CHUNK_ROWS = 5_000


def bucket(time: float, seconds: float) -> float:
    """Return the start of the interval of so many seconds that a time lies in."""
    return math.floor(time / seconds) * seconds


def chunks(values: Collection[T]) -> Iterator[list[T]]:
    """Yield the values in lists that one query can take."""
    left = iter(values)
    while chunk := list(islice(left, _CHUNK_ROWS)):
        yield chunk


def find_key(connection: Connection, table: Table, values: tuple[Any, ...]) -> int | None:
    """Return the key of the row that has these values in its other columns, or None."""
    columns = [column for column in table.columns if not column.primary_key]
    same = [column == value for column, value in zip(columns, values, strict=True)]
    return connection.scalar(select(table.c.key).where(*same))


def driver(connection: Connection) -> sqlite3.Connection:
    """Return what a connection is to the driver, in the same transaction."""
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def add_up(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add amounts to the table's rows of the same primary key, and make those that are missing."""
    if rows:
        statement = upsert(table)
        amounts = [column.name for column in table.columns if not column.primary_key]
        statement = statement.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key.columns],
            set_={name: table.c[name] + statement.excluded[name] for name in amounts},
        )
        connection.execute(statement, list(rows))
