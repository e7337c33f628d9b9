"""Rows of logged answers, taken out of their requests."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import ObservationsError
from mlops_kit.prediction_log.prediction import Encoding

# One row of a prediction: its number, its label, and the label that was read before.
Wanted = tuple[int, float | None, float | None]


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read: predictions up to (time, key), changes of labels up to seq."""

    time: float = -math.inf
    key: int = 0
    seq: int = 0


@dataclass(frozen=True)
class LabelledRows:
    """Rows of answers: n of them, in the order of `ids`, which names a request once a row.

    `features` are as they were logged, by `encoding`: (n, f) float64 for "f8", else (n,) lines of
    JSON as bytes; None where they were not asked for or there is no row. `scores` are float64,
    (n,), or (n, k) where a row has k of them. `decisions` (n,) uint8 are indices of classes; (0,)
    for a regression. `labels` (n,) float64 are indices or numbers, NaN for a row without.
    `previous` (n,) float64 is the label that the row had when it was read before, NaN for none:
    who counts labels takes that one away and adds the new one. `without_features` rows were asked
    for with their features, which the log didn't keep; they are left out. `cursor` goes on after
    these, and `is_last` tells that there was nothing more when this was read.
    """

    cursor: Cursor
    is_last: bool
    ids: tuple[str, ...] = ()
    features: NDArray[Any] | None = None
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    decisions: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    labels: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    previous: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    without_features: int = 0
    encoding: Encoding = "f8"

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)


def gathered(
    wanted: Iterable[tuple[Any, Sequence[Wanted]]],
    cursor: Cursor,
    is_last: bool,
    *,
    has_features: bool,
) -> LabelledRows:
    """Take the wanted rows out of their requests."""
    taken: list[tuple[str, float | None, float | None, bytes, bytes, bytes]] = []
    encodings: set[Encoding] = set()
    without = 0
    for record, rows in wanted:
        if has_features and not record.features:
            without += len(rows)
            continue
        parts = _parts(record) if has_features else (b"",) * record.rows
        encodings |= {record.encoding} if has_features else set()
        size = len(record.scores) // record.rows
        for row, label, previous in rows:
            scores = record.scores[size * row : size * (row + 1)]
            decision = record.decisions[row : row + 1]
            taken.append((record.id, label, previous, scores, decision, parts[row]))
    if not taken:
        return LabelledRows(cursor, is_last, without_features=without)
    ids, now, before, answers, decisions, features = zip(*taken, strict=True)
    _check_same(ids[0], encodings, answers)
    encoding = encodings.pop() if encodings else "f8"
    values = np.frombuffer(b"".join(answers), "<f8").reshape(len(ids), -1)
    return LabelledRows(
        cursor,
        is_last,
        ids,
        _decoded(features, encoding) if has_features else None,
        values[:, 0] if values.shape[1] == 1 else values,
        np.frombuffer(b"".join(decisions), np.uint8),
        np.array(now, np.float64),
        np.array(before, np.float64),
        without,
        encoding,
    )


def _check_same(first: str, encodings: Collection[Encoding], scores: Iterable[bytes]) -> None:
    """Refuse rows that are not all of one table."""
    if len(encodings) > 1 or len({len(each) for each in scores}) > 1:
        raise ObservationsError(
            f"The version that answered {first!r} has logged rows of more than one kind; "
            "expected one table. Look at what logs predictions."
        )


def _parts(record: Any) -> Sequence[bytes]:
    """Return a request's features by row, as they were logged."""
    if record.encoding == "json":
        return tuple(record.features.splitlines())
    size = len(record.features) // record.rows
    return tuple(record.features[size * row : size * (row + 1)] for row in range(record.rows))


def _decoded(features: Sequence[bytes], encoding: Encoding) -> NDArray[Any]:
    if encoding == "json":
        lines = np.empty(len(features), object)
        lines[:] = features
        return lines
    return np.frombuffer(b"".join(features), "<f8").reshape(len(features), -1)
