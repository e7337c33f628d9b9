"""What a fitted model says of rows, in the terms of their table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import TableError
from mlops_kit.tables.frames import class_key

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

Array = NDArray[Any]


def outputs(model: Any, inputs: pd.DataFrame, table: Table) -> Array:
    """Return a model's answers, one a row, as float64.

    Binary: P(positive), (n,). Multi-class: P(class), (n, k), in the order of the table's classes.
    Regression: the prediction, (n,). Raises TableError for a model of other classes.
    """
    if table.task == "regression":
        return np.asarray(model.predict(inputs), dtype=np.float64).reshape(len(inputs))
    if not hasattr(model, "predict_proba"):
        raise TableError(
            f"The model {type(model).__name__} has no predict_proba; expected one that gives the "
            f"probability of each class of {table.name!r}. CalibratedClassifierCV adds it."
        )
    order = class_order(model, table)
    scores = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    found: Array = scores[:, order[1]] if table.task == "binary" else scores[:, order]
    return found


def decisions(model: Any, scores: Array, table: Table) -> Array:
    """Return the class that a model decides for, as its index (int64); empty for a regression."""
    if table.task == "regression":
        return np.empty(0, dtype=np.int64)
    if table.task == "multiclass":
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)
    threshold = getattr(model, "threshold", None)
    reached = scores >= (threshold if isinstance(threshold, float) else 0.5)
    return np.asarray(reached, dtype=np.int64)


def class_order(model: Any, table: Table) -> list[int]:
    """Return, for each class of the table, its column in a model's predict_proba.

    Raises TableError for a model whose classes are neither the table's nor their indices.
    """
    found = [class_key(each) for each in getattr(model, "classes_", ())]
    for wanted in (range(len(table.classes)), table.classes):
        keys = [class_key(each) for each in wanted]
        if len(found) == len(keys) and set(found) == set(keys):
            return [found.index(key) for key in keys]
    raise TableError(
        f"The model {type(model).__name__} has the classes {list(getattr(model, 'classes_', ()))}; "
        f"expected those of the table {table.name!r}, {list(table.classes)}, or their indices as "
        "table.labels returns them."
    )


def positive_class(model: Any, table: Table) -> Any:
    """Return the positive class of a binary table as a model names it."""
    return model.classes_[class_order(model, table)[1]]
