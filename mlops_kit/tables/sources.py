"""Bring a source of rows here: a file, a folder of parts, a URL, or an SQL query."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit import project_folder
from mlops_kit.errors import DataError
from mlops_kit.tables.parts import Part, keys_of

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DOWNLOAD_BYTES = 64 << 30
_BLOCK = 1 << 20
_TIMEOUT = 60.0
_SQL_ROWS = 50_000
_BUCKETS = ("s3://", "gs://")
_PARTS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet")
_REFUSED = {
    b"\xd0\xcf\x11\xe0": "an Excel workbook; expected it saved as CSV",
    b"BZh": "packed by bzip2; expected gzip, zip or plain",
    b"\xfd7zXZ": "packed by xz; expected gzip, zip or plain",
    b"(\xb5/\xfd": "packed by zstd; expected gzip, zip or plain",
    b"ARROW1": "an Arrow or Feather file; expected it saved as Parquet or CSV",
    b"ORC": "an ORC file; expected it saved as Parquet or CSV",
    b"Obj\x01": "an Avro file; expected it saved as Parquet or CSV",
    b"\x89HDF": "an HDF5 file; expected it saved as Parquet or CSV",
    b"\x80\x04\x95": "a pickle, which runs code; expected the rows saved as Parquet or CSV",
    b"\x80\x05\x95": "a pickle, which runs code; expected the rows saved as Parquet or CSV",
    b'{"': "JSON; expected it saved as CSV or Parquet",
    b"[{": "JSON; expected it saved as CSV or Parquet",
    b"<html": "a web page; expected a CSV or Parquet file",
    b"<!DOCTYPE": "a web page; expected a CSV or Parquet file",
    b"SQLite format 3": "an SQLite database; name a table in it: sqlite:///FILE#TABLE",
}


def is_sql(source: str) -> bool:
    """Whether a source is an SQL database: URL#TABLE or URL#SELECT …."""
    head, mark, rest = source.partition("#")
    is_url = "://" in head and not head.startswith((*_BUCKETS, "http://", "https://", "file://"))
    return bool(is_url and mark and rest)


def shown(source: str | Path) -> str:
    """Return a source as messages name it: without the password of a database."""
    return sql_name(str(source)) if is_sql(str(source)) else str(source)


@contextmanager
def parts_of(source: str | Path) -> Iterator[tuple[Part, ...]]:
    """Yield the files of a source; what comes from elsewhere is copied here, and then removed.

    Raises DataError for a source that isn't there, or holds no table.
    """
    text = str(source)
    if text.startswith((*_BUCKETS, "http://", "https://")):
        with tempfile.TemporaryDirectory() as scratch:
            fetch = _from_bucket if text.startswith(_BUCKETS) else _from_web
            yield _parts(fetch(text, Path(scratch)), text)
        return
    named = Path(text.removeprefix("file://"))
    found = project_folder.located(named)
    # A file beside neither the notebook nor the project is told as it was named.
    yield _parts(found, text if named.exists() or not found.exists() else str(found))


def _parts(path: Path, shown: str) -> tuple[Part, ...]:
    try:
        if not path.exists():
            where = str(path.absolute().parent)
            raise _error(shown, f"there is no such file (looked in {where!r})")
        if path.is_dir():
            return _folder(path, shown)
        if not path.is_file():
            raise _error(shown, "it is not a file; expected a file or a folder, not a device")
        return (_file(path, shown),)
    except OSError as error:
        raise _error(shown, str(error)) from error


def _folder(folder: Path, shown: str) -> tuple[Part, ...]:
    """Return the parts in a folder, by name; what starts with '_' or '.' is no part."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name.endswith(_PARTS) and not _is_hidden(path, folder)
    ]
    if not found:
        raise _error(shown, f"the folder holds no file that ends in one of {list(_PARTS)}")
    parts = tuple(
        replace(_file(path, str(path)), keys=keys_of(path.relative_to(folder))) for path in found
    )
    if len({part.format for part in parts}) > 1:
        raise _error(shown, "the folder holds text and Parquet; expected parts of one format")
    return parts


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(each.startswith(("_", ".")) for each in path.relative_to(folder).parts)


def _file(path: Path, shown: str) -> Part:
    """Return a file as a part, its format told by its first bytes."""
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise _error(shown, "the file is empty")
    for mark, what in _REFUSED.items():
        if start.startswith(mark):
            raise _error(shown, f"it is {what}")
    if start.startswith(b"PAR1"):
        return Part(shown, path, "parquet")
    if path.suffix == ".parquet":
        raise _error(shown, "it is cut, damaged or not what its name says: it isn't Parquet")
    if start.startswith(b"\x1f\x8b"):
        return Part(shown, path, is_gzip=True)
    if path.suffix == ".gz":
        raise _error(shown, "it is not what its name says: it isn't packed by gzip")
    if start.startswith(b"PK\x03\x04"):
        return Part(shown, path, member=_member(path, shown))
    return Part(shown, path)


def _member(path: Path, shown: str) -> str:
    """Return the one file of an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                each.filename
                for each in archive.infolist()
                if not each.is_dir() and not each.filename.startswith(("__MACOSX/", "."))
            ]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _error(shown, f"it is cut, damaged or not what its name says: {error}") from error
    if any(name.startswith("xl/") for name in names):
        raise _error(shown, "it is an Excel workbook; expected it saved as CSV")
    if len(names) != 1:
        raise _error(shown, f"it holds {names[:5]}; expected one CSV file in the archive")
    return names[0]


