"""Bars side by side, upright or, where their names need the room, lying; or a histogram."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mlops_kit.reporting.charts import scale, svg
from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts.scale import Scale
from mlops_kit.reporting.charts.style import CARD, clean
from mlops_kit.reporting.charts.svg import Area, Drawing, Key
from mlops_kit.reporting.markup import Html, tag

if TYPE_CHECKING:
    from mlops_kit.reporting.charts.charts import Bars, Group

# Draws the bars of these ends into this room.
_Drawn = Callable[["Bars", tuple[float, float], Area], list[Html]]
_NAMES, _THICK = 260.0, 12.0


def draw(chart: Bars) -> Drawing:
    """Return the picture."""
    values = [v for group in chart.groups for v in group.values if math.isfinite(v)]
    if not values or (not any(values) and chart.edges):
        reason = "no finite values" if any(g.values for g in chart.groups) else "no data"
        return svg.nothing(CARD, CARD.height, chart.title, [reason])
    if chart.edges:
        return _draw(chart, values, CARD.height, _bins)
    names = _names(chart)
    slot = (CARD.width - 90) / len(names)
    if all(texts.width(name, CARD.size) <= slot - 6 for name in names):
        return _draw(chart, values, CARD.height, _upright)
    row = max(svg.LINE, _THICK * len(chart.groups)) + 6
    return _draw(chart, values, 110 + row * len(names), _lying)


def _names(chart: Bars) -> list[str]:
    shown = chart.categories[: chart.MOST]
    return [texts.shortened(name, CARD.size, _NAMES) or "–" for name in shown]


def _colour(position: int) -> str:
    return CARD.colours[position % len(CARD.colours)]


def _draw(chart: Bars, values: Sequence[float], height: float, drawn: _Drawn) -> Drawing:
    heading, top = svg.heading(chart.title, CARD)
    remarks, bottom = svg.remarks(chart.notes(), CARD, height)
    keys: list[Html] = []
    if len(chart.groups) > 1 or chart.edges:
        samples = [
            Key(clean(group.name), _colour(i), "5 3" if group.dashed else None)
            for i, group in enumerate(chart.groups)
        ]
        keys, top = svg.legend(samples, CARD, top)
    ends = scale.spanning([0.0, *values], "linear")
    parts = drawn(chart, ends, Area(0, top + 4, CARD.width - 18, bottom))
    return svg.drawing(CARD, height, chart.title, [*heading, *keys, *parts, *remarks])


def _on_heights(
    chart: Bars, ends: tuple[float, float], room: Area
) -> tuple[Area, Scale, list[Html]]:
    """Return where the data are drawn, the scale of the heights, and its axis."""
    ticks = Scale(*ends, 0.0, 1.0).ticks()
    left = svg.tick_room(ticks, chart.y_label, CARD)
    area = Area(left, room.top, room.right, room.bottom - svg.under(chart.x_label, CARD))
    y = Scale(*ends, area.bottom, area.top)
    axis = svg.along(area, CARD, [(y(at), told) for at, told in ticks], chart.y_label)
    return area, y, axis


def _upright(chart: Bars, ends: tuple[float, float], room: Area) -> list[Html]:
    area, y, parts = _on_heights(chart, ends, room)
    names = _names(chart)
    slot = (area.right - area.left) / len(names)
    thick = min(0.8 * slot / len(chart.groups), 90.0)
    for position, group in enumerate(chart.groups):
        for i, value in enumerate(group.values[: len(names)]):
            if math.isfinite(value):
                middle = area.left + slot * (i + 0.5)
                left = middle + thick * (position - len(chart.groups) / 2)
                top, low = min(y(value), y(0)), max(y(value), y(0))
                box = (left + 1, top, left + thick - 1, low)
                parts.append(_bar(box, _colour(position), group))
    ticks = [(area.left + slot * (i + 0.5), name) for i, name in enumerate(names)]
    named = svg.across(Area(area.left, area.bottom, area.right, area.bottom), CARD, ticks, "")
    label = svg.across(area, CARD, [], chart.x_label)
    zero = svg.line((area.left, y(0)), (area.right, y(0)), CARD.axis)
    return [*parts, *named, *label, zero, svg.frame(area, CARD)]


def _lying(chart: Bars, ends: tuple[float, float], room: Area) -> list[Html]:
    names = _names(chart)
    left = svg.tick_room([(0.0, name) for name in names], chart.x_label, CARD)
    area = Area(left, room.top, room.right, room.bottom - svg.under(chart.y_label, CARD))
    x = Scale(*ends, area.left, area.right)
    ticks = [(x(at), told) for at, told in x.fitting(CARD.size)]
    parts = svg.across(area, CARD, ticks, chart.y_label)
    slot = (area.bottom - area.top) / len(names)
    thick = 0.84 * slot / len(chart.groups)
    for position, group in enumerate(chart.groups):
        for i, value in enumerate(group.values[: len(names)]):
            if math.isfinite(value):
                top = area.top + slot * (i + 0.5) + thick * (position - len(chart.groups) / 2)
                low, high = min(x(value), x(0)), max(x(value), x(0))
                parts.append(
                    _bar((low, top + 0.5, high, top + thick - 0.5), _colour(position), group)
                )
    rows = [(area.top + slot * (i + 0.5), name) for i, name in enumerate(names)]
    along = svg.along(Area(area.left, area.top, area.left, area.bottom), CARD, rows, chart.x_label)
    return [*parts, *along, svg.line((x(0), area.top), (x(0), area.bottom), CARD.axis)]


def _bar(box: tuple[float, float, float, float], colour: str, group: Group) -> Html:
    left, top, right, low = box
    face = (
        {"fill": CARD.ground, "stroke": colour, "stroke_width": "1.5", "stroke_dasharray": "4 2"}
        if group.dashed
        else {"fill": colour}
    )
    size = {"width": svg.px(max(right - left, 0.5)), "height": svg.px(low - top)}
    return tag("rect", x=svg.px(left), y=svg.px(top), **size, **face)


def _bins(chart: Bars, ends: tuple[float, float], room: Area) -> list[Html]:
    area, y, parts = _on_heights(chart, ends, room)
    x = Scale(chart.edges[0], chart.edges[-1], area.left, area.right)
    ticks = [(x(at), told) for at, told in x.fitting(CARD.size)]
    parts += svg.across(area, CARD, ticks, chart.x_label)
    for position, group in enumerate(chart.groups):
        outline = [(x(chart.edges[0]), y(0))]
        pairs = zip(chart.edges, chart.edges[1:], group.values, strict=False)
        for low, high, value in pairs:
            height = y(value if math.isfinite(value) else 0.0)
            outline += [(x(low), height), (x(high), height)]
        outline.append((x(chart.edges[-1]), y(0)))
        colour, dashes = _colour(position), "5 3" if group.dashed else None
        points = " ".join(f"{svg.px(a)},{svg.px(b)}" for a, b in outline)
        parts.append(tag("polygon", points=points, fill=colour, fill_opacity=0.14))
        parts.append(svg.polyline(outline, colour, stroke_width="1.8", stroke_dasharray=dashes))
    return [*parts, svg.frame(area, CARD)]
