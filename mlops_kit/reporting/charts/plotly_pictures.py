"""A plotly figure of somebody's notebook as a picture: its traces become the kit's charts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlops_kit.reporting.charts import plotly_json, png, style, svg
from mlops_kit.reporting.charts.charts import (
    DPI,
    WIDTH,
    Bars,
    Grid,
    Group,
    Interval,
    Intervals,
    Lines,
    Marker,
    Series,
)
from mlops_kit.reporting.charts.series import spread
from mlops_kit.reporting.charts.svg import Drawing

Trace = Mapping[str, Any]
_MAX_PANELS, _MAX_POINTS, _MAX_CELLS = 6, 20_000, 40
_MAX_TOLD, _CARD_HEIGHT = 8, 288.0
_NOT_DRAWN = "not drawn here: open the notebook"


def picture(figure: Mapping[str, Any]) -> bytes:
    """Return a plotly figure's JSON as PNG, drawn without a browser.

    What can't be drawn becomes a card that names its type and size; nothing is raised.
    """
    # Any JSON may come here, and a picture is no reason to lose a notebook.
    broken = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError)
    try:
        drawing = _drawn(figure)
        return png.png(str(drawing.svg), WIDTH, DPI)
    except broken as error:
        card = _card(figure, f"{type(error).__name__} while drawing")
        return png.png(str(card.svg), WIDTH, DPI)


def _drawn(figure: Mapping[str, Any]) -> Drawing:
    """Return the figure's panels one under the other, a chart for each kind of trace."""
    raw, layout = figure.get("data"), figure.get("layout")
    layout = layout if isinstance(layout, Mapping) else {}
    traces = [t for t in raw if isinstance(t, Mapping)] if isinstance(raw, list | tuple) else []
    panels: dict[tuple[str, str], dict[str, list[Trace]]] = {}
    for trace in traces:
        if trace.get("visible", True) is True:
            axes = (str(trace.get("xaxis", "x")), str(trace.get("yaxis", "y")))
            shape = _SHAPES.get(plotly_json.kind(trace), plotly_json.kind(trace))
            panels.setdefault(axes, {}).setdefault(shape, []).append(trace)
    if not panels:
        return _card(figure, "nothing to draw")
    pictures = []
    for title, (axes, kinds) in zip(_titles(layout, len(panels)), panels.items(), strict=True):
        for shape, group in kinds.items():
            convert = _CONVERT.get(shape)
            pictures.append(
                convert(group, _About(title, layout, axes)).draw()
                if convert
                else _card({"data": group}, _NOT_DRAWN, title)
            )
    shown, more = pictures[:_MAX_PANELS], len(pictures) - _MAX_PANELS
    if more > 0:
        shown.append(svg.nothing(style.CARD, 60, "", [f"{more} more panels are not drawn"]))
    return shown[0] if len(shown) == 1 else svg.stack(shown, style.CARD, _title(layout))


def _card(figure: Any, reason: str, title: str = "") -> Drawing:
    """Return a card that names the traces and their sizes, and why they aren't drawn."""
    data = figure.get("data") if isinstance(figure, Mapping) else None
    data = data if isinstance(data, list | tuple) else []
    lines = [reason, *(plotly_json.described(trace) for trace in data[:_MAX_TOLD])]
    if len(data) > _MAX_TOLD:
        lines.append(f"and {len(data) - _MAX_TOLD} more")
    return svg.nothing(style.CARD, _CARD_HEIGHT, title or "plotly figure", lines)


def _title(layout: Mapping[str, Any]) -> str:
    return plotly_json.plain(layout.get("title"))


def _titles(layout: Mapping[str, Any], count: int) -> list[str]:
    """Return a title a panel: plotly's subtitles are notes that belong to the paper."""
    notes = [
        plotly_json.plain(note)
        for note in layout.get("annotations") or ()
        if isinstance(note, Mapping)
        and note.get("xref") == "paper"
        and not note.get("showarrow", True)
    ]
    title = _title(layout)
    if len(notes) != count:
        return [title] + [""] * (count - 1)
    return [f"{title}: {note}" if title else note for note in notes]


