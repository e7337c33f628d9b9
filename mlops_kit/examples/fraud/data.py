"""Bring transactions in; the one module to import for what can be done with them."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit import project_folder
from mlops_kit.errors import DataError
from mlops_kit.examples.fraud.contract import check, examine
from mlops_kit.examples.fraud.defects import inject_defect, with_defect
from mlops_kit.examples.fraud.generator import generate
from mlops_kit.examples.fraud.splits import Split, split
from mlops_kit.examples.fraud.summaries import Summary, amounts, summary
from mlops_kit.examples.fraud.table import COLUMNS, FEATURES, TABLE, TYPES
from mlops_kit.tables.rules import Contract, Rule
from mlops_kit.tables.snapshots import fingerprint, read, save

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "FEATURES",
    "TABLE",
    "Contract",
    "Rule",
    "Split",
    "Summary",
    "amounts",
    "check",
    "examine",
    "fingerprint",
    "generate",
    "inject_defect",
    "load",
    "read",
    "save",
    "split",
    "summary",
    "with_defect",
]

MAX_ROWS = 10_000_000
"""Rows that `load` takes from a file; they fill 2.5 GB."""

_MAX_HEADER_BYTES = 65_536


def load(
    source: str | Path, *, rows: int = 120_000, seed: int = 7, most: int = MAX_ROWS
) -> pd.DataFrame:
    """Return the transactions of a file (.csv, .csv.gz, .parquet), or "generated" ones.

    `rows` and `seed` are for generated ones. The columns come as in `COLUMNS`, float64 and int64.
    Raises DataError, naming the file, for one that can't be read, is cut, has other columns or
    holds more than `most` rows; what else may be wrong is for `check` to say. A CSV file that is
    cut exactly between two lines can't be told from a shorter one.
    """
    if source == "generated":
        return generate(rows, seed=seed)
    path = project_folder.located(Path(source))
    reason = _why_not(path)
    if reason:
        raise DataError(f"Can't load {str(path)!r}: {reason}")

    import pyarrow as pa

    schema = pa.schema([(name, TYPES[name]) for name in COLUMNS])
    batches, found = [], 0
    try:
        for batch in _parquet(path) if path.suffix == ".parquet" else _csv(path, schema):
            found += batch.num_rows
            if found > most:
                raise DataError(
                    f"{str(path)!r} holds more than {most:,} rows; expected at most that: "
                    "pass most=… if the memory is there, or a smaller file."
                )
            batches.append(batch.cast(schema))
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise DataError(
            f"Can't read {str(path)!r} after {found:,} rows: it is cut, damaged or not what its "
            f"name says: {error}"
        ) from error
    return _frame(path, pa.Table.from_batches(batches, schema))


def _why_not(path: Path) -> str:
    """Return why the path can't be a data set, or nothing."""
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        return "expected 'generated', or a file that ends in .csv, .csv.gz or .parquet."
    try:
        if not path.exists():
            return f"there is no such file (looked in {str(path.absolute().parent)!r})."
        if not path.is_file():
            return "it is not a file; expected one file, not a folder or a device."
        return "" if path.stat().st_size else "the file is empty."
    except OSError as error:
        return f"{error}."


def _csv(path: Path, schema: Any) -> Iterator[Any]:
    """Yield the file's record batches, a block at a time."""
    from pyarrow import csv as arrow_csv

    _check_names(path, _header(path))
    options = arrow_csv.ConvertOptions(
        column_types={field.name: field.type for field in schema}, include_columns=COLUMNS
    )
    with arrow_csv.open_csv(path, convert_options=options) as reader:
        yield from reader


def _parquet(path: Path) -> Iterator[Any]:
    """Yield the file's record batches, a block at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        _check_names(path, file.schema_arrow.names)
        for field in file.schema_arrow:
            if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
                raise DataError(
                    f"{str(path)!r}: column {field.name!r} holds {field.type}; expected numbers."
                )
        yield from file.iter_batches(batch_size=65_536, columns=list(COLUMNS))


def _header(path: Path) -> list[str]:
    """Return the column names of a CSV file's first line."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        line = file.readline(_MAX_HEADER_BYTES)
    try:
        names = next(csv.reader([line.decode("utf-8-sig")]), [])
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not UTF-8: {error}; expected UTF-8 text.") from error
    except csv.Error as error:
        raise DataError(f"{str(path)!r} has no header of CSV: {error}.") from error
    if len(names) == 1:
        other = next((mark for mark in ";\t|" if mark in names[0]), None)
        if other:
            raise DataError(f"{str(path)!r} separates columns by {other!r}; expected commas.")
    return names


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Raise DataError unless the file has the contract's columns, in any order."""
    reasons = [f"{name!r} is missing." for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    reasons += [f"{name[:80]!r} is not a column of the contract." for name in unknown[:5]]
    if len(unknown) > 5:
        reasons.append(f"{len(unknown) - 5:,} more are not.")
    reasons += [f"{name!r} stands there twice." for name in COLUMNS if list(names).count(name) > 1]
    if reasons:
        raise DataError(
            f"{str(path)!r} doesn't have the columns; expected Time, V1 to V28, Amount and Class, "
            "each once.",
            reasons=reasons,
        )


def _frame(path: Path, table: Any) -> pd.DataFrame:
    """Return the table as a frame; its labels must be there, since int64 can't be empty."""
    if not table.num_rows:
        raise DataError(f"{str(path)!r} has a header and no rows.")
    if table["Class"].null_count:
        row = table["Class"].is_null().to_pylist().index(True)
        raise DataError(
            f"{str(path)!r} lacks the label of {table['Class'].null_count:,} row(s), first of row "
            f"{row:,}, counted from 0; is its last line cut?"
        )
    frame: pd.DataFrame = table.to_pandas(self_destruct=True)
    return frame
