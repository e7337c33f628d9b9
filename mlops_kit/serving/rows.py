"""A model's rows as the prediction log keeps them, and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_kit.tables.table import Table

Encoding = Literal["f8", "json"]


def encode_features(rows: NDArray[Any]) -> tuple[bytes, Encoding]:
    """Return rows (n, features) as bytes: float64, little-endian, or one JSON line a row."""
    if rows.dtype != object:
        return rows.astype("<f8", copy=False).tobytes(), "f8"
    return b"\n".join([orjson.dumps(row) for row in rows.tolist()]), "json"


def decode_features(
    table: Table | None, encoding: Encoding, content: bytes, rows: int
) -> NDArray[Any]:
    """Return rows as `Predictor.predict` takes them, shape (rows, features).

    `table` tells how many features there are; None for a model without one, whose rows are
    numbers. Raises ValueError for content of another shape.
    """
    width = len(table.features) if table is not None else len(content) // 8 // max(1, rows)
    if encoding == "f8":
        if len(content) != 8 * rows * width:
            raise ValueError(f"{len(content)} bytes of features for {rows} rows of {width}")
        return np.frombuffer(content, dtype="<f8").reshape(rows, width).astype(np.float64)
    lines = content.split(b"\n") if content else []
    found = np.empty((rows, width), dtype=object)
    if len(lines) != rows:
        raise ValueError(f"{len(lines)} lines of features for {rows} rows")
    for place, line in enumerate(lines):
        found[place] = _row(line, width)
    return found


def _row(line: bytes, width: int) -> list[Any]:
    row = orjson.loads(line)
    if not isinstance(row, list) or len(row) != width:
        raise ValueError(f"a line has no list of {width} features")
    return row
