"""Tables that hold candidate and champion against each other, with their intervals drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlops_kit.models.evaluation_summary import EstimateSummary
from mlops_kit.reporting.charts.scale import Scale
from mlops_kit.reporting.markup import Html, control, tag
from mlops_kit.reporting.markup import table as html_table

# The wide interval of so few rows would leave no room for the others.
_FEW = 20


@dataclass(frozen=True)
class Pair:
    """A row: its cells, and the estimates of reference and candidate that are drawn at its end.

    Rows of one `unit` share a scale.
    """

    cells: Sequence[object]
    reference: EstimateSummary
    candidate: EstimateSummary
    unit: str = ""


def pairs(caption: str, header: Iterable[object], rows: Sequence[Pair]) -> Html:
    """Return the table; one that is wider than the page is scrolled, by keys too."""
    ends = {row.unit: _ends(rows, row.unit) for row in rows}
    told = [(*row.cells, intervals(row.reference, row.candidate, ends[row.unit])) for row in rows]
    table = html_table(caption, (*header, "intervals"), told, class_="pairs")
    return scrolled(table, caption)


def scrolled(table: Html, label: str) -> Html:
    """Return a table that is scrolled where it is wider than the page, by keys too."""
    return control("div", table, class_="wide", tabindex=0, role="group", aria_label=label)


def differs(difference: EstimateSummary | None) -> str:
    """Return whether an interval excludes zero, in a word."""
    if not difference:
        return "–"
    return "yes" if difference.excludes_zero else "can't tell"


def intervals(
    reference: EstimateSummary, candidate: EstimateSummary, ends: tuple[float, float]
) -> Html:
    """Return the intervals of both models on one scale, the reference dashed.

    The numbers stand beside it; nothing is drawn of what has none, or lies outside.
    """
    x = Scale(*ends, 4.0, 156.0)
    parts = [tag("line", x1=4, x2=156, y1=12, y2=12, stroke="var(--line)")]
    looks = ((reference, 6, "6 4", "var(--ground)"), (candidate, 18, None, "currentColor"))
    for each, y, dashes, fill in looks:
        if each.value is None or each.low is None or each.high is None:
            continue
        line = {"stroke": "currentColor", "stroke_width": 2, "stroke_dasharray": dashes}
        parts.append(tag("line", x1=x(each.low), x2=x(each.high), y1=y, y2=y, **line))
        if x.low <= each.value <= x.high:
            parts.append(
                tag("circle", cx=x(each.value), cy=y, r=4, fill=fill, stroke="currentColor")
            )
    return tag("svg", *parts, viewBox="0 0 160 24", width=160, height=24, aria_hidden="true")


def _ends(rows: Sequence[Pair], unit: str) -> tuple[float, float]:
    """Return what the intervals of a unit span; those of few rows may be wider, unless all are."""
    own = [row for row in rows if row.unit == unit]
    told = [row for row in own if row.candidate.n >= _FEW] or own
    found = [
        end
        for row in told
        for each in (row.reference, row.candidate)
        # Without a value, an interval is as wide as can be and tells nothing.
        if each.value is not None
        for end in (each.low, each.high)
        if end is not None
    ]
    return min(found, default=0.0), max(found, default=1.0)
