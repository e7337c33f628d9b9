"""Lines over a shared axis, with their bands, their names and the moments that are marked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_kit.reporting.charts import labels, scale, svg
from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts.labels import Box, Point
from mlops_kit.reporting.charts.scale import Scale
from mlops_kit.reporting.charts.style import CARD, Look, clean
from mlops_kit.reporting.charts.svg import Area, Drawing, Key
from mlops_kit.reporting.markup import Html, tag

if TYPE_CHECKING:
    from mlops_kit.reporting.charts.charts import Lines
    from mlops_kit.reporting.charts.series import Series

# What a page draws over the lines, by the scales of x and y.
Overlay = Callable[[Scale, Scale], Sequence[Html]]
_NAME_ROOM, _LEADER = 190.0, 18.0


@dataclass(frozen=True)
class Path:
    """A line as it is drawn: in pieces between its gaps, and its band, in the data's numbers."""

    name: str
    colour: str
    dashes: str | None
    dots: bool
    pieces: tuple[tuple[Point, ...], ...]
    band: tuple[tuple[float, float, float], ...] = ()

    @property
    def last(self) -> Point:
        """Where it ends."""
        return self.pieces[-1][-1]


@dataclass(frozen=True)
class Plot:
    """The lines on their scales, and where the words of the marks stand above them."""

    area: Area
    x: Scale
    y: Scale
    pieces: tuple[tuple[tuple[Point, ...], ...], ...]
    flags: tuple[labels.Flag | None, ...]


def draw(chart: Lines, look: Look = CARD, overlay: Overlay | None = None) -> tuple[Drawing, bool]:
    """Return the picture, and whether it names its lines; a card always does."""
    paths = _paths(chart, look)
    if not paths:
        reason = "no finite values" if any(one.y for one in chart.series) else "no data"
        return svg.nothing(look, look.height, chart.title, [reason]), True
    heading, top = svg.heading(chart.title, look)
    remarks, bottom = svg.remarks(chart.notes(), look, look.height)
    names = [path.name for path in paths] if any(path.name for path in paths) else []
    at_ends = look.is_card and bool(names) and _end_together(paths, chart)
    plot = _plot(chart, look, paths, (top, bottom), names if at_ends else [])
    named = _at_ends(plot, paths, look) if at_ends else _beside(plot, paths, chart, look)
    keys: list[Html] = []
    if named is None and look.is_card:
        samples = [Key(path.name, path.colour, path.dashes) for path in paths]
        keys, top = svg.legend(samples, look, top)
        plot = _plot(chart, look, paths, (top, bottom), [])
    parts = [
        *heading,
        *keys,
        *_axes(plot, chart, look),
        *(mark for each in zip(paths, plot.pieces, strict=True) for mark in _line(plot, *each)),
        *_markers(plot, chart, look),
        *(overlay(plot.x, plot.y) if overlay else ()),
        *(named or ()),
        *remarks,
    ]
    label = f"{chart.title}. {chart.says}" if chart.says else chart.title
    return svg.drawing(look, look.height, label, parts), named is not None or look.is_card


