"""The evidence on a canary over time, from its counters alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from mlops_kit.prediction_log.blocks import Block
from mlops_kit.rollouts import evidence
from mlops_kit.rollouts.evidence import Bursts
from mlops_kit.rollouts.policy import Policy

# Seconds since the epoch, log evidence for being within the bound, and log evidence against it.
Point = tuple[float, float, float]
_LEAST, _WORK = 10, 200_000


@dataclass(frozen=True)
class Trail:
    """One metric's evidence over time; None is a time without data."""

    name: str
    points: tuple[Point | None, ...]


def of_canary(
    policy: Policy, blocks: Iterable[Block], bursts: Bursts, *, since: float = 0.0, most: int = 40
) -> tuple[Trail, ...]:
    """Return the evidence on errors and slow requests over time.

    Args:
        policy: the bounds.
        blocks: the pair's, in any order.
        bursts: of the champion's usual day.
        since: the first moment shown, in seconds since the epoch; earlier blocks still count.
        most: how many moments to show.
    """
    seen = sorted((b for b in blocks if b.weight), key=lambda block: block.start)
    first = next((i for i, block in enumerate(seen) if block.start >= since), len(seen))
    # Each moment costs as much as all blocks before it: show fewer moments of a long canary.
    most = min(most, max(_LEAST, _WORK // max(len(seen), 1)))
    found: dict[str, list[Point | None]] = {}
    before, rows = first, evidence.counts(seen)
    for place in _spread(first, len(seen), most):
        stretch = seen[max(before - 1, first) : place + 1]
        is_apart = _is_apart(stretch, policy.missing_looks * policy.interval)
        moment = seen[place].start + policy.interval
        for metric in evidence.of_counts(policy, rows[: place + 1], bursts):
            points = found.setdefault(metric.name, [])
            if is_apart and points:
                points.append(None)
            points.append((moment, metric.log_for, metric.log_against))
        before = place + 1
    return tuple(Trail(name, tuple(points)) for name, points in found.items())


def _spread(first: int, end: int, most: int) -> list[int]:
    """Return up to `most` places from `first` to before `end`, the last one among them."""
    count = end - first
    if count <= most:
        return list(range(first, end))
    return sorted({first + (i * (count - 1)) // (most - 1) for i in range(most)})


def _is_apart(blocks: list[Block], longest: float) -> bool:
    starts = [block.start for block in blocks]
    return any(b - a > longest for a, b in pairwise(starts))
