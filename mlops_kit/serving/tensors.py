"""The numbers of one V2 tensor, from JSON or from bytes, as float64."""

from __future__ import annotations

import reprlib
from array import array
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import RequestError

# The protocol's datatypes, as numpy knows them: numbers of little-endian bytes.
TYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def from_json(data: object, datatype: str, columns: int) -> NDArray[np.float64]:
    """Return the numbers of a flat list, or of a list of rows; raises RequestError."""
    if not isinstance(data, list):
        raise RequestError("The input has no 'data', a list of numbers.")
    if data and isinstance(data[0], list):
        if not all(isinstance(row, list) and len(row) == columns for row in data):
            raise RequestError(f"The data are nested; expected rows of {columns} numbers each.")
        data = list(chain.from_iterable(data))
    try:
        values = array("d", data)
    except TypeError:
        # Rare, so the usual request doesn't pay for the search.
        numbers = [float("nan") if value is None else value for value in data]
        try:
            values = array("d", numbers)
        except TypeError:
            raise RequestError("The data hold something that is no number and not null.") from None
    found = np.frombuffer(values, dtype=np.float64)
    if datatype in ("FP16", "FP32"):
        # The number that the client's type holds, as it would come in a binary tensor.
        with np.errstate(over="ignore"):
            return found.astype(TYPES[datatype]).astype(np.float64)
    return found


def from_bytes(tail: bytes, size: object, datatype: object) -> NDArray[np.float64]:
    """Return the numbers in little-endian bytes, `size` of them; raises RequestError."""
    kind = np.dtype(TYPES.get(str(datatype), "?"))
    if size != len(tail) or len(tail) % kind.itemsize:
        raise RequestError(
            f"binary_data_size is {shown(size)} and {len(tail)} bytes follow the JSON; expected "
            f"the same number, a multiple of {kind.itemsize}."
        )
    # frombuffer gives numbers at any address; a copy is aligned, which some models need.
    return np.frombuffer(tail, dtype=kind).astype(np.float64)


def shown(value: object) -> str:
    """Return the start of what a client sent, for a message."""
    # reprlib cuts long and deep values, whose own repr could take long or break.
    return reprlib.repr(value)[:80]
