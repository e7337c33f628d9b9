"""Files of labels: CSV, JSON lines and Parquet, read record by record."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, get_args

from mlops_kit.errors import ObservationsError
from mlops_kit.prediction_log.label_records import FIELDS

Kind = Literal["csv", "jsonl", "parquet"]
_ENDINGS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_SEPARATORS = ",;\t|"
_BATCH = 5_000


def kind_of(name: str) -> Kind | None:
    """Return what a file's ending says that it holds; None for another ending."""
    return _ENDINGS.get(Path(name).suffix.lower())


def records(stream: IO[bytes], kind: Kind, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the labels in a file; of the columns of a table only those that a label has.

    Raises ObservationsError, which names the file, for one that can't be read or lacks a column.
    """
    if kind not in get_args(Kind):
        raise _fault(name, f"is {kind!r}", f"one of {list(get_args(Kind))}")
    try:
        yield from {"csv": _csv, "jsonl": _lines, "parquet": _parquet}[kind](stream, name)
    except (OSError, ValueError, csv.Error) as error:
        raise _fault(name, f"can't be read as {kind}: {error}", "UTF-8, a label a row") from error


@contextmanager
def _text(stream: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    """Yield the stream as text, and leave closing it to its owner."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()


def _csv(stream: IO[bytes], name: str) -> Iterator[Mapping[str, Any]]:
    with _text(stream) as text:
        yield from _rows(text, name)


def _rows(text: io.TextIOWrapper, name: str) -> Iterator[Mapping[str, Any]]:
    head = text.readline()
    separator = max(_SEPARATORS, key=head.count)
    header = next(csv.reader([head], delimiter=separator), [])
    columns = [column.strip() for column in header]
    _check(columns, name)
    for row in csv.reader(text, delimiter=separator):
        if row:
            if len(row) > len(columns):
                raise _fault(name, f"has {len(row)} values in a row", f"{len(columns)}")
            values = zip(columns, row, strict=False)
            yield {column: value.strip() for column, value in values if column in FIELDS}


def _lines(stream: IO[bytes], _name: str) -> Iterator[Mapping[str, Any]]:
    with _text(stream) as text:
        for line in text:
            if line.strip():
                yield json.loads(line)


def _parquet(stream: IO[bytes], name: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet

    source = stream if stream.seekable() else io.BytesIO(stream.read())
    file = pyarrow.parquet.ParquetFile(source)
    columns = [column for column in file.schema_arrow.names if column in FIELDS]
    _check(columns, name)
    for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
        yield from batch.to_pylist()


def _check(columns: list[str], name: str) -> None:
    if "label" not in columns or not {"id", "key"} & set(columns):
        raise _fault(name, f"has the columns {columns}", "'label', and 'id' or 'key'")


def _fault(name: str, what: str, expected: str) -> ObservationsError:
    return ObservationsError(
        f"The labels in {name!r} {what}; expected {expected}.",
        code="prediction-log.label-file",
    )
