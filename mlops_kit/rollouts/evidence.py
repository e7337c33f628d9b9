"""What counters of requests and labels prove about a candidate, whenever one looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.rollouts import relative_rates, sequential_tests
from mlops_kit.rollouts.criteria import BINARY, Criterion, ModelTask, criteria, live_criteria
from mlops_kit.rollouts.metrics import Metric
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality, Tally
from mlops_kit.rollouts.sequential_tests import Side, log_e

Array = NDArray[Any]


@dataclass(frozen=True)
class Burst:
    """How a champion's rate usually is, and how far it varies from block to block beyond chance.

    `variation` is a squared coefficient of variation; 0 where a block's events are independent.
    """

    variation: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True)
class Bursts:
    """The bursts of a champion's errors, and of its slow requests."""

    errors: Burst = Burst()
    slow: Burst = Burst()


def of_replay(policy: Policy, quality: Quality, task: ModelTask = BINARY) -> tuple[Metric, ...]:
    """Return the candidate's metrics on the champion's labelled traffic, failures the last.

    The evidence against is the mean of two, where rows are paired: that the metric is beyond its
    bound, and that the candidate fails over `policy.regression` times as often as the champion, or
    as badly, on the same rows.
    """
    return _of_replay(policy, quality, task)


def of_live(
    policy: Policy, quality: Quality | None, task: ModelTask = BINARY
) -> tuple[Metric, ...]:
    """Return the metrics by the matured labels of the candidate's own answers.

    Where too few of the mature rows have a label, these labels say nothing: the first to come
    are a selection.
    """
    enough = quality is not None and quality.coverage >= policy.coverage
    metrics = _of_labels(policy, quality if quality and enough else Quality(), task)
    return tuple(replace(m, name=f"live {m.name}", needed=False) for m in metrics)


def of_canary(
    policy: Policy,
    blocks: Iterable[Block],
    bursts: Bursts,
    live: Quality | None = None,
    task: ModelTask = BINARY,
) -> tuple[Metric, ...]:
    """Return errors and slow requests of the blocks, in any order, then what live labels say.

    Args:
        policy: the bounds.
        blocks: the pair's.
        bursts: of the champion's usual day.
        live: what labels say of the candidate's own answers.
        task: the model's.
    """
    return (*of_counts(policy, counts(blocks), bursts), *of_live(policy, live, task))


def counts(blocks: Iterable[Block]) -> Array:
    """Return the blocks with live traffic as rows: weight, candidate's counts, champion's."""
    rows = [(b.weight, *b.candidate.counts, *b.champion.counts) for b in blocks if b.weight]
    return np.array(rows, float).reshape(-1, 7)


def of_counts(policy: Policy, rows: Array, bursts: Bursts) -> tuple[Metric, Metric]:
    """Return errors and slow requests of the rows, in any order."""
    # Sorted, because a sum of floats depends on the order.
    weights, n, errors, slow, n_champion, errors_champion, slow_champion = rows[
        np.lexsort(rows.T[::-1])
    ].T
    arms = (weights, n, n_champion)
    return (
        _rate("errors", policy.error_rate, policy, bursts.errors, arms, errors, errors_champion),
        _rate("slow", policy.slow_share, policy, bursts.slow, arms, slow, slow_champion),
    )


def harm(metrics: Sequence[Metric], among: int) -> float:
    """Return the log evidence against the candidate: the mean over metrics, unseen ones being 1.

    `among` is the number of all metrics that a task has, seen or not (`criteria.total`): only a
    mean whose weights never change stays an e-process.
    """
    unseen = [0.0] * (among - len(metrics))
    return float(sequential_tests.log_mean([*(metric.log_against for metric in metrics), *unseen]))


def promotes(metrics: Iterable[Metric], alpha: float) -> bool:
    """Tell whether every metric that is needed is proved at this look.

    Several metrics cost nothing: a bad candidate is bad in one of them, and that one is proved
    with chance alpha at most. Source: intersection-union test, Berger, Technometrics 24 (1982).
    """
    return all(metric.is_proved(alpha) for metric in metrics if metric.needed)


