"""Read the latest rows of a data set, for traffic of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_kit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

# Fewer rows can't be parted.
_FEWEST = 30


def latest(table: Table, source: str, share: float) -> pd.DataFrame:
    """Return the last share of a file's rows: by the table's time, or else in their order.

    Raises DataError for a file that can't be read, lacks a column or holds too few rows.
    """
    import pandas as pd

    path = Path(source)
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{source!r} can't be read: {error}. Expected CSV or Parquet.") from error
    missing = [column.name for column in table.columns if column.name not in frame.columns]
    lacking = [name for name in missing if not table.column(name).nullable]
    if lacking:
        raise DataError(
            f"{source!r} lacks the columns {lacking} of {table.name!r}; it has "
            f"{[*frame.columns][:50]}."
        )
    if table.time:
        frame = frame.sort_values(table.time, kind="stable")
    count = max(math.ceil(len(frame) * share), _FEWEST)
    if len(frame) < count:
        raise DataError(f"{source!r} has {len(frame)} rows; expected at least {_FEWEST}.")
    return frame.iloc[-count:]
