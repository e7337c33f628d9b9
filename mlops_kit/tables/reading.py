"""Read a source into the canonical frame of a declared table, or say what doesn't fit."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError
from mlops_kit.formatting import did_you_mean
from mlops_kit.tables import converting, dialects, sources
from mlops_kit.tables.dialects import Dialect

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.sources import Part
    from mlops_kit.tables.table import Column, Table

MAX_ROWS = 10_000_000
"""Rows that `read` takes from a source; with 31 numbers each they fill 2.5 GB."""

MAX_FAULTS = 20
_MAX_NAMES = 5
_BLOCK_BYTES = 2 << 20
_PARQUET_ROWS = 65_536
_PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class Fault:
    """One value that doesn't fit: the row, counted from 0 within the part, and what it says."""

    row: int
    said: str


@dataclass
class _Found:
    """What was read so far."""

    rows: int = 0
    batches: list[Any] = field(default_factory=list)


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
        source: a file (CSV in any dialect, plain, .gz or .zip; Parquet), a folder of such parts,
            a URL (http, https, s3, gs), or SQL as `sqlite:///shop.db#customers` or
            `postgresql://host/shop#select …`.
        table: what the rows have to be.
        most: how many rows are taken before it is refused.
        encoding: of text; by default as its bytes say.
        separator: of columns; by default as its first rows say.
        decimal: "." or ","; by default as its first rows say.
        day_first: how 03/04/2026 is read; by default as the file's other dates say.

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
    found = _Found()
    if sources.is_sql(str(source)):
        name = sources.sql_name(str(source))
        _collect(table, found, most, name, sources.sql_batches(str(source)), _Typed(name))
    else:
        with sources.parts_of(source) as parts:
            for part in parts:
                _read_part(table, found, most, part, given)
    if not found.rows:
        raise DataError(f"{str(source)!r} has a header and no rows.")
    return to_frame(table, found.batches)


def _read_part(table: Table, found: _Found, most: int, part: Part, given: dict[str, Any]) -> None:
    """Add the rows of a file."""
    import pyarrow as pa

    before = found.rows
    try:
        if part.format == "parquet":
            _collect(table, found, most, part.name, _parquet(part, table), _Typed(part.name))
        else:
            text = _Text(part, dialect_of(part, given))
            _collect(table, found, most, part.name, text.batches(table), text)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{part.name!r} is not {error.encoding} after {found.rows - before:,} rows: {error}; "
            "give its encoding."
        ) from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(
            f"Can't read {part.name!r} after {found.rows - before:,} rows: it is cut, damaged or "
            f"not what its name says: {error}"
        ) from error


def dialect_of(part: Part, given: dict[str, Any]) -> Dialect:
    """Return the dialect of a text file, as its first bytes and somebody say."""
    try:
        with part.opened() as file:
            sample = file.read(dialects.SAMPLE_BYTES)
            is_whole = len(sample) < dialects.SAMPLE_BYTES
            encoding = given.get("encoding") or dialects.find_encoding(sample, is_whole=is_whole)
            # A first accent may come late; then the file isn't UTF-8 after all.
            while encoding == "utf-8" and (block := file.read(dialects.SAMPLE_BYTES)):
                if not block.isascii() and not _is_text(block):
                    encoding = dialects.find_encoding(block)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"Can't read {part.name!r}: it is cut, damaged or not what its name says: {error}"
        ) from error
    found = dialects.detect(
        sample, part.name, encoding, separator=given.get("separator") or "", is_whole=is_whole
    )
    return dialects.merged(found, decimal=given.get("decimal"), day_first=given.get("day_first"))


def _is_text(block: bytes) -> bool:
    """Whether a block is UTF-8, which may start within a character."""
    start = next((place for place in range(4) if block[place : place + 1] < b"\x80"), 0)
    first = next((place for place, each in enumerate(block[:4]) if each & 0xC0 != 0x80), start)
    return dialects.is_utf8(block[first:], is_whole=False)


