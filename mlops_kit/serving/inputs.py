"""A request's tensors become a model's rows: one matrix of numbers, or one tensor a column.

Each value is held to its datatype and to what its column declares; a fault names column, row,
value and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import RequestError
from mlops_kit.serving import tensors
from mlops_kit.serving.column_values import TAKEN, held, usual
from mlops_kit.serving.signature import INPUT, Signature
from mlops_kit.serving.tensors import MAX_EXACT, TYPES, TensorValueError, shown
from mlops_kit.tables.table import Column

Rows = NDArray[Any]


class Tail:
    """The bytes behind the JSON, which the binary tensors take in their order."""

    def __init__(self, content: bytes) -> None:
        """Take nothing yet."""
        self._content, self._taken = content, 0

    def take(self, size: object) -> bytes:
        """Return the next bytes; raises RequestError where there aren't so many."""
        left = len(self._content) - self._taken
        if type(size) is not int or not 0 <= size <= left:
            raise RequestError(
                f"binary_data_size is {shown(size)} and {left} bytes follow; expected a number of "
                "at most those."
            )
        self._taken += size
        return self._content[self._taken - size : self._taken]

    def check_empty(self) -> None:
        """Raise RequestError where bytes are left."""
        left = len(self._content) - self._taken
        if left:
            raise RequestError(f"{left} bytes follow the JSON, but no input names them.")


def rows(inputs: object, tail: bytes, signature: Signature, max_rows: int) -> Rows:
    """Return the rows of a request's inputs, shape (n, features).

    float64 where all features are numbers, NaN for a missing value; else objects: float, int,
    bool, text or None. Raises RequestError.
    """
    # The usual request of numbers first, as this is part of each one's time.
    if signature.takes_matrix and isinstance(inputs, list) and len(inputs) == 1:
        (tensor,) = inputs
        if isinstance(tensor, dict) and tensor.get("name") == INPUT:
            return _matrix(tensor, tail, signature, max_rows)
    if not isinstance(inputs, list) or not inputs or not all(isinstance(i, dict) for i in inputs):
        raise RequestError(f"'inputs' must be a list of {_expected(signature)}.")
    if signature.takes_matrix and any(each.get("name") == INPUT for each in inputs):
        raise RequestError(f"{INPUT!r} comes with other inputs; expected it alone.")
    return _named(inputs, tail, signature, max_rows)


def _expected(signature: Signature) -> str:
    words = f"one tensor of shape [rows] or [rows, 1] a column, {shown(list(signature.features))}"
    if signature.takes_matrix:
        return f"one tensor {INPUT!r} of shape [rows, {len(signature.features)}], or {words}"
    return words


def _matrix(tensor: dict[str, Any], tail: bytes, signature: Signature, most: int) -> Rows:
    features = len(signature.features)
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str) or datatype not in TYPES:
        raise RequestError(f"The datatype is {shown(datatype)}; expected one of {list(TYPES)}.")
    if not isinstance(shape, list) or [type(size) for size in shape] != [int, int]:
        raise RequestError(
            f"The shape is {shown(shape)}; expected two numbers, [rows, {features}]."
        )
    count, columns = shape
    if columns != features or not 0 < count <= most:
        raise RequestError(
            f"The shape is {shown(shape)}; expected 1 to {most} rows of {features} features."
        )
    size = _binary_size(tensor)
    left = Tail(tail) if tail or size is not None else None
    try:
        if left is None or size is None:
            values = tensors.numbers(tensors.flat(tensor.get("data"), columns), datatype)
        else:
            values = tensors.numbers_of_bytes(left.take(size), datatype)
    except TensorValueError as fault:
        row, place = divmod(fault.place, features)
        raise _refusal(signature.features[place], row, fault.value, fault.expected) from None
    if left is not None:
        left.check_empty()
    if len(values) != count * columns:
        raise RequestError(
            f"The data hold {len(values)} numbers; expected {count * columns} by the shape {shape}."
        )
    found = values.reshape(count, columns)
    check_numbers(found, signature)
    return found


def check_numbers(rows: NDArray[np.float64], signature: Signature) -> None:
    """Raise RequestError for the first number that its column doesn't hold."""
    finite = np.isfinite(rows)
    if not finite.all():
        infinite = np.isinf(rows)
        if infinite.any():
            _refuse(rows, infinite, signature, "a number that isn't infinite (null is missing)")
        if len(signature.required):
            lacking = np.zeros(rows.shape, dtype=bool)
            lacking[:, signature.required] = ~finite[:, signature.required]
            if lacking.any():
                _refuse(rows, lacking, signature)
    if len(signature.whole):
        whole, broken = rows[:, signature.whole], np.zeros(rows.shape, dtype=bool)
        known = finite[:, signature.whole]
        broken[:, signature.whole] = known & (
            (whole != np.floor(whole)) | (np.abs(whole) > MAX_EXACT)
        )
        for place, column in enumerate(signature.columns):
            if column.kind == "bool":
                broken[:, place] |= finite[:, place] & (rows[:, place] > 1)
                broken[:, place] |= finite[:, place] & (rows[:, place] < 0)
        if broken.any():
            _refuse(rows, broken, signature)


