"""What a champion and a candidate did, interval by interval."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add


@dataclass(frozen=True)
class Arm:
    """What one version did in an interval: requests, of these errors, of these slow ones.

    A request that failed is an error and not also slow.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """All three numbers."""
        return self.requests, self.errors, self.slow

    def __add__(self, other: Arm) -> Arm:
        """Return the sum of both."""
        return Arm(*map(add, self.counts, other.counts))


@dataclass(frozen=True)
class Block:
    """One interval of a champion and a candidate while the candidate had this weight, in percent.

    `start` in seconds since the epoch.
    """

    weight: int
    start: float
    candidate: Arm
    champion: Arm
