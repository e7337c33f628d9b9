"""Turn a column as a source has it into a column of the declared kind, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.tables.dialects import MISSING_WORDS, Dialect

if TYPE_CHECKING:
    from mlops_kit.tables.table import Column, Kind

    Mask = NDArray[np.bool_]

TRUE_WORDS = ("true", "t", "yes", "y", "1", "1.0", "on")
FALSE_WORDS = ("false", "f", "no", "n", "0", "0.0", "off")
# RE2, which reads a column at once.
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^(?i)[+-]?inf(inity)?$"
_GROUPED = r"^[+-]?\d{1,3}([,. '’]\d{3})+([.,]\d+)?$"
_DIGITS = r"^[+-]?\d{1,18}$"
_MAX_EXACT, _MAX_INT = 2**53, 2**63 - 1
# Formats of dates without a zone, as strptime spells them; what is first here is tried first.
_OTHER_ORDERS = ("%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y%m%d")
_MARKS = ".", "/", "-"
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
_MONTH_NAMES = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")


def arrow_type(kind: Kind) -> Any:
    """Return the Arrow type in which a kind is kept."""
    import pyarrow as pa

    return {
        "float": pa.float64(),
        "int": pa.int64(),
        "bool": pa.bool_(),
        "datetime": pa.timestamp("us"),
        "str": pa.string(),
        "category": pa.string(),
    }[kind]


def convert(column: Column, values: Any, dialect: Dialect) -> tuple[Any, NDArray[np.int64]]:
    """Return a batch's values as the column's kind, and the rows that hold something else.

    Text is trimmed. A word as NA is a missing number, date or truth value; in a column of text
    only an empty text is, and in one with declared categories each such word that is none. The
    rows of the second result are null in the first.
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.utf8_trim_whitespace(values.cast(pa.string()))
        return _from_text(column, _without_missing(column, text), dialect)
    return _from_values(column, values)


def _without_missing(column: Column, text: Any) -> Any:
    """Return text with null for what stands for a missing value."""
    import pyarrow as pa
    from pyarrow import compute as pc

    words = {""} if not column.is_number and not column.categories else {*MISSING_WORDS}
    words -= {str(each).lower() for each in column.categories}
    lower = pc.utf8_lower(text)
    is_missing = pc.is_in(lower, value_set=pa.array(sorted(words), pa.string()))
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), text)


def _from_text(column: Column, text: Any, dialect: Dialect) -> tuple[Any, NDArray[np.int64]]:
    if not column.is_number:
        return text, np.zeros(0, np.int64)
    if column.kind == "bool":
        return _booleans(text)
    if column.kind == "datetime":
        first = dialect.day_first if column.day_first is None else column.day_first
        return _dates(text, first)
    numbers, bad = _numbers(text, dialect)
    if column.kind == "int":
        return _whole(text, numbers, bad)
    return numbers, bad


def _numbers(text: Any, dialect: Dialect) -> tuple[Any, NDArray[np.int64]]:
    """Return text as float64."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if dialect.decimal == ",":
        # A point would be a thousand's, which is refused.
        text = pc.if_else(pc.match_substring(text, "."), pa.scalar("?", pa.string()), text)
        text = pc.replace_substring(text, ",", ".")
    try:
        return text.cast(pa.float64()), np.zeros(0, np.int64)
    except pa.ArrowInvalid:
        return _marked(text, pc.match_substring_regex(text, _NUMBER), pa.float64())


def _marked(text: Any, is_good: Any, kind: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return the good values cast, null for the others, and the rows of those."""
    import pyarrow as pa
    from pyarrow import compute as pc

    bad = _mask(pc.invert(is_good))
    kept = pc.if_else(is_good, text, pa.scalar(None, pa.string()))
    return pc.replace_substring_regex(kept, r"^\+", "").cast(kind), np.flatnonzero(bad)


