"""The sums of linear models, and the changes of numbers before them, as plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Change = Callable[[Floats], Floats]
_REGRESSIONS = ("LinearRegression", "Ridge", "Lasso", "ElasticNet")


def weights(model: Any) -> tuple[Floats, Any]:
    """Return the weights of a fitted linear model and its intercept, shaped as it keeps them.

    Raises ValueError for a model of another kind or with several outputs of a regression.
    """
    from sklearn.linear_model import LogisticRegression

    name = type(model).__name__
    if type(model) is not LogisticRegression and name not in _REGRESSIONS:
        raise ValueError(f"no arithmetic for {name}")
    classes = len(getattr(model, "classes_", ()))
    count = classes if classes > 2 else 1
    if np.size(model.intercept_) != count or model.coef_.size != count * model.n_features_in_:
        raise ValueError("it has several outputs")
    return model.coef_.T, model.intercept_


def linear_sums(model: Any) -> Change:
    """Return the sums of a linear model: float64 rows (n, features) become (n,) or (n, classes).

    Raises ValueError for any other model.
    """
    of_each, intercept = weights(model)
    has_several = np.size(intercept) > 1

    def sums(rows: Floats) -> Floats:
        found: Floats = rows @ of_each + intercept
        if not np.isfinite(rows).all():  # as scikit-learn refuses them
            raise ValueError("Input contains NaN or infinity.")
        return found if has_several else found.reshape(len(rows))

    return sums


def change(step: Any) -> Change:
    """Return what a fitted step does to float64 rows; raises ValueError for one unknown here."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    if step == "passthrough":
        return lambda rows: rows
    if type(step) is SimpleImputer and not step.add_indicator:
        statistics = np.asarray(step.statistics_, np.float64)
        if not np.isnan(step.missing_values) or np.isnan(statistics).any():
            raise ValueError("it fills something else than NaN")
        return lambda rows: np.where(np.isnan(rows), statistics, rows)
    if type(step) is StandardScaler and step.with_mean and step.with_std:
        mean, scale = step.mean_, step.scale_
        return lambda rows: (rows - mean) / scale
    raise ValueError(f"no arithmetic for {type(step).__name__}")
