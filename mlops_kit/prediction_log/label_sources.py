"""A folder or an SQL table of labels, read on a schedule: each row once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import MetaData, Table, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from mlops_kit.errors import ObservationsError
from mlops_kit.prediction_log import label_files
from mlops_kit.prediction_log.label_records import FIELDS

# A file that changed so lately may still be written to; in seconds.
SETTLED_SECONDS = 2.0


class Positions(Protocol):
    """Where it is kept how far a source was read."""

    def position(self, source: str) -> str:
        """Return how far a source was read; empty if it never was."""


@dataclass(frozen=True)
class Part:
    """Labels that are new in a source, and where reading goes on after them.

    `is_text` is for labels of CSV, all of whose values are text.
    """

    source: str
    records: Iterator[Mapping[str, Any]]
    position: Callable[[], Any]
    is_text: bool = False

    def after(self) -> str:
        """Return how far the source is read once all records were taken."""
        return json.dumps(_plain(self.position()))


def of_folder(folder: Path, kept: Positions, now: float) -> Iterator[Part]:
    """Yield what is new in each file of a folder, by name; a file that grew from where it ended.

    Files with other endings are left alone, and so is one that changed in the last seconds. Raises
    ObservationsError for a folder that isn't there.
    """
    if not folder.is_dir():
        raise ObservationsError(
            f"The folder of labels {str(folder)!r} isn't there; see [labels] in mlops-kit.toml.",
            code="prediction-log.label-file",
        )
    for path in sorted(folder.iterdir()):
        kind = label_files.kind_of(path.name)
        with suppress(FileNotFoundError):
            state = path.stat()
            if kind is None or not path.is_file() or now - state.st_mtime < SETTLED_SECONDS:
                continue
            source = f"file {path}"
            known = json.loads(kept.position(source) or "{}")
            if known.get("stamp") != [state.st_size, state.st_mtime_ns]:
                yield _file(path, kind, source, known)


def _file(path: Path, kind: label_files.Kind, source: str, known: Mapping[str, Any]) -> Part:
    """Return the rows of a file that weren't read, all of them where it was replaced."""
    state = path.stat()
    # A Parquet file doesn't grow: it is read whole.
    content = b"" if kind == "parquet" else path.read_bytes()
    size = int(known.get("size", 0))
    grew = size > 0 and _digest(content[:size]) == known.get("digest")
    skipped = int(known["rows"]) if grew else 0
    count = [0]

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open("rb") as stream:
            stream_rows = label_files.records(stream, kind, str(path))
            for row in islice(stream_rows, skipped, None):
                count[0] += 1
                yield row

    def position() -> dict[str, Any]:
        return {
            "stamp": [state.st_size, state.st_mtime_ns],
            "size": len(content),
            "digest": _digest(content),
            "rows": skipped + count[0],
        }

    return Part(source, rows(), position, kind == "csv")


def of_table(url: str, name: str, order: str, kept: Positions) -> Part:
    """Return the rows of an SQL table from the last one on, by the column that orders them.

    Rows of the last value are read again, as others may have joined them; that changes nothing.
    Raises ObservationsError, also while its records are read.
    """
    source = f"table {name} of {hashlib.sha256(url.encode()).hexdigest()[:16]}"
    last = json.loads(kept.position(source) or "null")
    if isinstance(last, dict):
        last = datetime.fromisoformat(last["datetime"])
    newest = [last]

    def rows() -> Iterator[Mapping[str, Any]]:
        try:
            engine = create_engine(url, hide_parameters=True)
        except SQLAlchemyError as error:
            raise _sql_fault(name, "the URL isn't SQLAlchemy's") from error
        try:
            table = Table(name, MetaData(), autoload_with=engine)
            columns = [column for column in table.columns if column.name in FIELDS]
            by = table.columns[order]
            query = select(*columns, by.label("_order")).order_by(by)
            if last is not None:
                query = query.where(by >= last)
            with engine.connect().execution_options(stream_results=True) as connection:
                for row in connection.execute(query).mappings():
                    newest[0] = row["_order"] if row["_order"] is not None else newest[0]
                    yield {field: row[field] for field in FIELDS if field in row}
        except KeyError as error:
            raise _sql_fault(name, f"it has no column {order!r}") from error
        except SQLAlchemyError as error:
            raise _sql_fault(name, f"{type(error).__name__}: {error}") from error
        finally:
            engine.dispose()

    return Part(source, rows(), lambda: newest[0])


def _plain(value: Any) -> Any:
    return {"datetime": value.isoformat()} if isinstance(value, datetime) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sql_fault(name: str, why: str) -> ObservationsError:
    return ObservationsError(
        f"The table of labels {name!r} can't be read: {why}. See [labels] in mlops-kit.toml.",
        code="prediction-log.label-table",
    )
