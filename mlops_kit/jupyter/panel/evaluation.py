"""Show champion and candidate side by side, from the evaluation that the notebook published."""

from __future__ import annotations

from mlops_kit.formatting import number
from mlops_kit.jupyter.html import svg
from mlops_kit.jupyter.panel import cells, classes, errors, threshold
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.reporting.markup import Html, folded, tag
from mlops_kit.reporting.markup import table as html_table

# What unfolds of each task, beside scores, gates and slices.
_OF_TASK = {
    "binary": threshold.parts,
    "multiclass": classes.parts,
    "regression": errors.parts,
}


def evaluation(found: EvaluationSummary | None) -> Html | None:
    """Return scores, gates, slices and what its task has; None without an evaluation."""
    if found is None:
        return None
    return tag(
        "section",
        _scores(found),
        folded(_all(len(found.verdict.gates), "gate"), _gates(found), key="gates"),
        folded("Slices, worst first", _slices(found), key="slices") if found.slices else None,
        *_OF_TASK[found.task](found),
        data_key="evaluation",
    )


def _scores(found: EvaluationSummary) -> Html:
    names = found.names
    # Scores whose interval excludes zero come first.
    rows = sorted(
        found.scores, key=lambda row: not (row.difference and row.difference.excludes_zero)
    )
    told = [
        (
            row.metric,
            str(row.reference),
            str(row.candidate),
            str(row.difference) if row.difference else "–",
            cells.differs(row.difference),
        )
        for row in rows
    ]
    caption = f"{found.title}; 95 % intervals in brackets"
    header = ("metric", names.reference, names.candidate, "difference", "differs?")
    return tag("div", html_table(caption, header, told), class_="wide")


def _all(count: int, what: str) -> str:
    return f"The {what}" if count == 1 else f"All {count} {what}s"


def _gates(found: EvaluationSummary) -> Html:
    rows = [
        (
            gate.name,
            svg.word(gate.status),
            str(gate.estimate),
            f"{'at least' if gate.side == 'at_least' else 'at most'} {number(gate.bound)}",
        )
        for gate in sorted(found.verdict.gates, key=lambda gate: gate.status == "pass")
    ]
    reasons = tag("ul", *(tag("li", said) for said in found.verdict.reasons))
    table = html_table("Gates", ("gate", "verdict", "value", "bound"), rows)
    return tag("div", reasons, tag("div", table, class_="wide"))


def _slices(found: EvaluationSummary) -> Html:
    names = found.names
    rows = [
        cells.Pair(
            (
                part.name,
                part.metric,
                f"{part.candidate.n:,}",
                str(part.reference),
                str(part.candidate),
            ),
            part.reference,
            part.candidate,
            part.metric,
        )
        for part in found.slices
    ]
    header = ("slice", "metric", "rows", names.reference, names.candidate)
    return cells.pairs(f"Slices; {names.reference} is dashed", header, rows)
