"""What stands in the JSON of a plotly figure: columns, titles and colours."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from mlops_kit.reporting.charts import style


def values(raw: object) -> list[Any]:
    """Return a column of plotly's JSON, decoded; rows where it has a shape."""
    if isinstance(raw, Mapping) and "bdata" in raw:
        array = np.frombuffer(base64.b64decode(raw["bdata"]), dtype=np.dtype(str(raw["dtype"])))
        shape = [int(n) for n in re.findall(r"\d+", str(raw.get("shape", "")))]
        return list((array.reshape(shape) if shape else array).tolist())
    if isinstance(raw, list | tuple):
        return [
            values(entry) if isinstance(entry, list | tuple | Mapping) else entry for entry in raw
        ]
    return []


def plain(text: object) -> str:
    """Return a title of plotly, which may be an object and may hold HTML, as one line."""
    text = text.get("text") if isinstance(text, Mapping) else text
    return style.clean(re.sub(r"<[^>]*>", " ", str(text or "")))


def kind(trace: Any) -> str:
    """Return the type of a trace; plotly leaves the commonest one out."""
    return (
        str(trace.get("type") or "scatter") if isinstance(trace, Mapping) else type(trace).__name__
    )


def described(trace: Any) -> str:
    """Return what a trace is and how much it holds, also where it can't be read."""
    if not isinstance(trace, Mapping):
        return f"{type(trace).__name__}: no trace"
    count = 0
    for part in trace.values():
        match part:
            case {"bdata": str(data), "dtype": str(dtype)}:
                size = int(dtype[-1]) if dtype[-1:] in "1248" and dtype else 1
                count += len(data) * 3 // 4 // size
            case list() | tuple():
                count += sum(len(row) if isinstance(row, list | tuple) else 1 for row in part)
    name = plain(trace.get("name"))
    return f"{kind(trace)}{f' {name!r}' if name else ''}: {count:,} values"


def column(raw: object) -> list[Any]:
    """Return a column for an axis: numbers (a gap is NaN), times, or names."""
    cells = values(raw)
    texts = [value for value in cells if isinstance(value, str)]
    if texts and len(texts) == len(cells) and all(re.match(r"\d{4}-\d\d-\d\d", t) for t in texts):
        try:
            return [datetime.fromisoformat(text).replace(tzinfo=None) for text in texts]
        except ValueError:
            return texts
    if texts:
        return [style.clean(value) for value in cells]
    return [np.nan if value is None else float(value) for value in cells]
