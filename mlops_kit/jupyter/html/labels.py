"""Where the names of lines stand in a picture: on no line, and on no other name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
# Of the page's 11 px letters: the widest that is usual, and a line's height.
_LETTER, _HEIGHT = 6.4, 13.0
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


def box_of(text: str, x: float, baseline: float) -> Box:
    """Return the room of a text that ends at `x`, as an SVG's text-anchor end."""
    return Box(x - _LETTER * len(text), baseline - _HEIGHT + 3, x, baseline + 3)


def places(
    names: Sequence[str], lines: Sequence[Sequence[Sequence[Point]]], frame: Box
) -> list[Point] | None:
    """Return the end of each name's baseline beside its own line.

    A line is pieces of points. None where a name finds no room that is free of all lines and of
    the names before it, and clearly nearer to its own line than to any other: then the names
    belong beside the picture.
    """
    by_line = [[pair for piece in line for pair in pairwise(piece)] for line in lines]
    segments = [segment for each in by_line for segment in each]
    taken: list[Box] = []
    found: list[Point] = []
    for index, (name, line) in enumerate(zip(names, lines, strict=True)):
        others = [segment for i, each in enumerate(by_line) if i != index for segment in each]
        for place in _candidates(line):
            box = box_of(name, *place)
            free = frame.holds(box) and not any(box.overlaps(each) for each in taken)
            if (
                free
                and not any(box.meets(*segment) for segment in segments)
                and 2 * box.distance(by_line[index]) <= box.distance(others)
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
