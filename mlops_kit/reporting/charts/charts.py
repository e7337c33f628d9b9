"""A chart is one value that becomes SVG, PNG or a table."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.reporting.charts import bars, grid, intervals, lines, png, series, style
from mlops_kit.reporting.charts.series import Marker as Marker
from mlops_kit.reporting.charts.series import Rule as Rule
from mlops_kit.reporting.charts.series import Series as Series
from mlops_kit.reporting.charts.series import number, plain, spread
from mlops_kit.reporting.charts.svg import Drawing
from mlops_kit.reporting.markdown import remark, table

WIDTH = int(style.CARD.width)
DPI = 144
ROWS = 12


class _Chart:
    """What every chart can do: `title` is its name, the shapes below say the rest."""

    title: str

    def draw(self) -> Drawing:
        """Return the chart as a white card."""
        raise NotImplementedError

    def markdown(self) -> str:
        """Return the numbers as a Markdown table, at most a dozen rows of them."""
        raise NotImplementedError

    def notes(self) -> tuple[str, ...]:
        """Return what a reader has to know about what is drawn and what isn't."""
        return ()

    def svg(self) -> str:
        """Return the chart as an SVG element on a white card; the same bytes everywhere."""
        return str(self.draw().svg)

    def png(self, dpi: int = DPI) -> bytes:
        """Return the chart as PNG on a white card; the same bytes everywhere."""
        return png.png(self.svg(), WIDTH, dpi)

    def bundle(self, dpi: int = DPI) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the picture and its numbers by MIME type, and the size to show it in."""
        # No text/markdown: JupyterLab would show that table, and not the picture.
        drawing = self.draw()
        size = {"width": WIDTH, "height": int(drawing.height)}
        text = f"{style.clean(self.title)}\n\n{html.unescape(self.markdown())}"
        picture = png.png(str(drawing.svg), WIDTH, dpi)
        return {"image/png": picture, "text/plain": text}, {"image/png": size}

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()


@dataclass(frozen=True)
class Lines(_Chart):
    """Lines over a shared axis; a gap in the data is a gap in the line.

    `says` is what a reader without the picture has to know. With `steps` a value holds until the
    next one. `rules` take the place of the ticks of y. The ranges fix the axes' ends.
    """

    title: str
    series: tuple[Series, ...]
    x_label: str = ""
    y_label: str = ""
    markers: tuple[Marker, ...] = ()
    log_x: bool = False
    log_y: bool = False
    says: str = ""
    steps: bool = False
    rules: tuple[Rule, ...] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None

    def notes(self) -> tuple[str, ...]:
        """Return how many points are thinned out, no numbers, or off a log axis."""
        notes = []
        for one in self.series:
            gaps = sum(not math.isfinite(value) for value in one.y)
            off = sum(self.log_y and value <= 0 for value in one.y)
            off += sum(self.log_x and isinstance(at, int | float) and at <= 0 for at in one.x)
            if len(one.y) > series.POINTS:
                notes.append(f"{one.name}: drawn from {len(one.y):,} points, extremes kept")
            if gaps:
                notes.append(f"{one.name}: {gaps:,} of {len(one.y):,} values are no finite numbers")
            if off:
                notes.append(f"{one.name}: {off:,} values <= 0 have no place on a log axis")
        if len(self.series) > len(style.COLOURS):
            notes.append(f"{len(self.series) - len(style.COLOURS)} more lines are not drawn")
        return tuple(notes)

    def draw(self) -> Drawing:
        """Return the chart as a white card."""
        return lines.draw(self)[0]

    def markdown(self) -> str:
        """Return a dozen points of each line, evenly spread, first and last among them."""
        shared = {one.x for one in self.series}
        if len(shared) == 1 and self.series:
            kept = spread(len(self.series[0].x), ROWS)
            header = [self.x_label or "x", *(one.name for one in self.series)]
            rows = [
                [number(self.series[0].x[i]), *(one.told(i) for one in self.series)] for i in kept
            ]
            return table(header, rows) + remark(_part(kept, self.series[0].x), *self.notes())
        rows = [
            [one.name, number(one.x[i]), one.told(i)]
            for one in self.series[:ROWS]
            for i in spread(len(one.x), max(2, ROWS // len(self.series)))
        ]
        said = f"{len(rows):,} of {sum(len(one.x) for one in self.series):,} points"
        return table(["line", self.x_label or "x", self.y_label or "y"], rows) + remark(
            said, *self.notes()
        )


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and the bound that it is judged by."""

    name: str
    estimate: float
    low: float
    high: float
    bound: float | None = None


