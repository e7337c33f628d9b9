"""Look at the first rows of a source as they are, before a table is declared."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_kit.errors import DataError
from mlops_kit.tables import sources
from mlops_kit.tables.dialects import Dialect
from mlops_kit.tables.origins import TextRows, dialect_of, parquet_batches


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
                found, is_all = _first(parquet_batches(part, None), most)
                return found, Dialect(), is_all and len(parts) == 1
            text = TextRows(part, dialect_of(part, {}))
            found, is_all = _first(text.batches(None), most)
            if text.ragged:
                raise DataError(
                    f"{part.name!r} holds rows of another width.", reasons=text.ragged_faults()
                )
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
    names = found[0].schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"The columns {twice} stand there twice; expected distinct names.")
    # A column of a database may be empty in one batch, or of another type.
    tables = [pa.Table.from_batches([batch]) for batch in found]
    whole = pa.concat_tables(tables, promote_options="permissive")
    return whole.slice(0, most), rows < most