class _About:
    """What the layout says of a panel: its title, its axes, and lines across it."""

    def __init__(self, title: str, layout: Mapping[str, Any], axes: tuple[str, str]) -> None:
        self.title, self.layout, self.axes = title, layout, axes
        specs = (layout.get(axis[:1] + "axis" + axis[1:]) for axis in axes)
        self.x, self.y = (spec if isinstance(spec, Mapping) else {} for spec in specs)

    @property
    def labels(self) -> tuple[str, str]:
        """The titles of x and y."""
        return plotly_json.plain(self.x.get("title")), plotly_json.plain(self.y.get("title"))

    def straight(self, along: str) -> list[Any]:
        """Return where lines cross the whole panel, upright by `x` or level by `y`."""
        axis = self.axes[0 if along == "x" else 1]
        shapes = [one for one in self.layout.get("shapes") or () if isinstance(one, Mapping)]
        ends = [
            one[f"{along}0"]
            for one in shapes
            if one.get("type") == "line"
            and one.get(f"{along}ref", along) == axis
            and one.get(f"{along}0", 0) == one.get(f"{along}1", 1)
        ]
        return plotly_json.column(ends)


def _name(trace: Trace) -> str:
    return plotly_json.plain(trace.get("name"))


def _scatter(group: Sequence[Trace], about: _About) -> Lines | Bars:
    series = []
    for trace in group:
        y = plotly_json.column(trace.get("y"))
        x = plotly_json.column(trace.get("x")) or list(range(len(y)))
        if any(isinstance(value, str) for value in x):
            # Points over names are read as bars are.
            return _bars(group, about)
        kept = spread(min(len(x), len(y)), _MAX_POINTS)
        x, y = [x[i] for i in kept], [y[i] for i in kept]
        line = trace.get("line")
        dash = line.get("dash", "solid") if isinstance(line, Mapping) else "solid"
        filled = trace.get("fill") == "tozeroy"
        series.append(
            Series(
                _name(trace),
                x,
                y,
                [min(0.0, value) for value in y] if filled else None,
                [max(0.0, value) for value in y] if filled else None,
                dashed=dash != "solid",
                dots="lines" not in str(trace.get("mode") or "lines"),
            )
        )
    held = any("hv" in str(trace.get("line")) for trace in group)
    return Lines(
        about.title,
        (*series, *_levels(series, about)),
        *about.labels,
        tuple(Marker(at, "") for at in about.straight("x")),
        log_x=about.x.get("type") == "log",
        log_y=about.y.get("type") == "log",
        steps=held,
    )


def _levels(series: Sequence[Series], about: _About) -> list[Series]:
    """Return level lines as series, from one end to the other."""
    ends = [x for one in series for x in one.x]
    if not ends:
        return []
    low, high = min(ends), max(ends)
    return [Series("", (low, high), (y, y), guide=True) for y in about.straight("y")]


def _bars(group: Sequence[Trace], about: _About) -> Bars:
    lies = all(trace.get("orientation") == "h" for trace in group)
    ends = ("y", "x") if lies else ("x", "y")
    rows = []
    for trace in group:
        heights = plotly_json.column(trace.get(ends[1]))
        names = plotly_json.column(trace.get(ends[0])) or list(range(len(heights)))
        rows.append(dict(zip(map(_told, names), heights, strict=False)))
    names = list(dict.fromkeys(name for row in rows for name in row))
    groups = tuple(
        Group(_name(trace), [float(row.get(name, math.nan)) for name in names])
        for trace, row in zip(group, rows, strict=True)
    )
    labels = about.labels[::-1] if lies else about.labels
    return Bars(about.title, tuple(names), groups, *labels)


def _told(name: object) -> str:
    return style.clean(f"{name:g}" if isinstance(name, float) else name)


