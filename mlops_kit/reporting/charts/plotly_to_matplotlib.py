"""A plotly figure's JSON, drawn on a figure that somebody else made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.reporting.charts import plotly_json, style
from mlops_kit.reporting.charts.series import spread

_MOST_PANELS, _MOST_POINTS = 6, 20_000
_DASHES = {"dash": "--", "dot": ":", "dashdot": "-.", "longdash": "--", "longdashdot": "-."}


@dataclass(frozen=True)
class Plan:
    """How a figure is drawn: by `draw`, in a picture of this height in inches."""

    draw: Callable[[Any], None]
    height: float


def plan(figure: Mapping[str, Any]) -> Plan:
    """Return how to draw the figure: a panel for each pair of axes, one under the other."""
    raw = figure.get("data") if isinstance(figure, Mapping) else None
    data = [t for t in raw if isinstance(t, Mapping)] if isinstance(raw, list | tuple) else []
    layout = figure.get("layout") if isinstance(figure, Mapping) else None
    layout = layout if isinstance(layout, Mapping) else {}
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for position, trace in enumerate(data):
        if trace.get("visible", True) is not True:
            continue
        axes = (str(trace.get("xaxis", "x")), str(trace.get("yaxis", "y")))
        alone = plotly_json.kind(trace) not in _SHARED
        panels.setdefault(("", str(position)) if alone else axes, []).append(trace)
    if not panels:
        return card(figure, "nothing to draw")
    shown = min(len(panels), _MOST_PANELS)
    return Plan(lambda on: _draw(on, panels, layout), 1.0 + (2.8 if shown == 1 else 2.1 * shown))


def card(figure: Mapping[str, Any], reason: str) -> Plan:
    """Return a card that names the traces and their sizes, and why they aren't drawn."""
    data = figure.get("data") if isinstance(figure, Mapping) else None
    data = data if isinstance(data, list | tuple) else []
    lines = [reason, *(plotly_json.described(trace) for trace in data[:8])]
    if len(data) > 8:
        lines.append(f"and {len(data) - 8} more")

    def draw(on: Any) -> None:
        style.heading(on, "plotly figure")
        style.nothing(on.subplots(), "\n".join(map(style.clean, lines)))

    return Plan(draw, 3.0)


def _draw(
    on: Any,
    panels: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
    layout: Mapping[str, Any],
) -> None:
    style.heading(on, plotly_json.plain(layout.get("title")))
    shown = list(panels.items())[:_MOST_PANELS]
    notes = (
        [f"{len(panels) - len(shown)} more panels are not drawn"]
        if len(panels) > len(shown)
        else []
    )
    style.notes(on, notes)
    titles = [
        plotly_json.plain(note)
        for note in layout.get("annotations") or ()
        if isinstance(note, Mapping)
        and note.get("xref") == "paper"
        and not note.get("showarrow", True)
    ]
    all_axes = on.subplots(len(shown), 1, squeeze=False)[:, 0]
    for position, (axes, ((x, y), group)) in enumerate(zip(all_axes, shown, strict=True)):
        if len(titles) == len(panels):
            axes.set_title(titles[position], fontsize=9.5)
        _panel(axes, group, layout)
        _axis(axes, "x", layout.get(x.replace("x", "xaxis", 1)))
        _axis(axes, "y", layout.get(y.replace("y", "yaxis", 1)))
        for shape in layout.get("shapes") or ():
            _shape(axes, shape, x, y)


