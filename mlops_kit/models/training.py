"""What a fitted estimator needs to become a candidate: a threshold by cost, and its lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import TableError
from mlops_kit.formatting import number
from mlops_kit.models import costs as costing
from mlops_kit.models.costs import Costs
from mlops_kit.models.model_version import Description, ModelVersion
from mlops_kit.models.outputs import class_columns, outputs
from mlops_kit.models.registry import Registry
from mlops_kit.tables.snapshots import fingerprint
from mlops_kit.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

# Of the thresholds that a curve shows, so many are spread over all scores.
MAX_SHOWN_THRESHOLDS = 200


@dataclass(frozen=True)
class Threshold:
    """The score from which a row counts as positive, and the cost that it and others have.

    `costs` are per 1,000 rows, one for each of `thresholds`.
    """

    value: float
    thresholds: tuple[float, ...]
    costs: tuple[float, ...]

    def _repr_markdown_(self) -> str:
        least = number(min(self.costs))
        return (
            f"A threshold of **{number(self.value)}** costs least: {least} per 1,000 rows. "
            f"Finding no positive at all would cost {number(self.costs[-1])}."
        )


def choose_threshold(model: Any, frame: pd.DataFrame, table: Table, *, costs: Costs) -> Threshold:
    """Return the threshold that costs least of all, on rows that the model wasn't fitted on.

    Raises TableError for a table whose task isn't binary.
    """
    import numpy as np

    _check_binary(table)
    scores = outputs(model, table.inputs(frame), table)
    positives = table.labels(frame) == 1
    missed, alarm = costing.of_errors(costs, table.amounts(frame))
    # Half-way between scores, so that no row of these data lies on the threshold itself; the
    # first flags everything, the last nothing.
    distinct = np.unique(scores)
    between = (distinct[1:] + distinct[:-1]) / 2
    thresholds = np.concatenate([[distinct[0] / 2], between, [distinct[-1] + 1e-6]])
    order = np.argsort(scores)
    below = np.searchsorted(scores[order], thresholds)
    missed_below = np.concatenate([[0.0], np.cumsum((missed * positives)[order])])
    alarms_below = np.concatenate([[0.0], np.cumsum((alarm * ~positives)[order])])
    total = missed_below[below] + (alarms_below[-1] - alarms_below[below])
    total *= 1000 / len(frame)
    best = int(np.argmin(total))
    # Few of the many below, where most scores of a rare class lie, and all at the top.
    spread = np.linspace(0, len(thresholds) - 1, MAX_SHOWN_THRESHOLDS).astype(int)
    top = np.arange(max(0, len(thresholds) - 4 * positives.sum()), len(thresholds))
    kept = np.unique(np.concatenate([spread, top, [best]]))
    shown = (tuple(values[kept].tolist()) for values in (thresholds, total))
    return Threshold(float(thresholds[best]), *shown)


def with_threshold(model: Any, threshold: float, frame: pd.DataFrame, table: Table) -> Any:
    """Return the model with the threshold built in: `predict` decides, the digest covers it.

    Args:
        model: a fitted binary classifier.
        threshold: the score from which a row counts as positive.
        frame: labelled rows, of which two are used: one of each class.
        table: their declaration.

    Raises TableError for a table whose task isn't binary, or a frame without one of the classes.
    """
    import numpy as np
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    _check_binary(table)
    fixed = FixedThresholdClassifier(
        FrozenEstimator(model),
        threshold=threshold,
        response_method="predict_proba",
        pos_label=model.classes_[class_columns(model, table)[1]],
    )
    labels = table.labels(frame)
    missing = [table.classes[each] for each in (0, 1) if not (labels == each).any()]
    if missing:
        raise TableError(
            f"The rows of {table.name!r} have no {missing[0]!r}; expected one row of each of "
            f"{list(table.classes)}."
        )
    rows = [int(np.argmax(labels == each)) for each in (0, 1)]
    # The model is frozen: these rows only tell the names of the features and the classes.
    return fixed.fit(table.inputs(frame.iloc[rows]), np.sort(model.classes_))


def register(
    registry: Registry,
    name: str,
    model: Any,
    frame: pd.DataFrame,
    table: Table,
    *,
    role: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Register a model as a new version of a name.

    Args:
        registry: where to.
        name: the registered model's.
        model: fitted; a binary one as `with_threshold` returns it, or 0.5 is its threshold.
        frame: the rows that it was fitted on; their fingerprint becomes a tag.
        table: their declaration.
        role: "candidate" or "baseline".
        tags: of the version, beside role and data.

    Raises TableError for a model that doesn't fit the table, UntrustedModelError for one that
    can't be stored as data, RegistryError for a registry that can't be used.
    """
    metrics = {"training_rows": float(len(frame))}
    threshold = getattr(model, "threshold", None)
    if isinstance(threshold, float):
        metrics["threshold"] = threshold
    return registry.register(
        model,
        name,
        frame,
        Description(
            run_name=role,
            metrics=metrics,
            parameters=_parameters(model),
            tags={"role": role, "data": fingerprint(frame), **tags},
        ),
        table,
    )


def _check_binary(table: Table) -> None:
    if table.task != "binary":
        raise TableError(
            f"A threshold is for a binary table; {table.name!r} has the task {table.task!r}."
        )


def _parameters(model: Any) -> dict[str, Any]:
    """Return what the estimators were made with, where it isn't another estimator."""
    found = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    short = {name.replace("estimator__", ""): value for name, value in found.items()}
    return {n: v for n, v in short.items() if isinstance(v, (str, int, float, bool)) or v is None}