def _refuse(
    rows: NDArray[np.float64], broken: NDArray[np.bool_], signature: Signature, expected: str = ""
) -> None:
    row, place = divmod(int(broken.argmax()), rows.shape[1])
    value = rows[row, place].item()
    column = signature.columns[place]
    raise _refusal(column.name, row, None if value != value else value, expected or column.expected)


def _refusal(name: str, row: int, value: object, expected: str) -> RequestError:
    told = "an infinite number" if isinstance(value, float) and math.isinf(value) else shown(value)
    return RequestError(f"Column {name!r:.80} holds {told} in row {row}; expected {expected}.")


def _named(inputs: list[dict[str, Any]], tail: bytes, signature: Signature, most: int) -> Rows:
    found: dict[str, list[Any]] = {}
    left, count = Tail(tail), None
    for tensor in inputs:
        name = tensor.get("name")
        if not isinstance(name, str) or name not in signature.by_name or name in found:
            why = "is there twice" if isinstance(name, str) and name in found else "is unknown"
            raise RequestError(f"The input {shown(name)} {why}; expected {_expected(signature)}.")
        column = signature.by_name[name][1]
        rows = _count(tensor, name, most)
        count = rows if count is None else count
        if rows != count:
            raise RequestError(f"The input {name!r:.80} has {rows} rows; expected {count}.")
        found[name] = _column(tensor, left, column, signature)
        if len(found[name]) != rows:
            raise RequestError(
                f"The input {name!r:.80} holds {len(found[name])} values; expected {rows} by its "
                "shape."
            )
    left.check_empty()
    return _joined(found, count or 0, signature)


def _joined(found: Mapping[str, list[Any]], count: int, signature: Signature) -> Rows:
    """Return the rows of columns; those that are absent are missing in each row."""
    for column in signature.columns:
        if column.name not in found and not column.nullable:
            raise RequestError(
                f"The input {column.name!r:.80} is absent; expected {column.expected} a row."
            )
    absent = [None] * count
    columns = [found.get(column.name, absent) for column in signature.columns]
    if signature.is_matrix:
        # None becomes NaN.
        return np.array(columns, dtype=np.float64).T.copy()
    rows = np.empty((count, len(columns)), dtype=object)
    if count == 1:
        rows[0] = [column[0] for column in columns]
    else:
        for place, values in enumerate(columns):
            rows[:, place] = values
    return rows


def _count(tensor: Mapping[str, Any], name: str, most: int) -> int:
    shape = tensor.get("shape")
    is_right = (
        isinstance(shape, list)
        and len(shape) in (1, 2)
        and all(type(size) is int for size in shape)
        and shape[1:] in ([], [1])
    )
    if not is_right or not isinstance(shape, list) or not 0 < shape[0] <= most:
        raise RequestError(
            f"The shape of {name!r:.80} is {shown(shape)}; expected [rows] or [rows, 1] of 1 to "
            f"{most} rows."
        )
    return int(shape[0])


def _column(
    tensor: Mapping[str, Any], left: Tail, column: Column, signature: Signature
) -> list[Any]:
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in TAKEN[column.kind]:
        raise RequestError(
            f"The datatype of {column.name!r:.80} is {shown(datatype)}; expected one of "
            f"{list(TAKEN[column.kind])} for {column.expected}."
        )
    try:
        size = _binary_size(tensor)
        if size is None:
            data = tensors.flat(tensor.get("data"), 1)
            if (found := usual(data, datatype, column, signature)) is not None:
                return found
            values = tensors.values_of_json(data, datatype)
        else:
            values = tensors.values_of_bytes(left.take(size), datatype)
        return [*held(values, column, signature)]
    except TensorValueError as fault:
        raise _refusal(column.name, fault.place, fault.value, fault.expected) from None
    except RequestError as error:
        raise RequestError(f"Column {column.name!r:.80}: {error}") from None


def _binary_size(tensor: Mapping[str, Any]) -> object:
    parameters = tensor.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise RequestError(f"The input's 'parameters' are {shown(parameters)}; expected an object.")
    return parameters.get("binary_data_size")
