"""Sequential tests on counters, valid however often one looks.

Each test is an e-process: as long as its null hypothesis is true, the chance that it is *ever*
1/alpha or more is at most alpha (Ville, 1939). All are functions of counts alone, so the order of
events doesn't matter, several processes' counts may be added, and a restart continues.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.polynomial.laguerre import laggauss
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln

Array = NDArray[Any]
Side = Literal["<", ">"]

# The shares of its wealth that each bet can lose on a row: for small and for large differences.
SHARES = np.geomspace(0.02, 0.95, 12)
BETS = len(SHARES)
# Log wealth is counted in these units.
_UNIT = 2.0**30

# Below this betainc loses digits: at 1e-273 all but three, elsewhere at 1e-257 all.
_UNDERFLOW = 1e-200


def log_e(
    s: ArrayLike, n: ArrayLike, bound: ArrayLike, side: Side, a: float = 1.0, b: float = 1.0
) -> Array:
    """Return the log evidence that a share is above (">") or below ("<") a bound.

    The arguments are broadcast. Under the null hypothesis of ">", each event has at most
    probability `bound`, whatever came before. The evidence is a mixture of likelihood ratios over
    a Beta(a, b) prior, truncated to the side. With p the bound and I the regularised incomplete
    beta function, for ">":

        E = B(a+s, b+n-s) (1 - I_p(a+s, b+n-s)) / [B(a, b) (1 - I_p(a, b)) p^s (1-p)^(n-s)]

    Sources: Robbins, Ann. Math. Statist. 41 (1970); Howard, Ramdas, McAuliffe and Sekhon, Ann.
    Statist. 49 (2021). Raises ValueError for counts below 0, s > n, or a bound outside (0, 1).

    Args:
        s: how many of the events count; needn't be whole.
        n: the number of events.
        bound: the share to test against.
        side: the alternative, ">" or "<".
        a: the prior's first parameter.
        b: the prior's second parameter.
    """
    hits, p = np.asarray(s, float), np.asarray(bound, float)
    misses = np.asarray(n, float) - hits
    if not ((hits >= 0) & (misses >= 0) & (p > 0) & (p < 1)).all():
        raise ValueError(f"{s=!r:.80}, {n=!r:.80}, {bound=!r:.80}; expected 0 <= s <= n, 0 < p < 1")
    if side == "<":
        return _log_above(misses, hits, 1 - p, p, b, a)
    return _log_above(hits, misses, p, 1 - p, a, b)


def _log_above(s: Array, f: Array, p: Array, q: Array, a: float, b: float) -> Array:
    above = betainc(b + f, a + s, q)
    prior = betaln(a, b) + np.log(betainc(b, a, q))
    with np.errstate(divide="ignore"):
        log = betaln(a + s, b + f) + np.log(above) - s * np.log(p) - f * np.log(q) - prior
    tail = above < _UNDERFLOW
    if tail.any():
        s, f, p, q, log = (np.array(x) for x in np.broadcast_arrays(s, f, p, q, log))
        log[tail] = _log_tail(s[tail] + a - 1, f[tail] + b - 1, p[tail], q[tail])
        log[tail] += ((a - 1) * np.log(p) + (b - 1) * np.log(q) - prior)[tail]
    return np.asarray(log)


@cache
def _falling() -> tuple[Array, Array]:
    nodes, weights = laggauss(40)
    return nodes, np.log(weights)


def _log_tail(s: Array, f: Array, p: Array, q: Array) -> Array:
    """Return the log of the integral of (1+d/p)^s (1-d/q)^f over d from 0 to q, far below p.

    There the integrand falls almost like exp(-slope d), which Gauss and Laguerre's rule is for.
    """
    nodes, log_weights = _falling()
    slope = f / q - s / p
    d = nodes / slope[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = s[..., None] * np.log1p(d / p[..., None])
        rest = rest + f[..., None] * np.log1p(-np.minimum(d / q[..., None], 1))
    return np.asarray(log_sum(rest + nodes + log_weights) - np.log(slope))


@cache
def _bets(ratio: float) -> tuple[Array, Array]:
    nodes, weights = leggauss(32)
    return 0.9 / ratio * (nodes + 1) / 2, np.log(weights / 2)


def log_paired(worse: ArrayLike, better: ArrayLike, both: ArrayLike, ratio: float) -> Array:
    """Return the log evidence that one fails over `ratio` times as often as another on equal rows.

    `worse` rows fail only the first, `better` only the second, `both` both. A row's stake is
    (failed first) - ratio (failed second), whose mean is 0 or less under the null; the wealth of
    a bet on it, mixed over constant bets. With ratio 1 a sequential McNemar test. Source:
    Waudby-Smith and Ramdas, J. R. Statist. Soc. B 86 (2024).
    """
    bets, log_weights = _bets(ratio)
    counts = [np.asarray(count, float)[..., None] for count in (worse, better, both)]
    stakes = (1.0, -ratio, 1.0 - ratio)
    wealth = sum(n * np.log1p(bets * x) for n, x in zip(counts, stakes, strict=True))
    return log_sum(wealth + log_weights)


def bounded_bets(losses: Array, bound: float, side: Side) -> tuple[int, ...]:
    """Return the log wealth of constant bets on a bounded mean, one a bet, in units of 2^-30.

    `losses` (n,) are in [0, 1]. For ">" the null is that each has at most the mean `bound`,
    whatever came before; bet j has the wealth prod(1 + b_j (x_i - bound)), for "<" the stake is
    bound - x_i. A sum of logs over the rows: it doesn't depend on their order, sums of several
    processes add, and rows can be taken away. Whole numbers, rounded down, add without an error,
    and are never more than the wealth. `log_bets` makes evidence of them. Source: Waudby-Smith
    and Ramdas, J. R. Statist. Soc. B 86 (2024).
    """
    stakes = losses - bound if side == ">" else bound - losses
    return _wealth(stakes, bound if side == ">" else 1 - bound)


def paired_bets(losses: Array, others: Array, ratio: float) -> tuple[int, ...]:
    """Return the log wealth of bets that losses exceed `ratio` times others' on the same rows.

    Both (n,) are in [0, 1]; see `bounded_bets`.
    """
    return _wealth(losses - ratio * others, ratio)


def log_bets(wealth: ArrayLike) -> float:
    """Return the log evidence of bets as `bounded_bets` sums them; 0 without any.

    The mean of their wealths, so the weights are fixed.
    """
    logs = np.asarray(wealth, float) / _UNIT
    return float(log_mean(logs)) if logs.size else 0.0


def _wealth(stakes: Array, largest_loss: float) -> tuple[int, ...]:
    """Return the log wealth by bet; no stake is under -`largest_loss`."""
    logs = np.log1p(np.outer(SHARES / largest_loss, stakes))
    return tuple(np.floor(logs * _UNIT).astype(np.int64).sum(axis=1).tolist())


def interval(s: float, n: float, alpha: float) -> tuple[float, float]:
    """Return the shares that log_e speaks against on neither side, each at `alpha`.

    A confidence sequence: its lower end is above a bound exactly where log_e for ">" proves so at
    this look. Accurate to 1e-6.
    """
    return _lower(s, n, alpha), 1 - _lower(n - s, n, alpha)


def _lower(s: float, n: float, alpha: float) -> float:
    low, high = 0.0, s / n if n else 0.0
    while high - low > 1e-6:
        grid = np.linspace(low, high, 34)[1:-1]
        proved = int(np.sum(log_e(s, n, grid, ">") >= -np.log(alpha)))
        ends = [low, *grid.tolist(), high]
        low, high = ends[proved], ends[proved + 1]
    return low


def log_mean(logs: ArrayLike) -> Array:
    """Return the log of the mean of exp over the last axis, a mean of e-processes being one.

    Source: Vovk and Wang, Ann. Statist. 49 (2021).
    """
    values = np.asarray(logs, float)
    return np.asarray(log_sum(values) - np.log(values.shape[-1]))


def log_sum(logs: Array) -> Array:
    """Return the log of the sum of exp over the last axis."""
    # A tenth of the time of scipy's logsumexp on the few numbers of a look.
    return np.asarray(np.logaddexp.reduce(logs, axis=-1))
