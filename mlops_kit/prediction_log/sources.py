"""How far each source of labels was read, so that a row is read once."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mlops_kit.prediction_log import schema

_sources = schema.label_sources


def position(connection: Connection, source: str) -> str:
    """Return how far a source was read; empty if it never was."""
    query = select(_sources.c.position).where(_sources.c.source == source)
    return str(connection.scalar(query) or "")


def set_position(connection: Connection, source: str, position: str) -> None:
    """Remember how far a source was read."""
    statement = upsert(_sources).values(source=source, position=position)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["source"], set_={"position": position})
    )
