"""When a replay will prove a candidate good, or bad, simulated by the model's task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlops_kit.rollouts.criteria import ModelTask, criteria, total
from mlops_kit.rollouts.metrics import percent
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.sequential_tests import BETS, SHARES, log_e, log_mean, log_paired, log_sum

Array = NDArray[Any]

# Looks that are simulated of a phase: the first ones all, then ever fewer.
_LOOKS = 160
# Losses are drawn from so many equally likely values, of each of two versions.
_BINS = 12


@dataclass(frozen=True)
class Truth:
    """What a version's rates are assumed to be, as shares.

    `error` is the mean error of a regression as a share of what is allowed.
    """

    recall: float
    precision: float
    error_rate: float
    slow_share: float
    accuracy: float = 0.9
    error: float = 0.6


@dataclass(frozen=True)
class Coming:
    """What labels will come: `rate` a second after `wait` seconds, beside `history` rows now."""

    policy: Policy
    champion: Truth
    rate: float
    history: int
    wait: float
    runs: int
    seed: int
    positive_rate: float
    task: ModelTask

    @cached_property
    def seconds(self) -> Array:
        """The looks that are simulated, in seconds."""
        policy = self.policy
        return grid(int(policy.replay_deadline / policy.interval)) * policy.interval

    @cached_property
    def new(self) -> Array:
        """The rows that are new at each look, by run."""
        rows = self.history + self.rate * np.maximum(self.seconds - self.wait, 0)
        return np.broadcast_to(np.diff(rows, prepend=0), (self.runs, len(rows)))

    def reached(self, log_for: Array, against: list[Array], *, is_harm: bool) -> Array:
        """Return when, in seconds, each run's evidence is enough; infinity for never."""
        if not is_harm:
            return first_of(log_for >= -log(self.policy.alpha_promote), self.seconds)
        unseen = [np.zeros_like(against[0])] * (total(self.policy, self.task) - len(against))
        harm = log_mean(np.stack([*against, *unseen], -1))
        return first_of(harm >= -log(self.policy.alpha_rollback), self.seconds)


class LabelPlan(Protocol):
    """Simulates the labels of one task."""

    def words(self, truth: Truth) -> str:
        """Return what a candidate is worth, in words."""

    def regressions(self, good: Truth) -> list[tuple[str, Truth]]:
        """Return what may be wrong with a candidate, in words and as its truth."""

    def first(self, truth: Truth, *, is_harm: bool) -> Array:
        """Return when, in seconds, each run's replay proves it good, or bad; infinity: never."""


def label_plan(coming: Coming) -> LabelPlan:
    """Return what simulates the labels of a task."""
    by_task: dict[str, type[_Binary | _Classes | _Numbers]] = {
        "binary": _Binary,
        "multiclass": _Classes,
        "regression": _Numbers,
    }
    return by_task[coming.task.task](coming)


def well_within(policy: Policy) -> Truth:
    """Return the rates of a candidate well within all bounds."""
    return Truth(
        recall=(1 + policy.recall) / 2,
        precision=(1 + policy.precision) / 2,
        error_rate=policy.error_rate / 5,
        slow_share=policy.slow_share * 0.4,
        accuracy=(1 + policy.accuracy) / 2,
    )


