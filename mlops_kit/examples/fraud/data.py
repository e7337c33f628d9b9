"""The transactions: generated or read, and the defects that spoil them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_kit.examples.fraud.defects import inject_defect, with_defect
from mlops_kit.examples.fraud.generator import generate
from mlops_kit.examples.fraud.table import COLUMNS, FEATURES, TABLE
from mlops_kit.tables import datasets

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.reporting.charts.charts import Bars

__all__ = [
    "COLUMNS",
    "FEATURES",
    "TABLE",
    "amounts",
    "generate",
    "inject_defect",
    "load",
    "with_defect",
]


def load(source: str | Path, *, rows: int = 120_000, seed: int = 7) -> pd.DataFrame:
    """Return "generated" transactions, or those of any source that `datasets.read` takes.

    `rows` and `seed` are for generated ones. Raises DataError for rows that don't fit the table.
    """
    if source == "generated":
        return generate(rows, seed=seed)
    return datasets.read(source, TABLE)


def amounts(frame: pd.DataFrame) -> Bars:
    """Return how the amounts of genuine and fraudulent transactions are spread, on a log scale."""
    import numpy as np

    from mlops_kit.reporting.charts.charts import Bars

    logs = np.log10(frame["Amount"].clip(lower=0.01))
    values = {"genuine": logs[frame["Class"] == 0], "fraud": logs[frame["Class"] == 1]}
    label = "amount in euro, as a power of ten: 0 is 1, 1 is 10, 2 is 100"
    return Bars.histogram("How the amounts are spread", values, x_label=label)
