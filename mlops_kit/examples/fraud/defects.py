"""Defects to see a bad candidate stopped: by the gates, the replay or the canary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from mlops_kit.errors import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

Defect = Literal["none", "recall", "errors", "latency"]


def inject_defect(frame: pd.DataFrame, defect: Defect) -> pd.DataFrame:
    """Return the frame as a broken labelling job would leave it.

    `recall`: the 80 % of the frauds that differ most from genuine transactions are labelled
    genuine, so a model learns to let them pass. Fisher's linear discriminant with a diagonal
    covariance finds them. The other defects leave the data alone. Raises ParameterError for an
    unknown defect, DataError where all labels are alike.
    """
    import numpy as np

    if defect not in get_args(Defect):
        raise ParameterError(f"defect is {defect!r}; expected one of {list(get_args(Defect))}.")
    if defect != "recall":
        return frame
    labels = frame["Class"].to_numpy()
    features = frame[[f"V{number}" for number in range(1, 29)]].to_numpy()
    frauds, genuine = features[labels == 1], features[labels == 0]
    if not len(frauds) or not len(genuine):
        raise DataError("The labels are all alike; expected both classes in column 'Class'.")
    direction = (frauds.mean(axis=0) - genuine.mean(axis=0)) / features.var(axis=0)
    scores = frauds @ direction
    hidden = np.flatnonzero(labels == 1)[scores >= np.quantile(scores, 0.2)]
    spoiled = labels.copy()
    spoiled[hidden] = 0
    return frame.assign(Class=spoiled)


def with_defect(estimator: Any, defect: Defect) -> Any:
    """Return the estimator with a defect where a feature is missing.

    `errors`: it refuses the row, so it can't be registered. `latency`, which only live traffic
    shows: it looks through all training rows, six times, for
    those most alike. Any other defect changes nothing here.
    """
    from sklearn.impute import KNNImputer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer

    if defect == "errors":
        return make_pipeline(FunctionTransformer(validate=True), estimator)
    if defect == "latency":
        neighbours = make_union(
            *(KNNImputer(n_neighbors=count) for count in (5, 10, 25, 50, 100, 200))
        )
        return make_pipeline(neighbours, estimator)
    return estimator
