"""What a rollout will be able to tell at this traffic, and how soon, before it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.rollouts import relative_rates
from mlops_kit.rollouts.criteria import BINARY, ModelTask, total
from mlops_kit.rollouts.label_plans import (
    Coming,
    LabelPlan,
    Truth,
    first_of,
    grid,
    label_plan,
    well_within,
)
from mlops_kit.rollouts.metrics import percent
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.sequential_tests import log_e
from mlops_kit.rollouts.state import span

__all__ = ["Plan", "Row", "Truth", "plan"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Row:
    """One thing that a rollout may tell.

    `told` is the share of the simulated rollouts that tell it before their deadline; of these,
    half do within `median` seconds and 9 of 10 within `most`, and half expose up to `exposed`
    requests to the candidate. All three are 0 where none does.
    """

    what: str
    told: float
    median: float
    most: float
    exposed: int

    @property
    def words(self) -> str:
        """The row as a sentence."""
        if self.told < 0.5:
            return f"{self.what}: can't be told at this traffic (in {self.told:.0%} of rollouts)."
        often = "" if self.told > 0.99 else f", in {self.told:.0%} of rollouts"
        return (
            f"{self.what}: half within {span(self.median)}, 9 of 10 within {span(self.most)}, "
            f"{self.exposed:,} requests exposed{often}."
        )


@dataclass(frozen=True)
class Plan:
    """What a rollout can tell; the first row is a good candidate's promotion."""

    traffic: str
    rows: tuple[Row, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The plan as sentences, the traffic first."""
        return (self.traffic, *(row.words for row in self.rows))

    def _repr_markdown_(self) -> str:
        head = "| what | told in | half within | 9 of 10 within | requests exposed |"
        rows = [
            f"| {row.what} | {row.told:.0%} | {span(row.median)} | {span(row.most)} "
            f"| {row.exposed:,} |"
            if row.told
            else f"| {row.what} | 0% | – | – | – |"
            for row in self.rows
        ]
        return "\n".join([self.traffic, "", head, "|---|---:|---:|---:|---:|", *rows])


def plan(
    policy: Policy,
    *,
    rate: float,
    positive_rate: float = 0.005,
    label_delay: float = 0.0,
    history: int = 0,
    task: ModelTask = BINARY,
    good: Truth | None = None,
    champion: Truth | None = None,
    runs: int = 100,
    seed: int = 0,
) -> Plan:
    """Return how long a promotion takes, and which regression is found how soon.

    Simulated with the evidence's own functions, as if the weight rose while a regression isn't
    proved. Raises ValueError for a rate or share out of range.

    Args:
        policy: the bounds and the pace.
        rate: in requests a second, of one row each.
        positive_rate: the share of positives of a binary model.
        label_delay: seconds until a label arrives.
        history: labelled rows that a replay has at once; without any, labels begin to come after
            their delay.
        task: what the model predicts; of classes the accuracy is planned, of numbers the error.
        good: what a good candidate's rates are; well within the bounds by default.
        champion: what the champion's are; as the good candidate's by default.
        runs: simulated rollouts.
        seed: of the simulation.
    """
    if not (0 < rate < float("inf") and 0 < positive_rate < 1 and history >= 0 and runs > 0):
        raise ValueError(
            f"{rate=}, {positive_rate=}, {history=}, {runs=}; expected a rate over 0, a positive "
            "rate between 0 and 1, 0 or more labelled rows and 1 or more runs"
        )
    good = good or well_within(policy)
    champion = champion or good
    wait = 0.0 if history else max(label_delay, policy.maturity)
    coming = Coming(policy, champion, rate, history, wait, runs, seed, positive_rate, task)
    labels = label_plan(coming)
    requests = _Requests(policy, champion, rate, runs, seed, total(policy, task))
    positives = f" {percent(positive_rate)} positives," if task.task == "binary" else ""
    traffic = (
        f"{rate:,.10g} requests a second,{positives} labels after "
        f"{span(label_delay)}, {history:,} labelled rows now; looks every {policy.interval:g} s."
    )
    rows = [_promotion(labels, requests, good), *_regressions(labels, requests, good)]
    return Plan(traffic, tuple(rows))


def _regressions(labels: LabelPlan, requests: _Requests, good: Truth) -> list[Row]:
    policy = requests.policy
    found = []
    for words, bad in labels.regressions(good):
        when = labels.first(bad, is_harm=True)
        found.append(_row(f"{words} is found", when, np.zeros(len(when))))
    for name, bound in (("error_rate", policy.error_rate), ("slow_share", policy.slow_share)):
        for factor in (3.0, 1.5):
            share = min(factor * bound, 1.0)
            look = requests.first(replace(good, **{name: share}), is_harm=True)
            what = f"{'errors' if name == 'error_rate' else 'slow'} {percent(share)} is found"
            found.append(_row(what, requests.seconds(look), requests.exposed(look)))
    return found


def _promotion(labels: LabelPlan, requests: _Requests, good: Truth) -> Row:
    look = requests.first(good, is_harm=False)
    when = labels.first(good, is_harm=False) + requests.seconds(look)
    what = f"a candidate of {labels.words(good)} is promoted"
    return _row(what, when, requests.exposed(look))


def _row(what: str, seconds: Array, exposed: Array) -> Row:
    told = np.isfinite(seconds)
    if not told.any():
        return Row(what, 0.0, 0.0, 0.0, 0)
    median, most = np.quantile(seconds[told], (0.5, 0.9))
    return Row(what, float(told.mean()), float(median), float(most), int(np.median(exposed[told])))


@dataclass(frozen=True)
class _Requests:
    policy: Policy
    champion: Truth
    rate: float
    runs: int
    seed: int
    among: int

    @property
    def looks(self) -> Array:
        return grid(int(self.policy.canary_deadline / self.policy.interval))

    @property
    def shares(self) -> Array:
        """The candidate's share of the traffic by look and step, as looks spent at each."""
        steps = len(self.policy.steps)
        spent = [np.clip(self.looks - i, 0, 1 if i < steps - 1 else None) for i in range(steps)]
        return np.stack(spent, axis=-1)

    def seconds(self, look: Array) -> Array:
        return look * self.policy.interval

    def exposed(self, look: Array) -> Array:
        """Return the requests that a candidate has answered at each of these looks."""
        weights = np.array(self.policy.steps) / 100
        asked = (self.shares * weights).sum(axis=-1) * self.rate * self.policy.interval
        return np.asarray(np.interp(np.where(np.isfinite(look), look, 0), self.looks, asked))

    def first(self, truth: Truth, *, is_harm: bool) -> Array:
        """Return at which look each run's canary proves it good, or bad; infinity for never."""
        policy = self.policy
        errors = self._metric(truth.error_rate, self.champion.error_rate, policy.error_rate)
        slow = self._metric(truth.slow_share, self.champion.slow_share, policy.slow_share)
        if is_harm:
            seen = np.logaddexp(errors[1], slow[1])
            harm = np.logaddexp(seen, log(self.among - 2)) - log(self.among)
            return first_of(harm >= -log(policy.alpha_rollback), self.looks)
        proved = np.minimum(errors[0], slow[0]) >= -log(policy.alpha_promote)
        return first_of(proved & (self.looks >= len(policy.steps)), self.looks)

    def _metric(self, rate: float, champions: float, bound: float) -> tuple[Array, Array]:
        """Return the log evidence for and against; shape (runs, looks)."""
        policy, rng = self.policy, np.random.default_rng(self.seed)
        weights = np.array(policy.steps, float)
        new = np.diff(self.shares, axis=0, prepend=0) * self.rate * policy.interval
        new = np.broadcast_to(new, (self.runs, *new.shape))
        mine = rng.poisson(new * weights / 100)
        others = rng.poisson(new * (1 - weights / 100))
        events, champion = rng.binomial(mine, rate), rng.binomial(others, champions)
        n, m, s, t = (np.cumsum(x, axis=1) for x in (mine, others, events, champion))
        total = (s.sum(-1), n.sum(-1))
        against = relative_rates.log_against(
            total, (s, n), (t, m), weights, bound, policy.regression
        )
        return log_e(*total, bound, "<"), against
