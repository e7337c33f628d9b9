"""A simulated candidate, its traffic and its late labels, judged by the kit and by Flagger's rule.

The kit's side is the product's own `evidence` and `decide`; only the counters are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.releases.release import Promote, Release, Replace, ServedModel, Shift, apply
from mlops_kit.rollouts import evidence
from mlops_kit.rollouts.decision import RolloutState, decide
from mlops_kit.rollouts.evidence import Bursts
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality
from tests.qualities import binary

Rng = np.random.Generator

FRAUD_RATE = 0.005
MATURITY = 900.0
HOLDOUT, HISTORY = 0.2, 86_400.0
OUTAGE, OUTAGE_RATE = (120.0, 240.0), 0.3
HORIZON = 48 * 3600.0
POLICY = Policy(
    recall=0.85,
    precision=0.90,
    error_rate=0.05,
    slow_ms=500.0,
    slow_share=0.01,
    interval=60.0,
    maturity=MATURITY,
    replay_deadline=10 * HORIZON,
    canary_deadline=10 * HORIZON,
)


@dataclass(frozen=True)
class Truth:
    """What a version's rates really are; `variation` of its errors from minute to minute."""

    recall: float = 0.92
    precision: float = 0.95
    errors: float = 0.01
    slow: float = 0.004
    variation: float = 0.0


CHAMPION = Truth(recall=0.90, precision=0.94)


@dataclass(frozen=True)
class Scenario:
    key: str
    name: str
    truth: Truth
    is_good: bool = False
    has_outage: bool = False


SCENARIOS = (
    Scenario("a", "good", Truth(), is_good=True),
    Scenario("b", "recall .75", Truth(recall=0.75)),
    Scenario("c", "errors 8 %", Truth(errors=0.08)),
    Scenario("d", "3 % slow", Truth(slow=0.03)),
    Scenario("b2", "recall .82", Truth(recall=0.82)),
    Scenario("c2", "errors 6 %", Truth(errors=0.06)),
    Scenario("d2", "1.5 % slow", Truth(slow=0.015)),
    Scenario("e", "identical", CHAMPION, is_good=True),
    Scenario("f", "good, shared outage", Truth(), is_good=True, has_outage=True),
)
# Exactly at a bound, which is where a test is wrong most often.
NULLS = (
    Scenario("recall", "recall at .85", Truth(recall=0.85)),
    Scenario("precision", "precision at .90", Truth(precision=0.90)),
    Scenario("errors", "errors at 5 %", Truth(errors=0.05)),
    Scenario("slow", "slow at 1 %", Truth(slow=0.01)),
)


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended: "promoted", "rolled back" or "undecided"; in minutes and requests."""

    end: str
    minutes: float
    exposed: int


class World:
    """One rollout's traffic and labels."""

    def __init__(self, scenario: Scenario, rate: float, rng: Rng, champion: Truth = CHAMPION):
        self.scenario, self.rate, self.rng = scenario, rate, rng
        self.champion = champion
        self.waiting: list[tuple[float, int]] = []

    def replay(self, seconds: float, share: float) -> Quality:
        """Return what this share of so long a time of labelled traffic says."""
        return self.labels(int(self.rng.poisson(self.rate * seconds * share)))

    def block(self, weight: int, start: float, seconds: float) -> Block:
        """Return the counters of an interval."""
        n = int(self.rng.poisson(self.rate * seconds))
        mine = int(self.rng.binomial(n, weight / 100))
        self.waiting.append((start + seconds + MATURITY, mine))
        candidate = self._arm(mine, self.scenario.truth, start)
        return Block(weight, start, candidate, self._arm(n - mine, self.champion, start))

    def live(self, now: float) -> Quality | None:
        """Return the labels of the candidate's own answers that matured since the last look."""
        mature = sum(n for time, n in self.waiting if time <= now)
        self.waiting = [(time, n) for time, n in self.waiting if time > now]
        return self.labels(mature, paired=False) if mature else None

    def day(self, seconds: float) -> Bursts:
        """Return the bursts of the champion's last day."""
        sizes = self.rng.poisson(self.rate * seconds, int(86_400 / seconds))
        return evidence.bursts([self._arm(int(n), self.champion, 0.0) for n in sizes])

    def _arm(self, n: int, truth: Truth, start: float) -> Arm:
        errors = _burst(self.rng, truth.errors, truth.variation)
        if self.scenario.has_outage and OUTAGE[0] <= start < OUTAGE[1]:
            errors = OUTAGE_RATE
        failed = int(self.rng.binomial(n, errors))
        return Arm(n, failed, int(self.rng.binomial(n - failed, truth.slow)))

    def labels(self, rows: int, *, paired: bool = True) -> Quality:
        """Return what the labels of so many rows say."""
        rng, truth = self.rng, self.scenario.truth
        positives = int(rng.binomial(rows, FRAUD_RATE))
        caught = int(rng.binomial(positives, truth.recall))
        alarms = rows * FRAUD_RATE * truth.recall * (1 - truth.precision) / truth.precision
        return binary(
            positives,
            caught,
            caught + int(rng.poisson(alarms)),
            paired * int(rng.binomial(positives - caught, self.champion.recall)),
            paired * int(rng.binomial(caught, 1 - self.champion.recall)),
            mature=rows,
            labelled=rows,
        )