def seconds(value: float | datetime) -> float:
    """Return a number as it is, a moment in seconds since the epoch; without a zone it is UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return value


def _paths(chart: Lines, look: Look) -> list[Path]:
    found = []
    for one, colour in zip(chart.series, look.colours, strict=False):
        thin = one.decimated()
        points = [
            (at, y) if _drawable(y, is_log=chart.log_y) else None
            for at, y in ((seconds(x), y) for x, y in zip(thin.x, thin.y, strict=True))
            if _drawable(at, is_log=chart.log_x)
        ]
        pieces = tuple(
            tuple(point for point in piece if point)
            for is_gap, piece in itertools.groupby(points, lambda point: point is None)
            if not is_gap
        )
        if pieces:
            band = _band(thin, chart) if look.is_card else ()
            name = clean(one.name)
            found.append(Path(name, colour, one.dashes, one.dots, pieces, band))
    return found


def _drawable(value: float, *, is_log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not is_log)


def _band(one: Series, chart: Lines) -> tuple[tuple[float, float, float], ...]:
    edges = zip(map(seconds, one.x), one.lower or (), one.upper or (), strict=False)
    return tuple(
        (x, low, high)
        for x, low, high in edges
        if _drawable(x, is_log=chart.log_x)
        and _drawable(low, is_log=chart.log_y)
        and _drawable(high, is_log=chart.log_y)
    )


def _end_together(paths: Sequence[Path], chart: Lines) -> bool:
    """Tell whether all lines end at the right edge, so that their names can stand beside it."""
    low, high = _x_range(paths, chart)
    share = Scale(low, high, 0.0, 1.0, _x_kind(chart))
    return all(share(path.last[0]) > 0.97 and not path.dots for path in paths)


def _x_kind(chart: Lines) -> scale.Kind:
    if any(isinstance(x, datetime) for one in chart.series for x in one.x[:1]):
        return "time"
    return "log" if chart.log_x else "linear"


def _x_range(paths: Sequence[Path], chart: Lines) -> tuple[float, float]:
    if chart.x_range:
        return chart.x_range
    xs = [x for path in paths for piece in path.pieces for x, _ in piece]
    marks = [seconds(marker.x) for marker in chart.markers]
    xs += [at for at in marks if _drawable(at, is_log=chart.log_x)]
    return scale.spanning(xs, _x_kind(chart), pad=any(path.dots for path in paths))


def _y_range(paths: Sequence[Path], chart: Lines) -> tuple[float, float]:
    if chart.y_range:
        return chart.y_range
    ys = [y for path in paths for piece in path.pieces for _, y in piece]
    ys += [edge for path in paths for _, *edges in path.band for edge in edges]
    return scale.spanning(ys, "log" if chart.log_y else "linear")


def _y_ticks(y: Scale, chart: Lines) -> list[scale.Tick]:
    """Return the ticks of y, or in their place the rules with their words."""
    if chart.rules:
        return [(rule.y, clean(rule.said)) for rule in chart.rules]
    return y.ticks()


def _plot(
    chart: Lines, look: Look, paths: Sequence[Path], room: tuple[float, float], names: Sequence[str]
) -> Plot:
    """Return the lines on scales that leave room for ticks, labels, names and marks.

    Args:
        chart: the lines.
        look: how they look.
        paths: what is drawn of them.
        room: from its top to its bottom, in pixels.
        names: what stands at the right.
    """
    top, bottom = room
    low, high = _y_range(paths, chart)
    y = Scale(low, high, 1.0, 0.0, "log" if chart.log_y else "linear")
    left = svg.tick_room(_y_ticks(y, chart), chart.y_label, look)
    widest = max((texts.width(name, look.size) for name in names), default=0.0)
    right = look.width - (min(widest, _NAME_ROOM) + _LEADER + 16 if names else 14)
    x = Scale(*_x_range(paths, chart), left, right, _x_kind(chart))
    places = [x(seconds(marker.x)) for marker in chart.markers]
    widths = [texts.width(_said(marker.label), look.size) for marker in chart.markers]
    # Names at the right may reach as high as the words above the picture.
    flags = labels.flags(places, widths, left, right + _LEADER if names else look.width - 4)
    rows = 1 + max((flag.row for flag in flags if flag), default=-1)
    area = Area(left, top + rows * svg.LINE, right, bottom - svg.under(chart.x_label, look))
    y = Scale(low, high, area.bottom, area.top, y.kind)
    pieces = tuple(
        tuple(_places(piece, x, y, steps=chart.steps) for piece in path.pieces) for path in paths
    )
    return Plot(area, x, y, pieces, tuple(flags))


def _said(label: object) -> str:
    return clean(label)[:40]


def _places(piece: Sequence[Point], x: Scale, y: Scale, *, steps: bool) -> tuple[Point, ...]:
    """Return a piece's points in pixels; as steps, a value holds until the next one."""
    places = [(x(at), y(value)) for at, value in piece]
    if steps:
        corners = [(after[0], before[1]) for before, after in itertools.pairwise(places)]
        turns = zip(corners, places[1:], strict=True)
        places = [*places[:1], *itertools.chain.from_iterable(turns)]
    return tuple(places)


