"""Show what a multi-class model takes for what: recall per class, errors, confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_kit.jupyter.panel import cells
from mlops_kit.models.class_curves import ClassCurves, ClassRecall
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.reporting.charts.task_charts import ROLES
from mlops_kit.reporting.markup import Html, folded, tag
from mlops_kit.reporting.markup import table as html_table

# More columns than these have their names turned, so that they stay narrow.
_LEVEL = 8
# A cell's darkest ground, in percent: a word on it keeps its contrast in both themes.
_DARKEST = 40


def parts(found: EvaluationSummary) -> list[Html]:
    """Return what unfolds below the slices; nothing without confusion matrices."""
    curves = ClassCurves.found(found.curves)
    if curves is None:
        return []
    return [
        folded("Recall per class, worst first", *_recalls(found, curves), key="recalls"),
        folded("Confusion", *_confusion(found, curves), key="confusion"),
    ]


def _recalls(found: EvaluationSummary, curves: ClassCurves) -> list[Html]:
    names = found.names
    rows = [
        cells.Pair(
            (
                each.name,
                f"{each.candidate.n:,}",
                str(each.reference),
                str(each.candidate),
                str(each.difference),
                _differs(each, curves.minimum),
            ),
            each.reference,
            each.candidate,
        )
        for each in curves.recalls
    ]
    header = ("class", "rows", names.reference, names.candidate, "difference", "differs?")
    table = cells.pairs(f"Recall per class; {names.reference} is dashed", header, rows)
    more = len(found.classes) - len(rows)
    said = f"The other {more:,} classes have a higher recall, or too few rows." if more > 0 else ""
    return [table, *([tag("p", said)] if said else [])]


def _differs(recall: ClassRecall, minimum: int) -> str:
    """Return whether the recalls differ; the intervals of few rows can't be trusted."""
    if recall.candidate.n < minimum:
        return "too few rows"
    return cells.differs(recall.difference)


def _confusion(found: EvaluationSummary, curves: ClassCurves) -> list[Html]:
    names = found.names.model_dump()
    shown = [_errors(found, curves)] if curves.confused else []
    if curves.others:
        shown.append(
            tag(
                "p",
                f"Of {len(found.classes):,} classes the matrices show the "
                f"{len(curves.classes) - 1} that {names['candidate']} gets wrong most often. The "
                f"other {curves.others:,} are one row and one column, whose crossing holds right "
                "and wrong predictions.",
            )
        )
    matrices = (
        _matrix(names[role], curves.classes, getattr(curves.confusion, role))
        for role in reversed(ROLES)
    )
    return [*shown, tag("div", *matrices, class_="matrices")]


def _errors(found: EvaluationSummary, curves: ClassCurves) -> Html:
    names = found.names
    rows = [
        (each.truth, each.predicted, f"{each.reference:,}", f"{each.candidate:,}")
        for each in curves.confused
    ]
    header = ("true class", "predicted", names.reference, names.candidate)
    caption = f"Most frequent errors of {names.candidate}, in rows"
    return tag("div", html_table(caption, header, rows), class_="wide")


def _matrix(name: str, classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Html:
    """Return a confusion matrix as a table: a row a true class, a column a predicted one."""
    heads = (tag("th", tag("span", each), scope="col") for each in classes)
    head = tag(
        "tr",
        tag("th", "true class", scope="col"),
        *heads,
        tag("th", tag("span", "rows"), scope="col"),
    )
    body = [
        tag(
            "tr",
            tag("th", each, scope="row"),
            *(_cell(count, sum(row), is_right=i == j) for j, count in enumerate(row)),
            tag("td", f"{sum(row):,}"),
        )
        for i, (each, row) in enumerate(zip(classes, matrix, strict=True))
    ]
    said = f"{name}: a row is a true class, a column a predicted one"
    table = tag(
        "table",
        tag("caption", said),
        tag("thead", head),
        tag("tbody", *body),
        class_="matrix turned" if len(classes) > _LEVEL else "matrix",
    )
    return cells.scrolled(table, f"Confusion matrix of {name}")


def _cell(count: int, total: int, *, is_right: bool) -> Html:
    """Return a count with its share of the row, which its ground shows too."""
    if not count:
        return tag("td", "0")
    share = count / total
    said = tag("strong", f"{count:,}") if is_right else f"{count:,}"
    return tag(
        "td",
        said,
        tag("small", f"{100 * share:.0f} %"),
        style=f"background:rgb(0 114 178/{_DARKEST * share:.0f}%)",
    )
