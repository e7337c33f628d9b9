"""The values of one V2 tensor, from JSON or from bytes."""

from __future__ import annotations

import reprlib
from array import array
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import RequestError

# The protocol's datatypes of numbers, as numpy knows them: little-endian.
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
BYTES = "BYTES"
# The first and the last number of each datatype of whole numbers.
LIMITS = {
    name: (int(np.iinfo(kind).min), int(np.iinfo(kind).max)) if name != "BOOL" else (0, 1)
    for name, kind in TYPES.items()
    if not name.startswith("FP")
}
# Whole numbers beyond this aren't exact as float64.
MAX_EXACT = 2**53
_LENGTH = 4


class TensorValueError(ValueError):
    """A value that isn't one of its datatype: its place in the tensor, and what it is."""

    def __init__(self, place: int, value: object, expected: str) -> None:
        """Keep them."""
        super().__init__(place, value, expected)
        self.place, self.value, self.expected = place, value, expected


def flat(data: object, columns: int) -> list[Any]:
    """Return a flat list, or a list of rows made flat; raises RequestError."""
    if not isinstance(data, list):
        raise RequestError("The input has no 'data'; expected a list of values.")
    if data and isinstance(data[0], list):
        if not all(isinstance(row, list) and len(row) == columns for row in data):
            raise RequestError(f"The data are nested; expected rows of {columns} values each.")
        return list(chain.from_iterable(data))
    return data


def numbers(data: list[Any], datatype: str) -> NDArray[np.float64]:
    """Return numbers of JSON as float64, NaN for null; raises TensorValueError."""
    try:
        values = array("d", data)
    except (TypeError, OverflowError):
        # Rare, so the usual request doesn't pay for the search.
        values = array("d", [_number(place, value) for place, value in enumerate(data)])
    found = np.frombuffer(values, dtype=np.float64)
    if datatype == "FP64":
        return found
    if datatype in LIMITS:
        _check_whole(found, data, datatype)
        return found
    # The number that the client's type holds, as it would come in a binary tensor.
    with np.errstate(over="ignore"):
        return found.astype(TYPES[datatype]).astype(np.float64)


def _number(place: int, value: object) -> float:
    if value is None:
        return float("nan")
    try:
        if isinstance(value, (int, float)):
            return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return float("inf")
    raise TensorValueError(place, value, "a number, or null for a missing value")


def _check_whole(found: NDArray[np.float64], data: list[Any], datatype: str) -> None:
    """Refuse what isn't a whole number of its datatype, or not exact as float64."""
    low, high = LIMITS[datatype]
    # NaN is a missing value here, and passes each of these tests.
    broken = (found != np.floor(found)) & ~np.isnan(found)
    broken |= (found < low) | (found > high)
    if broken.any():
        place = int(broken.argmax())
        raise TensorValueError(place, data[place], _held(datatype))
    large = np.abs(found) >= MAX_EXACT
    if large.any():
        for place in np.flatnonzero(large).tolist():
            if abs(data[place]) > MAX_EXACT or not low <= data[place] <= high:
                raise TensorValueError(place, data[place], f"at most {MAX_EXACT}, to be exact")


def _held(datatype: str) -> str:
    low, high = LIMITS[datatype]
    return f"a whole number from {low} to {high}, as {datatype} holds it"


def numbers_of_bytes(content: bytes, datatype: str) -> NDArray[np.float64]:
    """Return the numbers in little-endian bytes as float64.

    Raises TensorValueError, and RequestError for a part of a number.
    """
    found = of_bytes(content, datatype)
    if found.dtype.itemsize == 8 and found.dtype.kind in "iu":
        inexact = (found > MAX_EXACT) | (found < -MAX_EXACT if found.dtype.kind == "i" else False)
        if inexact.any():
            place = int(inexact.argmax())
            raise TensorValueError(place, int(found[place]), f"at most {MAX_EXACT}, to be exact")
    # frombuffer gives numbers at any address; a copy is aligned, which some models need.
    return found.astype(np.float64)


def of_bytes(content: bytes, datatype: str) -> NDArray[Any]:
    """Return the numbers in little-endian bytes; raises RequestError."""
    kind = np.dtype(TYPES[datatype])
    if len(content) % kind.itemsize:
        raise RequestError(
            f"A tensor of {datatype} has {len(content)} bytes; expected a multiple of "
            f"{kind.itemsize}."
        )
    if datatype == "BOOL" and content.translate(None, b"\x00\x01"):
        place = next(place for place, each in enumerate(content) if each > 1)
        raise TensorValueError(place, content[place], _held(datatype))
    return np.frombuffer(content, dtype=kind)


def texts_of_bytes(content: bytes) -> list[bytes]:
    """Return the elements of a BYTES tensor, each behind its length in four bytes."""
    found: list[bytes] = []
    place = 0
    while place < len(content):
        start = place + _LENGTH
        place = start + int.from_bytes(content[place:start], "little")
        if start > len(content) or place > len(content):
            raise RequestError(
                f"Element {len(found)} of a BYTES tensor ends behind its {len(content)} bytes; "
                "expected each behind its length, four bytes in little-endian order."
            )
        found.append(content[start:place])
    return found


def to_bytes(values: NDArray[Any], datatype: str) -> bytes:
    """Return a tensor's values as the binary extension sends them."""
    if datatype != BYTES:
        return values.astype(TYPES[datatype], copy=False).tobytes()
    encoded = [each.encode() for each in values.ravel().tolist()]
    return b"".join(len(each).to_bytes(_LENGTH, "little") + each for each in encoded)


def values_of_json(data: list[Any], datatype: str) -> list[Any]:
    """Return values of JSON as their datatype holds them, None for null.

    Raises TensorValueError.
    """
    if datatype == BYTES:
        return [_text(place, value) for place, value in enumerate(data)]
    if datatype in LIMITS:
        return _integers(data, datatype)
    return _gaps(numbers(data, datatype).tolist())


def values_of_bytes(content: bytes, datatype: str) -> list[Any]:
    """Return values of bytes, as `values_of_json` does; NaN is None."""
    if datatype == BYTES:
        found = texts_of_bytes(content)
        return [_text(place, value) for place, value in enumerate(found)]
    return _gaps(of_bytes(content, datatype).tolist())


def _gaps(values: list[Any]) -> list[Any]:
    # NaN, which differs from itself, is a missing value.
    return [value if value == value else None for value in values]


def _text(place: int, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise TensorValueError(place, value, "text in UTF-8") from None
    raise TensorValueError(place, value, "text, or null for a missing value")


def _integers(data: list[Any], datatype: str) -> list[Any]:
    low, high = LIMITS[datatype]
    found: list[Any] = []
    for place, value in enumerate(data):
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if value is not None and (not is_whole or not low <= value <= high):
            if isinstance(value, float) and value != value:  # MLServer's own null
                value = None
            else:
                raise TensorValueError(place, value, _held(datatype))
        found.append(value if value is None else int(value))
    return [each if each is None else bool(each) for each in found] if high == 1 else found


def shown(value: object) -> str:
    """Return the start of what a client sent, for a message."""
    # reprlib cuts long and deep values, whose own repr could take long or break.
    return reprlib.repr(value)[:80]
