"""What became known about one row of a prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlops_kit.errors import ObservationsError


@dataclass(frozen=True)
class Label:
    """The truth about one row: 1 is fraud, 0 is not.

    `prediction` is the request's id, `row` its row from 0; `time` says when the label became
    known, in seconds since the epoch. Raises ObservationsError for any other value.
    """

    prediction: str
    row: int
    label: int
    time: float

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise self._refusal("label", self.label, "0 or 1")
        if self.row < 0:
            raise self._refusal("row", self.row, "0 or more, as the rows of the request count")
        if not math.isfinite(self.time):
            raise self._refusal("time", self.time, "seconds since the epoch")

    def _refusal(self, name: str, given: object, expected: str) -> ObservationsError:
        return ObservationsError(
            f"The label of prediction {self.prediction!r} has the {name} {given!r}; expected "
            f"{expected}. Look at what delivers the labels."
        )
