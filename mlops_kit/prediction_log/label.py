"""What became known about one row of a prediction."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from operator import add
from typing import Literal, get_args

from mlops_kit.errors import ObservationsError

# Whether another label may still take its place: a provisional one is replaced by any later one.
State = Literal["provisional", "final"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Label:
    """The truth about one row: the index of its class, or the number of a regression.

    `prediction` is the request's id, `row` its row from 0; `time` says when the label became
    known, in seconds since the epoch. Without an id, `key` is the one that the client gave with
    the request: the label belongs to the newest request of that key up to `time`, or else to the
    first one after. `origin` says where the label comes from, as "review". A label that isn't
    final may be replaced by any later one. Raises ObservationsError for any other value.
    """

    prediction: str
    row: int
    label: float
    time: float
    origin: str = ""
    key: str = ""
    is_final: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.label):
            raise self._refusal("label", self.label, "a class's index or a finite number")
        if self.row < 0:
            raise self._refusal("row", self.row, "0 or more, as the rows of the request count")
        if not math.isfinite(self.time):
            raise self._refusal("time", self.time, "seconds since the epoch")
        if bool(self.prediction) == bool(self.key):
            raise self._refusal("key", self.key, "either an id or a key")

    def _refusal(self, name: str, given: object, expected: str) -> ObservationsError:
        who = f"key {self.key!r:.80}" if self.key else f"prediction {self.prediction!r:.80}"
        return ObservationsError(
            f"The label of {who} has the {name} {given!r}; expected {expected}. Look at what "
            "delivers the labels.",
            code="prediction-log.label",
        )


@dataclass(frozen=True)
class LabelCounts:
    """What became of labels: `stored` with their rows, or `waiting` for a request not logged yet.

    `unknown` ones name a row that their request doesn't have; they are kept, and never count.
    """

    stored: int = 0
    waiting: int = 0
    unknown: int = 0

    def __add__(self, other: LabelCounts) -> LabelCounts:
        """Return the counts of both."""
        return LabelCounts(*map(add, astuple(self), astuple(other)))
