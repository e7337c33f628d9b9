"""The sums of a logistic regression, with what stands before it, as plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def linear_sums(model: Any) -> Callable[[Floats], Floats]:
    """Return the decision function of a logistic regression, alone or at a pipeline's end.

    Before it may stand SimpleImputer and StandardScaler. It takes float64 rows (n, features) and
    gives (n,). Raises ValueError for any other model.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [step for _, step in model.steps] if type(model) is Pipeline else [model]
    changes: list[Callable[[Floats], Floats]] = []
    for step in steps[:-1]:
        if type(step) is SimpleImputer and not step.add_indicator:
            changes.append(_filled(np.asarray(step.statistics_, np.float64)))
        elif type(step) is StandardScaler and step.with_mean and step.with_std:
            changes.append(_scaled(step.mean_, step.scale_))
        else:
            raise ValueError(f"no arithmetic for {type(step).__name__}")
    if type(steps[-1]) is not LogisticRegression:
        raise ValueError(f"no arithmetic for {type(steps[-1]).__name__}")
    weights, intercept = steps[-1].coef_.T, steps[-1].intercept_

    def sums(rows: Floats) -> Floats:
        for change in changes:
            rows = change(rows)
        found: Floats = (rows @ weights + intercept)[:, 0]
        if not np.isfinite(rows).all():  # as scikit-learn refuses them
            raise ValueError("Input contains NaN or infinity.")
        return found

    return sums


def _filled(statistics: Floats) -> Callable[[Floats], Floats]:
    return lambda rows: np.where(np.isnan(rows), statistics, rows)


def _scaled(mean: Floats, scale: Floats) -> Callable[[Floats], Floats]:
    return lambda rows: (rows - mean) / scale
