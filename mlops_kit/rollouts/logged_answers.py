"""Logged rows go through a model again, and what it answers is compared with the log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlops_kit.rollouts.judge import Answered, Array

if TYPE_CHECKING:
    from mlops_kit.prediction_log.log import LabelledRows
    from mlops_kit.serving.predictor import Predictor


def decoded(rows: LabelledRows) -> Array | None:
    """Return the features as a predictor takes them: float64, or objects from lines of JSON."""
    if rows.features is None or rows.encoding == "f8":
        return rows.features
    lines = [json.loads(line) for line in rows.features]
    found = np.empty((len(lines), len(lines[0])), object)
    for place, line in enumerate(lines):
        found[place] = line
    return found


def answers(predictor: Predictor, rows: Array) -> tuple[Answered, NDArray[np.bool_]]:
    """Return a version's answers, and on which rows the model raised, found by parting them.

    Where it raised the answers are 0.
    """
    count = len(rows)
    if not count:
        return Answered(np.zeros(0), np.zeros(0, np.int64)), np.zeros(0, bool)
    try:
        return Answered(*predictor.predict(rows)), np.zeros(count, bool)
    except Exception:  # a model may raise anything; which rows is what counts
        if count == 1:
            return Answered(np.zeros(1), np.zeros(1, np.int64)), np.ones(1, bool)
    # What a model most often can't do is a missing value.
    chosen = _missing(rows).any(axis=1)
    if chosen.all() or not chosen.any():
        chosen = np.arange(count) < count // 2
    failed = np.zeros(count, bool)
    halves: list[tuple[Array, Answered]] = []
    for part in (chosen, ~chosen):
        found, failed[part] = answers(predictor, rows[part])
        halves.append((np.asarray(part), found))
    return _joined(halves, count), failed


def _joined(halves: Sequence[tuple[Array, Answered]], count: int) -> Answered:
    """Return the answers of parts of the rows as one."""
    width = max(each.scores.shape[1:] for _, each in halves)
    scores = np.zeros((count, *width))
    has_decisions = all(len(each.decisions) for _, each in halves)
    decisions = np.zeros(count if has_decisions else 0, np.int64)
    for part, each in halves:
        # Of rows that failed nothing is known, not even how many scores there are.
        if each.scores.shape[1:] == width:
            scores[part] = each.scores
        if has_decisions:
            decisions[part] = each.decisions
    return Answered(scores, decisions)


def _missing(rows: Array) -> Array:
    if rows.dtype == object:
        return np.asarray(rows == None, bool)  # noqa: E711 - one value at a time
    return np.isnan(rows)


def differ(again: Answered, logged: Answered) -> Array:
    """Return on which rows two answers of one version differ: in decisions, or else in numbers."""
    if len(logged.decisions) and len(again.decisions):
        return np.asarray(again.decisions != logged.decisions)
    return ~np.isclose(again.scores, logged.scores, rtol=1e-6, atol=1e-9)
