"""Numbers as a chart needs them: in columns, thinned out, and written for a reader."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

POINTS = 1_000


@dataclass(frozen=True)
class Series:
    """One line, dashed for a champion; `lower` and `upper` are the edges of its band.

    With `dots` the points are drawn, and no line from one to the next. A `guide` is no finding but
    what the others are compared with, and is dotted.
    """

    name: str
    x: Sequence[float | datetime]
    y: Sequence[float]
    lower: Sequence[float] | None = None
    upper: Sequence[float] | None = None
    dashed: bool = False
    dots: bool = False
    guide: bool = False

    def __post_init__(self) -> None:
        """Keep plain tuples; raises ValueError where their lengths differ."""
        for name in ("x", "y", "lower", "upper"):
            value = getattr(self, name)
            if value is None:
                continue
            object.__setattr__(self, name, plain(value))
            if len(getattr(self, name)) != len(self.x):
                raise ValueError(
                    f"Series {self.name!r} has {len(getattr(self, name))} values of {name} for "
                    f"{len(self.x)} of x; give as many."
                )

    def decimated(self, most: int = POINTS) -> Series:
        """Return the series with at most so many points, the extremes among them."""
        if len(self.y) <= most:
            return self
        kept = extremes(np.asarray(self.y, float), most)

        def pick(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[i] for i in kept)

        lower, upper = self.lower and pick(self.lower), self.upper and pick(self.upper)
        x, y = pick(self.x), pick(self.y)
        return dataclasses.replace(self, x=x, y=y, lower=lower, upper=upper)

    def told(self, i: int) -> str:
        """Return a point's value in words, with its band."""
        if self.lower is None or self.upper is None:
            return number(self.y[i])
        return f"{number(self.y[i])} ({number(self.lower[i])} to {number(self.upper[i])})"

    @property
    def dashes(self) -> str | None:
        """The dashes and gaps of its line, as SVG has them; nothing for a whole line."""
        return "1.5 3" if self.guide else "6 4" if self.dashed else None


@dataclass(frozen=True)
class Marker:
    """A vertical line with a label."""

    x: float | datetime
    label: str


@dataclass(frozen=True)
class Rule:
    """A height that means something, and is told on the axis in words."""

    y: float
    said: str


def number(value: object) -> str:
    """Return a number as a reader wants it: four digits that count, and no more."""
    match value:
        case None:
            return "–"
        case datetime():
            return value.isoformat(sep=" ", timespec="minutes")
        case int() | float():
            pass
        case _:
            return str(value)
    size = abs(value)
    if not math.isfinite(size):
        return "no number" if math.isnan(size) else "infinite"
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.3g}"
    if float(value).is_integer() or size >= 1e4:
        return f"{value:,.0f}"
    return f"{value:,.4g}"


def spread(length: int, most: int) -> list[int]:
    """Return at most so many positions, evenly spread, first and last among them."""
    if not length:
        return []
    return sorted({round(i) for i in np.linspace(0, length - 1, min(length, most))})


def plain(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return Python's own numbers and times, also of a column of a frame."""
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values))
    if array.dtype.kind == "M":
        return tuple(array.astype("datetime64[us]").tolist())
    if array.dtype.kind == "O" and all(isinstance(value, datetime) for value in array):
        return tuple(array.tolist())
    return tuple(array.astype(float).tolist())


def extremes(y: np.ndarray[Any, Any], most: int) -> list[int]:
    """Return positions: of each piece its ends, its lowest and its highest, and a gap if any."""
    kept: set[int] = set()
    for piece in np.array_split(np.arange(len(y)), max(1, most // 5)):
        finite = piece[np.isfinite(y[piece])]
        kept |= {int(piece[0]), int(piece[-1])}
        if len(finite) < len(piece):
            kept.add(int(piece[~np.isfinite(y[piece])][0]))
        if len(finite):
            kept |= {int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])}
    return sorted(kept)
