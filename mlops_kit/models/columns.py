"""The roles of a table's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def _no_slices(_frame: pd.DataFrame) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Columns:
    """What a model sees, what it predicts, and what a missed positive costs.

    `features` are in the order of the model's inputs. `label` holds 0 and 1. `amount` is in the
    currency of the costs; without one, a missed positive costs the fee alone. `slices` returns
    a mask of a table's rows by the name of each part whose recall is judged on its own.
    """

    features: tuple[str, ...]
    label: str
    amount: str = ""
    slices: Callable[[pd.DataFrame], Mapping[str, Any]] = _no_slices

    def amounts(self, frame: pd.DataFrame) -> Any:
        """Return the amount of each row, 0 where the table has none."""
        if self.amount:
            return frame[self.amount].to_numpy()
        return 0.0 * frame[self.label].to_numpy()
