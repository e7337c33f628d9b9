"""Count a version's answers against their labels, by the criteria of its task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.rollouts.criteria import Criterion
from mlops_kit.rollouts.quality import Quality, Tally
from mlops_kit.rollouts.sequential_tests import bounded_bets, paired_bets

Array = NDArray[Any]
# What each row's answer costs: labels, scores, decisions and features by row.
Costs = Callable[[Array, Array, Array, Array], Array]
# Sums of losses are kept as whole numbers in these units.
UNIT = 2**30


@dataclass(frozen=True)
class Answered:
    """A version's answers by row: scores (n,) or (n, k), decisions (n,), or (0,) without classes.

    `costs` (n,) are empty where none are counted.
    """

    scores: Array
    decisions: Array
    costs: Array = field(default_factory=lambda: np.empty(0))

    def __getitem__(self, rows: Array) -> Answered:
        """Return the answers of the chosen rows."""
        parts = (each[rows] if len(each) else each for each in self.parts)
        return Answered(*parts)

    @property
    def parts(self) -> tuple[Array, Array, Array]:
        """Scores, decisions and costs."""
        return self.scores, self.decisions, self.costs


@dataclass(frozen=True)
class Judge:
    """Counts answers by criteria; `costs` gives what each answer costs, None where none counts."""

    criteria: tuple[Criterion, ...]
    regression: float
    costs: Costs | None = None

    def priced(self, labels: Array, answered: Answered, features: Array | None) -> Answered:
        """Return the answers with their costs, where these count."""
        if self.costs is None or features is None or not len(labels):
            return answered
        costs = self.costs(labels, answered.scores, answered.decisions, features)
        return Answered(answered.scores, answered.decisions, costs)

    def quality(
        self,
        labels: Array,
        mine: Answered,
        champion: Answered | None = None,
        failed: Array | None = None,
    ) -> Quality:
        """Return what (n,) labels say of the answers, beside the champion's where there are any.

        A row that couldn't be scored (`failed`) is a failure, and tells nothing of answers.
        """
        scored = np.ones(len(labels), bool) if failed is None else ~failed
        known = labels[scored]
        others = champion[scored] if champion is not None else None
        tallies = tuple(
            (each.name, self._tally(each, known, mine[scored], others)) for each in self.criteria
        )
        return Quality(tallies, labelled=len(labels), failed=int((~scored).sum()))

    def _tally(
        self, by: Criterion, labels: Array, mine: Answered, champion: Answered | None
    ) -> Tally:
        if by.is_mean:
            return self._mean(by, labels, mine, champion)
        if by.kind == "precision":
            flagged = mine.decisions == by.of
            return Tally(int((flagged & (labels == by.of)).sum()), int(flagged.sum()))
        rows = labels == by.of if by.kind == "recall" else np.ones(len(labels), bool)
        right = (mine.decisions == labels)[rows]
        if champion is None:
            return Tally(int(right.sum()), len(right))
        theirs = (champion.decisions == labels)[rows]
        worse, better = int((theirs & ~right).sum()), int((right & ~theirs).sum())
        return Tally(int(right.sum()), len(right), worse, better)

    def _mean(
        self, by: Criterion, labels: Array, mine: Answered, champion: Answered | None
    ) -> Tally:
        if by.kind == "cost" and len(mine.costs) != len(labels):
            return Tally()
        losses = _losses(by, labels, mine)
        paired: tuple[int, ...] = ()
        if champion is not None:
            others = _losses(by, labels, champion)
            if by.kind == "error ratio":
                both = losses + others
                losses = np.divide(losses, both, out=np.full(len(both), 0.5), where=both > 0)
            else:
                paired = paired_bets(losses, others, self.regression)
        elif by.kind == "error ratio":
            return Tally()
        bets = (bounded_bets(losses, by.bound, side) for side in (by.side, _other(by)))
        total = int(np.floor(losses * UNIT).astype(np.int64).sum())
        return Tally(total, len(losses), bets=(*(x for each in bets for x in each), *paired))


def _losses(by: Criterion, labels: Array, answered: Answered) -> Array:
    """Return each row's loss, as a share of the cap where there is one."""
    found = answered.costs if by.kind == "cost" else np.abs(labels - answered.scores)
    return np.clip(found / by.cap, 0, 1) if by.cap else found


def _other(by: Criterion) -> Any:
    return "<" if by.side == ">" else ">"
