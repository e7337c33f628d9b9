"""Where words stand in a picture: on no line, and on no other word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mlops_kit.reporting.charts import text as texts

Point = tuple[float, float]
Anchor = Literal["start", "end"]
# Of letters 11 pixels high: a line's height, and the room between a line and its name.
_SIZE, _HEIGHT = 11.0, 13.0
_GAP = 4.0
# A line offers so many places for its name.
_PLACES = 12


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Tell whether the two share a point."""
        return not (
            self.right <= other.left
            or other.right <= self.left
            or self.bottom <= other.top
            or other.bottom <= self.top
        )

    def holds(self, other: Box) -> bool:
        """Tell whether the other lies within."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    def meets(self, start: Point, end: Point) -> bool:
        """Tell whether a straight line runs through it; Liang and Barsky's clipping."""
        first, last = 0.0, 1.0
        (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
        for towards, room in (
            (-dx, x - self.left),
            (dx, self.right - x),
            (-dy, y - self.top),
            (dy, self.bottom - y),
        ):
            if towards == 0:
                if room < 0:
                    return False
            elif towards < 0:
                first = max(first, room / towards)
            else:
                last = min(last, room / towards)
        return first <= last

    def distance(self, segments: Sequence[tuple[Point, Point]]) -> float:
        """Return how far its middle is from the nearest of the straight lines."""
        x, y = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        return min((_distance(x, y, *segment) for segment in segments), default=math.inf)


def _distance(x: float, y: float, start: Point, end: Point) -> float:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / length if length else 0.0
    along = min(1.0, max(0.0, along))
    return math.hypot(x - start[0] - along * dx, y - start[1] - along * dy)


def box_of(text: str, x: float, baseline: float, size: float = _SIZE) -> Box:
    """Return the room of a text that ends at `x`, as an SVG's text-anchor end."""
    return Box(x - texts.width(text, size), baseline - _HEIGHT + 3, x, baseline + 3)


def places(
    names: Sequence[str],
    lines: Sequence[Sequence[Sequence[Point]]],
    frame: Box,
    others: Sequence[tuple[Point, Point]] = (),
    size: float = _SIZE,
) -> list[Point] | None:
    """Return the end of each name's baseline beside its own line.

    Args:
        names: one for each line.
        lines: each as pieces of points, in pixels.
        frame: what the names have to stay in.
        others: straight lines without a name, which no name may lie on.
        size: the height of the letters, in pixels.

    None where a name finds no room that is free of all lines and of
    the names before it, and clearly nearer to its own line than to any other: then the names
    belong beside the picture.
    """
    by_line = [[pair for piece in line for pair in pairwise(piece)] for line in lines]
    segments = [*others, *(segment for each in by_line for segment in each)]
    taken: list[Box] = []
    found: list[Point] = []
    for index, (name, line) in enumerate(zip(names, lines, strict=True)):
        foreign = [segment for i, each in enumerate(by_line) if i != index for segment in each]
        for place in _candidates(line):
            box = box_of(name, *place, size)
            free = frame.holds(box) and not any(box.overlaps(each) for each in taken)
            if (
                free
                and not any(box.meets(*segment) for segment in segments)
                and 2 * box.distance(by_line[index]) <= box.distance(foreign)
            ):
                taken.append(box)
                found.append(place)
                break
        else:
            return None
    return found


def _candidates(line: Sequence[Sequence[Point]]) -> Iterator[Point]:
    """Yield places beside a line, from its end to its start, above and below it."""
    points = [point for piece in line for point in piece]
    if not points:
        return
    steps = min(_PLACES, len(points))
    for step in range(steps):
        x, y = points[len(points) - 1 - step * (len(points) - 1) // max(1, steps - 1)]
        for distance in (_GAP, _GAP + 8, _GAP + 20):
            yield x, y - distance
            yield x, y + _HEIGHT + distance - 3


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Return the places, in their order, with at least the gap between any two, around 0 to 1."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [min(max(places[i], 0.0), 1.0) for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    over = max(0.0, moved[-1] - 1.0) if moved else 0.0
    if over:
        moved[-1] -= over
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    result = [0.0] * len(places)
    for position, i in enumerate(order):
        result[i] = moved[position]
    return result


@dataclass(frozen=True)
class Flag:
    """A word beside the upper end of a vertical line: its row, counted from the picture upwards."""

    at: float
    left: float
    right: float
    row: int
    anchor: Anchor

    def clashes(self, other: Flag) -> bool:
        """Tell whether the words touch, or the line of one runs through the word of the other."""
        if self.row == other.row:
            return self.left < other.right + _GAP and other.left < self.right + _GAP
        upper, lower = (self, other) if self.row > other.row else (other, self)
        return lower.left - _GAP / 2 < upper.at < lower.right + _GAP / 2


def flags(
    places: Sequence[float], widths: Sequence[float], left: float, right: float, most: int = 3
) -> list[Flag | None]:
    """Return where the words of vertical lines stand, in rows above the picture.

    Args:
        places: where the lines are, in pixels.
        widths: of their words, in pixels.
        left: where the rows begin.
        right: where they end.
        most: rows.

    None for a word without room: of words too close to each other the later ones count.
    """
    found: list[Flag | None] = [None] * len(places)
    for i in sorted(range(len(places)), key=lambda i: -places[i]):
        at, wide = places[i], widths[i]
        start, end = at + 3, at - 3
        sides: tuple[tuple[float, Anchor], ...] = ((start, "start"), (end - wide, "end"))
        options = [
            Flag(at, low, low + wide, row, anchor)
            for row in range(most)
            for low, anchor in sides
            if left <= low and low + wide <= right
        ]
        taken = [flag for flag in found if flag]
        fits = (one for one in options if not any(one.clashes(flag) for flag in taken))
        found[i] = next(fits, None)
    return found
