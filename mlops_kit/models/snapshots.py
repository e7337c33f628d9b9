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


def fingerprint(frame: pd.DataFrame) -> str:
    """Return "sha256:" with the hash of the column names, types and values, in their order.

    The same for the same values from any file format, machine or index: negative zero counts as
    zero, and every NaN is alike. Raises DataError for a column that doesn't hold plain numbers.
    """
    digest = hashlib.sha256()
    for position, name in enumerate(frame.columns):
        values = _canonical(str(name), frame.iloc[:, position])
        digest.update(json.dumps([str(name), values.dtype.name, values.size]).encode())
        digest.update(values.data)
    return f"sha256:{digest.hexdigest()}"


def _canonical(name: str, series: pd.Series[Any]) -> npt.NDArray[Any]:
    """Return the values as little-endian numbers with one zero and one NaN."""
    import numpy as np

    values = series.to_numpy()
    if not isinstance(series.dtype, np.dtype) or values.dtype.kind not in "biuf":
        raise DataError(
            f"Column {name!r} holds {series.dtype}; expected a numpy type of numbers, "
            "as data.load returns."
        )
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values + 0)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def save(frame: pd.DataFrame, folder: Path) -> Path:
    """Write `<folder>/<12 digits of the fingerprint>.parquet` and return its path.

    Under that name there is all of it or nothing, also when two write it at once or the disk is
    full. The index is not kept. Raises DataError when it can't be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / f"{_name(fingerprint(frame))}.parquet"
    # Without pandas' metadata, which name its version.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    try:
        with files.whole(path, durable=True) as part:
            # Hardly a value repeats, so dictionaries would only cost time and room.
            parquet.write_table(table, part, compression="zstd", use_dictionary=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"Can't save a snapshot of {len(frame):,} rows as {str(path)!r}: {error}."
        ) from error
    return path


def read(path: str | Path) -> pd.DataFrame:
    """Return a snapshot that `save` wrote; raise DataError unless it holds what its name says."""
    import pyarrow as pa
    from pyarrow import parquet

    path = Path(path)
    try:
        with parquet.ParquetFile(path) as file:
            frame: pd.DataFrame = file.read().to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"Can't read the snapshot {str(path)!r}: {error}.") from error
    found = _name(fingerprint(frame))
    if found != path.stem:
        raise DataError(
            f"The snapshot {str(path)!r} holds {found!r}; expected {path.stem!r}, as its name "
            "says: it was changed or renamed, so load the data again."
        )
    return frame


def _name(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
