"""A fitted model's scores and decisions, in the order of its table's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import TableError
from mlops_kit.tables import frames

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

    Floats = NDArray[np.float64]

_MAX_SHOWN = 5


def outputs(model: Any, inputs: pd.DataFrame, table: Table) -> Floats:
    """Return the scores of rows that `table.inputs` gave, as float64.

    Binary: the probability of the positive class, shape (n,). Multi-class: a probability a class
    in the order of `table.classes`, shape (n, k). Regression: the prediction, shape (n,). Raises
    TableError for a model that isn't one of the table's task or classes.
    """
    if table.task == "regression":
        check(model, table)
        found = np.asarray(model.predict(inputs), dtype=np.float64)
        if found.size != len(inputs):
            raise _error(table, f"predicts the shape {found.shape} for {len(inputs)} rows", "one")
        return found.reshape(-1)
    columns = class_columns(model, table)
    scores = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    if scores.shape != (len(inputs), len(columns)):
        expected = f"{(len(inputs), len(columns))}"
        raise _error(table, f"gives probabilities of the shape {scores.shape}", expected)
    return scores[:, columns[1]] if table.task == "binary" else scores[:, columns]


def decisions(scores: Floats, table: Table, threshold: float = 0.5) -> NDArray[np.int64]:
    """Return the index of the class that each score decides for; see `outputs`.

    Binary: 1 from the threshold on. Multi-class: the class of the highest score, the first of
    equals. Raises TableError for a regression, which decides nothing.
    """
    if table.task == "regression":
        raise TableError(
            f"The table {table.name!r} is a regression, which decides nothing; expected classes."
        )
    if table.task == "binary":
        return (scores >= threshold).astype(np.int64)
    best: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
    return best


def check(model: Any, table: Table) -> None:
    """Raise TableError for a model that can't give the scores of a table's task."""
    from sklearn.base import is_clusterer, is_outlier_detector

    kind = type(model).__name__
    if table.task == "regression":
        if is_clusterer(model) or is_outlier_detector(model):
            raise _error(table, f"is {kind}, which predicts groups", "a regressor")
        if np.size(getattr(model, "classes_", ())):
            raise _error(table, f"is the classifier {kind}", "a regressor")
        if not hasattr(model, "predict"):
            raise _error(table, f"is {kind}, which has no predict()", "a regressor")
        return
    if not hasattr(model, "predict_proba"):
        expected = "a classifier that gives probabilities"
        if hasattr(model, "classes_") and hasattr(model, "decision_function"):
            expected = f"probabilities, as CalibratedClassifierCV({kind}(...)) gives them"
        raise _error(table, f"is {kind}, which has no predict_proba()", expected)
    class_columns(model, table)


def class_columns(model: Any, table: Table) -> list[int]:
    """Return where each of the table's classes stands among the columns of `predict_proba`.

    A model is fitted on the labels themselves, on their indices (`table.labels`), or on a binary
    label's indices as booleans. Raises TableError for other classes, and where one value would be
    two classes: 0 and 1 of a label whose positive class is 0.
    """
    found = getattr(model, "classes_", None)
    if found is None or not np.ndim(found):
        raise _error(table, f"is {type(model).__name__}, which has no classes", _classes(table))
    if isinstance(found, list) and any(np.ndim(each) for each in found):
        raise _error(table, "has several outputs", "one label")
    keys = [frames.class_key(each) for each in np.asarray(found, dtype=object)]
    raw = _columns(keys, [frames.class_key(each) for each in table.classes])
    encoded = _columns(keys, list(range(len(table.classes))))
    if table.task == "binary" and encoded is None and raw is None:
        encoded = _columns(keys, [frames.class_key(False), frames.class_key(True)])
    if raw is not None and encoded is not None and raw != encoded:
        raise _error(
            table,
            f"has the classes {_shown(found)}, which are both its labels and their indices, in "
            "another order",
            "the label's classes declared in ascending order, or a model fitted on "
            "table.labels(frame).astype(bool)",
        )
    if raw is None and encoded is None:
        raise _error(table, f"has the classes {_shown(found)}", _classes(table))
    return raw if raw is not None else encoded or []


def threshold(model: Any, table: Table) -> float:
    """Return the score from which a binary model's own `predict` decides for the positive class.

    0.5 for a model without a threshold. Raises TableError for a threshold on something other than
    the probability of the table's positive class.
    """
    from sklearn.model_selection import FixedThresholdClassifier

    if not isinstance(model, FixedThresholdClassifier):
        return 0.5
    classes = np.asarray(model.classes_).tolist()
    positive = classes[class_columns(model, table)[1]]
    # Without a label scikit-learn takes the second class, in alphabetical order.
    flagged = classes[1] if model.pos_label is None else model.pos_label
    if flagged != positive or model.response_method == "decision_function":
        raise _error(
            table,
            f"has a threshold on {model.response_method!r} of the class {flagged!r}",
            f"response_method='predict_proba' and pos_label={positive!r}",
        )
    return 0.5 if model.threshold == "auto" else float(model.threshold)


def _columns(keys: list[Any], classes: list[Any]) -> list[int] | None:
    """Return the place of each class among the keys, or None if they aren't the same."""
    if len(keys) != len(classes) or set(keys) != set(classes):
        return None
    return [keys.index(each) for each in classes]


def _classes(table: Table) -> str:
    indices = f"0 to {len(table.classes) - 1}"
    return f"its classes {_shown(table.classes)}, or their indices {indices}"


def _shown(values: Any) -> str:
    plain = [each.item() if isinstance(each, np.generic) else each for each in values]
    more = f" and {len(plain) - _MAX_SHOWN} more" if len(plain) > _MAX_SHOWN else ""
    return f"{plain[:_MAX_SHOWN]}{more}"


def _error(table: Table, what: str, expected: str) -> TableError:
    return TableError(f"The model of the table {table.name!r} {what}; expected {expected}.")
