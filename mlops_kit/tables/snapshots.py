"""Keep data sets as files that are named after what they hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit import files
from mlops_kit.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

_NULLABLE = b"mlops_kit.nullable"
# pandas' own, which hold a missing whole number or truth value.
_EXTENSIONS = {"Int64": "int64", "boolean": "bool"}


def fingerprint(frame: pd.DataFrame) -> str:
    """Return "sha256:" with the hash of the column names, types and values, in their order.

    The same for the same values from any file format, machine or index: negative zero counts as
    zero, every missing value is alike, and so is text in each of pandas' types for it. Raises
    DataError for a column that holds neither numbers, truth values, times nor text.
    """
    digest = hashlib.sha256()
    for position, name in enumerate(frame.columns):
        series = frame.iloc[:, position]
        kind, parts = _canonical(str(name), series)
        digest.update(json.dumps([str(name), kind, len(series)]).encode())
        for part in parts:
            digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def _canonical(name: str, series: pd.Series[Any]) -> tuple[str, list[Any]]:
    """Return a column's type and its values as bytes that are the same on each machine."""
    import numpy as np

    kind = str(series.dtype)
    if kind in _EXTENSIONS:
        values = series.to_numpy(_EXTENSIONS[kind], na_value=0)
        return kind, [_little(values).data, series.isna().to_numpy(bool).data]
    if series.dtype.kind == "M":
        times = series.dt.tz_convert(None) if getattr(series.dtype, "tz", None) else series
        found = times.to_numpy("datetime64[us]").astype("int64")
        return "datetime64[us]", [_little(found).data]
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        numbers = series.to_numpy()
        if numbers.dtype.kind == "f":
            numbers = np.where(np.isnan(numbers), numbers.dtype.type(np.nan), numbers + 0)
        return numbers.dtype.name, [_little(numbers).data]
    return "text", _text(name, series)


def _little(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return little-endian numbers, one after the other."""
    import numpy as np

    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def _text(name: str, series: pd.Series[Any]) -> list[Any]:
    """Return the lengths of texts in bytes, -1 for a missing one, then the texts."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute as pc

    try:
        plain = series.astype(object).where(series.notna(), None)
        text = pa.array(plain.to_numpy(object), pa.large_string())
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"Column {name!r} holds {series.dtype}; expected numbers, truth values, times or text."
        ) from error
    lengths = pc.fill_null(pc.binary_length(text), -1).to_numpy().astype(np.int64)
    joined = pa.array(["".join(pc.fill_null(text, "").to_pylist())], pa.large_string())
    return [_little(lengths).data, joined.buffers()[2] or b""]


def save(frame: pd.DataFrame, folder: Path) -> Path:
    """Write `<folder>/<12 digits of the fingerprint>.parquet` and return its path.

    Under that name there is all of it or nothing, also when two write it at once or the disk is
    full. The index is not kept. Raises DataError when it can't be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / f"{_name(fingerprint(frame))}.parquet"
    # Without pandas' metadata, which name its version.
    table = pa.Table.from_pandas(frame, preserve_index=False)
    nullable = [str(name) for name, kind in frame.dtypes.items() if str(kind) in _EXTENSIONS]
    table = table.replace_schema_metadata({_NULLABLE: json.dumps(nullable)} if nullable else None)
    text = [field.name for field in table.schema if not _is_plain(field.type)]
    try:
        with files.whole(path, durable=True) as part:
            # Hardly a number repeats, so dictionaries of them would only cost time and room.
            parquet.write_table(table, part, compression="zstd", use_dictionary=text or False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"Can't save a snapshot of {len(frame):,} rows as {str(path)!r}: {error}."
        ) from error
    return path


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_primitive(kind))


def read(path: str | Path) -> pd.DataFrame:
    """Return a snapshot that `save` wrote; raise DataError unless it holds what its name says."""
    import pyarrow as pa
    from pyarrow import parquet

    path = Path(path)
    try:
        with parquet.ParquetFile(path) as file:
            frame = _frame(file.read())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"Can't read the snapshot {str(path)!r}: {error}.") from error
    found = _name(fingerprint(frame))
    if found != path.stem:
        raise DataError(
            f"The snapshot {str(path)!r} holds {found!r}; expected {path.stem!r}, as its name "
            "says: it was changed or renamed, so load the data again."
        )
    return frame


def _frame(table: Any) -> pd.DataFrame:
    """Return a file's columns as the frame that was saved."""
    import pandas as pd
    import pyarrow as pa

    names = json.loads((table.schema.metadata or {}).get(_NULLABLE, b"[]"))
    found: pd.DataFrame = table.drop_columns(names).to_pandas()
    for name in names:
        place = table.schema.get_field_index(name)
        is_whole = pa.types.is_integer(table.schema.field(place).type)
        kind: Any = pd.Int64Dtype() if is_whole else pd.BooleanDtype()
        found[name] = table.column(place).to_pandas(
            types_mapper={pa.int64(): kind, pa.bool_(): kind}.get
        )
    ordered: pd.DataFrame = found[table.schema.names]
    return ordered


def _name(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