def grid(looks: int) -> Array:
    """Return which looks are simulated: the first ones, then ever fewer, and the last."""
    last = max(looks, 1)
    if last <= _LOOKS:
        return np.arange(1, last + 1)
    return np.unique(
        [*range(1, _LOOKS // 2), *np.geomspace(_LOOKS // 2, last, _LOOKS // 2).astype(int)]
    )


def first_of(reached: Array, seconds: Array) -> Array:
    """Return for each run (row) the time of the first look that reached it, else infinity."""
    return np.where(reached.any(axis=1), seconds[reached.argmax(axis=1)], np.inf)


@dataclass(frozen=True)
class _Binary:
    coming: Coming

    def words(self, truth: Truth) -> str:
        return f"recall {percent(truth.recall)}, precision {percent(truth.precision)}"

    def regressions(self, good: Truth) -> list[tuple[str, Truth]]:
        policy = self.coming.policy
        bounds = {"recall": policy.recall, "precision": policy.precision}
        return [
            (f"{name} {percent(bad)}", replace(good, **{name: bad}))
            for name, bound in bounds.items()
            for bad in (max(bound - 0.10, 0.0), max(bound - 0.03, 0.0))
        ]

    def first(self, truth: Truth, *, is_harm: bool) -> Array:
        coming, policy = self.coming, self.coming.policy
        rng = np.random.default_rng(coming.seed)
        positives = rng.poisson(coming.new * coming.positive_rate)
        caught = rng.binomial(positives, truth.recall)
        alarms = coming.positive_rate * truth.recall * (1 / max(truth.precision, 1e-3) - 1)
        false = rng.poisson(coming.new * alarms)
        worse = rng.binomial(positives - caught, coming.champion.recall)
        better = rng.binomial(caught, 1 - coming.champion.recall)
        both = positives - caught - worse
        positives, caught, false, worse, better, both = (
            np.cumsum(x, axis=1) for x in (positives, caught, false, worse, better, both)
        )
        flagged = caught + false
        paired = log_paired(worse, better, both, policy.regression)
        log_for = np.minimum(
            log_e(caught, positives, policy.recall, ">"),
            log_e(caught, flagged, policy.precision, ">"),
        )
        recall = log_mean(np.stack([log_e(caught, positives, policy.recall, "<"), paired], -1))
        against = [recall, log_e(caught, flagged, policy.precision, "<")]
        return coming.reached(log_for, against, is_harm=is_harm)


@dataclass(frozen=True)
class _Classes:
    coming: Coming

    def words(self, truth: Truth) -> str:
        return f"accuracy {percent(truth.accuracy)}"

    def regressions(self, good: Truth) -> list[tuple[str, Truth]]:
        bound = self.coming.policy.accuracy
        bad = (max(bound - points, 0.0) for points in (0.10, 0.03))
        return [(f"accuracy {percent(each)}", replace(good, accuracy=each)) for each in bad]

    def first(self, truth: Truth, *, is_harm: bool) -> Array:
        coming, policy = self.coming, self.coming.policy
        rng = np.random.default_rng(coming.seed)
        rows = rng.poisson(coming.new)
        right = rng.binomial(rows, truth.accuracy)
        worse = rng.binomial(rows - right, coming.champion.accuracy)
        better = rng.binomial(right, 1 - coming.champion.accuracy)
        both = rows - right - worse
        rows, right, worse, better, both = (
            np.cumsum(x, axis=1) for x in (rows, right, worse, better, both)
        )
        paired = log_paired(worse, better, both, policy.regression)
        low = log_e(right, rows, policy.accuracy, "<")
        against = [log_mean(np.stack([low, paired], -1))]
        return coming.reached(log_e(right, rows, policy.accuracy, ">"), against, is_harm=is_harm)


@dataclass(frozen=True)
class _Numbers:
    """Errors of both versions are exponential and independent, cut off at their cap."""

    coming: Coming

    def words(self, truth: Truth) -> str:
        return f"an error of {percent(truth.error)} of what is allowed"

    def regressions(self, good: Truth) -> list[tuple[str, Truth]]:
        bad = (2.0, 1.3)
        return [
            (f"{percent(each)} of the allowed error", replace(good, error=each)) for each in bad
        ]

    def first(self, truth: Truth, *, is_harm: bool) -> Array:
        coming, ratio = self.coming, self.coming.policy.regression
        error = criteria(coming.policy, coming.task)[0]
        drawn = -np.log1p(-(np.arange(_BINS) + 0.5) / _BINS)
        # Without a bound of its own an error is measured by the champion's.
        allowed, theirs = (error.bound, coming.champion.error) if error.cap else (ratio, 1 / ratio)
        x, y = (each.ravel() for each in np.meshgrid(truth.error * drawn, theirs * drawn))
        x, y = allowed * x, allowed * y
        losses = np.minimum(x, 1) if error.cap else x / (x + y)
        rng = np.random.default_rng(coming.seed)
        counts = rng.multinomial(rng.poisson(coming.new), np.full(len(x), 1 / len(x)))
        counts = np.cumsum(counts, axis=1)
        log_for = _evidence(counts, error.bound - losses, 1 - error.bound)
        against = _evidence(counts, losses - error.bound, error.bound)
        if error.cap:
            paired = _evidence(counts, losses - ratio * np.minimum(y, 1), ratio)
            against = log_mean(np.stack([against, paired], -1))
        return coming.reached(log_for, [against], is_harm=is_harm)


def _evidence(counts: Array, stakes: Array, largest: float) -> Array:
    """Return the log evidence of bets, by how often each stake came; shape (runs, looks)."""
    logs = np.log1p(np.outer(stakes, SHARES / largest))
    return log_sum(counts @ logs) - log(BETS)
