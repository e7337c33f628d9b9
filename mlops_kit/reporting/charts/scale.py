"""A scale: from numbers to places in a picture, and the ticks between its ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts import ticks
from mlops_kit.reporting.charts.series import number

Kind = Literal["linear", "log", "time"]
# A number, and how it is written.
Tick = tuple[float, str]
_PAD, _BETWEEN = 0.04, 10.0


@dataclass(frozen=True)
class Scale:
    """From numbers to pixels: linear, by powers of ten, or of seconds since the epoch."""

    low: float
    high: float
    start: float
    end: float
    kind: Kind = "linear"

    def __call__(self, value: float) -> float:
        """Return the place, at the nearer edge for what lies outside."""
        low, high, at = self._of(self.low), self._of(self.high), self._of(value)
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 2)

    def _of(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.kind == "log" else value

    def ticks(self, most: int = 6) -> list[Tick]:
        """Return at most so many round numbers within the scale, as they are written."""
        if self.kind == "time":
            found = ticks.moments(self.low, self.high, most)
            return list(zip(found, ticks.times(found), strict=True))
        if self.kind == "log":
            found = ticks.logarithmic(max(self.low, 1e-300), self.high, most)
        else:
            found = ticks.linear(self.low, self.high, most)
        written = [number(at) for at in found]
        if len(set(written)) < len(found):
            written = [f"{at:,.10g}" for at in found]
        return list(zip(found, written, strict=True))

    def fitting(self, size: float, most: int = 8) -> list[Tick]:
        """Return as many ticks as stand side by side without touching, letters so high."""
        for count in range(most, 1, -1):
            found = self.ticks(count)
            ends = [
                (self(at) - texts.width(told, size) / 2, self(at) + texts.width(told, size) / 2)
                for at, told in found
            ]
            if all(after[0] - before[1] >= _BETWEEN for before, after in pairwise(ends)):
                return found
        return self.ticks(1)[:1]


def spanning(values: Sequence[float], kind: Kind, *, pad: bool = True) -> tuple[float, float]:
    """Return the ends of a scale that holds these finite values, with a little room around."""
    low, high = min(values), max(values)
    if kind == "log":
        spread = (high / low) ** _PAD if high > low and pad else 1.0 if high > low else 2.0
        return low / spread, high * spread
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    room = (high - low) * _PAD if pad else 0.0
    # Numbers that can't be negative get no room below zero.
    return (0.0 if 0 <= low < room else low - room), high + room
