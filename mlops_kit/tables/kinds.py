"""Find the narrowest kind that all values of a column have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.tables import converting, dialects
from mlops_kit.tables.dialects import MISSING_WORDS, Dialect
from mlops_kit.tables.odd_texts import odd
from mlops_kit.tables.table import Column, Kind

_BIT_WORDS = {"true", "false", "t", "f"}
_AMBIGUOUS_DATE = re.compile(r"\d{1,2}[/-]\d{1,2}[/-]\d{4}(?!\d)")
_ZONE = re.compile(r":\d\d(\.\d+)?\s?(Z|[+-]\d\d:?\d\d)$")
_ZEROS = re.compile(r"^0\d+$")


def find_kind(name: str, values: Any, dialect: Dialect) -> tuple[Column, Any, str, str]:
    """Return the column, its values as its kind, the reason, and what is odd about its text."""
    import pyarrow as pa
    from pyarrow import compute as pc

    plain = values.combine_chunks()
    if pa.types.is_dictionary(plain.type):
        plain = plain.dictionary_decode()
    if not (pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type)):
        return *_typed(name, plain), ""
    distinct = pc.unique(plain.drop_null()).to_pylist()
    cells = sorted({each.strip() for each in distinct})
    cells = [each for each in cells if each.lower() not in MISSING_WORDS]
    if cells and {each.lower() for each in cells} <= _BIT_WORDS:
        column = Column(name, "bool", nullable=True)
        return column, converting.convert(column, plain, dialect)[0], "true, false", ""
    text = Column(name, "str", nullable=True)
    as_text = converting.convert(text, plain, dialect)[0]
    if any(_ZEROS.match(each) for each in cells):
        return text, as_text, "digits with zeros before them", ""
    for column, why in _tried(name, cells, dialect) if cells else ():
        array, bad = converting.convert(column, plain, dialect)
        if not len(bad) and len(array.drop_null()):
            return column, array, why, ""
    strange = odd(cells)
    return text, as_text, f"text: {strange}" if strange else "text", strange


def _tried(name: str, cells: Sequence[str], dialect: Dialect) -> Iterator[tuple[Column, str]]:
    """Yield what a column of text may be, the narrowest first; raises ParameterError."""
    yield Column(name, "int", nullable=True), "whole numbers"
    yield Column(name, "float", nullable=True), "numbers"
    if not all(map(_AMBIGUOUS_DATE.match, cells)):
        zoned = sum(bool(_ZONE.search(each)) for each in cells)
        is_mixed = 0 < zoned < len(cells)
        why = "dates, of which those without a zone are taken for UTC" if is_mixed else "dates"
        yield Column(name, "datetime", nullable=True), why
        return
    shown = dialects.orders(cells)
    if len(shown) > 1:
        return
    first = shown.pop() if shown else dialect.day_first
    if first is None:
        raise ParameterError(
            f"The column {name!r} holds dates as {cells[0]!r}, and none shows whether the day or "
            "the month is first; say --day-first or --month-first."
        )
    why = f"dates, the {'day' if first else 'month'} first"
    yield Column(name, "datetime", nullable=True, day_first=first), why


def _typed(name: str, values: Any) -> tuple[Column, Any, str]:
    """Return the column of Parquet's or a database's values; raises DataError for nested ones."""
    import pyarrow as pa

    kinds: list[tuple[Kind, str]] = [("int", "whole numbers"), ("float", "numbers")]
    if pa.types.is_boolean(values.type):
        kinds = [("bool", "true, false")]
    elif pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        kinds = [("datetime", "dates")]
    for kind, why in kinds:
        column = Column(name, kind, nullable=True)
        array, bad = converting.convert(column, values, dialects.Dialect())
        if not len(bad):
            return column, array, why
    raise DataError(
        f"The column {name!r} holds {values.type}; expected numbers, text, dates or truth values: "
        "leave the column out of the source, or write it as one of them."
    )
