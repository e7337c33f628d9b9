"""What a fitted estimator needs to become a candidate: a threshold by cost, and its papers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_kit.formatting import number
from mlops_kit.models.columns import Columns
from mlops_kit.models.gates import Costs
from mlops_kit.models.intervals import costs_by_row
from mlops_kit.models.registry import Description, ModelVersion, Registry
from mlops_kit.models.snapshots import fingerprint

if TYPE_CHECKING:
    import pandas as pd

# Of the thresholds that a curve shows, so many are spread over all scores.
MAX_SHOWN_THRESHOLDS = 200


@dataclass(frozen=True)
class Threshold:
    """The score from which a transaction is flagged, and the cost that it and others have.

    `costs` are per 1,000 transactions, one for each of `thresholds`.
    """

    value: float
    thresholds: tuple[float, ...]
    costs: tuple[float, ...]

    def _repr_markdown_(self) -> str:
        least = number(min(self.costs))
        return (
            f"Flagging from a score of **{number(self.value)}** costs least: {least} per 1,000 "
            f"transactions; flagging nothing would cost {number(self.costs[-1])}."
        )


def choose_threshold(
    model: Any, frame: pd.DataFrame, columns: Columns, *, costs: Costs
) -> Threshold:
    """Return the threshold that costs least of all, on rows that the model wasn't fitted on.

    A flagged genuine transaction costs a review, a missed fraud its amount and a fee.
    """
    import numpy as np

    scores = model.predict_proba(frame[list(columns.features)])[:, 1]
    frauds = frame[columns.label].to_numpy() == 1
    missed, alarm = costs_by_row(columns.amounts(frame), costs)
    # Half-way between scores, so that no row of these data lies on the threshold itself; the
    # first flags everything, the last nothing.
    distinct = np.unique(scores)
    between = (distinct[1:] + distinct[:-1]) / 2
    thresholds = np.concatenate([[distinct[0] / 2], between, [distinct[-1] + 1e-6]])
    order = np.argsort(scores)
    below = np.searchsorted(scores[order], thresholds)
    missed_below = np.concatenate([[0.0], np.cumsum((missed * frauds)[order])])
    alarms_below = np.concatenate([[0.0], np.cumsum((alarm * ~frauds)[order])])
    total = missed_below[below] + (alarms_below[-1] - alarms_below[below])
    total *= 1000 / len(frame)
    best = int(np.argmin(total))
    # Few of the many below, where most scores of a rare class lie, and all at the top.
    spread = np.linspace(0, len(thresholds) - 1, MAX_SHOWN_THRESHOLDS).astype(int)
    top = np.arange(max(0, len(thresholds) - 4 * frauds.sum()), len(thresholds))
    kept = np.unique(np.concatenate([spread, top, [best]]))
    shown = (tuple(values[kept].tolist()) for values in (thresholds, total))
    return Threshold(float(thresholds[best]), *shown)


def with_threshold(model: Any, threshold: float, frame: pd.DataFrame, columns: Columns) -> Any:
    """Return the model with the threshold built in: `predict` decides, the digest covers it."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    fixed = FixedThresholdClassifier(
        FrozenEstimator(model), threshold=threshold, response_method="predict_proba"
    )
    rows = frame.groupby(columns.label).head(1)
    return fixed.fit(rows[list(columns.features)], rows[columns.label])


def register(
    registry: Registry,
    name: str,
    model: Any,
    frame: pd.DataFrame,
    columns: Columns,
    *,
    role: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Register a model with a threshold as a new version of a name.

    Args:
        registry: where to.
        name: the registered model's.
        model: as `with_threshold` returns it.
        frame: the rows that it was fitted on; their fingerprint becomes a tag.
        columns: the roles of the frame's columns.
        role: "candidate" or "baseline".
        tags: of the version, beside role and data.
    """
    return registry.register(
        model,
        name,
        frame[list(columns.features)].head(3),
        Description(
            run_name=role,
            metrics={"threshold": model.threshold, "training_rows": len(frame)},
            parameters=_parameters(model),
            tags={"role": role, "data": fingerprint(frame), **tags},
        ),
    )


def _parameters(model: Any) -> dict[str, Any]:
    """Return what the estimators were made with, where it isn't another estimator."""
    found = model.get_params(deep=True)
    short = {name.replace("estimator__", ""): value for name, value in found.items()}
    return {n: v for n, v in short.items() if isinstance(v, (str, int, float, bool)) or v is None}
