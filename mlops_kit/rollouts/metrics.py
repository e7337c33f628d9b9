"""One metric's evidence, as numbers and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log

from mlops_kit.rollouts import sequential_tests
from mlops_kit.rollouts.sequential_tests import Side


@dataclass(frozen=True)
class Metric:
    """One metric's counts, and its log evidence for and against being within its bound.

    It is a share, `events` of `n`, or where `unit` isn't 0 the mean of a loss: `events` is then
    the sum of the losses, and the bound and what is `counted` are shares of `unit`, the largest
    loss that a row counts with. `side` is where the share must be: below ("<") or above (">") the
    bound. `counted` is (events, n) after the discount for bursts, `champion` the champion's
    (events, n), (0, 0) where there is none. A metric that isn't `needed` may speak against a
    candidate, but nothing waits for it.
    """

    name: str
    events: float
    n: int
    bound: float
    side: Side
    log_for: float
    log_against: float
    counted: tuple[float, float]
    champion: tuple[int, int] = (0, 0)
    needed: bool = True
    unit: float = 0.0

    def is_proved(self, alpha: float) -> bool:
        """Tell whether the evidence at this look proves the metric within its bound."""
        return self.log_for >= -log(alpha)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the shares not ruled out at this look; see sequential.interval."""
        return sequential_tests.interval(*self.counted, alpha)

    @property
    def share(self) -> float:
        """The share that was seen; of the mean of a loss, as a share of its largest."""
        return self.events / (self.unit or 1.0) / max(self.n, 1)

    def shown(self, share: float) -> str:
        """Return a share in percent, or the loss that it stands for."""
        return f"{share * self.unit:.4g}" if self.unit else percent(share)

    @property
    def amount(self) -> str:
        """What was counted, in words."""
        return f"of {self.n:,} rows" if self.unit else f"{self.events:,} of {self.n:,}"

    @property
    def seen(self) -> str:
        """The counts and the bound in words, and how many events bursts leave to count."""
        bound = f"bound {'at most' if self.side == '<' else 'at least'} {self.shown(self.bound)}"
        if not self.n:
            return f"{self.name} not seen yet ({bound})"
        parts = [self.shown(self.share), bound]
        if self.champion[1]:
            parts.append(f"champion {percent(self.champion[0] / self.champion[1])}")
        if self.counted[1] < 0.95 * self.n:
            parts.append(f"{self.n:,} counted as {self.counted[1]:,.0f}")
        return f"{self.name} {self.amount} ({', '.join(parts)})"

    def sentence(self, alpha: float) -> str:
        """Return the counts, the bound and the evidence in words, without a full stop."""
        state = "proved" if self.is_proved(alpha) else "not yet proved"
        return f"{self.seen}: evidence {times(self.log_for)}, needs {1 / alpha:,.0f}x, {state}"


def counts(metrics: Iterable[Metric], alpha: float) -> str:
    """Return the counts on one line, for a commit's trailer; the evidence follows from them."""
    shares = [f"{m.name.replace(' ', '-')}={m.events:.9g}/{m.n}" for m in metrics if m.n]
    return " ".join([*shares, f"alpha={alpha:g}"])


def percent(share: float) -> str:
    """Return a share in percent, with one digit after the point."""
    return f"{100 * share:.1f} %"


def times(log_evidence: float) -> str:
    """Return evidence as a factor in words, like "240x"."""
    if log_evidence < 0:
        return "below 1x"
    if log_evidence > log(1e6):
        return "over 1,000,000x"
    value = exp(log_evidence)
    return f"{value:.1f}x" if value < 9.95 else f"{value:,.0f}x"