def kit(
    world: World, policy: Policy = POLICY, horizon: float = HORIZON, bursts: bool = False
) -> Outcome:
    """Return how the kit's decisions end this rollout."""
    model, new = (
        ServedModel("1", "models:/m/1", "sha256:1"),
        ServedModel("2", "models:/m/2", "sha256:2"),
    )
    release = apply(Release("fraud", "prod"), Replace(model))
    release = apply(release, Promote(new, "r"))
    step = policy.interval
    replay, live = world.replay(HISTORY, HOLDOUT), None
    seen = RolloutState(0.0, release, 0.0, 0.0, bursts=world.day(step) if bursts else Bursts())
    blocks: list[Block] = []
    while seen.now < horizon:
        now = seen.now + step
        if release.weight:
            blocks.append(world.block(release.weight, seen.now, step))
        # What came after the training may all be used; the champion answers its share of it.
        replay = replay + world.replay(step, 1 - release.weight / 100)
        fresh = world.live(now)
        live = fresh if live is None or fresh is None else live + fresh
        seen = replace(
            seen, now=now, release=release, blocks=tuple(blocks), replay=replay, live=live
        )
        decision = decide(policy, seen)
        exposed = sum(block.candidate.requests for block in blocks)
        if decision.act == "complete":
            return Outcome("promoted", now / 60, exposed)
        if decision.act == "abort":
            return Outcome("rolled back", now / 60, exposed)
        if isinstance(decision.change, Shift):
            release = apply(release, decision.change)
            shifted = now if seen.shifted is None else seen.shifted
            seen = replace(seen, since=now, shifted=shifted)
    return Outcome("undecided", horizon / 60, exposed)


def flagger(world: World, *, labels: bool, missing: bool, policy: Policy = POLICY) -> Outcome:
    """Return how Flagger's rule ends this rollout: five failed checks before five that pass.

    `labels` gives the rule labels without delay, which nobody has; `missing` is whether a check
    passes where its query has no value. Read in Flagger's pkg/controller/scheduler.go.
    """
    weight, failed, now, exposed = policy.steps[0], 0, 0.0, 0
    while True:
        block = world.block(weight, now, policy.interval)
        now, exposed = now + policy.interval, exposed + block.candidate.requests
        # The count is looked at when a tick begins, so a rollback comes one interval late.
        if failed >= 5:
            return Outcome("rolled back", now / 60, exposed)
        quality = world.labels(block.candidate.requests) if labels else Quality()
        if not _passes(policy, block.candidate, quality, missing):
            failed += 1
        elif weight >= policy.steps[-1]:
            return Outcome("promoted", now / 60, exposed)
        else:
            weight = next(step for step in policy.steps if step > weight)


def _passes(policy: Policy, arm: Arm, quality: Quality, missing: bool) -> bool:
    recall, precision = quality.of("recall"), quality.of("precision")
    checks: list[tuple[int, int, Any]] = [
        (arm.errors, arm.requests, lambda share: share <= policy.error_rate),
        (arm.slow, arm.requests, lambda share: share <= policy.slow_share),
        (recall.events, recall.n, lambda share: share >= policy.recall),
        (precision.events, precision.n, lambda share: share >= policy.precision),
    ]
    return all(within(events / n) if n else missing for events, n, within in checks)


def _burst(rng: Rng, mean: float, variation: float) -> float:
    """Return a minute's rate: Beta with this mean and squared coefficient of variation."""
    if not variation:
        return mean
    size = (1 - mean) / (mean * variation) - 1
    return float(rng.beta(mean * size, (1 - mean) * size))
