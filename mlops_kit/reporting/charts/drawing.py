"""The shapes of a chart, drawn on a figure that somebody else made."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_kit.reporting.charts import style
from mlops_kit.reporting.charts.series import number

if TYPE_CHECKING:
    from mlops_kit.reporting.charts.charts import Bars, Interval, Intervals, Lines
    from mlops_kit.reporting.charts.series import Series


def lines(figure: Any, chart: Lines) -> None:
    """Draw lines with their bands, markers, and names at their ends."""
    style.heading(figure, chart.title)
    axes = figure.subplots()
    axes.set_xlabel(style.clean(chart.x_label))
    axes.set_ylabel(style.clean(chart.y_label))
    style.notes(figure, chart.notes())
    for which, log in (("x", chart.log_x), ("y", chart.log_y)):
        if log:
            style.log_scale(axes, which)
    drawn = []
    for one, colour in zip(chart.series, style.COLOURS, strict=False):
        thin = one.decimated()
        points = [
            (x, y if math.isfinite(y) and (y > 0 or not chart.log_y) else math.nan)
            for x, y in zip(thin.x, thin.y, strict=True)
            if not chart.log_x or not isinstance(x, int | float) or x > 0
        ]
        shown = [point for point in points if math.isfinite(point[1])]
        if not shown:
            continue
        _line(axes, thin, points, colour)
        drawn.append((one, colour, shown[-1]))
    if not drawn:
        return style.nothing(
            axes, "no data" if not any(one.y for one in chart.series) else "no finite values"
        )
    _markers(axes, chart)
    axes.margins(x=0.01)
    _names(axes, drawn)
    return None


def _line(axes: Any, one: Series, points: Sequence[tuple[Any, float]], colour: str) -> None:
    x, y = zip(*points, strict=True)
    dashes = (0, (5, 2.5)) if one.dashed else "-"
    lonely = len(points) == 1 or not any(
        math.isfinite(a) and math.isfinite(b) for a, b in itertools.pairwise(y)
    )
    axes.plot(x, y, color=colour, linestyle=dashes, linewidth=1.8, marker="o" if lonely else "")
    if one.lower is not None and one.upper is not None:
        axes.fill_between(one.x, one.lower, one.upper, color=colour, alpha=0.16, linewidth=0)


def _markers(axes: Any, chart: Lines) -> None:
    for level, marker in enumerate(chart.markers):
        axes.axvline(marker.x, color=style.GREY, linewidth=1, linestyle=":")
        # Neighbours stand at different heights, so that their words don't run into each other.
        axes.annotate(
            style.clean(marker.label)[:40],
            (axes.convert_xunits(marker.x), 0.97 - 0.075 * (level % 3)),
            xycoords=axes.get_xaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8.5,
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )


def _names(axes: Any, drawn: Sequence[tuple[Series, str, tuple[Any, float]]]) -> None:
    """Write each name at the end of its line, pushed apart where they would overlap."""
    if len(drawn) == 1 and not style.clean(drawn[0][0].name):
        return
    # Asking for the limits settles them; before, data has no place on the axes.
    axes.get_xlim(), axes.get_ylim()
    to_axes = axes.transAxes.inverted()
    ends = []
    for one, colour, (x, y) in drawn:
        at = axes.transData.transform((axes.convert_xunits(x), axes.convert_yunits(y)))
        ends.append((*to_axes.transform(at), one, colour))
    places = apart([end[1] for end in ends], gap=0.068)
    for (x, y, one, colour), place in zip(ends, places, strict=True):
        inside = x < 0.9
        axes.annotate(
            textwrap.shorten(style.clean(one.name), 26, placeholder=" …")
            or style.clean(one.name)[:26],
            (x, y),
            xycoords="axes fraction",
            xytext=(x + 0.015, y + 0.04) if inside else (1.045, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 1.3,
                "linestyle": (0, (3, 1.5)) if one.dashed else "-",
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


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


def intervals(figure: Any, chart: Intervals) -> None:
    """Draw each interval against its bound, with its numbers at the right."""
    style.heading(figure, chart.title)
    rows = chart.rows[: chart.MOST]
    style.notes(figure, chart.notes())
    if not rows:
        return style.nothing(figure.subplots(), "no data")
    if _comparable(rows):
        axes = figure.subplots()
        _rows(axes, rows)
    else:
        panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axes, row in zip(panels, rows, strict=True):
            _rows(axes, [row])
            axes.tick_params(axis="x", labelsize=8, length=2)
            axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(style.clean(chart.label))
    return None


def _comparable(rows: Sequence[Interval]) -> bool:
    """Whether one scale shows all rows: no interval is a speck beside the others."""
    finite = [
        [v for v in (r.low, r.high, r.bound) if v is not None and math.isfinite(v)] for r in rows
    ]
    spans = [max(row) - min(row) for row in finite if row]
    whole = max((max(row) for row in finite if row), default=0) - min(
        (min(row) for row in finite if row), default=0
    )
    return all(span * 40 >= whole for span in spans)


def _rows(axes: Any, rows: Sequence[Interval]) -> None:
    """Draw rows over one scale, the first at the top."""
    names = [textwrap.shorten(style.clean(row.name), 34, placeholder=" …") for row in rows]
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)), yticklabels=names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for at, row in enumerate(rows):
        _interval(axes, row, at)
        said = f"{number(row.estimate)} ({number(row.low)} to {number(row.high)})"
        if row.bound is not None:
            said += f", bound {number(row.bound)}"
        axes.annotate(
            said,
            (1.015, at),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            annotation_clip=False,
        )
    axes.margins(x=0.06)


def _interval(axes: Any, row: Interval, at: float) -> None:
    colour = style.COLOURS[0]
    if math.isfinite(row.low) and math.isfinite(row.high):
        ends = [row.low, row.high]
        axes.plot(ends, [at, at], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot(ends, [at, at], color=colour, marker="|", markersize=9, linestyle="")
    if math.isfinite(row.estimate):
        axes.plot([row.estimate], [at], color=colour, marker="o", markersize=5.5)
    if row.bound is not None and math.isfinite(row.bound):
        dashes = (0, (2, 1.2))
        line = [row.bound, row.bound]
        axes.plot(line, [at - 0.42, at + 0.42], color=style.INK, linewidth=1.4, linestyle=dashes)


def bars(figure: Any, chart: Bars) -> None:
    """Draw bars side by side, or a histogram's outlines over each other."""
    style.heading(figure, chart.title)
    axes = figure.subplots()
    axes.set_xlabel(style.clean(chart.x_label))
    axes.set_ylabel(style.clean(chart.y_label))
    style.notes(figure, chart.notes())
    values = [v for group in chart.groups for v in group.values if math.isfinite(v)]
    if not values or (not any(values) and chart.edges):
        return style.nothing(
            axes, "no data" if not any(g.values for g in chart.groups) else "no finite values"
        )
    axes.grid(visible=False, axis="x")
    if chart.edges:
        _bins(axes, chart)
    else:
        _bars(axes, chart)
    if len(chart.groups) > 1 or chart.edges:
        figure.legend(loc="outside upper right", ncols=4)
    return None


