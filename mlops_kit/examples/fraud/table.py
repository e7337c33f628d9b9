"""The transactions' table: its columns, their types and their roles."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlops_kit.formatting import number
from mlops_kit.tables.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd

# Time only grows: a model would see values in service that it never learned from.
FEATURES = (*(f"V{number}" for number in range(1, 29)), "Amount")
"""What a model sees, in this order."""

COLUMNS = ("Time", *FEATURES, "Class")
"""Time in seconds since a midnight, the features, and the label: 1 is fraud."""

_AMOUNTS = (0.0, 10.0, 100.0, 1000.0, float("inf"))
_HOURS = (0, 6, 12, 18, 24)


def _slices(frame: pd.DataFrame) -> Mapping[str, Any]:
    """Return the rows by amount, and by hour of the day."""
    amounts, hours = frame["Amount"].to_numpy(), frame["Time"].to_numpy() / 3600 % 24
    masks: dict[str, Any] = {}
    for low, high in pairwise(_AMOUNTS):
        is_open = high == float("inf")
        name = f"amount over {number(low)}" if is_open else f"amount {low:g} to {high:g}"
        masks[name] = (amounts >= low) & (amounts < high)
    for start, end in pairwise(_HOURS):
        masks[f"hours {start} to {end}"] = (hours >= start) & (hours < end)
    return masks


TABLE = Table(
    name="fraud",
    columns=(
        Column("Time", "float", low=0.0),
        # An upstream service may be down: a transaction is scored without what it delivers.
        *(Column(name, "float", nullable=True) for name in FEATURES[:-1]),
        Column("Amount", "float", nullable=True, low=0.0),
        Column("Class", "int", categories=(0, 1)),
    ),
    task="binary",
    label="Class",
    classes=(0, 1),
    time="Time",
    amount="Amount",
    slices=(_slices,),
)
"""The declaration that everything reads."""
