"""A table of numbers as colours, such as a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
_NAMES, _TURNED, _HALF, _SIZES = 180.0, 110.0, 0.5, (12.0, 10.0, 9.0)
# Black and white are equally well read on this luminance, by a contrast of 4.6.
_EVEN = 0.179

# What is written in each cell, a line each, and how high its letters are.
_Words = tuple[Sequence[Sequence[Sequence[str]]], float]


@dataclass(frozen=True)
class _Columns:
    """The columns' names, how much room they take beyond a line, and each how many-th is told."""

    names: Sequence[str]
    room: float
    every: int = 1
    is_turned: bool = False


def draw(chart: Grid) -> Drawing:
    """Return the picture, with its words or its numbers in the cells where they fit."""
    finite = [value for row in chart.values for value in row if math.isfinite(value)]
    if not finite:
        return svg.nothing(CARD, CARD.height, chart.title, ["no finite values"])
    # Rows that hold their name, and no more of them than a page has room for.
    lines = max((len(cell) for row in chart.cells for cell in row), default=1)
    height = max(CARD.height, min(110 + (svg.LINE * lines + 4) * len(chart.rows), 2 * CARD.height))
    heading, top = svg.heading(chart.title, CARD)
    remarks, bottom = svg.remarks(chart.notes(), CARD, height)
    rows = [texts.shortened(name, CARD.size, _NAMES) for name in chart.rows]
    left = svg.tick_room([(0.0, name) for name in rows], chart.y_label, CARD)
    wide = (CARD.width - 18 - left) / len(chart.columns)
    columns = _columns(chart, wide)
    low = bottom - columns.room - svg.under(chart.x_label, CARD)
    area = Area(left, top + 4, CARD.width - 18, low)
    tall = (area.bottom - area.top) / len(rows)
    words, size = _words(chart, wide, tall)
    least, span = min(finite), max(finite) - min(finite)
    parts: list[Html] = []
    for i, row in enumerate(chart.values):
        for j, value in enumerate(row):
            if math.isfinite(value):
                box = (area.left + wide * j, area.top + tall * i, wide, tall)
                share = (value - least) / span if span else 1.0
                parts += _cell(box, share, words[i][j] if words else (), size)
    parts += _axes(chart, area, rows, columns)
    return svg.drawing(CARD, height, chart.title, [*heading, *parts, *remarks])


def _words(chart: Grid, wide: float, tall: float) -> _Words:
    """Return what is written in the cells: their words, else their numbers, else nothing.

    All or none: a cell without a word would look like a cell without a value.
    """
    numbers = [[(number(value),) for value in row] for row in chart.values]
    for told in filter(None, (chart.cells, numbers)):
        flat = [cell for row in told for cell in row]
        lines = max(map(len, flat))
        widest = max(texts.width(line, 1.0) for cell in flat for line in cell)
        for size in _SIZES:
            if widest * size <= wide - 4 and lines * (size + 4) <= tall:
                return told, size
    return (), CARD.size


def _columns(chart: Grid, wide: float) -> _Columns:
    """Return the columns' names: level, turned where they are too wide, or only some of them."""
    names = [texts.shortened(name, CARD.size, _NAMES) for name in chart.columns]
    widest = max(texts.width(name, CARD.size) for name in names) + 10
    if widest > wide >= svg.LINE and len(names) <= chart.MOST:
        names = [texts.shortened(name, CARD.size, _TURNED) for name in chart.columns]
        return _Columns(names, min(widest, _TURNED + 10) - 2 * svg.LINE, is_turned=True)
    return _Columns(names, 0.0, max(1, math.ceil(widest / wide)))


def _axes(chart: Grid, area: Area, rows: Sequence[str], columns: _Columns) -> list[Html]:
    """Return the names of rows and columns, as many as stand side by side."""
    wide = (area.right - area.left) / len(chart.columns)
    tall = (area.bottom - area.top) / len(rows)
    each = max(1, math.ceil(svg.LINE / tall))
    places = [(area.left + wide * (j + _HALF), name) for j, name in enumerate(columns.names)]
    heights = [(area.top + tall * (i + _HALF), name) for i, name in enumerate(rows)]
    left, low = area.left, area.bottom + 6
    edge = Area(left, area.bottom, left, area.bottom)
    named = svg.across(edge, CARD, [] if columns.is_turned else places[:: columns.every], "")
    for at, name in places if columns.is_turned else []:
        x = at + CARD.size * 0.36
        named.append(svg.word(name, x, low, CARD, "end", turn=f"rotate(-90 {x:.1f} {low:.1f})"))
    label = Area(left, area.top, area.right, area.bottom + columns.room)
    return [
        *named,
        *svg.across(label, CARD, [], chart.x_label),
        *svg.along(Area(left, area.top, left, area.bottom), CARD, heights[::each], chart.y_label),
    ]


def _cell(
    box: tuple[float, float, float, float], share: float, said: Sequence[str], size: float
) -> list[Html]:
    left, top, wide, tall = box
    mixed = [round(a + (b - a) * share) for a, b in zip(_LIGHT, _DARK, strict=True)]
    fill = "#" + "".join(f"{part:02X}" for part in mixed)
    place = {"x": svg.px(left), "y": svg.px(top), "width": svg.px(wide), "height": svg.px(tall)}
    ink = "#000000" if _luminance(mixed) > _EVEN else "#FFFFFF"
    first = top + tall / 2 + size * 0.36 - (len(said) - 1) * (size + 3) / 2
    words = [
        svg.word(
            line, left + wide / 2, first + i * (size + 3), CARD, "middle", size=size, colour=ink
        )
        for i, line in enumerate(said)
    ]
    return [tag("rect", **place, fill=fill), *words]


def _luminance(colour: Sequence[int]) -> float:
    """Return the relative luminance by WCAG 2."""
    parts = [part / 255 for part in colour]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
