"""A rollout's metrics and evidence, as a value that a page draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_kit.releases.ledger import Entry
from mlops_kit.rollouts import evidence_history, timeline
from mlops_kit.rollouts.evidence_history import Trail
from mlops_kit.rollouts.metrics import Metric
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.state import Decision

if TYPE_CHECKING:
    from mlops_kit.rollouts.observer import ObservedState


@dataclass(frozen=True)
class MetricsView:
    """A running rollout's metrics, and how they came about.

    `alpha` bounds a wrong promotion, `alpha_rollback` a wrong rollback. `harm` is the natural log
    of the evidence for harm, over all metrics. `weights` are (seconds since the promotion, percent
    of requests to the candidate); `start` is the promotion, in seconds since the epoch.
    """

    metrics: tuple[Metric, ...] = ()
    alpha: float = 0.05
    weights: tuple[tuple[float, float], ...] = ()
    requests: int = 0
    harm: float = 0.0
    alpha_rollback: float = 0.05
    start: float = 0.0
    trails: tuple[Trail, ...] = ()


def metrics_view(policy: Policy, seen: ObservedState, decision: Decision) -> MetricsView:
    """Return a rollout's metrics and, from its counters, their evidence over time."""
    situation = seen.situation
    blocks, bursts = situation.blocks, situation.bursts
    return MetricsView(
        decision.metrics,
        policy.alpha_promote,
        _weights(timeline.of(seen.entries, seen.release.rollout), situation.now),
        sum(block.candidate.requests for block in blocks),
        decision.harm,
        policy.alpha_rollback,
        situation.started,
        evidence_history.of_canary(policy, blocks, bursts, since=situation.started),
    )


def _weights(entries: Sequence[Entry], now: float) -> tuple[tuple[float, float], ...]:
    """Return the candidate's weights, in percent, by seconds since its promotion, up to now."""
    if not entries:
        return ()
    start = entries[-1].when.timestamp()
    path = [(entry.when.timestamp() - start, float(entry.weight or 0)) for entry in entries[::-1]]
    return (*path, (max(now - start, path[-1][0]), path[-1][1]))
