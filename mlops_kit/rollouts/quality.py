"""Counts of labelled rows: what they say of a version's answers, whatever its task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tally:
    """What was counted for one metric.

    `events` of `n` rows; for the mean of a loss, the sum of the losses as shares of their cap, in
    units of 2^-30. `worse` and `better` are rows that only the champion or only this version got
    right, 0 where the two weren't compared. `bets` is the log wealth of the bets on a mean: for
    the bound, against it, and against the champion; empty for a share.
    """

    events: int = 0
    n: int = 0
    worse: int = 0
    better: int = 0
    bets: tuple[int, ...] = ()

    def plus(self, other: Tally, sign: int = 1) -> Tally:
        """Return the sum of both, or the difference for the sign -1."""
        size = max(len(self.bets), len(other.bets))
        mine, others = (each + (0,) * (size - len(each)) for each in (self.bets, other.bets))
        return Tally(
            self.events + sign * other.events,
            self.n + sign * other.n,
            self.worse + sign * other.worse,
            self.better + sign * other.better,
            tuple(a + sign * b for a, b in zip(mine, others, strict=True)),
        )


EMPTY = Tally()


@dataclass(frozen=True)
class Quality:
    """What matured labels say of a version's answers, a tally for each metric by its name.

    `mature` are the rows old enough to count, `labelled` those of them with a label, and `failed`
    the labelled rows that a candidate couldn't score in the replay.
    """

    tallies: tuple[tuple[str, Tally], ...] = ()
    mature: int = field(default=0, kw_only=True)
    labelled: int = field(default=0, kw_only=True)
    failed: int = field(default=0, kw_only=True)

    @property
    def coverage(self) -> float:
        """The share of the mature rows that has a label; 0 without any."""
        return self.labelled / self.mature if self.mature else 0.0

    def of(self, name: str) -> Tally:
        """Return what was counted for a metric; nothing where it wasn't."""
        return dict(self.tallies).get(name, EMPTY)

    def plus(self, other: Quality, sign: int = 1) -> Quality:
        """Return what both say together, or without the other for the sign -1."""
        names = dict.fromkeys(name for each in (self, other) for name, _ in each.tallies)
        return Quality(
            tuple((name, self.of(name).plus(other.of(name), sign)) for name in names),
            mature=self.mature + sign * other.mature,
            labelled=self.labelled + sign * other.labelled,
            failed=self.failed + sign * other.failed,
        )

    def __add__(self, other: Quality) -> Quality:
        """Return what both say together."""
        return self.plus(other)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "tallies": {name: asdict(tally) for name, tally in self.tallies},
            "mature": self.mature,
            "labelled": self.labelled,
            "failed": self.failed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Quality | None:
        """Return what `to_json` gave; None for the counts of an mlops-kit of before."""
        if "tallies" not in data:
            return None
        tallies: Iterable[tuple[str, Mapping[str, Any]]] = data["tallies"].items()
        found = tuple((name, _tally(each)) for name, each in tallies)
        rest: dict[str, int] = {name: data[name] for name in ("mature", "labelled", "failed")}
        return cls(found, **rest)


def _tally(data: Mapping[str, Any]) -> Tally:
    bets: Sequence[int] = data["bets"]
    return Tally(**{**data, "bets": tuple(bets)})
