"""What the charts of an evaluation show, by its task, as plain data that travels with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.models import class_curves, error_curves, operating_points, slice_confusions
from mlops_kit.models.comparison import Comparison
from mlops_kit.models.metric_sums import Array

if TYPE_CHECKING:
    import numpy.typing as npt


def curves(
    comparison: Comparison,
    masks: Mapping[str, npt.NDArray[np.bool_]],
    order: Iterable[str],
    errors: Array | None,
) -> dict[str, Any]:
    """Return what both models do, as plain data of some 10 kB.

    Binary: `operating_points.curves`, and in `slices` a `SliceConfusion` for each slice in the
    given order; `errors` is what an error costs, by row. Multi-class: `ClassCurves`. Regression:
    `ErrorCurves`.
    """
    table, judged = comparison.table, comparison.judged
    if table.task == "binary":
        slices = slice_confusions.of(judged, masks, order)
        points = operating_points.curves(judged, np.asarray(errors))
        return points | {"slices": [each.model_dump(mode="json") for each in slices]}
    if table.task == "multiclass":
        classes = [str(each) for each in table.classes]
        recalls = comparison.of(f"recall:{each}" for each in classes if each)
        minimum = comparison.rules.slice_minimum
        found = class_curves.of(judged, classes, [*recalls.values()], minimum)
        return found.model_dump(mode="json")
    return error_curves.of(judged, comparison.rules.confidence).model_dump(mode="json")