def _bins(axes: Any, chart: Bars) -> None:
    for position, group in enumerate(chart.groups):
        colour = style.COLOURS[position % len(style.COLOURS)]
        dashes = (0, (4, 2)) if group.dashed else "-"
        axes.stairs(group.values, chart.edges, fill=True, color=colour, alpha=0.14)
        axes.stairs(
            group.values,
            chart.edges,
            color=colour,
            linewidth=1.7,
            linestyle=dashes,
            label=style.clean(group.name),
        )


def _bars(axes: Any, chart: Bars) -> None:
    wide = 0.8 / len(chart.groups)
    for position, group in enumerate(chart.groups):
        colour = style.COLOURS[position % len(style.COLOURS)]
        heights = [v if math.isfinite(v) else 0.0 for v in group.values[: chart.MOST]]
        places = [i - 0.4 + wide * (position + 0.5) for i in range(len(heights))]
        face = {"color": colour}
        if group.dashed:
            face = {"color": "white", "edgecolor": colour, "linestyle": "--"}
        name = style.clean(group.name)
        axes.bar(places, heights, wide * 0.92, label=name, linewidth=1.5, **face)
    _categories(axes, chart.categories[: chart.MOST])


def _categories(axes: Any, names: Sequence[str]) -> None:
    short = [textwrap.shorten(style.clean(name), 28, placeholder=" …") or "–" for name in names]
    crowded = sum(map(len, short)) > 85
    axes.set_xticks(
        range(len(short)),
        short,
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
    axes.tick_params(axis="x", length=0)
