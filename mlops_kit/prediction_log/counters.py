"""Counts of the stored predictions and labels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from mlops_kit.prediction_log import schema
from mlops_kit.prediction_log.blocks import Arm, Block

_predictions = schema.predictions.c
_splits = schema.splits.c
_counters = schema.counters.c
_AMOUNTS = (_counters.requests, _counters.errors, _counters.slow)


@dataclass(frozen=True)
class Pair:
    """The digests whose traffic is counted, or a champion beside whichever candidate."""

    model: str
    environment: str
    champion: str
    candidate: str | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """What a split must meet."""
        found = [
            _splits.model == self.model,
            _splits.environment == self.environment,
            _splits.champion == self.champion,
        ]
        return found if self.candidate is None else [*found, _splits.candidate == self.candidate]


def blocks(connection: Connection, pair: Pair, slow_ms: float) -> tuple[Block, ...]:
    """Return the counters of a pair: a block a weight and interval, by time."""
    arms: dict[tuple[float, int], dict[str, Arm]] = defaultdict(dict)
    found = connection.execute(
        select(_counters.bucket, _splits.weight, _counters.role, *_AMOUNTS)
        .select_from(schema.counters.join(schema.splits))
        .where(*pair.conditions, _counters.slow_ms == slow_ms)
        .order_by(_counters.bucket, _splits.weight)
    )
    for start, weight, role, requests, errors, slow in found:
        arms[start, weight][role] = Arm(requests, errors, slow)
    return tuple(
        Block(weight, start, both.get("candidate", Arm()), both.get("champion", Arm()))
        for (start, weight), both in arms.items()
    )


def champion_blocks(
    connection: Connection, pair: Pair, slow_ms: float, since: float, until: float
) -> tuple[Arm, ...]:
    """Return a champion's counts per interval, oldest first.

    Args:
        connection: an open transaction.
        pair: the champion.
        slow_ms: the bound that its counters were written with.
        since: start of the first interval, in seconds since the epoch.
        until: end (exclusive) of the interval starts, in seconds since the epoch.
    """
    requests, errors, slow = (func.sum(amount) for amount in _AMOUNTS)
    found = connection.execute(
        select(requests, errors, slow)
        .select_from(schema.counters.join(schema.splits))
        .where(
            *pair.conditions,
            _counters.role == "champion",
            _counters.slow_ms == slow_ms,
            _counters.bucket >= since,
            _counters.bucket < until,
        )
        .group_by(_counters.bucket)
        .order_by(_counters.bucket)
    )
    return tuple(Arm(row[0], row[1], row[2]) for row in found)


def clients(connection: Connection, split: int, most: int) -> tuple[int, tuple[int, int]]:
    """Return the number of predictions, and of the clients, of the candidate and of all."""
    first = (
        select(_predictions.role, _predictions.client)
        .where(_predictions.split == split)
        .order_by(_predictions.key)
        .limit(most)
        .subquery()
    )
    nameless = first.c.client == ""
    moved = first.c.role == "candidate"
    found = connection.execute(
        select(
            func.count().label("sampled"),
            func.count(case((moved & ~nameless, first.c.client)).distinct()).label("candidate"),
            func.count(case((moved & nameless, 1))).label("nameless_candidate"),
            func.count(case((~nameless, first.c.client)).distinct()).label("all"),
            func.count(case((nameless, 1))).label("nameless"),
        )
    ).one()
    counted = (found.candidate + found.nameless_candidate, found.all + found.nameless)
    return found.sampled, counted


def status(connection: Connection, model: str, environment: str) -> dict[str, Any]:
    """Return the counts of what is stored, and the times of what came last."""
    tallies, answerers = schema.tallies, schema.answerers
    of_model = (_splits.model == model, _splits.environment == environment)
    requests = select(func.sum(_counters.requests)).join(schema.splits).where(*of_model)
    rows = connection.execute(
        select(func.sum(tallies.c.labelled), func.sum(tallies.c.conflicts))
        .join(answerers)
        .where(answerers.c.model == model, answerers.c.environment == environment)
    ).one()
    newest = [
        _newest(connection, who)
        for who in connection.scalars(
            select(answerers.c.key).where(
                answerers.c.model == model, answerers.c.environment == environment
            )
        ).all()
    ]
    return {
        "predictions": connection.scalar(requests) or 0,
        "labels": rows[0] or 0,
        "conflicts": rows[1] or 0,
        "unknown_labels": sum(
            connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (schema.waiting, schema.waiting_keys)
        ),
        "newest_prediction": max((time for time, _ in newest if time is not None), default=None),
        "newest_label": max((time for _, time in newest if time is not None), default=None),
    }


def _newest(connection: Connection, answerer: int) -> tuple[float | None, float | None]:
    """Return the times of a version's newest prediction and of its newest label."""
    labels, changes = schema.labels.c, schema.label_changes.c
    prediction = select(func.max(_predictions.time)).where(_predictions.answerer == answerer)
    last = (
        select(changes.prediction, changes.row)
        .where(changes.answerer == answerer)
        .order_by(changes.seq.desc())
        .limit(1)
        .subquery()
    )
    label = select(labels.time).where(
        labels.prediction == last.c.prediction, labels.row == last.c.row
    )
    return connection.scalar(prediction), connection.scalar(label)
