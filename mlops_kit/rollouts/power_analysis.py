"""What a rollout will be able to tell at this traffic, and how soon, before it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.rollouts import relative_rates
from mlops_kit.rollouts.criteria import BINARY, total
from mlops_kit.rollouts.metrics import percent
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.sequential_tests import log_e, log_mean, log_paired
from mlops_kit.rollouts.state import span

Array = NDArray[Any]

# Looks that are simulated of a phase: the first ones all, then ever fewer.
_LOOKS = 160


@dataclass(frozen=True)
class Truth:
    """What a version's rates are assumed to be, as shares."""

    recall: float
    precision: float
    error_rate: float
    slow_share: float


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
    positive_rate: float,
    label_delay: float = 0.0,
    history: int = 0,
    good: Truth | None = None,
    champion: Truth | None = None,
    runs: int = 100,
    seed: int = 0,
) -> Plan:
    """Return how long a promotion takes, and which regression is found how soon.

    `rate` in requests a second, of one row each; `positive_rate` as a share; `label_delay` in
    seconds; `history` counts the labelled rows that a replay has at once. Without any, labels
    begin to come after their delay. `good` and `champion` default to rates well within the bounds.
    Simulated with the evidence's own functions, as if the weight rose while a regression isn't
    proved. Raises ValueError for a rate or share out of range.
    """
    if not (0 < rate < float("inf") and 0 < positive_rate < 1 and history >= 0 and runs > 0):
        raise ValueError(
            f"{rate=}, {positive_rate=}, {history=}, {runs=}; expected a rate over 0, a positive "
            "rate between 0 and 1, 0 or more labelled rows and 1 or more runs"
        )
    good, champion = good or _well_within(policy), champion or good or _well_within(policy)
    wait = 0.0 if history else max(label_delay, policy.maturity)
    labels = _Labels(policy, champion, rate, positive_rate, history, wait, runs, seed)
    requests = _Requests(policy, champion, rate, runs, seed)
    traffic = (
        f"{rate:,.10g} requests a second, {percent(positive_rate)} positives, labels after "
        f"{span(label_delay)}, {history:,} labelled rows now; looks every {policy.interval:g} s."
    )
    rows = [_promotion(labels, requests, good), *_regressions(labels, requests, good)]
    return Plan(traffic, tuple(rows))


def _well_within(policy: Policy) -> Truth:
    return Truth(
        recall=(1 + policy.recall) / 2,
        precision=(1 + policy.precision) / 2,
        error_rate=policy.error_rate / 5,
        slow_share=policy.slow_share * 0.4,
    )


def _regressions(labels: _Labels, requests: _Requests, good: Truth) -> list[Row]:
    policy = labels.policy
    found = []
    for name, bound in (("recall", policy.recall), ("precision", policy.precision)):
        for points in (0.10, 0.03):
            bad = max(bound - points, 0.0)
            when = labels.first(replace(good, **{name: bad}), is_harm=True)
            found.append(_row(f"{name} {percent(bad)} is found", when, np.zeros(len(when))))
    for name, bound in (("error_rate", policy.error_rate), ("slow_share", policy.slow_share)):
        for factor in (3.0, 1.5):
            bad = min(factor * bound, 1.0)
            look = requests.first(replace(good, **{name: bad}), is_harm=True)
            what = f"{'errors' if name == 'error_rate' else 'slow'} {percent(bad)} is found"
            found.append(_row(what, requests.seconds(look), requests.exposed(look)))
    return found


def _promotion(labels: _Labels, requests: _Requests, good: Truth) -> Row:
    look = requests.first(good, is_harm=False)
    when = labels.first(good, is_harm=False) + requests.seconds(look)
    what = f"a candidate of recall {percent(good.recall)}, precision {percent(good.precision)}"
    return _row(f"{what} is promoted", when, requests.exposed(look))


def _row(what: str, seconds: Array, exposed: Array) -> Row:
    told = np.isfinite(seconds)
    if not told.any():
        return Row(what, 0.0, 0.0, 0.0, 0)
    median, most = np.quantile(seconds[told], (0.5, 0.9))
    return Row(what, float(told.mean()), float(median), float(most), int(np.median(exposed[told])))


def _grid(looks: int) -> Array:
    """Return which looks are simulated: the first ones, then ever fewer, and the last."""
    last = max(looks, 1)
    if last <= _LOOKS:
        return np.arange(1, last + 1)
    return np.unique(
        [*range(1, _LOOKS // 2), *np.geomspace(_LOOKS // 2, last, _LOOKS // 2).astype(int)]
    )


def _first(reached: Array, seconds: Array) -> Array:
    """Return for each run (row) the time of the first look that reached it, else infinity."""
    return np.where(reached.any(axis=1), seconds[reached.argmax(axis=1)], np.inf)


@dataclass(frozen=True)
class _Labels:
    policy: Policy
    champion: Truth
    rate: float
    positive_rate: float
    history: int
    wait: float
    runs: int
    seed: int

    def first(self, truth: Truth, *, is_harm: bool) -> Array:
        """Return when, in seconds, each run's replay proves it good, or bad; infinity for never."""
        policy, rng = self.policy, np.random.default_rng(self.seed)
        seconds = _grid(int(policy.replay_deadline / policy.interval)) * policy.interval
        rows = self.history + self.rate * np.maximum(seconds - self.wait, 0)
        new = np.broadcast_to(np.diff(rows, prepend=0), (self.runs, len(rows)))
        positives = rng.poisson(new * self.positive_rate)
        caught = rng.binomial(positives, truth.recall)
        alarms = self.positive_rate * truth.recall * (1 / max(truth.precision, 1e-3) - 1)
        false = rng.poisson(new * alarms)
        worse = rng.binomial(positives - caught, self.champion.recall)
        better = rng.binomial(caught, 1 - self.champion.recall)
        both = positives - caught - worse
        positives, caught, false, worse, better, both = (
            np.cumsum(x, axis=1) for x in (positives, caught, false, worse, better, both)
        )
        flagged = caught + false
        if is_harm:
            paired = log_paired(worse, better, both, policy.regression)
            recall = log_mean(np.stack([log_e(caught, positives, policy.recall, "<"), paired], -1))
            precision = log_e(caught, flagged, policy.precision, "<")
            unseen = [np.zeros_like(recall)] * (total(policy, BINARY) - 2)
            seen = [recall, precision, *unseen]
            return _first(log_mean(np.stack(seen, -1)) >= -log(policy.alpha_rollback), seconds)
        recall = log_e(caught, positives, policy.recall, ">")
        precision = log_e(caught, flagged, policy.precision, ">")
        return _first(np.minimum(recall, precision) >= -log(policy.alpha_promote), seconds)


@dataclass(frozen=True)
class _Requests:
    policy: Policy
    champion: Truth
    rate: float
    runs: int
    seed: int

    @property
    def looks(self) -> Array:
        return _grid(int(self.policy.canary_deadline / self.policy.interval))

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
            among = total(policy, BINARY)
            harm = np.logaddexp(seen, log(among - 2)) - log(among)
            return _first(harm >= -log(policy.alpha_rollback), self.looks)
        proved = np.minimum(errors[0], slow[0]) >= -log(policy.alpha_promote)
        return _first(proved & (self.looks >= len(policy.steps)), self.looks)

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
