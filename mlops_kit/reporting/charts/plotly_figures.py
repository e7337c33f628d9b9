"""A chart to explore: plotly in JupyterLab, a picture and its numbers where no plotly is.

Writes plotly's JSON without plotly: its import costs a notebook more than the figure, and its
template would be 7 kB in every output.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts.charts import WIDTH, Bars, Grid, Intervals, Lines
from mlops_kit.reporting.charts.series import Series
from mlops_kit.reporting.charts.style import COLOURS, clean

_LAYOUT: dict[str, Any] = {
    "font": {"family": "sans-serif", "size": 13, "color": "#222222"},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "margin": {"l": 70, "r": 30, "t": 60, "b": 55},
    "hovermode": "closest",
}
_AXIS = {"gridcolor": "#E6E6E6", "linecolor": "#8A8A8A", "showline": True, "zeroline": False}

_NAME_ROOM = 130.0


@dataclass(frozen=True)
class Figure:
    """A chart that a notebook shows as plotly, and keeps as a picture and text."""

    chart: Lines | Intervals | Bars | Grid

    def plotly(self) -> dict[str, Any]:
        """Return the figure as plotly's JSON: `data` and `layout`."""
        match self.chart:
            case Lines():
                return _lines(self.chart)
            case Intervals():
                return _intervals(self.chart)
            case Bars():
                return _bars(self.chart)
            case Grid():
                return _grid(self.chart)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # Until the pointer is on it, JupyterLab's plotly shows the picture at a dot a pixel,
        # whatever size the metadata says: a finer one would be too wide for the page.
        data, metadata = self.chart.bundle(dpi=96)
        return {"application/vnd.plotly.v1+json": self.plotly(), **data}, metadata


def explore(chart: Lines | Intervals | Bars | Grid) -> Figure:
    """Return the chart as a figure to zoom into and to hover over."""
    return Figure(chart)


def _lines(chart: Lines) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    for one, colour in zip(chart.series, COLOURS, strict=False):
        thin = one.decimated()
        if thin.lower is not None and thin.upper is not None:
            data.append(_band(thin, colour))
        data.append(
            {
                "type": "scatter",
                "mode": "lines" if len(thin.y) > 1 else "markers",
                "name": _text(one.name),
                "x": _column(thin.x),
                "y": _column(thin.y),
                "line": {"color": colour, "width": 2, "dash": _dash(one)},
            }
        )
    layout = _layout(chart.title, chart.x_label, chart.y_label)
    layout["xaxis"]["type"] = _scale(chart.log_x, chart.series)
    layout["yaxis"]["type"] = "log" if chart.log_y else "linear"
    # A place on a log axis is given as its power of ten, for words but not for lines.
    layout["shapes"] = [_upright(_value(marker.x)) for marker in chart.markers]
    layout["annotations"] = [
        {
            "x": math.log10(marker.x)
            if chart.log_x and isinstance(marker.x, int | float)
            else _value(marker.x),
            "y": 1.0,
            "yref": "paper",
            "yanchor": "bottom",
            "text": _text(marker.label),
            "showarrow": False,
        }
        for marker in chart.markers
    ]
    return {"data": data, "layout": layout}


def _dash(one: Series) -> str:
    return "dot" if one.guide else "dash" if one.dashed else "solid"


