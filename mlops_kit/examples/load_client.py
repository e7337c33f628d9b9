"""Ask a server for predictions by the V2 protocol, over a connection that is kept."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_kit.errors import ServingError
from mlops_kit.serving.signature import DATATYPES

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

_HERE = ("127.0.0.1", "::1", "localhost")


def answer(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, str]:
    """Return the status, 0 without an answer, and the version that answered."""
    try:
        status, content = _post(connection, path, body)
        answer = orjson.loads(content) if status == 200 else None
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
        return 0, ""
    return status, str(answer.get("model_version", "")) if isinstance(answer, dict) else ""


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    was_open = connection.sock is not None
    headers = {"Content-Type": "application/json"}
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
    except ConnectionError:
        if not was_open:
            raise
        # The server may have closed an idle connection. Retrying is safe: an id is logged once.
        connection.close()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
    return answer.status, answer.read()


def body(name: str, client: int, rows: NDArray[Any], table: Table | None = None) -> bytes:
    """Return a request of the V2 protocol; a missing value, NaN or None, becomes null.

    Rows (n, features) go as one matrix, or with a table as one tensor a column.
    """
    parameters = {"client_id": f"customer-{client}"}
    if table is None:
        tensor = {"name": "features", "datatype": "FP64", "shape": rows.shape, "data": rows.ravel()}
        tensors = [tensor]
    else:
        tensors = [
            {
                "name": column.name,
                "datatype": DATATYPES[column.kind],
                "shape": [len(rows)],
                "data": rows[:, place].tolist(),
            }
            for place, column in enumerate(table.features)
        ]
    request = {"id": name, "parameters": parameters, "inputs": tensors}
    return orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)


def rows_of(table: Table, frame: pd.DataFrame) -> NDArray[Any]:
    """Return a table's features as they are sent, shape (n, features): objects, None if missing.

    Dates become text. A nullable column that the frame lacks is missing in each row.
    """
    found = np.full((len(frame), len(table.features)), None, dtype=object)
    for place, column in enumerate(table.features):
        if column.name in frame.columns or not column.nullable:
            values = frame[column.name].to_numpy(dtype=object)
            found[:, place] = [_sent(value, column) for value in values]
    return found


def _sent(value: Any, column: Column) -> Any:
    # NaN and NaT differ from themselves; whether pandas' NA does, it doesn't say.
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    if column.kind == "datetime":
        return value if isinstance(value, str) else value.isoformat()
    if not column.is_number:
        return value
    return {"int": int, "bool": bool, "float": float}[column.kind](value)


def address(url: str, anywhere: bool) -> tuple[str, int]:
    """Return a URL's host and port; raises ServingError, also for another machine's."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        raise ServingError(f"The server's URL is {url!r}; expected http://<host>:<port>.")
    if not anywhere and host not in _HERE:
        raise ServingError(
            f"{url!r} is on another machine; expected one of {list(_HERE)}, so that no test load "
            "hits a server by mistake. Pass anywhere=True if you mean it."
        )
    return host, port