def _whole(text: Any, numbers: Any, bad: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """Return numbers as int64; 3.0 is a whole number, and 2^53 + 1 one that a float isn't."""
    import pyarrow as pa
    from pyarrow import compute as pc

    text = pc.replace_substring_regex(text, r"[.,]0*$", "")
    try:
        return text.cast(pa.int64()), bad
    except pa.ArrowInvalid:
        digits, _ = _marked(text, pc.match_substring_regex(text, _DIGITS), pa.int64())
        values = numbers.to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            whole = (values == np.floor(values)) & (np.abs(values) <= _MAX_EXACT)
        broken = ~whole & ~np.isnan(values) & ~_mask(digits.is_valid())
        bad = np.union1d(bad, np.flatnonzero(broken)).astype(np.int64)
        kept = pc.if_else(pa.array(whole), numbers, pa.scalar(None, pa.float64()))
        return pc.coalesce(digits, kept.cast(pa.int64())), bad


def _booleans(text: Any) -> tuple[Any, NDArray[np.int64]]:
    import pyarrow as pa
    from pyarrow import compute as pc

    lower = pc.utf8_lower(text)
    is_true = pc.is_in(lower, value_set=pa.array(TRUE_WORDS))
    known = pc.or_(is_true, pc.is_in(lower, value_set=pa.array(FALSE_WORDS)))
    found = pc.if_else(known, is_true, pa.scalar(None, pa.bool_()))
    return found, np.flatnonzero(_mask(pc.and_(text.is_valid(), pc.invert(known))))


def _dates(text: Any, day_first: bool | None) -> tuple[Any, NDArray[np.int64]]:
    """Return text as timestamps of UTC without a zone, by the format that reads the most."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import compute as pc

    try:
        aware = text.cast(pa.timestamp("us", "UTC"))
        return aware.cast(pa.timestamp("us")), np.zeros(0, np.int64)
    except pa.ArrowInvalid:
        pass
    # Each distinct text once; pandas refuses the 30th of February, which Arrow moves to March.
    distinct = text.dictionary_encode()
    texts = distinct.dictionary.to_pandas()
    best = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").dt.tz_convert(None)
    for each in _formats(day_first):
        if best.notna().all():
            break
        found = pd.to_datetime(texts, format=each, errors="coerce")
        best = found if found.notna().sum() > best.notna().sum() else best
    times = pa.Array.from_pandas(best.astype("datetime64[us]"), type=pa.timestamp("us"))
    values = times.take(distinct.indices)
    return values, np.flatnonzero(_mask(pc.and_(text.is_valid(), pc.is_null(values))))


def _formats(first: bool | None) -> list[str]:
    """Return the formats that may be a column's; none for 03/04/2026 where nothing says which."""
    found = [*_OTHER_ORDERS]
    for mark in _MARKS:
        # A point is written between day, month and year in this order only.
        is_known = first is not None or mark == "."
        front = ("%d", "%m") if first or mark == "." else ("%m", "%d")
        if is_known:
            found += [mark.join((*front, "%Y")) + clock for clock in _CLOCKS]
    return [*found, *_MONTH_NAMES]


def _from_values(column: Column, values: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return typed values of Parquet or a database as the column's kind."""
    import pyarrow as pa
    from pyarrow import compute as pc

    none = np.zeros(0, np.int64)
    kind, target = values.type, arrow_type(column.kind)
    if pa.types.is_null(kind):
        return pa.nulls(len(values), target), none
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if column.kind == "datetime" and is_time:
        return _plain_times(values), none
    if column.kind == "float" and (is_number or pa.types.is_boolean(kind)):
        numbers = values.cast(pa.int8()) if pa.types.is_boolean(kind) else values
        return _without_nan(numbers.cast(target, safe=False)), none
    if column.kind in ("int", "bool") and pa.types.is_boolean(kind):
        return values.cast(target), none
    if column.kind in ("int", "bool") and is_number:
        found, bad = _whole_values(values)
        if column.kind == "int":
            return found, bad
        is_bit = pc.fill_null(pc.is_in(found, value_set=pa.array([0, 1], pa.int64())), False)
        kept = pc.if_else(is_bit, found, pa.scalar(None, pa.int64()))
        wrong = np.flatnonzero(_mask(pc.and_(found.is_valid(), pc.invert(is_bit))))
        return kept.cast(pa.bool_()), np.union1d(bad, wrong).astype(np.int64)
    if not column.is_number and (pa.types.is_boolean(kind) or is_number):
        return values.cast(pa.string()), none
    return pa.nulls(len(values), target), np.flatnonzero(_mask(values.is_valid()))


def _plain_times(values: Any) -> Any:
    """Return times of UTC without a zone."""
    import pyarrow as pa

    if pa.types.is_timestamp(values.type) and values.type.tz:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
        values = values.cast(pa.timestamp(values.type.unit))
    return values.cast(pa.timestamp("us"), safe=False)


def _whole_values(values: Any) -> tuple[Any, NDArray[np.int64]]:
    import pyarrow as pa
    from pyarrow import compute as pc

    if pa.types.is_uint64(values.type):
        beyond = pc.greater(values, pa.scalar(_MAX_INT, pa.uint64()))
        values = pc.if_else(beyond, pa.scalar(None, pa.uint64()), values)
        return values.cast(pa.int64()), np.flatnonzero(_mask(beyond))
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64()), np.zeros(0, np.int64)
    numbers = _without_nan(values.cast(pa.float64(), safe=False))
    return _whole(numbers.cast(pa.string()), numbers, np.zeros(0, np.int64))


def _without_nan(numbers: Any) -> Any:
    """Return numbers with null for NaN, which pandas writes for a missing value."""
    import pyarrow as pa
    from pyarrow import compute as pc

    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _mask(values: Any) -> Mask:
    """Return Arrow's truth values as numpy's, null as false."""
    from pyarrow import compute as pc

    found: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
    return found


def hint(value: str, column: Column, dialect: Dialect) -> str:
    """Return what else a value that doesn't fit may be, as the end of a sentence."""
    import re

    text = value.strip()
    if column.kind in ("int", "float"):
        if re.fullmatch(_GROUPED, text):
            return "; are these thousands? Write them without a separator"
        if re.fullmatch(r"[+-]?\d+,\d+", text):
            return f"; this file's decimal mark is {dialect.decimal!r}"
    if column.kind == "datetime" and re.match(r"\d{1,2}[/-]\d{1,2}[/-]\d{4}", text):
        if column.day_first is None and dialect.day_first is None:
            return (
                "; is the day or the month first? Say so in the column's declaration: "
                "pa.Column(…, metadata={'day_first': True}), or False"
            )
        first = dialect.day_first if column.day_first is None else column.day_first
        return f"; the {'day' if first else 'month'} is first in this column"
    return ""


def classes_unknown(classes: Sequence[Any], values: Any) -> NDArray[np.int64]:
    """Return the rows of a label's values that are none of its classes."""
    from mlops_kit.tables.frames import class_key

    known = {class_key(each) for each in classes}
    distinct = values.dictionary_encode()
    codes = distinct.indices.to_numpy(zero_copy_only=False)
    wrong = [
        place
        for place, each in enumerate(distinct.dictionary.to_pylist())
        if class_key(each) not in known
    ]
    found: NDArray[np.int64] = np.flatnonzero(np.isin(codes, wrong))
    return found
