"""Read a source into the canonical frame of a declared table, or say what doesn't fit."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError
from mlops_kit.tables import converting, origins, sources
from mlops_kit.tables.findings import START, Place
from mlops_kit.tables.origins import MAX_FAULTS, TextRows, TypedRows, check_names, dialect_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.dialects import Dialect
    from mlops_kit.tables.parts import Part
    from mlops_kit.tables.table import Column, Table

MAX_ROWS = 10_000_000
"""Rows that `read` takes from a source; with 31 numbers each they fill 2.5 GB."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a source: the declared columns as Arrow arrays, in their order.

    `place` is where the first of them stands, `total` how many rows all parts of the source
    hold, where that is known before they are read.
    """

    arrays: list[Any]
    rows: int
    place: Place = START
    total: int | None = None


@dataclass(frozen=True)
class Fault:
    """One value that doesn't fit: the row, counted from 0 within the part, and what it says."""

    row: int
    said: str


def read(
    source: str | Path,
    table: Table,
    *,
    most: int = MAX_ROWS,
    encoding: str = "",
    separator: str = "",
    decimal: str = "",
    day_first: bool | None = None,
) -> pd.DataFrame:
    """Return the rows of a source as the declared columns, in their order and types.

    float: float64, NaN where missing. int: int64, Int64 where it may be missing. bool: bool, or
    boolean. datetime: datetime64[us] in UTC. str and category: text, as pandas keeps it.

    Args:
        source: a file (CSV in any dialect, plain, .gz or .zip; Parquet), a folder of such parts
            (`year=2026/part.parquet` has a column `year`), a URL (http, https, s3, gs), or SQL as
            `sqlite:///shop.db#customers` or `postgresql://host/shop#select …`.
        table: what the rows have to be.
        most: how many rows are taken before it is refused.
        encoding: of text; by default as its bytes say.
        separator: of columns; by default as its first rows say.
        decimal: "." or ","; by default as its first rows say.
        day_first: how 03/04/2026 is read in a column whose declaration doesn't say; by default as
            the file's other dates do.

    Raises DataError naming file, line, column, value and what was expected, several at once, for
    values of another type, missing labels and missing whole numbers or truth values that may not
    be. What else may be wrong, as a range, is for the contract to say.
    """
    given = {
        "encoding": encoding,
        "separator": separator,
        "decimal": decimal,
        "day_first": day_first,
    }
    held, rows = [], 0
    with closing(batches(source, table, given)) as found:
        for batch in found:
            rows += batch.rows
            if max(rows, batch.total or 0) > most:
                raise DataError(
                    f"{too_many(source, most, batch.total)}: pass most=… if the memory is there, "
                    "or take a sample by datasets.load(…, sample=…)."
                )
            held.append(batch.arrays)
    return to_frame(table, held)


def too_many(source: str | Path, most: int, total: int | None) -> str:
    """Say that a source holds more rows than fit; `total` is None where nobody counted them."""
    count = f"{total:,} rows" if total else f"more than {most:,} rows"
    return (
        f"{sources.shown(source)!r} holds {count}; expected at most {most:,}, "
        "which are held in memory"
    )


def batches(
    source: str | Path, table: Table, given: Mapping[str, Any] | None = None
) -> Generator[Batch, None, None]:
    """Yield the rows of a source in batches, in the types that `read` gives; see there.

    `given` holds what is known of a text's dialect, by the names of `read`. Raises DataError as
    `read` does: at the end of the part that holds faults, after which no batch comes.
    """
    is_empty = True
    for batch in _batches(source, table, given or {}):
        if batch.rows:
            is_empty = False
            yield batch
    if is_empty:
        raise DataError(f"{sources.shown(source)!r} has a header and no rows.")


def _batches(source: str | Path, table: Table, given: Mapping[str, Any]) -> Iterator[Batch]:
    if sources.is_sql(str(source)):
        name = sources.sql_name(str(source))
        yield from _converted_batches(table, sources.sql_batches(str(source)), TypedRows(name))
        return
    with sources.parts_of(source) as parts:
        total = origins.parquet_rows(parts) if parts[0].format == "parquet" else None
        for part in parts:
            name = part.name if len(parts) > 1 else ""
            for batch in _of_part(table, part.declared_in(table), given):
                yield Batch(batch.arrays, batch.rows, Place(batch.place.row, name), total)


