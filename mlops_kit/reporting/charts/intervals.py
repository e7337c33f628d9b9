"""Intervals against bounds, a row each, with its numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_kit.reporting.charts import scale, svg
from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts.scale import Scale
from mlops_kit.reporting.charts.series import number
from mlops_kit.reporting.charts.style import CARD
from mlops_kit.reporting.charts.svg import Area, Drawing
from mlops_kit.reporting.markup import Html, tag

if TYPE_CHECKING:
    from mlops_kit.reporting.charts.charts import Interval, Intervals

_ROW, _OWN_ROW, _SMALL = 28.0, 46.0, 10.5
_NAME_ROOM, _TELL_ROOM = 230.0, 240.0


def draw(chart: Intervals) -> Drawing:
    """Return the picture; rows of very different size get scales of their own."""
    rows = chart.rows[: chart.MOST]
    heading, top = svg.heading(chart.title, CARD)
    if not rows:
        return svg.nothing(CARD, top + 80, chart.title, ["no data"])
    shared = chart.is_one_scale or _comparable(rows)
    tall = top + len(rows) * (_ROW if shared else _OWN_ROW) + (44 if shared else 20)
    height = tall + (16 if chart.notes() else 0)
    remarks, _ = svg.remarks(chart.notes(), CARD, height)
    names = [texts.shortened(row.name, CARD.size, _NAME_ROOM) for row in rows]
    left = svg.MARGIN + max(texts.width(name, CARD.size) for name in names) + 12
    told = [_told(row) for row in rows]
    widest = max(texts.width(one, _SMALL) for one in told)
    area = Area(left, top, CARD.width - min(widest, _TELL_ROOM) - 22, tall - (44 if shared else 20))
    parts = _shared(area, chart.label, rows) if shared else _own(area, chart.label, rows)
    slot = (area.bottom - area.top) / len(rows)
    for i, (name, said) in enumerate(zip(names, told, strict=True)):
        at = area.top + slot * (i + 0.5) + 4 - (0 if shared else 7)
        parts.append(svg.word(name, left - 12, at, CARD, "end"))
        text = texts.shortened(said, _SMALL, _TELL_ROOM)
        parts.append(svg.word(text, area.right + 12, at, CARD, size=_SMALL))
    return svg.drawing(CARD, height, chart.title, [*heading, *parts, *remarks])


def _told(row: Interval) -> str:
    said = f"{number(row.estimate)} ({number(row.low)} to {number(row.high)})"
    return said if row.bound is None else f"{said}, bound {number(row.bound)}"


def _finite(row: Interval) -> list[float]:
    values = (row.low, row.high, row.bound, row.estimate)
    return [v for v in values if v is not None and math.isfinite(v)]


def _comparable(rows: Sequence[Interval]) -> bool:
    """Tell whether one scale shows all rows: no interval is a speck beside the others."""
    finite = [values for values in map(_finite, rows) if values]
    whole = max(map(max, finite), default=0.0) - min(map(min, finite), default=0.0)
    return all((max(values) - min(values)) * 40 >= whole for values in finite)


def _scale(rows: Sequence[Interval], area: Area) -> Scale:
    values = [value for row in rows for value in _finite(row)] or [0.0, 1.0]
    return Scale(*scale.spanning(values, "linear"), area.left, area.right)


def _shared(area: Area, label: str, rows: Sequence[Interval]) -> list[Html]:
    x = _scale(rows, area)
    ticks = [(x(at), told) for at, told in x.fitting(CARD.size)]
    parts = svg.across(area, CARD, ticks, label)
    parts.append(svg.line((area.left, area.bottom), (area.right, area.bottom), CARD.axis))
    slot = (area.bottom - area.top) / len(rows)
    for i, row in enumerate(rows):
        parts += _row(row, x, area.top + slot * (i + 0.5), slot * 0.38)
    return parts


def _own(area: Area, label: str, rows: Sequence[Interval]) -> list[Html]:
    parts: list[Html] = []
    slot = (area.bottom - area.top) / len(rows)
    for i, row in enumerate(rows):
        top = area.top + slot * i
        own = Area(area.left, top + 2, area.right, top + slot - 20)
        x = _scale([row], own)
        ticks = [(x(at), told) for at, told in x.fitting(CARD.size, 5)]
        parts += svg.across(own, CARD, ticks, label if i == len(rows) - 1 else "")
        parts.append(svg.line((own.left, own.bottom), (own.right, own.bottom), CARD.axis))
        parts += _row(row, x, (own.top + own.bottom) / 2, (own.bottom - own.top) / 2)
    return parts


def _row(row: Interval, x: Scale, at: float, half: float) -> list[Html]:
    """Return an interval with its ends and its estimate, and its bound as a dashed line."""
    colour, parts = CARD.colours[0], []
    if math.isfinite(row.low) and math.isfinite(row.high):
        low, high = x(row.low), x(row.high)
        parts.append(svg.line((low, at), (high, at), colour, stroke_width="2.4"))
        parts += [svg.line((end, at - 5), (end, at + 5), colour) for end in (low, high)]
    if math.isfinite(row.estimate):
        parts.append(tag("circle", cx=svg.px(x(row.estimate)), cy=svg.px(at), r="4", fill=colour))
    if row.bound is not None and math.isfinite(row.bound):
        bound = x(row.bound)
        ends = (bound, at - half), (bound, at + half)
        parts.append(svg.line(*ends, CARD.ink, stroke_width="1.6", stroke_dasharray="3 2"))
    return parts