def peek(source: str | Path, most: int) -> tuple[Any, Dialect, bool]:
    """Return the first rows as they are, their dialect, and whether these are all.

    An Arrow table: text as text, with the types of Parquet and SQL. Of a folder, the first part.
    Raises DataError.
    """
    import pyarrow as pa

    if sources.is_sql(str(source)):
        found, is_all = _first(sources.sql_batches(str(source)), most)
        return found, Dialect(), is_all
    with sources.parts_of(source) as parts:
        part = parts[0]
        try:
            if part.format == "parquet":
                from pyarrow import parquet

                with parquet.ParquetFile(part.path) as file:
                    found, is_all = _first(file.iter_batches(batch_size=_PARQUET_ROWS), most)
                return found, Dialect(), is_all and len(parts) == 1
            text = _Text(part, dialect_of(part, {}))
            found, is_all = _first(text.batches(None), most)
            return found, text.dialect, is_all and len(parts) == 1
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
            raise DataError(
                f"Can't read {part.name!r}: it is cut, damaged or not what its name says: {error}"
            ) from error


def _first(batches: Iterator[Any], most: int) -> tuple[Any, bool]:
    """Return the first rows of batches as one table, and whether these are all."""
    import pyarrow as pa

    found: list[Any] = []
    rows = 0
    for batch in batches:
        found.append(batch)
        rows += batch.num_rows
        if rows >= most:
            break
    if not rows:
        raise DataError("The source has a header and no rows.")
    # A column of a database may be empty in one batch, or of another type.
    tables = [pa.Table.from_batches([batch]) for batch in found]
    whole = pa.concat_tables(tables, promote_options="permissive")
    return whole.slice(0, most), rows < most


class _Typed:
    """Rows of Parquet or SQL: counted from 0, with the types of their columns."""

    def __init__(self, name: str) -> None:
        self.name, self.dialect = name, Dialect()

    def places(self, rows: Sequence[int]) -> list[str]:
        """Return where rows stand, in words."""
        return [f"row {row:,} (counted from 0)" for row in rows]


class _Text:
    """Rows of a text file: counted by the file's own lines."""

    def __init__(self, part: Part, dialect: Dialect) -> None:
        self.part, self.name, self.dialect = part, part.name, dialect
        self.ragged: list[str] = []

    def batches(self, table: Table | None) -> Iterator[Any]:
        """Yield the declared columns, or all, as text; a row with more or fewer is a fault."""
        from pyarrow import csv as arrow_csv

        names = [name.strip() for name in self.dialect.names]
        if names[0] == "":
            names[0] = f"{_PANDAS_INDEX}0__"  # as pandas writes an index without a name
        if table is not None:
            check_names(self.name, names, table)
        if self._is_bare():
            return
        with (
            self.part.opened() as file,
            arrow_csv.open_csv(
                file,
                read_options=self._read_options(names),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.dialect.separator,
                    newlines_in_values=True,
                    invalid_row_handler=self._keep_ragged,
                ),
                convert_options=_as_text(names, table),
            ) as reader,
        ):
            yield from reader

    def _is_bare(self) -> bool:
        """Whether there is a header alone, which pyarrow takes for a fault."""
        try:
            return not any(True for _ in self._records())
        except csv.Error:
            return False

    def _read_options(self, names: Sequence[str]) -> Any:
        from pyarrow import csv as arrow_csv

        return arrow_csv.ReadOptions(
            encoding="utf8" if self.dialect.encoding.startswith("utf-8") else self.dialect.encoding,
            column_names=list(names),
            skip_rows=self.dialect.header_lines,
            block_size=_BLOCK_BYTES,
        )

    def _keep_ragged(self, row: Any) -> str:
        self.ragged.append(
            f"{row.actual_columns} fields: {str(row.text)!r:.60}; expected {row.expected_columns}"
        )
        return "skip" if len(self.ragged) <= MAX_FAULTS else "error"

    def places(self, rows: Sequence[int]) -> list[str]:
        """Return the lines where rows stand, which is asked for only where there are faults."""
        wanted, lines = set(rows), {}
        for row, line, width in self._records():
            if width == len(self.dialect.names):
                if row in wanted:
                    lines[row] = f"line {line:,}"
                if len(lines) == len(wanted):
                    break
        return [lines.get(row, f"row {row:,} (counted from 0)") for row in rows]

    def ragged_faults(self) -> list[str]:
        """Return the rows with another number of fields, with their lines."""
        if not self.ragged:
            return []
        expected, last = len(self.dialect.names), 0
        found: list[int] = []
        for _, line, width in self._records():
            last = line
            if width != expected and len(found) < MAX_FAULTS:
                found.append(line)
        said = [f"line {at:,}: {text}" for at, text in zip(found, self.ragged, strict=False)]
        if found and found[-1] == last:
            said[-1] += "; is the last line cut?"
        return said

    def _records(self) -> Iterator[tuple[int, int, int]]:
        """Yield each record's row among those of full width, its line and its width."""
        with self.part.opened() as file:
            text = io.TextIOWrapper(file, self.dialect.encoding, errors="replace", newline="")
            reader = csv.reader(text, delimiter=self.dialect.separator)
            row, start = 0, 1
            for record in reader:
                if record and reader.line_num > self.dialect.header_lines:
                    yield row, start, len(record)
                    row += len(record) == len(self.dialect.names)
                start = reader.line_num + 1
            text.detach()


