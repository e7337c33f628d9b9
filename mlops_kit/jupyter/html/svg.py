"""Small pictures as SVG in a page: they take its colours, and say in words what they show."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_kit.reporting.charts import lines
from mlops_kit.reporting.charts.charts import Lines, Series
from mlops_kit.reporting.charts.scale import Scale
from mlops_kit.reporting.charts.style import PAGE
from mlops_kit.reporting.markup import Html, tag

# Word, shape and colour say one thing, so that no reader needs all three.
_MARKS: dict[str, tuple[str, Html]] = {
    "pass": ("--pass", tag("path", d="M8 0a8 8 0 1 0 .1 0zM4 8l3 3 5-6", stroke="#fff")),
    "fail": ("--fail", tag("path", d="M0 0h16v16H0zM4 4l8 8M12 4l-8 8", stroke="#fff")),
    "inconclusive": ("--inconclusive", tag("path", d="M8 1l7 7-7 7-7-7z", fill="none")),
    "running": ("--running", tag("path", d="M2 1l13 7-13 7z")),
    "waiting": ("--line", tag("circle", cx=8, cy=8, r=6, fill="none")),
}
_SAME = {
    "succeeded": "pass",
    "cached": "pass",
    "failed": "fail",
    "skipped": "waiting",
    "stopped": "inconclusive",
    "proved": "pass",
    "not yet": "inconclusive",
}


def word(state: str, said: str = "") -> Html:
    """Return a state as a word, with its shape in its colour."""
    colour, shape = _MARKS[_SAME.get(state, state if state in _MARKS else "waiting")]
    picture = tag(
        "svg",
        shape,
        viewBox="0 0 16 16",
        aria_hidden="true",
        style=f"fill:var({colour});stroke:var({colour});stroke-width:2",
    )
    return tag("span", picture, said or state.upper(), class_="word")


def chart(value: Lines, overlay: lines.Overlay | None = None) -> Html:
    """Return the chart as a figure with its title; the overlay is drawn over the lines."""
    drawing, is_named = lines.draw(value, PAGE, overlay)
    legend = None if is_named else _legend(value.series)
    return tag("figure", tag("figcaption", value.title), legend, drawing.svg, style="margin:0")


def interval(low: float, high: float, estimate: float, bound: float, edge: float) -> Html:
    """Return an interval against its bound, without the numbers.

    Args:
        low: the interval's lower end.
        high: its upper end.
        estimate: the point within it.
        bound: drawn as a line.
        edge: the right end of the axis, which starts at 0.
    """
    x = Scale(0.0, edge, 4.0, 196.0)
    parts = [
        tag("line", x1=4, x2=196, y1=12, y2=12, stroke="var(--line)"),
        tag("line", x1=x(low), x2=x(high), y1=12, y2=12, stroke="currentColor", stroke_width=5),
        tag("circle", cx=x(estimate), cy=12, r=5, fill="var(--running)", stroke="var(--ground)"),
        tag("line", x1=x(bound), x2=x(bound), y1=1, y2=23, stroke="var(--fail)", stroke_width=2),
    ]
    return tag("svg", *parts, viewBox="0 0 200 24", width=200, height=24, aria_hidden="true")


def _legend(series: Sequence[Series]) -> Html:
    """Return the lines' names beside a sample of each, where the picture has no room for them."""
    samples = [
        tag(
            "svg",
            tag(
                "line",
                x1=0,
                x2=24,
                y1=6,
                y2=6,
                stroke="currentColor",
                stroke_width=2,
                stroke_dasharray=line.dashes,
            ),
            viewBox="0 0 24 12",
            width=24,
            height=12,
            aria_hidden="true",
        )
        for line in series
    ]
    named = [
        tag("span", sample, f" {line.name} ", style="white-space:nowrap")
        for sample, line in zip(samples, series, strict=True)
    ]
    return tag("small", *named, style="display:block")
