"""The charts of an evaluation of several classes or of numbers, from the values it carries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from mlops_kit.models.class_curves import ClassCurves
from mlops_kit.models.error_curves import ErrorCurves, RegressionModel
from mlops_kit.models.evaluation_summary import EstimateSummary
from mlops_kit.reporting.charts.charts import Grid, Interval, Intervals, Lines, Series

Role = Literal["candidate", "reference"]
# The champion's line is drawn first, so that the candidate's lies over it.
ROLES: tuple[Role, Role] = ("reference", "candidate")


def confusion(names: Mapping[str, str], found: ClassCurves, role: Role = "candidate") -> Grid:
    """Return a model's confusion matrix, coloured by the share of the true class's rows."""
    matrix = getattr(found.confusion, role)
    shares = [[_share(count, sum(row)) for count in row] for row in matrix]
    cells = tuple(
        tuple(
            (f"{count:,}", f"{share} %") if count else ("0",)
            for count, share in zip(row, told, strict=True)
        )
        for row, told in zip(matrix, shares, strict=True)
    )
    said = f"What {names[role]} takes each class for, in % of the true class"
    values = tuple(tuple(map(float, row)) for row in shares)
    classes = tuple(found.classes)
    return Grid(said, classes, classes, values, "predicted", "true class", cells)


def recalls(names: Mapping[str, str], found: ClassCurves) -> Intervals:
    """Return by how much the recall of each class of enough rows differs, the worst first."""
    rows = tuple(
        Interval(each.name, *_ends(each.difference), 0.0)
        for each in found.recalls
        if each.candidate.n >= found.minimum
    )
    title = f"Recall of each class: {names['candidate']} minus {names['reference']}"
    label = f"difference in recall, of classes of {found.minimum} rows or more"
    return Intervals(title, rows, label, is_one_scale=True)


def error_quantiles(names: Mapping[str, str], found: ErrorCurves) -> Lines:
    """Return how large the errors of a share of the rows are at most."""
    shares = [100 * each for each in found.quantiles]
    lines = tuple(
        _series(names[role], shares, getattr(found, role).absolute, role) for role in ROLES
    )
    middle = found.quantiles.index(0.5)
    halves = {role: getattr(found, role).absolute[middle] for role in ROLES}
    told = "; ".join(f"{names[role]}: half of the rows by {halves[role]} or less" for role in ROLES)
    label = "share of the rows, in %"
    x_range = (0.0, 100.0)
    return Lines(
        "Absolute error", lines, label, "absolute error at most", says=told, x_range=x_range
    )


def error_by_size(names: Mapping[str, str], found: ErrorCurves) -> Lines:
    """Return the median absolute error by the size of the prediction."""
    lines = _by_size(names, found, lambda model: model.by_size.error)
    title, told = "Error by predicted size", "Each point is a group of equally many rows."
    return Lines(title, lines, "prediction", "median absolute error", says=told)


def bias_by_size(names: Mapping[str, str], found: ErrorCurves) -> Lines:
    """Return the mean of prediction minus truth by the size of the prediction."""
    lines = _by_size(names, found, lambda model: model.by_size.bias)
    ends = [at for line in lines for at in line.x]
    zero = Series("no bias", (min(ends), max(ends)), (0.0, 0.0), guide=True)
    told = "Above zero the predictions are too high, below it too low."
    title = "Bias by predicted size"
    return Lines(title, (*lines, zero), "prediction", "mean of prediction − truth", says=told)


def _by_size(
    names: Mapping[str, str],
    found: ErrorCurves,
    what: Callable[[RegressionModel], list[EstimateSummary]],
) -> tuple[Series, ...]:
    return tuple(
        _series(names[role], getattr(found, role).by_size.at, what(getattr(found, role)), role)
        for role in ROLES
    )


def _series(name: str, x: list[float], y: list[EstimateSummary], role: Role) -> Series:
    values, lows, highs = zip(*map(_ends, y), strict=True)
    return Series(name, x, values, lows, highs, dashed=role == "reference")


def _ends(estimate: EstimateSummary) -> tuple[float, float, float]:
    """Return an estimate and its interval, without a number as NaN."""
    found = (estimate.value, estimate.low, estimate.high)
    value, low, high = (math.nan if each is None else each for each in found)
    return value, low, high


def _share(count: int, total: int) -> int:
    """Return a count's share in whole percent; 0 of nothing."""
    return round(100 * count / total) if total else 0