def _as_text(names: Sequence[str], table: Table | None) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    columns = [column.name for column in table.columns] if table is not None else names
    declared = [name for name in columns if not name.startswith(_PANDAS_INDEX)]
    return arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(declared, pa.string()),
        include_columns=declared,
        strings_can_be_null=False,
    )


def _parquet(part: Part, table: Table) -> Iterator[Any]:
    """Yield a file's record batches, a block at a time."""
    from pyarrow import parquet

    with parquet.ParquetFile(part.path) as file:
        check_names(part.name, file.schema_arrow.names, table)
        declared = [column.name for column in table.columns]
        yield from file.iter_batches(batch_size=_PARQUET_ROWS, columns=declared)


def check_names(where: str, names: Sequence[str], table: Table) -> None:
    """Raise DataError unless the names are the declared columns, in any order."""
    declared = [column.name for column in table.columns]
    reasons = [f"{name!r} is missing." for name in declared if name not in names]
    unknown = [each for each in names if each not in declared]
    unknown = [each for each in unknown if not each.startswith(_PANDAS_INDEX)]
    for name in unknown[:_MAX_NAMES]:
        near = did_you_mean(name, [each for each in declared if each not in names])
        reasons.append(f"{name[:80]!r} is not a column of the table.{near}")
    if len(unknown) > _MAX_NAMES:
        reasons.append(f"{len(unknown) - _MAX_NAMES:,} more are not.")
    reasons += [f"{name!r} stands there twice." for name in declared if list(names).count(name) > 1]
    if reasons:
        raise DataError(
            f"{where!r} doesn't have the columns of the table {table.name!r}; expected "
            f"{', '.join(declared[:8])}{' …' if len(declared) > 8 else ''}, each once.",
            reasons=reasons,
        )


def _collect(
    table: Table,
    found: _Found,
    most: int,
    where: str,
    batches: Iterator[Any],
    origin: _Typed | _Text,
) -> None:
    """Convert batches and keep them; raise DataError with the first faults of the part."""
    faults: list[Fault] = []
    row = 0
    for batch in batches:
        if isinstance(origin, _Typed) and not row:
            check_names(where, batch.schema.names, table)
        found.rows += batch.num_rows
        if found.rows > most:
            raise DataError(
                f"{where!r} holds more than {most:,} rows; expected at most that: pass most=… if "
                "the memory is there, or a smaller source."
            )
        arrays = []
        for column in table.columns:
            values = batch.column(batch.schema.get_field_index(column.name))
            array, wrong = _converted(table, column, values, origin.dialect)
            faults += [_fault(column, values, each, row, origin.dialect) for each in wrong]
            arrays.append(array)
        row += batch.num_rows
        found.batches.append(arrays)
        if len(faults) >= MAX_FAULTS:
            break
    _raise(table, where, faults, origin)


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


def _raise(table: Table, where: str, faults: Sequence[Fault], origin: _Typed | _Text) -> None:
    """Raise DataError where there is a fault, each with its line."""
    reasons = origin.ragged_faults() if isinstance(origin, _Text) else []
    first = sorted(faults, key=lambda fault: fault.row)[:MAX_FAULTS]
    places = origin.places([fault.row for fault in first]) if first else []
    reasons += [f"{place}, {fault.said}." for place, fault in zip(places, first, strict=True)]
    if reasons:
        more = " (the first of them)" if len(reasons) >= MAX_FAULTS else ""
        raise DataError(
            f"{where!r} holds values that don't fit the table {table.name!r}{more}; is it cut, or "
            "declared otherwise?",
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
