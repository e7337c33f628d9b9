"""The estimators that stand for boosters of other libraries in a model that was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

if TYPE_CHECKING:
    import pandas as pd


class _Booster(BaseEstimator):  # type: ignore[misc]
    """A fitted booster of another library; `file` names its native file in the artifact."""

    def __init__(self, library: str = "", file: str = "") -> None:
        self.library = library
        self.file = file

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("booster_", None)
        return state

    def fit(self, rows: Any, labels: Any = None) -> Any:
        """Refuse: a model that was loaded is for predictions."""
        raise NotImplementedError("A booster that was loaded can't be fitted; fit the library's.")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "booster_")

    def native_predict(self, rows: Any) -> NDArray[Any]:
        """Return what the native booster predicts: probabilities, or values."""
        predict = {"lightgbm": self._lightgbm, "xgboost": self._xgboost, "catboost": self._catboost}
        return predict[self.library](rows)

    def _lightgbm(self, rows: Any, is_raw: bool = False) -> NDArray[Any]:
        if isinstance(rows, np.ndarray) and rows.dtype.kind == "O":  # it would round to float32
            rows = rows.astype(np.float64)
        last = self.best_iteration_ or -1
        found: NDArray[Any] = self.booster_.predict(rows, num_iteration=last, raw_score=is_raw)
        return found

    def _xgboost(self, rows: Any) -> NDArray[Any]:
        last = 0 if self.best_iteration_ is None else self.best_iteration_ + 1
        options = {
            "missing": self.missing_,
            "iteration_range": (0, last),
            "validate_features": True,
        }
        try:
            found: NDArray[Any] = self.booster_.inplace_predict(rows, **options)
            return found
        except TypeError:  # sparse rows of a kind that it can't read in place
            import xgboost

            matrix = xgboost.DMatrix(rows, missing=self.missing_, enable_categorical=True)
            by_matrix: NDArray[Any] = self.booster_.predict(matrix, iteration_range=(0, last))
            return by_matrix

    def _catboost(self, rows: Any) -> NDArray[Any]:
        kind = "Probability" if hasattr(self, "classes_") else "RawFormulaVal"
        if self.exponent_:
            kind = "Exponent"
        found: NDArray[Any] = self.booster_.predict(rows, prediction_type=kind)
        return found


def _has_sums(estimator: Any) -> bool:
    return bool(getattr(estimator, "has_sums_", False))


class BoosterClassifier(ClassifierMixin, _Booster):  # type: ignore[misc]
    """A fitted classifier of LightGBM, XGBoost or CatBoost, read from its native file."""

    def predict_proba(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return the probability of each class, shape (n, k), bit for bit the library's."""
        found = self.native_predict(rows)
        if found.ndim == 1:
            found = np.vstack((1.0 - found, found)).transpose()
        return found

    # Its calibration and threshold are on these where the library has them, as LightGBM from 4.7.
    @available_if(_has_sums)  # type: ignore[untyped-decorator]
    def decision_function(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return the sums of the trees, shape (n,) or (n, k)."""
        return self._lightgbm(rows, is_raw=True)

    def predict(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return the class of each row."""
        classes: NDArray[Any] = self.classes_
        found: NDArray[Any] = classes[np.argmax(self.predict_proba(rows), axis=1)]
        return found


class BoosterRegressor(RegressorMixin, _Booster):  # type: ignore[misc]
    """A fitted regressor of LightGBM, XGBoost or CatBoost, read from its native file."""

    def predict(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return the prediction of each row, bit for bit the library's."""
        return self.native_predict(rows)
