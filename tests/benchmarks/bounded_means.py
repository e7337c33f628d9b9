"""How often the bets on bounded means are wrong at their bound, and how soon they are right."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from mlops_kit.rollouts.sequential_tests import BETS, SHARES, Side, log_e, log_sum

LOUD = math.log(20)
_AT_ONCE = 50
# What losses look like: all or nothing, near their mean, or the one or the other by turns of 50
# rows, each with the mean that the bound allows whatever came before.
KINDS = ("all or nothing", "near the mean", "in turns")


def losses(kind: str, runs: int, looks: int, mean: float, rng: Any) -> Any:
    """Return losses in [0, 1] of this mean, of shape (runs, looks)."""
    extreme = (rng.random((runs, looks)) < mean).astype(float)
    if kind == "all or nothing":
        return extreme
    near = rng.beta(8 * mean, 8 * (1 - mean), (runs, looks))
    return near if kind == "near the mean" else np.where(np.arange(looks) // 50 % 2, near, extreme)


def evidence(stakes: Any, largest: float) -> Any:
    """Return the log evidence after each look, as the product's bets give it."""
    logs = [np.log1p(share / largest * stakes).cumsum(axis=1) for share in SHARES]
    return log_sum(np.stack(logs, axis=-1)) - math.log(BETS)


def stakes(values: Any, bound: float, side: Side) -> tuple[Any, float]:
    """Return what a row wins or loses, and the most that it can lose."""
    return (values - bound, bound) if side == ">" else (bound - values, 1 - bound)


def ever(kind: str, mean: float, side: Side, runs: int, looks: int, seed: int = 3) -> float:
    """Return the share of runs whose evidence ever reaches 20 at the bound, at any look."""
    rng, wrong = np.random.default_rng(seed), 0
    for start in range(0, runs, _AT_ONCE):
        values = losses(kind, min(_AT_ONCE, runs - start), looks, mean, rng)
        wrong += int((evidence(*stakes(values, mean, side)).max(axis=1) >= LOUD).sum())
    return wrong / runs


def ever_paired(kind: str, mean: float, ratio: float, runs: int, looks: int) -> float:
    """Return the same where one version's losses are exactly `ratio` times the other's."""
    rng, wrong = np.random.default_rng(5), 0
    for start in range(0, runs, _AT_ONCE):
        size = min(_AT_ONCE, runs - start)
        mine = losses(kind, size, looks, ratio * mean, rng)
        others = losses(kind, size, looks, mean, rng)
        wrong += int((evidence(mine - ratio * others, ratio).max(axis=1) >= LOUD).sum())
    return wrong / runs


def rows_needed(kind: str, mean: float, bound: float, runs: int, looks: int) -> tuple[float, float]:
    """Return the median rows until a mean under its bound is proved: by bets, and as a share."""
    values = losses(kind, runs, looks, mean, np.random.default_rng(7))
    n = np.arange(1, looks + 1)
    found = []
    for log in (
        evidence(*stakes(values, bound, "<")),
        log_e(values.cumsum(axis=1), n, bound, "<"),
    ):
        reached = log >= LOUD
        first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, np.inf)
        found.append(float(np.median(first)))
    return found[0], found[1]


def table(pool: ProcessPoolExecutor, _rates: object, runs: int) -> list[str]:
    """Return the share of false proofs by bound, side and kind, and the rows to a right one."""
    looks, bounds = 3_000, (0.02, 0.1, 0.25, 0.5, 2 / 3)
    cells = {
        (bound, side, kind): pool.submit(ever, kind, bound, side, runs, looks)
        for bound in bounds
        for side in ("<", ">")
        for kind in KINDS
    }
    paired = {kind: pool.submit(ever_paired, kind, 0.1, 2.0, runs, looks) for kind in KINDS}
    need = partial(rows_needed, runs=min(runs, 100), looks=looks)
    needed = {kind: pool.submit(need, kind, 0.15, 0.25) for kind in KINDS}
    lines = [
        f"| at the bound, {looks:,} looks | {' | '.join(KINDS)} |",
        "|---|---:|---:|---:|",
    ]
    for bound in bounds:
        for side in ("<", ">"):
            wrong = [f"{cells[bound, side, kind].result():.1%}" for kind in KINDS]
            lines.append(f"| mean {bound:.2f}, proved {side} | {' | '.join(wrong)} |")
    wrong = [f"{paired[kind].result():.1%}" for kind in KINDS]
    lines.append(f"| exactly twice the champion's, proved worse | {' | '.join(wrong)} |")
    rows = ["{:,.0f} / {:,.0f}".format(*needed[kind].result()) for kind in KINDS]
    lines.append(f"| rows to prove .15 under .25: bets / as a share | {' | '.join(rows)} |")
    return [*lines, "", "The theory allows 5 %."]