def _from_web(url: str, scratch: Path) -> Path:
    """Copy what a URL answers to a file."""
    import requests
    from requests.utils import urldefragauth

    shown = urldefragauth(url).partition("?")[0]
    target = scratch / (Path(shown).name or "download")
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            _copy(answer.iter_content(_BLOCK), target, shown)
            expected = answer.headers.get("Content-Length")
            is_plain = "Content-Encoding" not in answer.headers
    except requests.RequestException as error:
        raise _error(shown, f"it can't be fetched: {type(error).__name__}") from error
    if expected and is_plain and int(expected) != target.stat().st_size:
        raise _error(shown, f"the answer was cut at {target.stat().st_size:,} bytes")
    return target


def _from_bucket(url: str, scratch: Path) -> Path:
    """Copy an object, or the objects below a prefix, to files."""
    import pyarrow as pa
    from pyarrow import fs

    shown = url.partition("?")[0]
    target = scratch / (Path(url.partition("?")[0].rstrip("/")).name or "bucket")
    try:
        bucket, path = fs.FileSystem.from_uri(url)
        if bucket.get_file_info(path).type != fs.FileType.NotFound:
            fs.copy_files(path, str(target), bucket, fs.LocalFileSystem())
            return target
    except (OSError, pa.ArrowException) as error:
        raise _error(shown, f"it can't be fetched: {error}") from error
    raise _error(shown, "there is no such object or prefix")


def _copy(blocks: Iterator[bytes], target: Path, shown: str) -> None:
    size = 0
    with target.open("wb") as file:
        for block in blocks:
            size += len(block)
            if size > MAX_DOWNLOAD_BYTES:
                raise _error(shown, f"it is larger than {MAX_DOWNLOAD_BYTES:,} bytes")
            file.write(block)


def sql_batches(source: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table or a query; see `is_sql` for the spelling.

    Raises DataError; its sentence never holds the URL's password.
    """
    import sqlalchemy as sa

    address, _, query = source.partition("#")
    shown = f"{sql_name(source)}#{query}"
    try:
        engine = sa.create_engine(_located(address))
        is_query = len(query.split()) > 1
        with engine.connect().execution_options(stream_results=True) as connection:
            statement: Any = (
                sa.text(query) if is_query else sa.select(sa.text("*")).select_from(sa.table(query))
            )
            with connection.execute(statement) as result:
                yield from _fetched(result)
        engine.dispose()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise _error(shown, f"the query fails: {said}") from error


def _located(address: str) -> Any:
    """Return a database's URL, with the file of SQLite's where it is."""
    import sqlalchemy as sa

    url = sa.make_url(address)
    if not _is_relative_file(url):
        return url
    return url.set(database=str(project_folder.located(Path(str(url.database)))))


def _is_relative_file(url: Any) -> bool:
    """Whether a database is a file of SQLite's, named from the working directory."""
    named = url.database if url.get_backend_name() == "sqlite" else ""
    return bool(named) and not named.startswith(("/", ":", "file:"))


def sql_name(source: str) -> str:
    """Return an SQL source's URL without its password."""
    import sqlalchemy as sa

    try:
        address = sa.make_url(source.partition("#")[0])
    except sa.exc.ArgumentError as error:
        raise DataError(
            "The source is no URL that SQLAlchemy reads; expected one as in sqlite:///FILE#TABLE."
        ) from error
    return address.render_as_string(hide_password=True)


def without_password(source: str) -> str:
    """Return an SQL source without its password, and with the absolute path of SQLite's file."""
    import sqlalchemy as sa

    sql_name(source)
    address, _, query = source.partition("#")
    plain = sa.make_url(address)._replace(password=None)
    if _is_relative_file(plain):
        plain = plain.set(database=str(Path(str(plain.database)).resolve()))
    return f"{plain.render_as_string()}#{query}"


def _fetched(result: Any) -> Iterator[pa.RecordBatch]:
    """Yield the rows as batches; the first one's names hold for all."""
    import pyarrow as pa

    names = list(result.keys())
    rows = result.fetchmany(_SQL_ROWS)
    if not rows:
        yield pa.RecordBatch.from_arrays([_arrow(()) for _ in names], names=names)
    while rows:
        columns = zip(*rows, strict=True)
        yield pa.RecordBatch.from_arrays([_arrow(values) for values in columns], names=names)
        rows = result.fetchmany(_SQL_ROWS)


def _arrow(values: Any) -> Any:
    """Return a column of a database as Arrow has it; one of several types as text."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError):
        return pa.array([None if each is None else str(each) for each in values], pa.string())


def _error(source: str, why: str) -> DataError:
    return DataError(f"Can't read {source!r}: {why}.")
