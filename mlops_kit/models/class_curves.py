"""Which classes a model takes for which: confusion matrices, and the recall of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlops_kit.models.evaluation_summary import EstimateSummary, Value
from mlops_kit.models.metric_sums import Array, Judged

if TYPE_CHECKING:
    from mlops_kit.models.comparison import Compared

# A matrix of more classes can't be read; the recalls of more would make an evaluation too big.
MOST, MOST_RECALLS, MOST_CONFUSED = 20, 60, 10

Matrix = list[list[int]]


class ClassRecall(Value):
    """The recall of one class, of both models; `difference` is candidate minus reference."""

    name: str
    candidate: EstimateSummary
    reference: EstimateSummary
    difference: EstimateSummary


class Confused(Value):
    """How many rows of one class each model takes for another."""

    truth: str
    predicted: str
    candidate: int
    reference: int


class Matrices(Value):
    """Rows of each true class (row) that were predicted as each class (column), by model."""

    candidate: Matrix
    reference: Matrix


class ClassCurves(Value):
    """What the charts of a multi-class evaluation show.

    `classes` name the rows and columns of the matrices. With many classes, these are the ones that
    the candidate gets wrong most often, and the last one stands for the `others` together.
    `recalls` are the worst first, and those of fewer than `minimum` rows, which tell little, last.
    `confused` are the most frequent errors of the candidate.
    """

    classes: list[str]
    others: int
    minimum: int
    confusion: Matrices
    recalls: list[ClassRecall]
    confused: list[Confused]


def of(
    judged: Mapping[str, Judged], classes: Sequence[str], recalls: Sequence[Compared], minimum: int
) -> ClassCurves:
    """Return what both models confuse; `recalls` are the compared recalls of the classes.

    A recall that rests on fewer than `minimum` rows tells little.
    """
    whole = {role: confusion(each) for role, each in judged.items()}
    kept = _worst(whole["candidate"])
    others = len(classes) - len(kept)
    grouped = {role: _grouped(each, kept) for role, each in whole.items()}
    told = [
        ClassRecall(
            name=classes[each.metric.of or 0],
            candidate=EstimateSummary.of(each.candidate),
            reference=EstimateSummary.of(each.reference),
            difference=EstimateSummary.of(each.difference),
        )
        for each in sorted(recalls, key=lambda each: _badness(each, minimum))[:MOST_RECALLS]
    ]
    return ClassCurves(
        classes=[classes[each] for each in kept] + ([f"{others} others"] if others else []),
        others=others,
        minimum=minimum,
        confusion=Matrices(**grouped),
        recalls=told,
        confused=_confused(whole["candidate"], whole["reference"], classes),
    )


def confusion(judged: Judged) -> Array:
    """Return how many rows of each true class (row) were predicted as each class (column)."""
    count = judged.scores.shape[1]
    pairs = judged.labels * count + judged.decisions
    return np.bincount(pairs, minlength=count**2).reshape(count, count)


def _worst(matrix: Array) -> list[int]:
    """Return the classes of the most errors, missed or wrongly predicted, in the table's order."""
    count = len(matrix)
    if count <= MOST:
        return [*range(count)]
    errors = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    worst: list[int] = np.sort(np.argsort(-errors, kind="stable")[: MOST - 1]).tolist()
    return worst


def _grouped(matrix: Array, kept: Sequence[int]) -> Matrix:
    """Return the matrix of the kept classes, and of all others as one at the end."""
    place = np.full(len(matrix), len(kept))
    place[list(kept)] = np.arange(len(kept))
    size = len(kept) + (len(kept) < len(matrix))
    found = np.zeros((size, size), dtype=np.int64)
    np.add.at(found, (place[:, np.newaxis], place[np.newaxis, :]), matrix)
    plain: Matrix = found.tolist()
    return plain


def _confused(candidate: Array, reference: Array, classes: Sequence[str]) -> list[Confused]:
    errors = candidate - np.diag(np.diag(candidate))
    order = np.argsort(-errors, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(at), len(classes)) for at in order]
    return [
        Confused(
            truth=classes[truth],
            predicted=classes[predicted],
            candidate=int(errors[truth, predicted]),
            reference=int(reference[truth, predicted]),
        )
        for truth, predicted in pairs
        if errors[truth, predicted]
    ]


def _badness(recall: Compared, minimum: int) -> tuple[bool, float]:
    """Return the order of classes: the worst end of the interval first, those of few rows last."""
    return recall.candidate.n < minimum, recall.candidate.low
