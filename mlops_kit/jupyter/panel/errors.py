"""Show how large a regression's errors are: by share of the rows, and by predicted size."""

from __future__ import annotations

from mlops_kit.formatting import number
from mlops_kit.jupyter.html import svg
from mlops_kit.models.error_curves import ErrorCurves
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.reporting.charts import task_charts
from mlops_kit.reporting.markup import Html, folded, tag
from mlops_kit.reporting.markup import table as html_table


def parts(found: EvaluationSummary) -> list[Html]:
    """Return what unfolds below the slices; nothing without quantiles of the errors."""
    curves = ErrorCurves.found(found.curves)
    if curves is None:
        return []
    names = found.names.model_dump()
    charts = (
        task_charts.error_quantiles(names, curves),
        task_charts.error_by_size(names, curves),
        task_charts.bias_by_size(names, curves),
    )
    drawn = tag("div", *map(svg.chart, charts), class_="grid")
    return [
        folded("Absolute error", _quantiles(found, curves), drawn, key="errors"),
        folded("Errors by predicted size", _by_size(found, curves), key="errors-by-size"),
    ]


def _quantiles(found: EvaluationSummary, curves: ErrorCurves) -> Html:
    pairs = zip(curves.reference.absolute, curves.candidate.absolute, strict=True)
    rows = [
        (f"{100 * share:g} %", str(other), str(own))
        for share, (other, own) in zip(curves.quantiles, pairs, strict=True)
    ]
    header = ("of the rows", found.names.reference, found.names.candidate)
    caption = "Off by at most, in the label's unit; 95 % intervals in brackets"
    return tag("div", html_table(caption, header, rows), class_="wide")


def _by_size(found: EvaluationSummary, curves: ErrorCurves) -> Html:
    names = found.names.model_dump()
    sizes = {role: getattr(curves, role).by_size for role in task_charts.ROLES}
    rows = [
        (number(at), names[role], f"{error.n:,}", str(error), str(bias))
        for role, size in sizes.items()
        for at, error, bias in zip(size.at, size.error, size.bias, strict=True)
    ]
    header = ("mean prediction", "model", "rows", "median absolute error", "prediction − truth")
    caption = "Errors by predicted size; 95 % intervals in brackets"
    return tag("div", html_table(caption, header, rows), class_="wide")