@dataclass(frozen=True)
class Intervals(_Chart):
    """Intervals against bounds, a row each.

    Without `is_one_scale`, rows of very different size get scales of their own.
    """

    title: str
    rows: tuple[Interval, ...]
    label: str = ""
    is_one_scale: bool = False

    MOST = 30

    def notes(self) -> tuple[str, ...]:
        """Return how many rows are not drawn."""
        more = len(self.rows) - self.MOST
        return (f"{more:,} more rows are not drawn",) if more > 0 else ()

    def draw(self) -> Drawing:
        """Return the chart as a white card."""
        return intervals.draw(self)

    def markdown(self) -> str:
        """Return name, estimate, interval and bound of each row."""
        header = ["", self.label or "estimate", "interval", "bound"]
        rows = [
            [
                row.name,
                number(row.estimate),
                f"{number(row.low)} to {number(row.high)}",
                number(row.bound),
            ]
            for row in self.rows[: self.MOST]
        ]
        return table(header, rows) + remark(_part(rows, self.rows))


@dataclass(frozen=True)
class Group:
    """The values of one group of bars, one a category; dashed for a champion."""

    name: str
    values: Sequence[float]
    dashed: bool = False

    def __post_init__(self) -> None:
        """Keep a plain tuple."""
        object.__setattr__(self, "values", plain(self.values))


@dataclass(frozen=True)
class Bars(_Chart):
    """Bars by category and group; with `edges` they are the bins of a histogram."""

    title: str
    categories: tuple[str, ...]
    groups: tuple[Group, ...]
    x_label: str = ""
    y_label: str = ""
    edges: tuple[float, ...] = ()

    MOST = 40

    @classmethod
    def histogram(
        cls, title: str, values: Mapping[str, Iterable[float]], *, bins: int = 30, x_label: str = ""
    ) -> Bars:
        """Return how the values of each group are spread, as shares; the first one is dashed."""
        arrays = {name: np.asarray(list(given), float) for name, given in values.items()}
        finite = {name: array[np.isfinite(array)] for name, array in arrays.items()}
        every = np.concatenate(list(finite.values())) if finite else np.array([])
        edges = np.histogram_bin_edges(every, bins=bins)
        groups = [
            Group(
                f"{name} (n = {len(array):,})",
                tuple(np.histogram(array, edges)[0] / max(1, len(array))),
                dashed=len(finite) > 1 and position == 0,
            )
            for position, (name, array) in enumerate(finite.items())
        ]
        pairs = itertools.pairwise(edges)
        names = tuple(f"{number(low)} to {number(high)}" for low, high in pairs)
        return cls(title, names, tuple(groups), x_label, "share", tuple(map(float, edges)))

    def notes(self) -> tuple[str, ...]:
        """Return how many categories are not drawn, and which values are no numbers."""
        more = len(self.categories) - self.MOST
        gaps = sum(not math.isfinite(value) for group in self.groups for value in group.values)
        notes = [f"{more:,} more categories are not drawn"] if more > 0 and not self.edges else []
        return tuple(notes + ([f"{gaps:,} values are no finite numbers"] if gaps else []))

    def draw(self) -> Drawing:
        """Return the chart as a white card."""
        return bars.draw(self)

    def markdown(self) -> str:
        """Return a row a category; neighbouring bins of a histogram are put together."""
        header = [self.x_label, *(group.name for group in self.groups)]
        if self.edges:
            step = -(-len(self.categories) // ROWS)
            starts = range(0, len(self.categories), step)
            ends = [*self.edges[:-1:step], self.edges[-1]]
            rows = [
                [
                    f"{number(low)} to {number(high)}",
                    *(number(sum(g.values[i : i + step])) for g in self.groups),
                ]
                for i, low, high in zip(starts, ends, ends[1:], strict=False)
            ]
            return table(header, rows) + remark(*self.notes())
        rows = [
            [name, *(number(group.values[i]) for group in self.groups)]
            for i, name in enumerate(self.categories[: self.MOST])
        ]
        return table(header, rows) + remark(_part(rows, self.categories), *self.notes())


@dataclass(frozen=True)
class Grid(_Chart):
    """A table of numbers as colours; `values` are by row, the first at the top.

    `cells` are written in place of the numbers, a line each, where they fit.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    x_label: str = ""
    y_label: str = ""
    cells: tuple[tuple[tuple[str, ...], ...], ...] = ()

    MOST = 24

    def draw(self) -> Drawing:
        """Return the chart as a white card."""
        return grid.draw(self)

    def markdown(self) -> str:
        """Return the first rows and columns."""
        most, told = (
            self.MOST,
            self.cells or [[(number(one),) for one in row] for row in self.values],
        )
        rows = [
            [name, *(" ".join(cell) for cell in cells[:most])]
            for name, cells in zip(self.rows[:most], told, strict=False)
        ]
        more = max(0, len(self.columns) - most)
        left = f"{more:,} more columns are not shown" if more else ""
        text = table([self.y_label, *self.columns[:most]], rows)
        return text + remark(_part(rows, self.rows), left)


def _part(kept: Sequence[object], every: Sequence[object]) -> str:
    if not every:
        return "No data."
    return f"{len(kept):,} of {len(every):,} rows" if len(kept) < len(every) else ""
