"""Rows as a file has them: its columns, and where each row stands in it."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError
from mlops_kit.formatting import did_you_mean
from mlops_kit.tables import dialects
from mlops_kit.tables.dialects import Dialect

if TYPE_CHECKING:
    from mlops_kit.tables.parts import Part
    from mlops_kit.tables.table import Table

MAX_FAULTS = 20
_MAX_NAMES = 5
_BLOCK_BYTES = 1 << 20
_PARQUET_ROWS = 65_536
PANDAS_INDEX = "__index_level_"
"""How pandas calls an index without a name, which is no column."""


def check_names(where: str, names: Sequence[str], table: Table) -> None:
    """Raise DataError unless the names are the declared columns, in any order."""
    declared = [column.name for column in table.columns]
    reasons = [f"{name!r} is missing." for name in declared if name not in names]
    unknown = [each for each in names if each not in declared]
    unknown = [each for each in unknown if not each.startswith(PANDAS_INDEX)]
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


def dialect_of(part: Part, given: Mapping[str, Any]) -> Dialect:
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


def parquet_batches(part: Part, table: Table | None) -> Iterator[Any]:
    """Yield a file's record batches, with the declared columns, or all."""
    from pyarrow import parquet

    with parquet.ParquetFile(part.path, buffer_size=_BLOCK_BYTES, pre_buffer=False) as file:
        names = file.schema_arrow.names
        if table is not None:
            check_names(part.name, part.with_keys(names), table)
            names = [column.name for column in table.columns if column.name in names]
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=names):
            yield part.completed(batch)


def parquet_rows(parts: Sequence[Part]) -> int | None:
    """Return how many rows the parts hold, as their footers say; None where one can't be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return sum(int(parquet.read_metadata(part.path).num_rows) for part in parts)
    except (OSError, pa.ArrowException):
        return None


class TypedRows:
    """Rows of Parquet or SQL: counted from 0, with the types of their columns."""

    def __init__(self, name: str) -> None:
        """`name` is what faults say."""
        self.name, self.dialect = name, Dialect()

    def places(self, rows: Sequence[int]) -> list[str]:
        """Return where rows stand, in words."""
        return [f"row {row:,} (counted from 0)" for row in rows]


class TextRows:
    """Rows of a text file: counted by the file's own lines."""

    def __init__(self, part: Part, dialect: Dialect) -> None:
        """Nothing is opened yet."""
        self.part, self.name, self.dialect = part, part.name, dialect
        self.ragged: list[str] = []

    def batches(self, table: Table | None) -> Iterator[Any]:
        """Yield the declared columns, or all, as text; a row with more or fewer is a fault."""
        from pyarrow import csv as arrow_csv

        names = [name.strip() for name in self.dialect.names]
        if names[0] == "":
            names[0] = f"{PANDAS_INDEX}0__"  # as pandas writes an index without a name
        if table is not None:
            check_names(self.name, self.part.with_keys(names), table)
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
            yield from map(self.part.completed, reader)

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
    declared = [each for each in columns if each in names and not each.startswith(PANDAS_INDEX)]
    return arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(declared, pa.string()),
        include_columns=declared,
        strings_can_be_null=False,
    )
