"""The scores of common models, bit for bit the library's, in a fraction of its time.

For one row a library checks and calls far longer than a model's own arithmetic takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving import fast_ensembles, probes
from mlops_kit.serving.fast_columns import Columns
from mlops_kit.serving.fast_ensembles import Ensemble
from mlops_kit.serving.fast_linear import change, linear_sums, weights
from mlops_kit.serving.fast_trees import Floats, LevelWalk, QuickScorer
from mlops_kit.serving.signature import Signature

Scores = Callable[[NDArray[Any]], Floats]
# Rows up to which each way is faster than the library.
_MASKED, _WALKED, _BY_COLUMNS = 256, 20, 512
# Rows that columns are made of in a millisecond or two.
_QUICK_BY_COLUMNS = 64
_PROBES = 256
# Of the probes, so many are also scored one at a time: one row takes a path of its own.
_SINGLE = 24


@dataclass(frozen=True)
class FastScores:
    """Scores of at most `most` rows by `few`, of more by the library."""

    few: Scores
    library: Scores
    most: int
    # In an event loop; a linear model's library is quick too.
    quick_rows: int

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Return the scores of rows (n, features), shape (n,)."""
        return self.few(rows) if len(rows) <= self.most else self.library(rows)


@dataclass(frozen=True)
class _Way:
    """How a model is scored: its sums, what becomes of them, and up to how many rows."""

    sums: Scores
    finish: Callable[[NDArray[Any]], Floats]
    has_sums: bool
    most: int
    quick: int
    edges: dict[int, Floats] = field(default_factory=dict)
    takes_missing: bool = False
    complement: Callable[[NDArray[Any]], Floats] | None = None


def fast_scores(
    model: Any, slow: Scores | None = None, signature: Signature | None = None
) -> FastScores | None:
    """Return what gives the scores of a fitted binary classifier or regressor, or None.

    It takes rows (n, features), see `inputs.rows`, and gives shape (n,). None for all but trees
    (HistGradientBoosting, forests, LightGBM, XGBoost) and linear models, without categories of
    their own, behind a ColumnTransformer of encoders, imputers and scalers or some of these, alone
    or in FrozenEstimator, FixedThresholdClassifier and CalibratedClassifierCV(ensemble=False) with
    sigmoid or isotonic. As it reads what libraries keep private, it is compared with `slow` on
    probe rows first, which is predict_proba's second column if not given: None when one bit
    differs. A linear model's many rows are left to it, as sums over them differ in their last bits
    by the layout in memory, which a frame has another of.
    """
    theirs = slow or (lambda rows: np.asarray(model.predict_proba(rows)[:, 1], np.float64))
    try:
        if signature is None:
            names = tuple(f"feature {place}" for place in range(model.n_features_in_))
            signature = Signature(names)
        # The table's positive class may be the first in alphabetical order, a model's column 0.
        tried = (_compared(model, theirs, signature, column) for column in (1, 0))
        return next((found for found in tried if found is not None), None)
    except Exception:  # another version of a library keeps it in another way
        return None


def _compared(model: Any, theirs: Scores, signature: Signature, column: int) -> FastScores | None:
    """Return the scores of a model's class, 0 or 1, if they are the library's on probe rows."""
    inner, calibrate = _unwrapped(model)
    # A calibrator is fitted on the second class.
    way = _way(inner, signature, column if calibrate is None else 1)
    complement = way.complement if way.complement and calibrate is None else _less
    way = replace(way, complement=complement if column == 0 else None)
    rows, takes_missing = _tried(theirs, signature, way)
    few = _few(way, calibrate, theirs, takes_missing or not signature.is_matrix)
    found = FastScores(few, theirs, way.most, way.quick)
    return found if _is_same(found, rows) else None


def _less(scores: NDArray[Any]) -> Floats:
    return np.asarray(1 - scores, dtype=np.float64)


