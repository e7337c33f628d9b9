"""What a model's errors cost, row by row."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import EvaluationError

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

Array = NDArray[Any]


@dataclass(frozen=True)
class Costs:
    """What errors cost, in the currency of the table's amount.

    Binary: a false positive costs `false_positive`, a false negative `false_negative` and the
    share `amount` of the row's amount. Multi-class: `matrix` has a row a true class and a column
    a decision; without one each wrong decision costs 1. Regression: each unit predicted too low
    costs `under`, each too high `over`. `function` is "module:function", called with (labels,
    scores, decisions, rows), and gives each row's cost; the rest then doesn't count.
    """

    false_positive: float = 5.0
    false_negative: float = 20.0
    amount: float = 1.0
    matrix: tuple[tuple[float, ...], ...] = ()
    under: float = 1.0
    over: float = 1.0
    function: str = ""

    def __post_init__(self) -> None:
        """Refuse what would pay for an error, by ValueError."""
        numbers = [self.false_positive, self.false_negative, self.amount, self.under, self.over]
        numbers += [each for row in self.matrix for each in row]
        if not all(each >= 0 for each in numbers):
            raise ValueError("costs must be 0 or more")
        if any(len(row) != len(self.matrix) for row in self.matrix):
            raise ValueError("matrix must have as many columns as rows, one a class")
        if self.function and self.function.count(":") != 1:
            raise ValueError(f"function is {self.function!r}; expected 'module:function'")


def by_row(
    costs: Costs, table: Table, frame: pd.DataFrame, scores: Array, decisions: Array
) -> Array:
    """Return what a model's answers cost, by row (float64).

    Args:
        costs: of each kind of error.
        table: whose task decides which of them count.
        frame: the labelled rows.
        scores: as `outputs` returns them.
        decisions: class indices; empty for a regression.

    Raises EvaluationError for costs that don't fit the table.
    """
    labels = table.labels(frame)
    if costs.function:
        return _own(costs.function, labels, scores, decisions, frame)
    if table.task == "regression":
        gaps = labels - scores
        return np.where(gaps > 0, costs.under * gaps, -costs.over * gaps)
    if table.task == "binary":
        missed, alarm = of_errors(costs, table.amounts(frame))
        wrong = decisions != labels
        return np.where(wrong, np.where(labels == 1, missed, alarm), 0.0)
    count = len(table.classes)
    matrix = np.array(costs.matrix) if costs.matrix else 1.0 - np.eye(count)
    if len(matrix) != count:
        raise EvaluationError(
            f"The matrix of costs is {len(matrix)} x {len(matrix)}; the table {table.name!r} has "
            f"{count} classes: expected a row and a column for each of {list(table.classes)}."
        )
    return np.asarray(matrix[labels, decisions], dtype=np.float64)


def of_errors(costs: Costs, amounts: Array) -> Array:
    """Return what a false negative (first row) and a false positive (second row) costs, by row."""
    missed = costs.amount * amounts + costs.false_negative
    return np.vstack([missed, np.full(len(amounts), costs.false_positive)])


def _own(name: str, labels: Array, scores: Array, decisions: Array, frame: pd.DataFrame) -> Array:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise EvaluationError(
            f"The costs' function {name!r} can't be imported: {error}. Expected "
            f"{function}(labels, scores, decisions, rows) in a module {module} of the project."
        ) from error
    spent = np.asarray(found(labels, scores, decisions, frame), dtype=np.float64)
    if spent.shape != (len(labels),) or not np.isfinite(spent).all():
        raise EvaluationError(
            f"The costs' function {name!r} gave an array of shape {spent.shape}; expected a "
            f"finite number for each of {len(labels)} rows."
        )
    return spent
