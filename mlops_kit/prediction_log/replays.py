"""What a watcher found in the replay of a candidate, for everybody else to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mlops_kit.prediction_log import schema

_replays = schema.replays


@dataclass(frozen=True)
class StoredReplay:
    """The counts of a replay, the reasons not to believe them, and when they were computed.

    `counts` are plain data; `computed` is in seconds since the epoch.
    """

    computed: float
    counts: Mapping[str, Any]
    faults: tuple[str, ...] = ()


def save(connection: Connection, pair: tuple[str, str, str, str], found: StoredReplay) -> None:
    """Keep what was found of a pair: model, environment, digests of champion and candidate."""
    content = {
        "computed": found.computed,
        "counts": json.dumps(dict(found.counts)),
        "faults": json.dumps(list(found.faults)),
    }
    names = [column.name for column in _replays.primary_key.columns]
    statement = upsert(_replays).values(**dict(zip(names, pair, strict=True)), **content)
    connection.execute(statement.on_conflict_do_update(index_elements=names, set_=content))


def load(connection: Connection, pair: tuple[str, str, str, str]) -> StoredReplay | None:
    """Return what was found of a pair last; None where nobody has replayed it."""
    same = [c == value for c, value in zip(_replays.primary_key.columns, pair, strict=True)]
    row = connection.execute(select(_replays).where(*same)).one_or_none()
    if row is None:
        return None
    return StoredReplay(row.computed, json.loads(row.counts), tuple(json.loads(row.faults)))
