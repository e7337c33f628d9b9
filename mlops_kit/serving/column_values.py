"""Values as their column declares them: numbers, whole numbers, truths, text and dates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from mlops_kit.errors import TableError
from mlops_kit.serving.signature import Signature
from mlops_kit.serving.tensors import BYTES, LIMITS, MAX_EXACT, TYPES, TensorValueError
from mlops_kit.tables.table import Column

# The datatypes that a kind of column is read from.
TAKEN = {
    **dict.fromkeys(("float", "int", "bool"), tuple(TYPES)),
    **dict.fromkeys(("str", "category", "datetime"), (BYTES,)),
}
# The forms and years of a date that Python and each version of pandas read alike.
_COMMON_DATE = re.compile(
    r"(1[7-9]|2[01])\d\d-\d\d-\d\d"
    r"([T ]\d\d:\d\d(:\d\d(\.\d{6}|\.\d{3})?)?(Z|[+-]\d\d:\d\d)?)?"
)


def usual(data: list[Any], datatype: str, column: Column, signature: Signature) -> list[Any] | None:
    """Return JSON's values as `held` would, where one look at all of them is enough, or None.

    The usual request is right throughout; each value of any other is looked at by itself.
    """
    kinds = set(map(type, data))
    if column.nullable:
        kinds.discard(type(None))
    if column.kind == "float" and datatype == "FP64" and kinds <= {float, int}:
        return _usual_floats(data)
    if column.kind in ("str", "category") and kinds == {str}:
        is_closed = signature.table is not None and signature.table.unseen == "refuse"
        declared = frozenset(column.categories if is_closed else ())
        return data if not declared or declared.issuperset(data) else None
    return None


def _usual_floats(data: list[Any]) -> list[Any] | None:
    try:
        found = [value if value is None else float(value) for value in data]
    except OverflowError:  # a whole number of hundreds of digits
        return None
    # MLServer's null is NaN.
    known = [value for value in found if value is not None]
    return found if all(map(math.isfinite, known)) else None


def held(values: list[Any], column: Column, signature: Signature) -> Iterator[Any]:
    """Yield values as the column's kind holds them; raises TensorValueError."""
    is_date = column.kind == "datetime"
    hold = partial(_datetime, is_nullable=column.nullable) if is_date else _HOLD[column.kind]
    is_closed = signature.table is not None and signature.table.unseen == "refuse"
    declared = frozenset(column.categories if is_closed and not column.is_number else ())
    most = MAX_EXACT if column.nullable or signature.is_matrix else LIMITS["INT64"][1]
    for place, value in enumerate(values):
        if value is None and column.nullable:
            yield None
            continue
        found = None if value is None else hold(value, most)
        if found is None or (declared and found not in declared):
            raise TensorValueError(place, value, column.expected)
        yield found


def _float(value: Any, most: int) -> float | None:
    held = float(value)
    if math.isinf(held) or held != value:
        return None
    return held


def _int(value: Any, most: int) -> int | None:
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if -most <= value <= most else None


def _bool(value: Any, most: int) -> bool | None:
    return bool(value) if value in (0, 1) else None


def _str(value: Any, most: int) -> str:
    return str(value)


def _datetime(value: Any, most: int, *, is_nullable: bool) -> str | None:
    if not _COMMON_DATE.fullmatch(value):
        return value if _is_date(value, is_nullable) else None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return str(value)


def _is_date(value: str, is_nullable: bool) -> bool:
    """Tell whether the tables take a text for a date; slow, and right for all forms."""
    from mlops_kit.tables import frames
    from mlops_kit.tables.table import Table

    column = Column("date", "datetime", is_nullable)
    table = Table("date", (column, Column("label", "float")), "regression", "label")
    try:
        frames.model_values(table, column, np.array([value], dtype=object))
    except TableError:
        return False
    return True


_HOLD: dict[str, Callable[[Any, int], Any]] = {
    "float": _float,
    "int": _int,
    "bool": _bool,
    "str": _str,
    "category": _str,
}
