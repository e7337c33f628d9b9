"""The scores of common models, bit for bit scikit-learn's, in a fraction of its time.

For one row scikit-learn checks and calls far longer than a model's own arithmetic takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_kit.serving.fast_linear import linear_sums
from mlops_kit.serving.fast_trees import Floats, LevelWalk, QuickScorer
from mlops_kit.serving.signature import Signature

Scores = Callable[[Floats], Floats]
# Above this, the walk over trees that are too large for masks is slower than scikit-learn.
_MAX_WALKED_ROWS = 20
_PROBES = 256
# Of the probes, so many are also scored one at a time: one row takes a path of its own.
_SINGLE = 24


def fast_scores(
    model: Any, slow: Scores | None = None, signature: Signature | None = None
) -> Scores | None:
    """Return what gives predict_proba(rows)[:, 1] of a fitted binary classifier, or None.

    It takes float64 rows of shape (n, features), NaN for a missing value, and gives shape (n,).
    None for all but HistGradientBoostingClassifier without categories and linear_sums' models,
    alone or in FrozenEstimator, FixedThresholdClassifier and CalibratedClassifierCV(
    ensemble=False) with sigmoid or isotonic. As it reads what scikit-learn keeps private, it is
    compared with `slow` on probe rows first, which is predict_proba if not given: None when one
    bit differs. A linear model's many rows are left to it, as sums over them differ in their last
    bits by the layout in memory, which a frame has another of.
    """
    if signature is not None and signature.table is not None:
        return None
    try:
        parts = _parts(model)
        if parts is None:
            return None
        inner, calibrate = parts
        sums, probes = _sums(inner), _probes(inner)

        many = slow if slow is not None and not _is_boosted(inner) else None

        def scores(rows: Floats) -> Floats:
            return calibrate(sums(rows)) if many is None or len(rows) == 1 else many(rows)

        theirs = slow or (lambda rows: model.predict_proba(rows)[:, 1])
        return scores if _is_same(scores, theirs, probes) else None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None  # another scikit-learn keeps it in another way


def _parts(model: Any) -> tuple[Any, Scores] | None:
    """Return the trees or the linear model in a model, and what makes a score of its sum."""
    from scipy.special import expit
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    calibrate: Scores = expit
    while type(model) in (FrozenEstimator, FixedThresholdClassifier, CalibratedClassifierCV):
        if type(model) is FrozenEstimator:
            model = model.estimator
        elif type(model) is FixedThresholdClassifier:
            model = model.estimator_
        elif calibrate is expit:
            (calibrated,) = model.calibrated_classifiers_
            (calibrator,) = calibrated.calibrators
            calibrate = _calibration(calibrated.method, calibrator)
            model = calibrated.estimator
        else:
            return None
    if _is_boosted(model) and (
        model.is_categorical_ is not None or model.n_trees_per_iteration_ != 1
    ):
        return None
    return model, calibrate


def _is_boosted(model: Any) -> bool:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return type(model) is HistGradientBoostingClassifier


def _sums(model: Any) -> Scores:
    if not _is_boosted(model):
        return linear_sums(model)
    trees = [of_iteration[0].nodes for of_iteration in model._predictors]
    baseline = float(np.ravel(model._baseline_prediction)[0])
    try:
        return QuickScorer(trees, baseline, model.n_features_in_).sums
    except ValueError:
        walk = LevelWalk(trees, baseline).sums
    theirs: Scores = model.decision_function
    return lambda rows: walk(rows) if len(rows) <= _MAX_WALKED_ROWS else theirs(rows)


def _calibration(method: str, calibrator: Any) -> Scores:
    from scipy.special import expit

    if method == "sigmoid":
        slope, intercept = calibrator.a_, calibrator.b_
        return lambda sums: expit(-(slope * sums + intercept))
    if method == "isotonic":
        places, heights = calibrator.X_thresholds_, calibrator.y_thresholds_
        return lambda sums: np.interp(sums, places, heights)
    raise ValueError(f"no calibration by {method}")


def _is_same(scores: Scores, theirs: Scores, rows: Floats) -> bool:
    """Tell whether the scores are scikit-learn's, of many rows, of a few and of one at a time."""
    parts = [rows, rows[:3], *(rows[at : at + 1] for at in range(_SINGLE))]
    with warnings.catch_warnings():
        # Of rows without the names that it was fitted with; they change no bit.
        warnings.simplefilter("ignore", UserWarning)
        return all(scores(part).tobytes() == theirs(part).tobytes() for part in parts)


def _probes(inner: Any) -> Floats:
    """Return rows of any numbers, missing values where the model takes them, and thresholds."""
    if _is_boosted(inner):
        return _probes_of_trees(inner)
    generator = np.random.default_rng(0)
    rows: Floats = generator.normal(scale=10.0, size=(_PROBES, inner.n_features_in_))
    rows[0], rows[1] = 0.0, 1e6
    with_gaps = np.where(generator.random(rows.shape) < 0.1, np.nan, rows)
    try:
        linear_sums(inner)(with_gaps)
    except ValueError:
        return rows
    return with_gaps


def _probes_of_trees(boosted: Any) -> Floats:
    """Return rows of thresholds, of their neighbours, of any numbers, and of missing values."""
    generator = np.random.default_rng(0)
    nodes = np.concatenate([each[0].nodes for each in boosted._predictors])
    rows = generator.normal(scale=10.0, size=(_PROBES, boosted.n_features_in_))
    for column in range(boosted.n_features_in_):
        used = nodes["num_threshold"][(nodes["feature_idx"] == column) & (nodes["is_leaf"] == 0)]
        if len(used := used[np.isfinite(used)]):
            taken = generator.choice(used, _PROBES)
            beside = np.nextafter(taken, generator.choice([-np.inf, np.inf], _PROBES))
            kind = generator.integers(3, size=_PROBES)
            rows[:, column] = np.select([kind == 0, kind == 1], [taken, beside], rows[:, column])
    rows[generator.random(rows.shape) < 0.1] = np.nan
    rows[0], rows[1], rows[2] = 0.0, np.nan, np.finfo(float).max
    return rows
