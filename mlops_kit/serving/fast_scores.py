"""The scores of common models, bit for bit the library's, in a fraction of its time.

For one row a library checks and calls far longer than a model's own arithmetic takes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.models import outputs
from mlops_kit.serving import probes
from mlops_kit.serving.fast_trees import Floats
from mlops_kit.serving.fast_ways import Scores, Way, way
from mlops_kit.serving.signature import Signature

_PROBES = 256
# Of the probes, so many are also scored one at a time: one row takes a path of its own.
_SINGLE = 24
# scikit-learn takes calibrated probabilities up to this for 1.
_ROUNDED = 1.0 + 1e-5


@dataclass(frozen=True)
class FastScores:
    """Scores of at most `most` rows by `few`, of more by the library."""

    few: Scores
    library: Scores
    most: int
    # In an event loop; a linear model's library is quick too.
    quick_rows: int

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Return the scores of rows (n, features), shape (n,), or (n, classes) of several."""
        return self.few(rows) if len(rows) <= self.most else self.library(rows)


def fast_scores(
    model: Any, slow: Scores | None = None, signature: Signature | None = None
) -> FastScores | None:
    """Return what gives the scores of a fitted classifier or regressor, or None.

    It takes rows (n, features), see `inputs.rows`, and gives scores as `outputs.outputs` does.
    None for all but trees (gradient boosting and forests of scikit-learn, LightGBM, XGBoost) and
    linear models, behind a ColumnTransformer of encoders, imputers and scalers or some of these,
    alone or in FrozenEstimator, FixedThresholdClassifier and CalibratedClassifierCV(ensemble=False)
    with sigmoid or isotonic. As it reads what libraries keep private, it is compared with `slow` on
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
        columns = (None,) if signature.task == "multiclass" else (1, 0)
        tried = (_compared(model, theirs, signature, column) for column in columns)
        return next((found for found in tried if found is not None), None)
    except Exception:  # another version of a library keeps it in another way
        return None


def _compared(
    model: Any, theirs: Scores, signature: Signature, column: int | None
) -> FastScores | None:
    """Return the scores of a model's class, or of all, if they are the library's on probe rows."""
    inner, calibrate = _unwrapped(model)
    # A calibrator is fitted on the second class.
    found = way(inner, signature, 1 if calibrate is not None and column == 0 else column)
    found = replace(found, complement=_last(found, calibrate, model, signature, column))
    rows, takes_missing = _tried(theirs, signature, found)
    few = _few(found, calibrate, theirs, takes_missing or not signature.is_matrix)
    scores = FastScores(few, theirs, found.most, found.quick)
    return scores if _is_same(scores, rows) else None


def _last(
    found: Way, calibrate: Scores | None, model: Any, signature: Signature, column: int | None
) -> Scores | None:
    """Return what makes the table's scores of the model's: the other class, another order."""
    if column is None and signature.table is not None:
        order = outputs.class_columns(model, signature.table)
        return None if order == sorted(order) else lambda scores: scores[:, order]
    if column == 0:
        return found.complement if found.complement and calibrate is None else _less
    return None


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
            calibrate = _calibrations(calibrated)
            model = calibrated.estimator
        else:
            raise ValueError("it is calibrated twice")
    return model, calibrate


def _calibrations(calibrated: Any) -> Scores:
    """Return the calibration of one class, or of each class and then to a sum of one."""
    by_class = [_calibration(calibrated.method, each) for each in calibrated.calibrators]
    classes = calibrated.classes
    if len(by_class) == 1:
        return by_class[0]
    if not np.array_equal(classes, calibrated.estimator.classes_) or len(by_class) != len(classes):
        raise ValueError("it is calibrated on other classes")

    def calibrate(sums: NDArray[Any]) -> Floats:
        scores = np.zeros(sums.shape)
        for place, of_class in enumerate(by_class):
            scores[:, place] = of_class(sums[:, place])
        total = scores.sum(axis=1)[:, np.newaxis]
        even = np.full_like(scores, 1 / len(by_class))
        found: Floats = np.divide(scores, total, out=even, where=total != 0)
        found[(found > 1.0) & (found <= _ROUNDED)] = 1.0
        return found

    return calibrate


def _calibration(method: str, calibrator: Any) -> Scores:
    from scipy.special import expit

    if method == "sigmoid":
        slope, intercept = calibrator.a_, calibrator.b_
        return lambda sums: expit(-(slope * sums + intercept))
    if method == "isotonic":
        places, heights = calibrator.X_thresholds_, calibrator.y_thresholds_
        return lambda sums: np.interp(sums, places, heights)
    raise ValueError(f"no calibration by {method}")


def _few(way: Way, calibrate: Scores | None, library: Scores, takes_missing: bool) -> Scores:
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


def _tried(theirs: Scores, signature: Signature, way: Way) -> tuple[NDArray[Any], bool]:
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
