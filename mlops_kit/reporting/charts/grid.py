"""A table of numbers as colours, such as a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_kit.formatting import number
from mlops_kit.reporting.charts import svg
from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts.style import CARD
from mlops_kit.reporting.charts.svg import Area, Drawing
from mlops_kit.reporting.markup import Html, tag

if TYPE_CHECKING:
    from mlops_kit.reporting.charts.charts import Grid

# From white to the first of the colours: the darker, the more.
_LIGHT, _DARK = (240, 245, 250), (0, 90, 150)
_NAMES, _HALF = 180.0, 0.5
# Black and white are equally well read on this luminance, by a contrast of 4.6.
_EVEN = 0.179


def draw(chart: Grid) -> Drawing:
    """Return the picture, with the numbers in the cells where they fit."""
    finite = [value for row in chart.values for value in row if math.isfinite(value)]
    if not finite:
        return svg.nothing(CARD, CARD.height, chart.title, ["no finite values"])
    heading, top = svg.heading(chart.title, CARD)
    remarks, bottom = svg.remarks(chart.notes(), CARD, CARD.height)
    rows = [texts.shortened(name, CARD.size, _NAMES) for name in chart.rows]
    left = svg.tick_room([(0.0, name) for name in rows], chart.y_label, CARD)
    area = Area(left, top + 4, CARD.width - 18, bottom - svg.under(chart.x_label, CARD))
    wide = (area.right - area.left) / len(chart.columns)
    tall = (area.bottom - area.top) / len(rows)
    told = [number(value) for value in finite]
    # All numbers or none: a cell without one would look like a cell without a value.
    is_told = tall >= svg.LINE and all(texts.width(one, CARD.size) <= wide - 4 for one in told)
    low, span = min(finite), max(finite) - min(finite)
    parts: list[Html] = []
    for i, row in enumerate(chart.values):
        for j, value in enumerate(row):
            if math.isfinite(value):
                box = (area.left + wide * j, area.top + tall * i, wide, tall)
                share = (value - low) / span if span else 1.0
                parts += _cell(box, share, number(value) if is_told else "")
    columns = [texts.shortened(name, CARD.size, _NAMES) for name in chart.columns]
    widest = max(texts.width(name, CARD.size) for name in columns) + 10
    every, each = max(1, math.ceil(widest / wide)), max(1, math.ceil(svg.LINE / tall))
    edge = Area(area.left, area.bottom, area.left, area.bottom)
    places = [(area.left + wide * (j + _HALF), name) for j, name in enumerate(columns)]
    heights = [(area.top + tall * (i + _HALF), name) for i, name in enumerate(rows)]
    axes = [
        *svg.across(edge, CARD, places[::every], ""),
        *svg.across(area, CARD, [], chart.x_label),
        *svg.along(Area(left, area.top, left, area.bottom), CARD, heights[::each], chart.y_label),
    ]
    return svg.drawing(CARD, CARD.height, chart.title, [*heading, *parts, *axes, *remarks])


def _cell(box: tuple[float, float, float, float], share: float, said: str) -> list[Html]:
    left, top, wide, tall = box
    mixed = [round(a + (b - a) * share) for a, b in zip(_LIGHT, _DARK, strict=True)]
    fill = "#" + "".join(f"{part:02X}" for part in mixed)
    place = {"x": svg.px(left), "y": svg.px(top), "width": svg.px(wide), "height": svg.px(tall)}
    cell = tag("rect", **place, fill=fill)
    if not said:
        return [cell]
    ink = "#000000" if _luminance(mixed) > _EVEN else "#FFFFFF"
    middle = (left + wide / 2, top + tall / 2 + CARD.size * 0.36)
    return [cell, svg.word(said, *middle, CARD, "middle", colour=ink)]


def _luminance(colour: Sequence[int]) -> float:
    """Return the relative luminance by WCAG 2."""
    parts = [part / 255 for part in colour]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