def _panel(axes: Any, group: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> None:
    for kind, draw in _TOGETHER.items():
        some = [trace for trace in group if plotly_json.kind(trace) == kind]
        if some:
            draw(axes, some, layout)
    for position, trace in enumerate(group):
        if plotly_json.kind(trace) in _TOGETHER:
            continue
        draw_one = _ALONE.get(plotly_json.kind(trace))
        if draw_one:
            draw_one(axes, trace, position)
        else:
            style.nothing(
                axes, f"{plotly_json.described(trace)}\nnot drawn here: open the notebook"
            )
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        axes.legend(handles[:10], names[:10], loc="best")


def _axis(axes: Any, which: str, spec: object) -> None:
    if not isinstance(spec, Mapping):
        return
    getattr(axes, f"set_{which}label")(plotly_json.plain(spec.get("title")))
    if spec.get("type") == "log":
        style.log_scale(axes, which)
    if spec.get("autorange") == "reversed":
        getattr(axes, f"invert_{which}axis")()


def _shape(axes: Any, shape: object, x: str, y: str) -> None:
    """Draw a line across the panel; plotly's vline and hline are such shapes."""
    if not isinstance(shape, Mapping) or shape.get("type") != "line":
        return
    if shape.get("x0") == shape.get("x1") and shape.get("xref", "x") == x:
        axes.axvline(
            plotly_json.column([shape["x0"]])[0], color=style.INK, linestyle=":", linewidth=1.2
        )
    elif shape.get("y0") == shape.get("y1") and shape.get("yref", "y") == y:
        axes.axhline(shape["y0"], color=style.INK, linestyle=":", linewidth=1.2)


def _scatter(axes: Any, trace: Mapping[str, Any], position: int) -> None:
    y = plotly_json.column(trace.get("y"))
    x = plotly_json.column(trace.get("x")) or list(range(len(y)))
    length = min(len(x), len(y))
    kept = spread(length, _MOST_POINTS)
    x, y = [x[i] for i in kept], [y[i] for i in kept]
    mode = str(trace.get("mode") or "lines")
    line = trace.get("line")
    dash = _DASHES.get(str(line.get("dash")), "-") if isinstance(line, Mapping) else "-"
    colour = plotly_json.colour(trace, position)
    axes.plot(
        x,
        y,
        color=colour,
        linestyle=dash if "lines" in mode else "",
        linewidth=1.6,
        marker="o" if "markers" in mode or length == 1 else "",
        markersize=3 if length > 200 else 5,
        drawstyle="steps-post"
        if isinstance(line, Mapping) and line.get("shape") == "hv"
        else "default",
        label=plotly_json.plain(trace.get("name")) or None,
    )
    if trace.get("fill") == "tozeroy":
        axes.fill_between(x, 0, y, color=colour, alpha=0.15, linewidth=0)


def _bars(axes: Any, group: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> None:
    flat = all(trace.get("orientation") == "h" for trace in group)
    ends = ("y", "x") if flat else ("x", "y")
    pairs = [
        (plotly_json.column(trace.get(ends[0])), plotly_json.column(trace.get(ends[1])))
        for trace in group
    ]
    pairs = [(names or list(range(len(heights))), heights) for names, heights in pairs]
    names = list(dict.fromkeys(str(name) for column, _ in pairs for name in column))
    stacked = layout.get("barmode") in ("stack", "relative")
    wide = 0.8 if stacked else 0.8 / len(group)
    base = np.zeros(len(names))
    for position, (trace, (column, heights)) in enumerate(zip(group, pairs, strict=True)):
        row = dict(zip(map(str, column), heights, strict=False))
        size = np.nan_to_num([float(row.get(name, 0)) for name in names])
        at = np.arange(len(names)) + (0 if stacked else wide * (position + 0.5) - 0.4)
        draw = axes.barh if flat else axes.bar
        start = {("left" if flat else "bottom"): base.copy()} if stacked else {}
        draw(
            at,
            size,
            wide * 0.95,
            color=plotly_json.colour(trace, position),
            label=plotly_json.plain(trace.get("name")) or None,
            **start,
        )
        base += size
    ticks = range(0, len(names), max(1, len(names) // 20))
    (axes.set_yticks if flat else axes.set_xticks)(list(ticks), [names[i][:28] for i in ticks])
    if not flat and sum(len(names[i][:28]) for i in ticks) > 85:
        axes.tick_params(axis="x", rotation=35)


def _histograms(axes: Any, group: Sequence[Mapping[str, Any]], _: Mapping[str, Any]) -> None:
    pairs = [plotly_json.column(trace.get("x") or trace.get("y")) for trace in group]
    if any(isinstance(value, str) for column in pairs for value in column):
        names = sorted({str(value) for column in pairs for value in column})
        counted = [
            {**trace, "x": names, "y": [sum(str(v) == n for v in column) for n in names]}
            for trace, column in zip(group, pairs, strict=True)
        ]
        return _bars(axes, counted, {})
    every = np.array([value for column in pairs for value in column], dtype=float)
    edges = np.histogram_bin_edges(every[np.isfinite(every)], int(group[0].get("nbinsx") or 30))
    for position, (trace, column) in enumerate(zip(group, pairs, strict=True)):
        colour = plotly_json.colour(trace, position)
        counts = np.histogram(np.array(column, dtype=float), edges)[0]
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(counts, edges, color=colour, label=plotly_json.plain(trace.get("name")) or None)
    return None


def _boxes(axes: Any, group: Sequence[Mapping[str, Any]], _: Mapping[str, Any]) -> None:
    boxes: dict[str, list[float]] = {}
    for position, trace in enumerate(group):
        column = plotly_json.column(trace.get("y") if trace.get("y") else trace.get("x"))
        by = plotly_json.column(trace.get("x")) if trace.get("y") and trace.get("x") else []
        for i, value in enumerate(column):
            name = (
                str(by[i])
                if i < len(by)
                else plotly_json.plain(trace.get("name")) or f"trace {position}"
            )
            boxes.setdefault(name, []).append(float(value))
    finite = {name: [v for v in box if np.isfinite(v)] for name, box in list(boxes.items())[:20]}
    axes.boxplot(
        list(finite.values()),
        tick_labels=[name[:24] for name in finite],
        flierprops={"markersize": 3},
    )


def _heatmap(axes: Any, trace: Mapping[str, Any], _: int) -> None:
    z = np.array(
        [
            [np.nan if v is None else float(v) for v in row]
            for row in plotly_json.values(trace.get("z"))
        ]
    )
    axes.grid(visible=False)
    mesh = axes.imshow(z, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    axes.figure.colorbar(mesh, ax=axes)
    for which, size in (("x", z.shape[1]), ("y", z.shape[0])):
        names = [style.clean(name)[:20] for name in plotly_json.values(trace.get(which))]
        step = max(1, size // 12)
        if len(names) == size:
            getattr(axes, f"set_{which}ticks")(list(range(0, size, step)), names[::step])
    if z.size <= 100:
        middle = np.nanmean(z)
        for (row, column), value in np.ndenumerate(z):
            ink = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=ink, fontsize=8)


def _pie(axes: Any, trace: Mapping[str, Any], _: int) -> None:
    sizes = [max(0.0, float(v or 0)) for v in plotly_json.values(trace.get("values"))]
    names = [style.clean(name) for name in plotly_json.values(trace.get("labels"))]
    whole = sum(sizes)
    order = sorted(range(min(len(sizes), len(names))), key=lambda i: -sizes[i])[:12][::-1]
    # A bar shows the same shares, and can be read.
    axes.barh(
        [f"{names[i][:28]}" for i in order],
        [100 * sizes[i] / whole for i in order],
        color=style.COLOURS[0],
    )
    axes.set_xlabel("share, %")


_TOGETHER: dict[str, Callable[[Any, Sequence[Mapping[str, Any]], Mapping[str, Any]], None]] = {
    "bar": _bars,
    "histogram": _histograms,
    "box": _boxes,
    "violin": _boxes,
}
_ALONE: dict[str, Callable[[Any, Mapping[str, Any], int], None]] = {
    "scatter": _scatter,
    "scattergl": _scatter,
    "heatmap": _heatmap,
    "contour": _heatmap,
    "pie": _pie,
}
_SHARED = {*_TOGETHER, *_ALONE} - {"pie"}