def _band(one: Series, colour: str) -> dict[str, Any]:
    """Return the band as one closed shape that can't be hovered over."""
    triples = zip(one.x, one.lower or (), one.upper or (), strict=True)
    finite = [
        (x, low, high) for x, low, high in triples if math.isfinite(low) and math.isfinite(high)
    ]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": _text(f"{one.name}, interval"),
        "x": _column([x for x, _, _ in finite] + [x for x, _, _ in reversed(finite)]),
        "y": _column([low for _, low, _ in finite] + [high for _, _, high in reversed(finite)]),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.15)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _intervals(chart: Intervals) -> dict[str, Any]:
    rows = [row for row in chart.rows[: chart.MOST] if math.isfinite(row.estimate)]
    names = [_text(row.name) for row in rows]
    bounded = [
        (name, row.bound) for name, row in zip(names, rows, strict=True) if row.bound is not None
    ]
    estimates = {
        "type": "scatter",
        "mode": "markers",
        "name": "estimate",
        "x": [row.estimate for row in rows],
        "y": names,
        "marker": {"color": COLOURS[0], "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": _column(row.high - row.estimate for row in rows),
            "arrayminus": _column(row.estimate - row.low for row in rows),
        },
    }
    bounds = {
        "type": "scatter",
        "mode": "markers",
        "name": "bound",
        "x": _column(bound for _, bound in bounded),
        "y": [name for name, _ in bounded],
        "marker": {"color": "#222222", "symbol": "line-ns-open", "size": 18},
    }
    layout = _layout(chart.title, chart.label, "")
    layout["yaxis"] |= {"autorange": "reversed", "type": "category", "automargin": True}
    layout["height"] = 160 + 42 * len(rows)
    return {"data": [estimates, *([bounds] if bounded else [])], "layout": layout}


def _bars(chart: Bars) -> dict[str, Any]:
    data = [
        {
            "type": "bar",
            "name": _text(group.name),
            "x": [_text(name) for name in chart.categories[: None if chart.edges else chart.MOST]],
            "y": _column(group.values[: None if chart.edges else chart.MOST]),
            "marker": {
                "color": "white" if group.dashed else COLOURS[position % len(COLOURS)],
                "line": {"color": COLOURS[position % len(COLOURS)], "width": 1.5},
            },
        }
        for position, group in enumerate(chart.groups)
    ]
    layout = _layout(chart.title, chart.x_label, chart.y_label)
    layout["xaxis"]["type"] = "category"
    return {"data": data, "layout": {**layout, "barmode": "group"}}


def _grid(chart: Grid) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [_text(name) for name in chart.columns],
        "y": [_text(name) for name in chart.rows],
        "z": [_column(row) for row in chart.values],
        "colorscale": [[0, "#F0F5FA"], [1, "#005A96"]],
        "showscale": False,
        "texttemplate": "%{z}",
    }
    if chart.cells:
        trace["text"] = [[_text(" ".join(cell)) for cell in row] for row in chart.cells]
        trace["hovertemplate"] = "%{y}<br>%{x}<br>%{text}<extra></extra>"
    layout = _layout(chart.title, chart.x_label, chart.y_label)
    layout["yaxis"] |= _named(chart.rows) | {"autorange": "reversed"}
    layout["xaxis"] |= _named(chart.columns)
    for axis in ("xaxis", "yaxis"):
        # Else plotly writes the title over the longest name.
        layout[axis]["title"]["standoff"] = 14
    layout["height"] = max(450, 240 + 24 * len(chart.rows))
    return {"data": [trace], "layout": layout}


def _named(names: Sequence[str]) -> dict[str, Any]:
    """Return an axis on which each category has its name, a long one cut."""
    cut = [_text(texts.shortened(name, 12, _NAME_ROOM)) for name in names]
    places = {"tickmode": "array", "tickvals": [*range(len(names))], "ticktext": cut}
    return {"type": "category", "automargin": True, **places}


def _layout(title: str, x: str, y: str) -> dict[str, Any]:
    return {
        **_LAYOUT,
        "title": {"text": _text(title), "x": 0.01},
        "width": WIDTH,
        "xaxis": {**_AXIS, "title": {"text": _text(x)}},
        "yaxis": {**_AXIS, "title": {"text": _text(y)}},
    }


def _scale(log: bool, series: Iterable[Series]) -> str:
    if any(isinstance(x, datetime) for one in series for x in one.x[:1]):
        return "date"
    return "log" if log else "linear"


def _upright(x: object) -> dict[str, Any]:
    line = {"color": "#8A8A8A", "dash": "dot", "width": 1}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _text(text: object) -> str:
    """Return text for plotly, which reads HTML in every label."""
    return html.escape(clean(text), quote=False)


def _column(values: Iterable[object]) -> list[Any]:
    return [_value(value) for value in values]


def _value(value: object) -> Any:
    """Return a value for JSON: a gap is null, a time is text, a number has the digits that show."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value
