"""Describe the rows of a table in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_kit.formatting import number
from mlops_kit.tables.sketches import column_hashes, row_hashes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.scans import Scan
    from mlops_kit.tables.table import Column, Table

_MAX_SHOWN = 3
_MAX_CLASSES = 12


@dataclass(frozen=True)
class ColumnSummary:
    """One column: what share of it is missing, how many distinct values, and the usual ones.

    `values` are the least, the median and the largest number or time, or the commonest texts.
    `is_estimate` says that the distinct values aren't counted exactly.
    """

    name: str
    kind: str
    role: str
    missing: float
    distinct: int
    values: str
    is_estimate: bool = False


@dataclass(frozen=True)
class Summary:
    """A data set in a few numbers; `labels` are the classes' rows, or quantiles of a number.

    `note` says what isn't of all rows, and `is_estimate` that the repeated rows aren't counted
    exactly.
    """

    rows: int
    duplicates: int
    labels: tuple[tuple[str, str], ...]
    columns: tuple[ColumnSummary, ...]
    note: str = ""
    is_estimate: bool = False

    def _repr_markdown_(self) -> str:
        facts = [
            ("rows", f"{self.rows:,}"),
            *self.labels,
            ("repeated rows", _count(self.duplicates, self.is_estimate)),
        ]
        lines = ["| | |", "|---|---:|", *(f"| {_cell(name)} | {fact} |" for name, fact in facts)]
        lines += ["", "| column | type | role | missing | distinct | values |"]
        lines += ["|---|---|---|---:|---:|---|"]
        lines += [
            f"| {_cell(each.name)} | {each.kind} | {each.role} | {each.missing:.1%} "
            f"| {_count(each.distinct, each.is_estimate)} | {_cell(each.values)} |"
            for each in self.columns
        ]
        lines += ["", self.note] if self.note else []
        return "\n".join(lines) + "\n"


def copies(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which rows repeat an earlier one, by the hash of their 64 bits."""
    import pandas as pd

    hashes = pd.Series(row_hashes(column_hashes(frame), len(frame)))
    return hashes.duplicated().to_numpy(dtype=bool)


def summary(
    frame: pd.DataFrame, table: Table, *, scan: Scan | None = None, note: str = ""
) -> Summary:
    """Return the rows in a few numbers.

    Args:
        frame: the rows, or a sample of those that were scanned.
        table: declares them.
        scan: what was found in all rows, where the frame is a sample of them.
        note: says so.
    """
    is_exact = scan is None or not scan.copies.halvings
    return Summary(
        rows=scan.rows if scan else len(frame),
        duplicates=scan.duplicates if scan else int(copies(frame).sum()),
        labels=tuple(_labels(frame[table.label], table, scan)),
        columns=tuple(
            _column(frame[column.name], column, table.role(column.name), scan)
            for column in table.columns
            if column.name in frame.columns
        ),
        note=note,
        is_estimate=not is_exact,
    )


def _labels(series: pd.Series[Any], table: Table, scan: Scan | None) -> list[tuple[str, str]]:
    if table.task == "regression":
        shares = (0.0, 0.1, 0.5, 0.9, 1.0)
        found = series.astype("float64").quantile(list(shares)).tolist()
        if scan is not None:
            whole = scan.columns[table.label]
            found = [float(whole.low), *found[1:-1], float(whole.high)]
        pairs = zip(shares, found, strict=True)
        words = ", ".join(f"{share:.0%}: {number(value)}" for share, value in pairs)
        return [(f"{table.label}, quantiles", words)]
    if scan is not None:
        counts, total = scan.tally.classes, scan.rows
    else:
        counts = {each: int((series == each).sum()) for each in table.classes}
        total = max(1, len(series))
    shown = [*counts.items()][:_MAX_CLASSES]
    return [(f"{table.label} {each}", f"{n:,} ({n / total:.2%})") for each, n in shown]


def _column(series: pd.Series[Any], column: Column, role: str, scan: Scan | None) -> ColumnSummary:
    known = series.dropna()
    whole = scan.columns[column.name] if scan else None
    if column.kind in ("float", "int") and len(known):
        numbers = known.astype("float64")
        low, high = (whole.low, whole.high) if whole else (numbers.min(), numbers.max())
        words = " · ".join(map(number, (float(low), numbers.median(), float(high))))
    elif column.kind == "datetime" and len(known):
        low, high = (whole.low, whole.high) if whole else (known.min(), known.max())
        words = f"{low} · {high}"
    else:
        shares = known.value_counts(normalize=True).head(_MAX_SHOWN)
        words = ", ".join(f"{each!s:.30} {share:.0%}" for each, share in shares.items())
    if whole is not None and scan is not None:
        missing = whole.missing / max(1, scan.rows)
        distinct = min(whole.distinct.count, scan.rows - whole.missing)
    else:
        missing, distinct = 1 - len(known) / max(1, len(series)), int(known.nunique())
    is_estimate = whole is not None and not whole.distinct.is_exact
    return ColumnSummary(column.name, column.kind, role, missing, distinct, words, is_estimate)


def _count(number: int, is_estimate: bool) -> str:
    return f"≈ {number:,}" if is_estimate else f"{number:,}"


def _cell(text: str) -> str:
    """Return text that can't end a cell of a table, nor be rendered."""
    return " ".join(text.replace("|", "¦").replace("<", "&lt;").split())
