"""Small pictures as SVG in a page: they take its colours, and say in words what they show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlops_kit.formatting import number
from mlops_kit.jupyter.html import labels
from mlops_kit.jupyter.html.labels import Box
from mlops_kit.jupyter.html.markup import Html, joined, tag
from mlops_kit.reporting.charts import ticks

Point = tuple[float, float]
_WIDTH, _HEIGHT = 400.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 388.0, 10.0, 200.0
_WORD = 28.0

# Word, shape and colour say one thing, so that no reader needs all three.
_MARKS: dict[str, tuple[str, Html]] = {
    "pass": ("--pass", tag("path", d="M8 0a8 8 0 1 0 .1 0zM4 8l3 3 5-6", stroke="#fff")),
    "fail": ("--fail", tag("path", d="M0 0h16v16H0zM4 4l8 8M12 4l-8 8", stroke="#fff")),
    "inconclusive": ("--inconclusive", tag("path", d="M8 1l7 7-7 7-7-7z", fill="none")),
    "running": ("--running", tag("path", d="M2 1l13 7-13 7z")),
    "waiting": ("--line", tag("circle", cx=8, cy=8, r=6, fill="none")),
}
_SAME = {
    "succeeded": "pass",
    "cached": "pass",
    "failed": "fail",
    "skipped": "waiting",
    "stopped": "inconclusive",
    "proved": "pass",
    "not yet": "inconclusive",
}


def word(state: str, said: str = "") -> Html:
    """Return a state as a word, with its shape in its colour."""
    colour, shape = _MARKS[_SAME.get(state, state if state in _MARKS else "waiting")]
    picture = tag(
        "svg",
        shape,
        viewBox="0 0 16 16",
        aria_hidden="true",
        style=f"fill:var({colour});stroke:var({colour});stroke-width:2",
    )
    return tag("span", picture, said or state.upper(), class_="word")


@dataclass(frozen=True)
class Scale:
    """From numbers to a place on the paper, linear or by powers of ten."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place, at the nearer edge for what lies outside."""
        low, high, at = self._of(self.low), self._of(self.high), self._of(value)
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 2)

    def _of(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.is_log else value

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if self.is_log:
            return ticks.logarithmic(max(self.low, 1e-12), self.high)
        return ticks.linear(self.low, self.high)


@dataclass(frozen=True)
class Line:
    """A line with its name; the champion's is dashed."""

    name: str
    points: tuple[Point | None, ...]  # None is a gap
    dashed: bool = False


@dataclass(frozen=True)
class Rule:
    """A height that means something, and stands on the axis in words."""

    y: float
    said: str


@dataclass(frozen=True)
class Chart:
    """Lines on two axes; `says` is what a reader without the picture has to know.

    `rules` take the place of the ticks of y, `marks` are moments of x with a word each.
    """

    title: str
    says: str
    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False
    unit: bool = False  # both axes go from 0 to 1
    steps: bool = False
    rules: tuple[Rule, ...] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    marks: tuple[tuple[float, str], ...] = ()

    @property
    def scales(self) -> tuple[Scale, Scale]:
        """The scales of x and y."""
        points = [point for line in self.lines for point in line.points if point] or [(0.0, 0.0)]
        xs, ys = zip(*points, strict=True)
        (low_x, high_x), (low_y, high_y) = (min(xs), max(xs)), (min(ys), max(ys))
        if self.unit:
            low_x, high_x, low_y, high_y = 0.0, 1.0, 0.0, 1.0
        if self.x_range:
            low_x, high_x = self.x_range
        if self.y_range:
            low_y, high_y = self.y_range
        elif not self.log_y:
            low_y = min(0.0, low_y)
        return (
            Scale(low_x, high_x, _LEFT, _RIGHT, self.log_x),
            Scale(low_y, high_y, _BOTTOM, _TOP, self.log_y),
        )


def chart(value: Chart, marks: Callable[[Scale, Scale], Sequence[Html]] | None = None) -> Html:
    """Return the chart as a figure with its title; `marks` are drawn over the lines."""
    x, y = value.scales
    pieces = [_pieces(line, x, y, value.steps) for line in value.lines]
    names = [line.name for line in value.lines]
    room = Box(_LEFT + 2, _TOP - 4, _RIGHT + 8, _BOTTOM - 2)
    places = labels.places(names, pieces, room)
    frame = tag("path", d=f"M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}", stroke="currentColor", fill="none")
    drawn = tag(
        "svg",
        frame,
        *_axes(value, x, y),
        *(_line(line, parts) for line, parts in zip(value.lines, pieces, strict=True)),
        *(
            tag("text", name, x=at[0], y=at[1], text_anchor="end")
            for name, at in zip(names, places or (), strict=bool(places))
        ),
        *(marks(x, y) if marks else ()),
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        role="img",
        aria_label=f"{value.title}. {value.says}",
    )
    legend = None if places is not None else _legend(value.lines)
    return tag("figure", tag("figcaption", value.title), legend, drawn, style="margin:0")


def interval(low: float, high: float, estimate: float, bound: float, edge: float) -> Html:
    """Return an interval against its bound, from 0 to `edge`; the numbers stand beside it."""
    x = Scale(0.0, edge, 4.0, 196.0)
    parts = [
        tag("line", x1=4, x2=196, y1=12, y2=12, stroke="var(--line)"),
        tag("line", x1=x(low), x2=x(high), y1=12, y2=12, stroke="currentColor", stroke_width=5),
        tag("circle", cx=x(estimate), cy=12, r=5, fill="var(--running)", stroke="var(--ground)"),
        tag("line", x1=x(bound), x2=x(bound), y1=1, y2=23, stroke="var(--fail)", stroke_width=2),
    ]
    return tag("svg", *parts, viewBox="0 0 200 24", width=200, height=24, aria_hidden="true")


def _axes(value: Chart, x: Scale, y: Scale) -> list[Html]:
    parts = []
    for at in x.ticks:
        parts.append(tag("text", number(at), x=x(at), y=_BOTTOM + 14, text_anchor="middle"))
    for rule in value.rules or [Rule(at, number(at)) for at in y.ticks]:
        at = y(rule.y)
        # Words are too long for the margin.
        place = {"x": _LEFT + 3, "y": at - 3} if value.rules else {"x": _LEFT - 6, "y": at + 4}
        anchor = "start" if value.rules else "end"
        parts.append(tag("text", rule.said, **place, text_anchor=anchor))
        parts.append(
            tag("line", x1=_LEFT, x2=_RIGHT, y1=at, y2=at, stroke="var(--line)", opacity=0.3)
        )
    after = math.inf
    for moment, said in reversed(value.marks):
        at = x(moment)
        parts.append(tag("line", x1=at, x2=at, y1=_TOP, y2=_BOTTOM, stroke="var(--line)"))
        # Of words that would lie on each other the later ones count.
        if after - at > _WORD:
            parts.append(tag("text", said, x=at + 3, y=_BOTTOM - 4))
            after = at
    across, along = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    for label, at_x, at_y, turn in (
        (value.x_label, across, _HEIGHT - 8, None),
        (value.y_label, 12, along, f"rotate(-90 12 {along:g})"),
    ):
        parts.append(tag("text", label, x=at_x, y=at_y, text_anchor="middle", transform=turn))
    return parts


def _pieces(line: Line, x: Scale, y: Scale, steps: bool) -> list[list[Point]]:
    """Return a line's points on the paper, a piece between two gaps."""
    found = []
    for is_gap, each in itertools.groupby(line.points, lambda point: point is None):
        if is_gap:
            continue
        places = [(x(point[0]), y(point[1])) for point in each if point]
        if steps:
            corners = [(after[0], before[1]) for before, after in itertools.pairwise(places)]
            turns = zip(corners, places[1:], strict=True)
            places = [*places[:1], *itertools.chain.from_iterable(turns)]
        found.append(places)
    return found


def _line(line: Line, pieces: Sequence[Sequence[Point]]) -> Html:
    parts = []
    for places in pieces:
        if len(places) == 1:
            (dot,) = places
            parts.append(tag("circle", cx=dot[0], cy=dot[1], r=2.5, fill="currentColor"))
        parts.append(
            tag(
                "polyline",
                points=" ".join(f"{a:g},{b:g}" for a, b in places),
                fill="none",
                stroke="currentColor",
                stroke_width=2,
                stroke_dasharray=_dashes(line),
            )
        )
    return joined(parts)


def _legend(lines: Sequence[Line]) -> Html:
    """Return the lines' names beside a sample of each, where the picture has no room for them."""
    samples = [
        tag(
            "svg",
            tag(
                "line",
                x1=0,
                x2=24,
                y1=6,
                y2=6,
                stroke="currentColor",
                stroke_width=2,
                stroke_dasharray=_dashes(line),
            ),
            viewBox="0 0 24 12",
            width=24,
            height=12,
            aria_hidden="true",
        )
        for line in lines
    ]
    named = [
        tag("span", sample, f" {line.name} ", style="white-space:nowrap")
        for sample, line in zip(samples, lines, strict=True)
    ]
    return tag("small", *named, style="display:block")


def _dashes(line: Line) -> str | None:
    return "6 4" if line.dashed else None
