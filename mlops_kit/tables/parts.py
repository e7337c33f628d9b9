"""One file of a source: its bytes unpacked, and the columns that its folders name."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_kit.tables.table import Table

Format = Literal["text", "parquet"]
_HIVE_MISSING = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """A file that is here: `name` is what its faults say, `member` that of an archive.

    `keys` are the columns that its folders name, as in `year=2026/`, with their values.
    """

    name: str
    path: Path
    format: Format = "text"
    is_gzip: bool = False
    member: str = ""
    keys: tuple[tuple[str, str | None], ...] = ()

    def declared_in(self, table: Table) -> Part:
        """Return the part without the keys that a table doesn't declare."""
        names = {column.name for column in table.columns}
        return replace(self, keys=tuple(each for each in self.keys if each[0] in names))

    def with_keys(self, names: Sequence[str]) -> list[str]:
        """Return a file's column names, and those that its folders add."""
        return [*(key for key, _ in self.keys if key not in names), *names]

    def completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch of its rows with the columns that its folders add, as text."""
        import pyarrow as pa

        # Before the file's own, whose last column is often the label.
        for key, value in reversed(self.keys):
            if key not in batch.schema.names:
                same = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
                batch = batch.add_column(0, key, same)
        return batch

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open its bytes, unpacked."""
        if self.member:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as inside:
                yield inside
        elif self.is_gzip:
            with gzip.open(self.path) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            with self.path.open("rb") as file:
                yield file


def keys_of(path: Path) -> tuple[tuple[str, str | None], ...]:
    """Return what the folders of a path say in Hive's form, `column=value`."""
    pairs = [each.partition("=") for each in path.parts[:-1]]
    return tuple(
        (unquote(key), None if value == _HIVE_MISSING else unquote(value))
        for key, mark, value in pairs
        if mark and key
    )
