"""Describe the rows of a table in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_kit.formatting import number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

_MAX_SHOWN = 3
_MAX_CLASSES = 12


@dataclass(frozen=True)
class ColumnSummary:
    """One column: what share of it is missing, how many distinct values, and the usual ones.

    `values` are the least, the median and the largest number or time, or the commonest texts.
    """

    name: str
    kind: str
    role: str
    missing: float
    distinct: int
    values: str


@dataclass(frozen=True)
class Summary:
    """A data set in a few numbers; `labels` are the classes' rows, or quantiles of a number."""

    rows: int
    duplicates: int
    labels: tuple[tuple[str, str], ...]
    columns: tuple[ColumnSummary, ...]

    def _repr_markdown_(self) -> str:
        facts = [
            ("rows", f"{self.rows:,}"),
            *self.labels,
            ("repeated rows", f"{self.duplicates:,}"),
        ]
        lines = ["| | |", "|---|---:|", *(f"| {_cell(name)} | {fact} |" for name, fact in facts)]
        lines += ["", "| column | type | role | missing | distinct | values |"]
        lines += ["|---|---|---|---:|---:|---|"]
        lines += [
            f"| {_cell(each.name)} | {each.kind} | {each.role} | {each.missing:.1%} "
            f"| {each.distinct:,} | {_cell(each.values)} |"
            for each in self.columns
        ]
        return "\n".join(lines) + "\n"


def copies(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which rows repeat an earlier one, by the hash of their 64 bits."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame, index=False)
    return hashes.duplicated().to_numpy(dtype=bool)


def summary(frame: pd.DataFrame, table: Table) -> Summary:
    """Return the rows in a few numbers."""
    return Summary(
        rows=len(frame),
        duplicates=int(copies(frame).sum()),
        labels=tuple(_labels(frame[table.label], table)),
        columns=tuple(
            _column(frame[column.name], column, table.role(column.name))
            for column in table.columns
            if column.name in frame.columns
        ),
    )


def _labels(series: pd.Series[Any], table: Table) -> list[tuple[str, str]]:
    if table.task == "regression":
        shares = (0.0, 0.1, 0.5, 0.9, 1.0)
        found = series.astype("float64").quantile(list(shares))
        words = ", ".join(f"{share:.0%}: {number(found[share])}" for share in shares)
        return [(f"{table.label}, quantiles", words)]
    counts = [(each, int((series == each).sum())) for each in table.classes[:_MAX_CLASSES]]
    total = max(1, len(series))
    return [(f"{table.label} {each}", f"{n:,} ({n / total:.2%})") for each, n in counts]


def _column(series: pd.Series[Any], column: Column, role: str) -> ColumnSummary:
    known = series.dropna()
    if column.kind in ("float", "int") and len(known):
        numbers = known.astype("float64")
        words = " · ".join(map(number, (numbers.min(), numbers.median(), numbers.max())))
    elif column.kind == "datetime" and len(known):
        words = f"{known.min()} · {known.max()}"
    else:
        shares = known.value_counts(normalize=True).head(_MAX_SHOWN)
        words = ", ".join(f"{each!s:.30} {share:.0%}" for each, share in shares.items())
    missing = 1 - len(known) / max(1, len(series))
    return ColumnSummary(column.name, column.kind, role, missing, int(known.nunique()), words)


def _cell(text: str) -> str:
    """Return text that can't end a cell of a table, nor be rendered."""
    return " ".join(text.replace("|", "¦").replace("<", "&lt;").split())
