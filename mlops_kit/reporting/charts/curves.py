"""What models do, as charts by task: costs and rates by threshold, confusions, errors by size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_kit.errors import EvaluationError
from mlops_kit.models import operating_points
from mlops_kit.models.class_curves import ClassCurves
from mlops_kit.models.comparison import REFERENCE
from mlops_kit.models.error_curves import ErrorCurves
from mlops_kit.models.evaluation import Evaluation
from mlops_kit.models.outputs import outputs
from mlops_kit.models.training import Threshold
from mlops_kit.reporting.charts import task_charts
from mlops_kit.reporting.charts.charts import Grid, Intervals, Lines, Marker, Series
from mlops_kit.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

# More points than a chart can show say nothing more.
_POINTS = 400


def scores(model: Any, frame: pd.DataFrame, table: Table) -> Lines:
    """Return how often a score came true, by score, for labelled rows of a binary table."""
    scored = outputs(model, table.inputs(frame), table)
    series = _reliability("model", table.labels(frame), scored, dashed=False)
    return _calibration((series,))


def costs(threshold: Threshold) -> Lines:
    """Return the cost of each threshold, with the one that costs least marked."""
    series = Series("cost", threshold.thresholds, threshold.costs)
    marker = Marker(threshold.value, "chosen")
    label = "cost per 1,000 rows"
    return Lines("Cost by threshold", (series,), "threshold", label, (marker,), log_x=True)


def precision_recall(evaluation: Evaluation) -> Lines:
    """Return precision over recall of both models."""
    from sklearn.metrics import precision_recall_curve

    series = []
    for role, judged in evaluation.judged.items():
        precision, recall, _ = precision_recall_curve(evaluation.labels, judged.scores)
        kept = _corners(recall)
        name, dashed = evaluation.names[role], role == REFERENCE
        series.append(Series(name, recall[kept], precision[kept], dashed=dashed))
    return Lines("Precision and recall", tuple(series), "recall", "precision")


def calibration(evaluation: Evaluation) -> Lines:
    """Return how often a score came true, by score, of both models."""
    return _calibration(
        tuple(
            _reliability(
                evaluation.names[role], evaluation.labels, judged.scores, role == REFERENCE
            )
            for role, judged in evaluation.judged.items()
        )
    )


def cost_by_threshold(evaluation: Evaluation) -> Lines:
    """Return the cost of each threshold of both models, on the rows of the holdout."""
    import numpy as np

    thresholds = np.logspace(-4, 0, 120)
    series = []
    for role, judged in evaluation.judged.items():
        found = evaluation.labels, judged.scores, evaluation.errors
        *_, total = operating_points.by_threshold(*found, thresholds)
        name, dashed = evaluation.names[role], role == REFERENCE
        series.append(Series(name, thresholds.tolist(), total.tolist(), dashed=dashed))
    label = "cost per 1,000 rows"
    return Lines("Cost by threshold", tuple(series), "threshold", label, log_x=True, log_y=True)


def confusion(evaluation: Evaluation, role: task_charts.Role = "candidate") -> Grid:
    """Return the confusion matrix of a multi-class model: rows are true classes.

    Raises EvaluationError for another task, as do the charts below.
    """
    return task_charts.confusion(evaluation.names, _classes(evaluation), role)


def recalls(evaluation: Evaluation) -> Intervals:
    """Return by how much the recall of each class differs between the models."""
    return task_charts.recalls(evaluation.names, _classes(evaluation))


def error_quantiles(evaluation: Evaluation) -> Lines:
    """Return how large a regression's errors of a share of the rows are at most."""
    return task_charts.error_quantiles(evaluation.names, _errors(evaluation))


def error_by_size(evaluation: Evaluation) -> Lines:
    """Return a regression's median absolute error by the size of the prediction."""
    return task_charts.error_by_size(evaluation.names, _errors(evaluation))


def bias_by_size(evaluation: Evaluation) -> Lines:
    """Return a regression's mean of prediction minus truth by the size of the prediction."""
    return task_charts.bias_by_size(evaluation.names, _errors(evaluation))


def _classes(evaluation: Evaluation) -> ClassCurves:
    found = ClassCurves.found(evaluation.curves)
    if found is None:
        raise _wrong_task(evaluation, "multi-class")
    return found


def _errors(evaluation: Evaluation) -> ErrorCurves:
    found = ErrorCurves.found(evaluation.curves)
    if found is None:
        raise _wrong_task(evaluation, "regression")
    return found


def _wrong_task(evaluation: Evaluation, expected: str) -> EvaluationError:
    table = evaluation.table
    return EvaluationError(
        f"The table {table.name!r} is of the task {table.task}; this chart is of a {expected} one."
    )


def _calibration(series: tuple[Series, ...]) -> Lines:
    lowest = min((min(one.x) for one in series if len(one.x)), default=0.001)
    # Said and true alike; a score is never a moment in time.
    ends: Any = (lowest, 1.0)
    ideal = Series("perfectly calibrated", ends, ends, guide=True)
    label = "share of positives"
    return Lines("Calibration", (*series, ideal), "score", label, log_x=True, log_y=True)


def _reliability(name: str, labels: Any, scored: Any, dashed: bool) -> Series:
    return Series(name, *operating_points.reliability(labels, scored), dashed=dashed)


def _corners(recall: Any) -> Any:
    """Return where the recall is about to change, from the lowest on: most points repeat it."""
    import numpy as np

    corners = np.flatnonzero(np.diff(recall, append=-1.0))[::-1]
    return corners[np.unique(np.linspace(0, len(corners) - 1, _POINTS).astype(int))]