def fail_together(policy: Policy, blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return what both versions exceed in these blocks: "errors", "slow", or nothing.

    More evidence for it than against is enough, because it only makes a rollout wait.
    """
    candidate, champion = Arm(), Arm()
    for block in blocks:
        candidate, champion = candidate + block.candidate, champion + block.champion
    bounds = {"errors": policy.error_rate, "slow": policy.slow_share}
    return tuple(
        name
        for name, bound in bounds.items()
        if all(
            log_e(getattr(arm, name), arm.requests, bound, ">") > 0 for arm in (candidate, champion)
        )
    )


def bursts(arms: Iterable[Arm]) -> Bursts:
    """Return how much the rates of a champion's intervals varied beyond chance."""
    rows = np.array([arm.counts for arm in arms if arm.requests], float).reshape(-1, 3)
    n, errors, slow = rows.T
    return Bursts(_burst(errors, n), _burst(slow, n))


# Cached, because most looks find no new labels.
@lru_cache(maxsize=64)
def _of_replay(policy: Policy, quality: Quality, task: ModelTask) -> tuple[Metric, ...]:
    found = [
        _judged(each, quality.of(each.name), policy.regression) for each in criteria(policy, task)
    ]
    failures = _share("failures", quality.failed, quality.labelled, policy.error_rate, "<")
    return (*found, failures)


@lru_cache(maxsize=64)
def _of_labels(policy: Policy, quality: Quality, task: ModelTask) -> tuple[Metric, ...]:
    return tuple(_judged(each, quality.of(each.name)) for each in live_criteria(policy, task))


def _judged(by: Criterion, tally: Tally, regression: float = 0.0) -> Metric:
    """Return a metric; its evidence against is paired with the champion where there is a ratio."""
    if by.is_mean:
        return _mean(by, tally, regression)
    metric = _share(by.name, tally.events, tally.n, by.bound, by.side)
    if not regression or by.kind == "precision":
        return metric
    both = max(tally.n - tally.events - tally.worse, 0)
    paired = sequential_tests.log_paired(tally.worse, tally.better, both, regression)
    return replace(metric, log_against=_mean_of(metric.log_against, float(paired)))


def _mean(by: Criterion, tally: Tally, regression: float) -> Metric:
    """Return the metric of a mean loss, by what bets on it have won."""
    size = sequential_tests.BETS
    parts = (tally.bets[:size], tally.bets[size : 2 * size], tally.bets[2 * size :])
    log_for, against, paired = map(sequential_tests.log_bets, parts)
    if regression and by.kind != "error ratio":
        against = _mean_of(against, paired)
    counted = (min(tally.events / 2**30, tally.n), tally.n)
    unit = by.cap or 1.0
    return Metric(
        by.name, unit * counted[0], tally.n, by.bound, by.side, log_for, against, counted, unit=unit
    )


def _mean_of(*logs: float) -> float:
    return float(sequential_tests.log_mean(logs))


def _share(name: str, events: int, n: int, bound: float, side: Side) -> Metric:
    other: Side = ">" if side == "<" else "<"
    log_for, against = (float(log_e(events, n, bound, to)) for to in (side, other))
    return Metric(name, events, n, bound, side, log_for, against, (events, n))


def _rate(
    name: str,
    bound: float,
    policy: Policy,
    burst: Burst,
    arms: tuple[Array, Array, Array],
    s: Array,
    s_champion: Array,
) -> Metric:
    """Return the metric of events by block; `arms` are the blocks' weights and both requests."""
    weights, n, m = arms
    variation = burst.variation
    # Promotion must be safe from a candidate at its bound, rollback for one like the champion. A
    # rollout's first minutes may be the calm before a burst, so the usual rate counts as well.
    own = min(bound, max(burst.rate, (s.sum() + 0.5) / (n.sum() + 1)))
    usual = min(bound, max(burst.rate, (s_champion.sum() + 0.5) / (m.sum() + 1)))
    at_bound = relative_rates.inflation(n, variation, bound)
    alone = relative_rates.inflation(n, variation, own)
    of_two = relative_rates.inflation_of_two(n, m, variation, usual)
    counted = float((s / at_bound).sum()), float((n / at_bound).sum())
    steps, *sums = relative_rates.by_weight(
        weights, s / of_two, n / of_two, s_champion / of_two, m / of_two
    )
    against = relative_rates.log_against(
        ((s / alone).sum(), (n / alone).sum()),
        (sums[0], sums[1]),
        (sums[2], sums[3]),
        steps,
        bound,
        policy.regression,
    )
    log_for = float(log_e(*counted, bound, "<"))
    seen = (int(s_champion.sum()), int(m.sum()))
    return Metric(
        name, int(s.sum()), int(n.sum()), bound, "<", log_for, float(against), counted, seen
    )


def _burst(events: Array, n: Array) -> Burst:
    return Burst(relative_rates.variation(events, n), float(events.sum() / max(n.sum(), 1)))