def _unwrapped(model: Any) -> tuple[Any, Scores | None]:
    """Return the model inside of frozen, thresholded and calibrated ones, and the calibration."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    calibrate: Scores | None = None
    while type(model) in (FrozenEstimator, FixedThresholdClassifier, CalibratedClassifierCV):
        if type(model) is FrozenEstimator:
            model = model.estimator
        elif type(model) is FixedThresholdClassifier:
            model = model.estimator_
        elif calibrate is None:
            (calibrated,) = model.calibrated_classifiers_
            (calibrator,) = calibrated.calibrators
            calibrate = _calibration(calibrated.method, calibrator)
            model = calibrated.estimator
        else:
            raise ValueError("it is calibrated twice")
    return model, calibrate


def _calibration(method: str, calibrator: Any) -> Scores:
    from scipy.special import expit

    if method == "sigmoid":
        slope, intercept = calibrator.a_, calibrator.b_
        return lambda sums: expit(-(slope * sums + intercept))
    if method == "isotonic":
        places, heights = calibrator.X_thresholds_, calibrator.y_thresholds_
        return lambda sums: np.interp(sums, places, heights)
    raise ValueError(f"no calibration by {method}")


def _steps(model: Any) -> Iterator[Any]:
    from sklearn.pipeline import Pipeline

    if type(model) is Pipeline:
        for _, step in model.steps:
            yield from _steps(step)
    else:
        yield model


def _way(model: Any, signature: Signature, column: int) -> _Way:
    """Return how a model is scored; raises ValueError, or what a reader of private parts raises."""
    from sklearn.compose import ColumnTransformer

    *steps, last = _steps(model)
    columns = None
    if steps and type(steps[0]) is ColumnTransformer:
        columns = Columns(steps.pop(0), signature)
    elif not signature.is_matrix:
        raise ValueError("its rows are more than numbers")
    changes = [change(step) for step in steps]
    try:
        ensemble = fast_ensembles.ensemble(last, column)
    except ValueError:
        return _linear(last, columns, changes)
    return _of_trees(ensemble, columns, changes)


def _linear(last: Any, columns: Columns | None, changes: list[Any]) -> _Way:
    from scipy.special import expit

    sums, is_classifier = linear_sums(last), hasattr(last, "classes_")
    finish: Any = expit if is_classifier else _itself
    if columns is None:
        return _Way(_chain([*changes, sums]), finish, is_classifier, 1, _MASKED)
    if not columns.is_sparse:
        return _Way(_chain([columns.matrix, *changes, sums]), finish, is_classifier, 1, 1)
    if changes:
        raise ValueError("no arithmetic for changes of a sparse matrix")
    of_each, intercept = weights(last)
    flat, start = of_each.ravel().tolist(), float(np.ravel(intercept)[0])

    def one_by_one(rows: NDArray[Any]) -> Floats:
        return np.array([_sum(*columns.pairs(row), flat) + start for row in rows.tolist()])

    return _Way(one_by_one, finish, is_classifier, _BY_COLUMNS, _QUICK_BY_COLUMNS)


def _sum(places: list[int], numbers: list[float], of_each: list[float]) -> float:
    # From left to right, as a sparse matrix is multiplied.
    total = 0.0
    for place, number in zip(places, numbers, strict=True):
        total += of_each[place] * number
    if total - total != 0.0:  # as scikit-learn refuses what isn't finite
        raise ValueError("Input contains NaN or infinity.")
    return total


def _of_trees(ensemble: Ensemble, columns: Columns | None, changes: list[Any]) -> _Way:
    trees, baseline, dtype = ensemble.trees, ensemble.baseline, ensemble.dtype
    sums: Scores
    try:
        sums, most = QuickScorer(trees, baseline, ensemble.features, dtype).sums, _MASKED
    except ValueError:
        sums, most = LevelWalk(trees, baseline, dtype).sums, _WALKED
    edges = fast_ensembles.edges(ensemble)
    quick = most
    before = [*changes, _single] if ensemble.is_single else changes
    if columns is not None:
        before, most = [columns.matrix, *before], _BY_COLUMNS if most == _MASKED else most
        quick = min(most, _QUICK_BY_COLUMNS)
        edges = {columns.sources[at]: e for at, e in edges.items() if at in columns.sources}
    edges = {} if changes else edges
    return _Way(
        _chain([*before, sums]),
        ensemble.finish,
        ensemble.has_sums,
        most,
        quick,
        edges,
        takes_missing=True,
        complement=ensemble.complement,
    )


def _single(rows: Floats) -> Floats:
    # What float32 doesn't hold, libraries refuse each in their own words.
    with np.errstate(over="raise"):
        return rows.astype(np.float32)


def _itself(sums: NDArray[Any]) -> Floats:
    return np.asarray(sums, dtype=np.float64)


def _chain(functions: list[Any]) -> Scores:
    if len(functions) == 1:
        only: Scores = functions[0]
        return only

    def chained(rows: Any) -> Any:
        for function in functions:
            rows = function(rows)
        return rows

    return chained


def _few(way: _Way, calibrate: Scores | None, library: Scores, takes_missing: bool) -> Scores:
    sums, finish, complement = way.sums, way.finish, way.complement
    if calibrate is not None and way.has_sums:
        finish, calibrate = calibrate, None

    def few(rows: NDArray[Any]) -> Floats:
        if not takes_missing and np.isnan(rows).any():
            return library(rows)
        try:
            found = finish(sums(rows))
        except (LookupError, ArithmeticError):  # what only the library knows to refuse or to read
            return library(rows)
        found = found if calibrate is None else calibrate(found)
        return found if complement is None else complement(found)

    return few


def _tried(theirs: Scores, signature: Signature, way: _Way) -> tuple[NDArray[Any], bool]:
    """Return rows to compare on, and whether the library takes missing values."""
    generator = np.random.default_rng(0)
    rows = probes.random_rows(signature, _PROBES, generator, way.edges)
    if not signature.is_matrix:
        return rows, True
    if way.takes_missing:
        optional = [place for place, each in enumerate(signature.columns) if each.nullable]
        rows[2, optional] = np.nan
    try:
        theirs(rows)
    except Exception:
        return np.nan_to_num(rows), False
    return rows, True


def _is_same(found: FastScores, rows: NDArray[Any]) -> bool:
    """Tell whether the scores are the library's, of many rows, of a few and of one at a time."""
    size = found.most if found.most < len(rows) else len(rows)
    parts = [rows[at : at + size] for at in range(0, len(rows), size)] if size > 1 else []
    parts += [rows[:3], *(rows[at : at + 1] for at in range(_SINGLE if parts else 2 * _SINGLE))]
    with warnings.catch_warnings():
        # Of rows without the names that it was fitted with; they change no bit.
        warnings.simplefilter("ignore", UserWarning)
        return all(found(part).tobytes() == found.library(part).tobytes() for part in parts)
