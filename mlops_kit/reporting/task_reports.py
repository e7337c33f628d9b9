"""What a report says of each task: recall and confusion of classes, sizes of errors, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_kit.models import slice_confusions
from mlops_kit.models.class_curves import ClassCurves
from mlops_kit.models.error_curves import ErrorCurves
from mlops_kit.models.slice_confusions import SliceConfusion
from mlops_kit.reporting import markdown
from mlops_kit.reporting.charts import task_charts
from mlops_kit.reporting.charts.charts import Grid, Intervals, Lines

Chart = Grid | Intervals | Lines


@dataclass(frozen=True)
class Section:
    """A part of a report: a table and a picture that unfold under a summary.

    `file` is the picture's name beside the report, and `says` what it shows.
    """

    summary: str
    table: str
    file: str = ""
    says: str = ""
    chart: Chart | None = None


def sections(names: Mapping[str, str], curves: Mapping[str, Any]) -> list[Section]:
    """Return the parts that an evaluation's task has beside gates and slices.

    `names` are those of candidate and reference, `curves` what the evaluation carries.
    """
    if (classes := ClassCurves.found(curves)) is not None:
        return _of_classes(names, classes)
    if (errors := ErrorCurves.found(curves)) is not None:
        return _of_errors(names, errors)
    if slices := slice_confusions.read(curves):
        table = confusion_by_slice(names, slices)
        return [Section("Confusion by slice, each model at its own threshold", table)]
    return []


def _of_classes(names: Mapping[str, str], found: ClassCurves) -> list[Section]:
    count = len(found.recalls)
    matrix = task_charts.confusion(names, found)
    said = f"What {names['candidate']} takes each class for"
    return [
        Section(
            f"Recall of {count} classes, worst first",
            recalls(names, found),
            "recall.svg",
            "By how much the recall of each class differs",
            task_charts.recalls(names, found),
        ),
        Section(f"Confusion: {said}", confused(names, found), "confusion.svg", said, matrix),
    ]


def _of_errors(names: Mapping[str, str], found: ErrorCurves) -> list[Section]:
    return [
        Section(
            "Absolute error by share of the rows",
            error_quantiles(names, found),
            "errors.svg",
            "How large the errors of a share of the rows are at most",
            task_charts.error_quantiles(names, found),
        ),
        Section(
            "Error by predicted size",
            "",
            "error-by-size.svg",
            "Median absolute error by predicted size",
            task_charts.error_by_size(names, found),
        ),
        Section(
            "Bias by predicted size",
            "",
            "bias-by-size.svg",
            "Mean of prediction minus truth by predicted size",
            task_charts.bias_by_size(names, found),
        ),
    ]


def recalls(names: Mapping[str, str], found: ClassCurves) -> str:
    """Return the recall of each class of both models, worst first, as a Markdown table."""
    rows = [
        (each.name, each.candidate.n, str(each.reference), str(each.candidate), each.difference)
        for each in found.recalls
    ]
    header = ("class", "rows", names["reference"], names["candidate"], "difference")
    return markdown.table(header, rows)


def confused(names: Mapping[str, str], found: ClassCurves) -> str:
    """Return the candidate's most frequent errors, in rows, as a Markdown table."""
    rows = [(each.truth, each.predicted, each.reference, each.candidate) for each in found.confused]
    header = ("true class", "predicted", names["reference"], names["candidate"])
    more = f"The matrix shows the {len(found.classes) - 1} classes of the most errors alone."
    table = markdown.table(header, rows, left=2) if rows else ""
    return table + markdown.remark(more if found.others else "")


def error_quantiles(names: Mapping[str, str], found: ErrorCurves) -> str:
    """Return how large the errors of a share of the rows are at most, as a Markdown table."""
    pairs = zip(found.reference.absolute, found.candidate.absolute, strict=True)
    rows = [
        (f"{100 * share:g} %", str(other), str(own))
        for share, (other, own) in zip(found.quantiles, pairs, strict=True)
    ]
    header = ("rows off by at most", names["reference"], names["candidate"])
    return markdown.table(header, rows)


def confusion_by_slice(names: Mapping[str, str], slices: Sequence[SliceConfusion]) -> str:
    """Return the counts of each slice, a row a model, as a Markdown table."""
    rows = [
        (part.name, names[role], *getattr(part, role).model_dump().values())
        for part in slices
        for role in task_charts.ROLES
    ]
    counts = ("true positives", "false negatives", "false positives", "true negatives")
    return markdown.table(("slice", "model", *counts), rows, left=2)