def _of_part(table: Table, part: Part, given: Mapping[str, Any]) -> Iterator[Batch]:
    """Yield the rows of a file."""
    import pyarrow as pa

    rows = 0
    try:
        if part.format == "parquet":
            origin: TypedRows | TextRows = TypedRows(part.name)
            found = origins.parquet_batches(part, table)
        else:
            origin = text = TextRows(part, dialect_of(part, given))
            found = text.batches(table)
        for batch in _converted_batches(table, found, origin):
            rows += batch.rows
            yield batch
    except UnicodeDecodeError as error:
        raise DataError(
            f"{part.name!r} is not {error.encoding} after {rows:,} rows: {error}; "
            "give its encoding."
        ) from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(
            f"Can't read {part.name!r} after {rows:,} rows: it is cut, damaged or "
            f"not what its name says: {error}"
        ) from error


def _converted_batches(
    table: Table, found: Iterator[Any], origin: TypedRows | TextRows
) -> Iterator[Batch]:
    """Yield batches in the declared types; raise DataError with the first faults of the part."""
    faults: list[Fault] = []
    row = 0
    for batch in found:
        if isinstance(origin, TypedRows) and not row:
            check_names(origin.name, batch.schema.names, table)
        arrays = []
        for column in table.columns:
            values = batch.column(batch.schema.get_field_index(column.name))
            array, wrong = _converted(table, column, values, origin.dialect)
            faults += [_fault(column, values, each, row, origin.dialect) for each in wrong]
            arrays.append(array)
        if not faults:
            yield Batch(arrays, batch.num_rows, Place(row))
        row += batch.num_rows
        if len(faults) >= MAX_FAULTS:
            break
    _raise(table, faults, origin)


def _converted(
    table: Table, column: Column, values: Any, dialect: Dialect
) -> tuple[Any, Sequence[int]]:
    """Return a column's values and the first rows that don't fit."""
    import numpy as np

    array, bad = converting.convert(column, values, dialect)
    is_label = column.name == table.label
    if is_label and table.classes:
        unknown = converting.classes_unknown(table.classes, array)
        bad = np.union1d(bad, unknown)
    if is_label or (column.kind in ("int", "bool") and not column.nullable):
        missing: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
        bad = np.union1d(bad, np.flatnonzero(missing))
    return array, bad[:MAX_FAULTS].tolist()


def _fault(column: Column, values: Any, place: int, before: int, dialect: Dialect) -> Fault:
    value = values[place].as_py()
    shown = "nothing" if value is None or str(value).strip() == "" else f"{value!r:.80}"
    also = converting.hint(str(value), column, dialect) if value is not None else ""
    return Fault(
        before + place, f"column {column.name!r}: {shown}; expected {column.expected}{also}"
    )


def _raise(table: Table, faults: Sequence[Fault], origin: TypedRows | TextRows) -> None:
    """Raise DataError where there is a fault, each with its line."""
    reasons = origin.ragged_faults() if isinstance(origin, TextRows) else []
    first = sorted(faults, key=lambda fault: fault.row)[:MAX_FAULTS]
    places = origin.places([fault.row for fault in first]) if first else []
    reasons += [f"{place}, {fault.said}." for place, fault in zip(places, first, strict=True)]
    if reasons:
        more = " (the first of them)" if len(reasons) >= MAX_FAULTS else ""
        raise DataError(
            f"{origin.name!r} holds values that don't fit the table {table.name!r}{more}; is "
            "it cut, or declared otherwise?",
            reasons=reasons[:MAX_FAULTS],
        )


def to_frame(table: Table, batches: list[list[Any]]) -> pd.DataFrame:
    """Return the collected columns as a frame, and empty the list: a column at a time."""
    import pandas as pd
    import pyarrow as pa

    columns = {}
    for place, column in enumerate(table.columns):
        chunks = pa.chunked_array(
            [arrays[place] for arrays in batches], converting.arrow_type(column.kind)
        )
        for arrays in batches:
            arrays[place] = None
        columns[column.name] = _series(column, chunks)
    batches.clear()
    return pd.DataFrame(columns, copy=False)


def _series(column: Column, chunks: Any) -> pd.Series[Any]:
    """Return one column in its canonical type."""
    import pandas as pd

    if column.nullable and column.kind in ("int", "bool"):
        kind: Any = pd.Int64Dtype() if column.kind == "int" else pd.BooleanDtype()
        found: pd.Series[Any] = chunks.to_pandas(types_mapper=lambda _: kind)
        return found
    converted: pd.Series[Any] = chunks.to_pandas()
    if column.kind == "datetime":
        converted = converted.astype("datetime64[us]")
    return converted