def _axes(plot: Plot, chart: Lines, look: Look) -> list[Html]:
    x, y, area = plot.x, plot.y, plot.area
    heights = [(y(at), told) for at, told in _y_ticks(y, chart)]
    return [
        *svg.across(
            area, look, [(x(at), told) for at, told in x.fitting(look.size)], chart.x_label
        ),
        *svg.along(area, look, heights, chart.y_label),
        svg.frame(area, look),
    ]


def _line(plot: Plot, path: Path, pieces: Sequence[Sequence[Point]]) -> list[Html]:
    parts = []
    if len(path.band) > 1:
        upper = [(plot.x(x), plot.y(high)) for x, _, high in path.band]
        lower = [(plot.x(x), plot.y(low)) for x, low, _ in reversed(path.band)]
        edge = " ".join(f"{svg.px(x)},{svg.px(y)}" for x, y in (*upper, *lower))
        parts.append(tag("polygon", points=edge, fill=path.colour, fill_opacity=0.16))
    for piece in pieces:
        if path.dots or len(piece) == 1:
            size = "3" if path.dots else "2.5"
            dots = (
                tag("circle", cx=svg.px(x), cy=svg.px(y), r=size, fill=path.colour)
                for x, y in piece
            )
            parts += dots
        if not path.dots and len(piece) > 1:
            more = {"stroke_width": 2, "stroke_dasharray": path.dashes}
            parts.append(svg.polyline(piece, path.colour, **more))
    return parts


def _markers(plot: Plot, chart: Lines, look: Look) -> list[Html]:
    """Return vertical lines whose words stand above the picture, on no line."""
    parts, area = [], plot.area
    for marker, flag in zip(chart.markers, plot.flags, strict=True):
        at = plot.x(seconds(marker.x))
        top = area.top - (svg.LINE * flag.row + svg.LINE - 4 if flag and marker.label else 0)
        parts.append(svg.line((at, top), (at, area.bottom), look.axis, stroke_dasharray="2 2"))
        if flag and marker.label:
            x = at + 3 if flag.anchor == "start" else at - 3
            height = area.top - svg.LINE * flag.row - 4
            parts.append(svg.word(_said(marker.label), x, height, look, flag.anchor))
    return parts


def _at_ends(plot: Plot, paths: Sequence[Path], look: Look) -> list[Html]:
    """Return each name at the end of its line, pushed apart where they would overlap."""
    area, parts = plot.area, []
    tall = area.bottom - area.top
    ends = [piece[-1][-1] for piece in plot.pieces]
    shares = labels.apart([(y - area.top) / tall for _, y in ends], (look.size + 4) / tall)
    for path, (x, y), share in zip(paths, ends, shares, strict=True):
        height = area.top + share * tall
        at = (area.right + _LEADER, height)
        leader = [(x, y), (area.right + 4, y), (at[0] - 4, height), at]
        parts.append(svg.polyline(leader, path.colour, stroke_dasharray=path.dashes))
        name = texts.shortened(path.name, look.size, _NAME_ROOM)
        parts.append(svg.word(name, at[0] + 4, height + look.size * 0.36, look))
    return parts


def _beside(plot: Plot, paths: Sequence[Path], chart: Lines, look: Look) -> list[Html] | None:
    """Return each name beside its line where it lies on nothing; None where one has no room."""
    names = [path.name for path in paths]
    if not any(names):
        return []
    if any(path.dots for path in paths):
        return [] if len(paths) == 1 else None
    area = plot.area
    room = Box(area.left + 2, area.top - 4, area.right + 8, area.bottom - 2)
    marked = [plot.x(seconds(marker.x)) for marker in chart.markers]
    others = [((at, area.top), (at, area.bottom)) for at in marked]
    ruled = [plot.y(rule.y) for rule in chart.rules]
    others += [((area.left, at), (area.right, at)) for at in ruled]
    places = labels.places(names, plot.pieces, room, others, look.size)
    if places is None:
        return None
    return [
        svg.word(name, *place, look, "end", is_over=True)
        for name, place in zip(names, places, strict=True)
    ]