def _histograms(group: Sequence[Trace], about: _About) -> Bars:
    columns = [plotly_json.column(trace.get("x") or trace.get("y")) for trace in group]
    if any(isinstance(value, str) for column in columns for value in column):
        names = sorted({str(value) for column in columns for value in column})
        groups = tuple(
            Group(_name(trace), [sum(str(value) == name for value in column) for name in names])
            for trace, column in zip(group, columns, strict=True)
        )
        return Bars(about.title, tuple(names), groups, about.labels[0], "count")
    arrays = [np.array(column, dtype=float) for column in columns]
    finite = [array[np.isfinite(array)] for array in arrays]
    edges = np.histogram_bin_edges(np.concatenate(finite), int(group[0].get("nbinsx") or 30))
    groups = tuple(
        Group(_name(trace) or f"n = {len(array):,}", np.histogram(array, edges)[0].tolist())
        for trace, array in zip(group, finite, strict=True)
    )
    bins = tuple(f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges))
    label = about.labels[0] or about.labels[1]
    return Bars(about.title, bins, groups, label, "count", tuple(map(float, edges)))


def _boxes(group: Sequence[Trace], about: _About) -> Intervals:
    boxes: dict[str, list[float]] = {}
    for position, trace in enumerate(group):
        values = plotly_json.column(trace.get("y") or trace.get("x"))
        by = plotly_json.column(trace.get("x")) if trace.get("y") and trace.get("x") else []
        for i, value in enumerate(values):
            name = _told(by[i]) if i < len(by) else _name(trace) or f"trace {position}"
            boxes.setdefault(name, []).append(float(value))
    rows = []
    for name, box in boxes.items():
        finite = [value for value in box if math.isfinite(value)]
        low, middle, high = np.quantile(finite, (0.25, 0.5, 0.75)) if finite else (math.nan,) * 3
        rows.append(Interval(name, float(middle), float(low), float(high)))
    label = about.labels[1] or about.labels[0]
    return Intervals(about.title, tuple(rows), f"{label}: median (quartiles)".removeprefix(": "))


def _grid(group: Sequence[Trace], about: _About) -> Grid:
    trace = group[0]
    values = [
        tuple(math.nan if value is None else float(value) for value in row)
        for row in plotly_json.values(trace.get("z"))
    ]
    # Plotly's first row is the lowest, unless the axis is turned round.
    step = 1 if about.y.get("autorange") == "reversed" else -1
    rows = _names(trace.get("y"), len(values))
    columns = _names(trace.get("x"), max(map(len, values), default=0))
    kept_rows = spread(len(values), _MAX_CELLS)[::step]
    kept = spread(len(columns), _MAX_CELLS)
    cells = tuple(tuple(values[i][j] for j in kept) for i in kept_rows)
    shown = tuple(rows[i] for i in kept_rows), tuple(columns[j] for j in kept)
    return Grid(about.title, *shown, cells, *about.labels)


def _names(raw: object, count: int) -> list[str]:
    names = [_told(name) for name in plotly_json.values(raw)]
    return names if len(names) == count else [str(i) for i in range(count)]


def _pie(group: Sequence[Trace], about: _About) -> Bars:
    """Return shares as bars, which show the same and can be compared."""
    values = plotly_json.values(group[0].get("values"))
    sizes = [max(0.0, float(value or 0)) for value in values]
    names = [style.clean(name) for name in plotly_json.values(group[0].get("labels"))]
    whole = sum(sizes)
    order = sorted(range(min(len(sizes), len(names))), key=lambda i: -sizes[i])
    shares = Group("", [100 * sizes[i] / whole for i in order])
    return Bars(about.title, tuple(names[i] for i in order), (shares,), "", "share, %")


_SHAPES = {"scattergl": "scatter", "violin": "box", "contour": "heatmap"}
_CONVERT: dict[str, Callable[[Sequence[Trace], _About], Lines | Bars | Intervals | Grid]] = {
    "scatter": _scatter,
    "bar": _bars,
    "histogram": _histograms,
    "box": _boxes,
    "heatmap": _grid,
    "pie": _pie,
}
