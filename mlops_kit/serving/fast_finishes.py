"""What libraries make of a sum of leaves: probabilities and values, rounded as theirs."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.fast_nodes import Finish
from mlops_kit.serving.fast_trees import Floats

_ONE = np.float32(1.0)
# Beyond this expf is infinite, and XGBoost stops.
_MOST_POWER = 88.7


def itself(sums: NDArray[Any]) -> Floats:
    """Return sums as they are."""
    return np.asarray(sums, dtype=np.float64)


def softmax(sums: NDArray[Any], order: Any) -> Floats:
    """Return scikit-learn's softmax of (n, k); `order` is how it keeps the sums.

    What numpy adds along a row is added in another order where rows aren't contiguous.
    """
    found: Floats = np.array(sums, dtype=np.float64, order=order)
    found -= found.max(axis=1).reshape(-1, 1)
    np.exp(found, out=found)
    found /= found.sum(axis=1).reshape(-1, 1)
    return found


# LightGBM and XGBoost by C's own exp and expf: numpy's round otherwise.
def lightgbm_sigmoid(slope: float, groups: int) -> Finish:
    """Return LightGBM's probabilities of sums, each of `groups` outputs on its own."""

    def finish(sums: NDArray[Any]) -> Floats:
        return np.array([1.0 / (1.0 + math.exp(-slope * each)) for each in sums.tolist()])

    def of_each(sums: NDArray[Any]) -> Floats:
        return finish(sums.ravel()).reshape(sums.shape)

    return of_each if groups > 1 else finish


def lightgbm_softmax(sums: NDArray[Any]) -> Floats:
    """Return LightGBM's probabilities of the classes."""
    found = []
    for row in sums.tolist():
        most = max(row)
        powers = [math.exp(each - most) for each in row]
        total = 0.0
        for each in powers:
            total += each
        found.append([each / total for each in powers])
    return np.array(found)


def lightgbm_exp(sums: NDArray[Any]) -> Floats:
    """Return LightGBM's values of a regression on logarithms."""
    return np.array([math.exp(each) for each in sums.tolist()])


def _c_function(name: str) -> Any:
    found = getattr(ctypes.CDLL(None), name)
    found.restype, found.argtypes = ctypes.c_float, [ctypes.c_float]
    return found


def single_log(value: float) -> float:
    """Return the logarithm of a float32 as C's logf gives it."""
    return float(_c_function("logf")(value))


def xgboost_sigmoid() -> Finish:
    """Return what makes XGBoost's probabilities of sums."""
    expf = _c_function("expf")

    def finish(sums: NDArray[Any]) -> Floats:
        powers = [expf(min(-each, _MOST_POWER)) for each in sums.tolist()]
        scores: Floats = (_ONE / (np.array(powers, dtype=np.float32) + _ONE)).astype(np.float64)
        return scores

    return finish


def xgboost_softmax() -> Finish:
    """Return what makes XGBoost's probabilities of the classes."""
    expf = _c_function("expf")

    def finish(sums: NDArray[Any]) -> Floats:
        shifted = sums - sums.max(axis=1, keepdims=True)
        flat = [expf(each) for each in shifted.ravel().tolist()]
        powers = np.array(flat, dtype=np.float32).reshape(sums.shape)
        # It adds in double precision and divides in single.
        totals = np.add.accumulate(powers.astype(np.float64), axis=1)[:, -1:]
        scores: Floats = (powers / totals.astype(np.float32)).astype(np.float64)
        return scores

    return finish


def xgboost_exp() -> Finish:
    """Return what makes XGBoost's values of a regression on logarithms."""
    expf = _c_function("expf")
    return lambda sums: np.array([expf(each) for each in sums.tolist()])


def single_complement(scores: NDArray[Any]) -> Floats:
    """Return one less a float32."""
    return (_ONE - scores.astype(np.float32)).astype(np.float64)
