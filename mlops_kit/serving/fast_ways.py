"""How a model is scored: the sums of what is in it, what becomes of them, and up to how many rows.

What isn't known here raises ValueError, and the caller compares results before it uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving import fast_columns, fast_ensembles
from mlops_kit.serving.fast_columns import Columns
from mlops_kit.serving.fast_finishes import itself, softmax
from mlops_kit.serving.fast_fused import FusedScorer
from mlops_kit.serving.fast_linear import change, linear_sums, weights
from mlops_kit.serving.fast_nodes import Ensemble, edges
from mlops_kit.serving.fast_trees import Floats, QuickScorer
from mlops_kit.serving.fast_walk import LevelWalk
from mlops_kit.serving.signature import Signature

Scores = Callable[[NDArray[Any]], Floats]
# Rows up to which each way is faster than the library.
_MASKED, _WALKED, _BY_COLUMNS = 256, 20, 512
# Rows that a matrix is made of, and a tree walked, in a millisecond or two.
_QUICK_BY_COLUMNS = 256


@dataclass(frozen=True)
class Way:
    """How a model is scored: its sums, what becomes of them, and up to how many rows.

    `quick` are the rows that may be scored in an event loop. `edges` are an input's numbers at
    which the answer changes. `complement` makes the other class's score of a score.
    """

    sums: Scores
    finish: Callable[[NDArray[Any]], Floats]
    has_sums: bool
    most: int
    quick: int
    edges: dict[int, Floats] = field(default_factory=dict)
    takes_missing: bool = False
    complement: Callable[[NDArray[Any]], Floats] | None = None


def way(model: Any, signature: Signature, column: int | None) -> Way:
    """Return how a model is scored, `column` the class's place, or None for all classes.

    Raises ValueError, or what a reader of private parts raises.
    """
    from sklearn.compose import ColumnTransformer

    *steps, last = _steps(model)
    columns = None
    if steps and type(steps[0]) is ColumnTransformer:
        columns = fast_columns.of_transformer(steps.pop(0), signature)
    changes = [change(step) for step in steps]
    try:
        ensemble = fast_ensembles.ensemble(last, column)
    except ValueError:
        if columns is None and not signature.is_matrix:
            raise
        return _linear(last, columns, changes)
    if columns is None and not steps:
        columns = _own_columns(last, ensemble, signature)
    elif getattr(last, "_preprocessor", None) is not None:
        raise ValueError("it has categories of what another step makes")
    return _of_trees(ensemble, columns, changes)


def _own_columns(last: Any, ensemble: Ensemble, signature: Signature) -> Columns | None:
    """Return the columns as a model without steps before it takes them, None for the numbers."""
    if getattr(last, "_preprocessor", None) is not None:
        return fast_columns.of_transformer(last._preprocessor, signature)
    if not signature.is_matrix:
        return fast_columns.of_frame(signature, ensemble.categories)
    return None


def _steps(model: Any) -> Iterator[Any]:
    from sklearn.pipeline import Pipeline

    if type(model) is Pipeline:
        for _, step in model.steps:
            yield from _steps(step)
    else:
        yield model


def _linear(last: Any, columns: Columns | None, changes: list[Any]) -> Way:
    from scipy.special import expit

    sums, is_classifier = linear_sums(last), hasattr(last, "classes_")
    finish: Any = expit if is_classifier else itself
    if is_classifier and len(last.classes_) > 2:
        finish = partial(softmax, order="C")
    if columns is None:
        return Way(chain([*changes, sums]), finish, is_classifier, 1, _MASKED)
    if not columns.is_sparse:
        return Way(chain([columns.matrix, *changes, sums]), finish, is_classifier, 1, 1)
    if changes:
        raise ValueError("no arithmetic for changes of a sparse matrix")
    found = _sparse_sums(columns, *weights(last))
    return Way(found, finish, is_classifier, _BY_COLUMNS, _QUICK_BY_COLUMNS)


def _sparse_sums(columns: Columns, of_each: Floats, intercept: Any) -> Scores:
    """Return the sums of a linear model, added from left to right as a sparse matrix is."""
    of_each = of_each.reshape(columns.width, -1)
    outputs = of_each.shape[1]
    starts = np.ravel(intercept).tolist()
    flat = [of_each[:, output].tolist() for output in range(outputs)]
    # Of a category without a column.
    padded = np.vstack([of_each, np.zeros((1, outputs))])

    def one(row: list[Any]) -> list[float]:
        places, numbers = columns.pairs(row)
        return [_sum(places, numbers, own) + start for own, start in zip(flat, starts, strict=True)]

    def many(rows: NDArray[Any]) -> Floats:
        total = np.zeros((len(rows), outputs))
        for _, start, codes, numbers in columns.parts(rows):
            if codes is None:
                total += of_each[start] * numbers[:, np.newaxis]
            else:
                total += padded[np.where(codes < 0, -1, start + codes)]
        if not np.isfinite(total).all():
            raise ValueError("Input contains NaN or infinity.")
        found: Floats = total + intercept
        return found

    def sums(rows: NDArray[Any]) -> Floats:
        found = np.array([one(row) for row in rows.tolist()]) if len(rows) == 1 else many(rows)
        return found.reshape(len(rows)) if outputs == 1 else found

    return sums


def _sum(places: list[int], numbers: list[float], of_each: list[float]) -> float:
    total = 0.0
    for place, number in zip(places, numbers, strict=True):
        total += of_each[place] * number
    if total - total != 0.0:  # as scikit-learn refuses what isn't finite
        raise ValueError("Input contains NaN or infinity.")
    return total


def _of_trees(ensemble: Ensemble, columns: Columns | None, changes: list[Any]) -> Way:
    before = [*changes, _single] if ensemble.is_single else changes
    found = edges(ensemble)
    masks, sums, most = _sums(ensemble)
    quick = most
    if columns is not None:
        most = _BY_COLUMNS if masks else most
        quick = min(most, _QUICK_BY_COLUMNS)
        found = {columns.sources[at]: each for at, each in found.items() if at in columns.sources}
        before = [columns.matrix, *before]
        if masks and not changes:
            before, sums = [], FusedScorer(masks, columns, is_single=ensemble.is_single).sums
    return Way(
        chain([*before, sums]),
        ensemble.finish,
        ensemble.has_sums,
        most,
        max(1, quick // ensemble.groups),
        {} if changes else found,
        takes_missing=True,
        complement=ensemble.complement,
    )


def _sums(ensemble: Ensemble) -> tuple[QuickScorer | None, Scores, int]:
    """Return the masks, if the trees are small enough for them, the sums, and up to which rows."""
    trees, start, dtype, groups = ensemble.trees, ensemble.baseline, ensemble.dtype, ensemble.groups
    try:
        masks = QuickScorer(trees, start, ensemble.features, dtype, groups, ensemble.sets)
    except ValueError:
        return None, LevelWalk(trees, start, dtype, groups, ensemble.sets).sums, _WALKED
    return masks, masks.sums, _MASKED


def _single(rows: Floats) -> Floats:
    # What float32 doesn't hold, libraries refuse each in their own words.
    with np.errstate(over="raise"):
        return rows.astype(np.float32)


def chain(functions: list[Any]) -> Scores:
    """Return the functions one after the other, as one."""
    if len(functions) == 1:
        only: Scores = functions[0]
        return only

    def chained(rows: Any) -> Any:
        for function in functions:
            rows = function(rows)
        return rows

    return chained
