"""Metrics by their standard names: of a holdout, of its resamples, and of its slices.

Each is a function of row weights, so that one set of bootstrap weights gives the intervals of all
metrics and of all models, paired. Names and values are those of scikit-learn's functions; the
calibration error is that of Naeini, Cooper and Hauskrecht (AAAI 2015), by bins of equal mass.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mlops_kit.errors import EvaluationError
from mlops_kit.formatting import did_you_mean
from mlops_kit.models import metric_sums
from mlops_kit.models.metric_sums import Array, Judged, Weighed

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table, Task

LATENCY = "latency_ms"
_TITLES = {
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "brier_score": "Brier score",
    "calibration_error": "calibration error",
    "mean_absolute_error": "mean absolute error",
    "median_absolute_error": "median absolute error",
    "root_mean_squared_error": "root mean squared error",
    "mean_absolute_percentage_error": "mean absolute percentage error",
    "r2": "R²",
    "bias": "bias",
    "cost": "cost per 1,000",
    LATENCY: "latency of one row, median in ms",
}
# What is shown of each task, beside what the gates ask for; the first is told of each slice.
SHOWN: Mapping[Task, tuple[str, ...]] = {
    "binary": ("recall", "precision", "average_precision", "calibration_error", "cost"),
    "multiclass": ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "cost"),
    "regression": (
        "mean_absolute_error",
        "median_absolute_error",
        "root_mean_squared_error",
        "r2",
        "cost",
    ),
}


@dataclass(frozen=True)
class Metric:
    """One metric of one task.

    `kind` is its name without a class, `of` the index of the class that it is about, or None.
    `share` counts (events, trials) where the metric is a share, whose interval is exact.
    """

    name: str
    title: str
    kind: str
    of: int | None = None
    function: Callable[..., float] | None = None

    @property
    def better(self) -> Literal["high", "low"]:
        """Whether more is better; nobody knows it of a metric of the user's own."""
        return "low" if self.kind in _LOW else "high"

    def support(self, judged: Judged) -> Array:
        """Return the mask of the rows that the metric rests on: one class's, or all."""
        if self.of is not None:
            return np.asarray(judged.labels == self.of)
        return np.ones(len(judged.labels), dtype=bool)

    def share(self, judged: Judged) -> tuple[int, int] | None:
        """Return (events, trials) of a metric that is a share of independent rows, else None."""
        hit = judged.decisions == judged.labels if len(judged.decisions) else None
        if hit is None:
            return None
        rows = {
            "recall": judged.labels == self.of,
            "specificity": judged.labels != self.of,
            "precision": judged.decisions == self.of,
            "accuracy": np.ones(len(hit), dtype=bool),
        }.get(self.kind)
        return None if rows is None else (int(hit[rows].sum()), int(rows.sum()))

    def prepare(self, judged: Judged, classes: int, frame: pd.DataFrame | None = None) -> Weighed:
        """Return the metric as a function of row weights; `frame` is for the user's own."""
        if self.function is not None:
            return _own(self.function, judged, frame)
        return metric_sums.prepared(self.kind, self.of, judged, classes)


def names(task: Task) -> frozenset[str]:
    """Return the metrics of a task, without those of a class or of the user's own."""
    return _NAMES[task]


def metric(name: str, table: Table) -> Metric:
    """Return a metric by its name in the settings: "recall", "recall:Yes" or "module:function".

    A class after the colon is one of a multi-class table. Raises EvaluationError for a name that
    the table's task doesn't have.
    """
    kind, _, rest = name.partition(":")
    known = _NAMES[table.task]
    if rest and kind in ("recall", "precision", "f1") and table.task == "multiclass":
        classes = [str(each) for each in table.classes]
        if rest not in classes:
            raise EvaluationError(
                f"The metric {name!r} is about the class {rest!r}; expected one of {classes}."
                + did_you_mean(rest, classes)
            )
        return Metric(name, f"{_TITLES[kind]} of {rest}", kind, classes.index(rest))
    if rest:
        return Metric(name, rest.replace("_", " "), name, None, _imported(kind, rest))
    if name not in known:
        raise EvaluationError(
            f"The metric {name!r} is unknown for the {table.task} table {table.name!r}; expected "
            f"one of {sorted(known)}, or 'module:function'." + did_you_mean(name, known)
        )
    is_of_class = name in _OF_CLASS and table.task == "binary"
    return Metric(name, _TITLES[name], name, 1 if is_of_class else None)


def _imported(module: str, name: str) -> Callable[..., float]:
    try:
        found: Callable[..., float] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise EvaluationError(
            f"The metric '{module}:{name}' can't be imported: {error}. Expected a function "
            f"{name}(labels, scores, rows) in a module {module} of the project."
        ) from error
    return found


def _own(function: Callable[..., float], judged: Judged, frame: pd.DataFrame | None) -> Weighed:
    """Return a metric of the user's own: called on each resample's rows, repeated by weight."""

    def weighed(weights: Array) -> Array:
        values = []
        for column in weights.T:
            rows = np.repeat(np.arange(len(column)), column.astype(np.int64))
            given = frame.iloc[rows] if frame is not None else None
            values.append(float(function(judged.labels[rows], judged.scores[rows], given)))
        return np.array(values)

    return weighed


_LOW = {
    "log_loss",
    "brier_score",
    "calibration_error",
    "mean_absolute_error",
    "median_absolute_error",
    "root_mean_squared_error",
    "mean_absolute_percentage_error",
    "cost",
    LATENCY,
}
_OF_CLASS = {
    "recall",
    "precision",
    "specificity",
    "f1",
    "brier_score",
    "average_precision",
    "roc_auc",
    "calibration_error",
}
_NAMES: Mapping[Task, frozenset[str]] = {
    "binary": frozenset({*_OF_CLASS, "accuracy", "balanced_accuracy", "log_loss", "cost", LATENCY}),
    "multiclass": frozenset(
        {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "cost", LATENCY}
    ),
    "regression": frozenset(
        {
            *("mean_absolute_error", "median_absolute_error", "root_mean_squared_error"),
            *("mean_absolute_percentage_error", "r2", "bias", "cost", LATENCY),
        }
    ),
}
