"""Make rows of a declared table, for traffic where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import ParameterError
from mlops_kit.tables.splits import split

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

MISSING_SHARE = 0.05
"""Share of the values that are missing, in a column that may lack some."""

_FIRST_DAY = np.datetime64("2026-01-01", "us")
_WORDS, _SPREAD = 50, 100.0


def rows(
    table: Table,
    count: int,
    *,
    data: pd.DataFrame | None = None,
    seed: int = 7,
    missing: float = MISSING_SHARE,
) -> pd.DataFrame:
    """Return rows of a table in its canonical types, the same for the same arguments.

    Args:
        table: what they are rows of.
        count: how many.
        data: rows that somebody has: those of their replay part come, which no model learned
            from, each once before one comes again. Without them each column is drawn by itself
            from its range or categories: such rows look right and mean nothing.
        seed: of what is drawn.
        missing: of the values of a column that may lack some, where there are no data.

    Raises ParameterError for a count below 1, and DataError for data that can't be split.
    """
    import pandas as pd

    if count < 1 or not 0 <= missing < 1:
        raise ParameterError(
            f"count is {count!r} and missing {missing!r}; expected 1 or more, and 0 to below 1."
        )
    random = np.random.default_rng(seed)
    if data is not None:
        kept = split(data, table).replay
        rounds = -(-count // len(kept))
        order = [np.arange(len(kept)), *(random.permutation(len(kept)) for _ in range(rounds - 1))]
        return kept.iloc[np.concatenate(order)[:count]].reset_index(drop=True)
    drawn = {
        column.name: _drawn(column, _classes(table, column), count, missing, random)
        for column in table.columns
    }
    if table.time:
        drawn[table.time] = drawn[table.time].sort_values(ignore_index=True)
    return pd.DataFrame(drawn)


def _classes(table: Table, column: Column) -> tuple[Any, ...]:
    """Return the values that a column is drawn from; none where it has a range."""
    is_label = column.name == table.label and bool(table.classes)
    return table.classes if is_label else column.categories


def _drawn(
    column: Column,
    values: tuple[Any, ...],
    count: int,
    missing: float,
    random: np.random.Generator,
) -> pd.Series[Any]:
    """Return one column in its canonical type."""
    import pandas as pd

    if values:
        found = pd.Series([values[place] for place in random.integers(0, len(values), count)])
    elif column.kind in ("str", "category"):
        found = pd.Series([f"text {number}" for number in random.integers(0, _WORDS, count)])
    elif column.kind == "bool":
        found = pd.Series(random.random(count) < 0.5)
    elif column.kind == "datetime":
        seconds = random.integers(0, 30 * 86_400, count).astype("timedelta64[s]")
        found = pd.Series(_FIRST_DAY + seconds).astype("datetime64[us]")
    else:
        numbers = _numbers(column, count, random)
        found = pd.Series(np.floor(numbers).astype(np.int64) if column.kind == "int" else numbers)
    if not column.nullable:
        return found
    if column.kind in ("int", "bool"):
        found = found.convert_dtypes()
    return found.mask(random.random(count) < missing)


def _numbers(column: Column, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return numbers in a column's range: even where it has two ends, else fewer far away."""
    low, high = column.low, column.high
    if low is not None and high is not None:
        top = high + 1 if column.kind == "int" else high
        return random.uniform(low, top, count)
    if low is not None:
        return low + random.exponential(_SPREAD, count)
    if high is not None:
        return high - random.exponential(_SPREAD, count)
    return random.normal(0.0, _SPREAD, count)
