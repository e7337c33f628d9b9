"""Look at the first rows of a source as they are, before they are declared."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError
from mlops_kit.tables import sources
from mlops_kit.tables.dialects import Dialect
from mlops_kit.tables.origins import PANDAS_INDEX, TextRows, dialect_of, parquet_batches

if TYPE_CHECKING:
    from mlops_kit.tables.parts import Part

MAX_PARTS = 16
"""Parts of a folder that are looked into; a partition column differs from part to part."""


def peek(source: str | Path, most: int) -> tuple[Any, Dialect, bool]:
    """Return the first rows as they are, their dialect, and whether these are all.

    An Arrow table: text as text, with the types of Parquet and SQL. Of a folder, the first rows of
    up to `MAX_PARTS` parts. Raises DataError.
    """
    if sources.is_sql(str(source)):
        found, is_all = _first(sources.sql_batches(str(source)), most)
        return _joined([found], sources.shown(source)), Dialect(), is_all
    with sources.parts_of(source) as parts:
        step = -(-len(parts) // MAX_PARTS)
        chosen = parts[::step]
        looked = [_look(part, -(-most // len(chosen))) for part in chosen]
    _check_alike(chosen, [rows for rows, _, _ in looked])
    rows = _joined([rows for rows, _, _ in looked if rows.num_rows], sources.shown(source))
    is_all = len(chosen) == len(parts) and all(whole for _, _, whole in looked)
    return rows, looked[0][1], is_all


def _look(part: Part, most: int) -> tuple[Any, Dialect, bool]:
    """Return the first rows of a part, its dialect, and whether these are all."""
    import pyarrow as pa

    try:
        if part.format == "parquet":
            found, is_all = _first(parquet_batches(part, None), most)
            return pa.table({}) if found is None else found, Dialect(), is_all
        text = TextRows(part, dialect_of(part, {}))
        found, is_all = _first(text.batches(None), most)
        if text.ragged:
            raise DataError(
                f"{part.name!r} holds rows of another width.", reasons=text.ragged_faults()
            )
        return pa.table({}) if found is None else found, text.dialect, is_all
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(
            f"Can't read {part.name!r}: it is cut, damaged or not what its name says: {error}"
        ) from error


def _first(batches: Iterator[Any], most: int) -> tuple[Any, bool]:
    """Return the first rows of batches as one table, None for none, and whether these are all."""
    import pyarrow as pa

    found: list[Any] = []
    rows = 0
    for batch in batches:
        found.append(batch)
        rows += batch.num_rows
        if rows >= most:
            break
    if not rows:
        return None, True
    names = found[0].schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"The columns {twice} stand there twice; expected distinct names.")
    kept = [name for name in names if not name.startswith(PANDAS_INDEX)]
    # A column of a database may be empty in one batch, or of another type.
    tables = [pa.Table.from_batches([batch]).select(kept) for batch in found]
    whole = pa.concat_tables(tables, promote_options="permissive")
    return whole.slice(0, most), rows < most


def _check_alike(parts: Sequence[Part], looked: Sequence[Any]) -> None:
    """Raise DataError where a part with rows has other columns than the first."""
    known = [(part, set(rows.column_names)) for part, rows in zip(parts, looked, strict=True)
             if rows.num_rows]  # fmt: skip
    for part, names in known[1:]:
        first, expected = known[0]
        if names != expected:
            raise DataError(
                f"{part.name!r} has other columns than {first.name!r}; expected the same in each "
                f"part: {sorted(names ^ expected)[:10]} stand in one of them alone."
            )


def _joined(tables: Sequence[Any], source: str) -> Any:
    """Return the rows of all parts as one table; raises DataError for none."""
    import pyarrow as pa

    if not tables or tables[0] is None:
        raise DataError(f"{source!r} has a header and no rows.")
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"The parts of {source!r} hold different types: {error}; expected the same in each."
        ) from error
