"""Count what a binary model catches, misses and flags wrongly in each slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlops_kit.models.evaluation_summary import Value
from mlops_kit.models.metric_sums import Judged

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Confusion(Value):
    """Counts of rows at a model's own threshold."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int


class SliceConfusion(Value):
    """The confusion of both models on a part of the holdout."""

    name: str
    candidate: Confusion
    reference: Confusion


def of(
    judged: Mapping[str, Judged], masks: Mapping[str, npt.NDArray[np.bool_]], order: Iterable[str]
) -> list[SliceConfusion]:
    """Return the confusion of both models in each slice, in this order of the slices."""
    return [
        SliceConfusion(
            name=name, **{role: _of_model(each.at(masks[name])) for role, each in judged.items()}
        )
        for name in order
    ]


def read(curves: Mapping[str, Any]) -> list[SliceConfusion]:
    """Return the confusions by slice that an evaluation carries; none if it has none."""
    found = [SliceConfusion.found(each) for each in curves.get("slices", ())]
    return [each for each in found if each is not None]


def _of_model(judged: Judged) -> Confusion:
    positive, flagged = judged.labels == 1, judged.decisions == 1
    return Confusion(
        true_positives=int((positive & flagged).sum()),
        false_negatives=int((positive & ~flagged).sum()),
        false_positives=int((~positive & flagged).sum()),
        true_negatives=int((~positive & ~flagged).sum()),
    )
