"""Frames by a table's declaration: what a model gets, the labels, the amounts and the slices.

One function makes a model's inputs, in training, evaluation and service, so that they can't differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table, Value

    Array = NDArray[Any]
    Mask = NDArray[np.bool_]

_DAY = np.timedelta64(1, "D")
_EPOCH = np.datetime64("1970-01-01")
# Whole numbers beyond this aren't exact as float64, which a column with gaps needs.
_MAX_EXACT = 2**53


def inputs(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table's features as a model gets them, one row a row of the frame.

    float: float64, NaN where missing. int and bool: int64 and bool, or float64 where they may be
    missing. str: text as objects, NaN where missing. category: pandas' categories as declared,
    without any as text. datetime: days since 1970 in UTC, as float64. A nullable column that the
    frame lacks is missing in each row. Raises TableError for a column that isn't there or a value
    of another type, with its row.
    """
    import pandas as pd

    columns = {}
    for column in table.features:
        if column.name not in frame.columns and not column.nullable:
            raise _error(table, f"lack the column {column.name!r}", f"{table.feature_names}")
        values = frame[column.name] if column.name in frame.columns else [None] * len(frame)
        columns[column.name] = model_values(table, column, pd.Series(values).to_numpy(object))
    return frame_of(table, columns, frame.index)


def frame_of(table: Table, columns: Mapping[str, Any], index: Any = None) -> pd.DataFrame:
    """Return the frame of a model's inputs; `columns` are values as `model_values` returns them."""
    import pandas as pd

    series = {}
    for column in table.features:
        values = columns[column.name]
        if column.kind == "category" and column.categories:
            kind = pd.CategoricalDtype([*column.categories])
            series[column.name] = pd.Series(pd.Categorical(values, dtype=kind), index=index)
        else:
            dtype = object if values.dtype == object else None
            series[column.name] = pd.Series(values, index=index, dtype=dtype)
    return pd.DataFrame(series, index=index, columns=table.feature_names)


def model_values(table: Table, column: Column, values: Array) -> Array:
    """Return a column's values (objects, None or NaN where missing) as a model gets them.

    Raises TableError for a value of another type or a missing one, with its row.
    """
    import pandas as pd

    missing = np.asarray(pd.isna(values), dtype=bool)
    if missing.any() and not column.nullable:
        raise _fault(table, column, values, int(missing.argmax()))
    convert = {
        "float": _floats,
        "int": _integers,
        "bool": _booleans,
        "datetime": _days,
        "str": _texts,
        "category": _texts,
    }[column.kind]
    converted = convert(table, column, values, missing)
    if column.categories and not column.is_number:
        return _seen(table, column, converted, missing)
    return converted


def _floats(table: Table, column: Column, values: Array, missing: Array) -> Array:
    found = np.where(missing, np.nan, values)
    return _cast(table, column, found, values, np.float64)


def _integers(table: Table, column: Column, values: Array, missing: Array) -> Array:
    if not column.nullable:
        floats = _cast(table, column, values, values, np.float64)
        whole = _cast(table, column, values, values, np.int64)
        _check_all(table, column, values, floats == np.floor(floats))
        return whole
    floats = _floats(table, column, values, missing)
    with np.errstate(invalid="ignore"):
        exact = missing | ((floats == np.floor(floats)) & (np.abs(floats) <= _MAX_EXACT))
    _check_all(table, column, values, exact)
    return floats


def _booleans(table: Table, column: Column, values: Array, missing: Array) -> Array:
    floats = _floats(table, column, values, missing)
    _check_all(table, column, values, missing | (floats == 0) | (floats == 1))
    return floats if column.nullable else floats.astype(bool)


def _days(table: Table, column: Column, values: Array, missing: Array) -> Array:
    import pandas as pd

    try:
        times = pd.to_datetime(pd.Series(values), utc=True, format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        one_by_one = pd.to_datetime(pd.Series(values), utc=True, format="ISO8601", errors="coerce")
        bad = np.asarray(one_by_one.isna()) & ~missing
        raise _fault(table, column, values, int(bad.argmax())) from error
    # pandas takes "" and "NaT" for missing.
    if not column.nullable:
        _check_all(table, column, values, times.notna())
    plain = times.dt.tz_convert(None).to_numpy("datetime64[us]")
    days: Array = (plain - _EPOCH) / _DAY
    return days


def _texts(table: Table, column: Column, values: Array, missing: Array) -> Array:
    is_text = np.fromiter((isinstance(each, str) for each in values), bool, len(values))
    _check_all(table, column, values, missing | is_text)
    found = values.copy()
    found[missing] = np.nan
    return found


def _seen(table: Table, column: Column, values: Array, missing: Array) -> Array:
    """Return the values, with the categories that aren't declared handled as the table says."""
    # pandas' categories hold no other value.
    if table.unseen == "keep" and column.kind != "category":
        return values
    declared = set(column.categories)
    known = np.fromiter((each in declared for each in values), bool, len(values)) | missing
    if table.unseen == "refuse":
        _check_all(table, column, values, known)
    found = values.copy()
    found[~known] = np.nan
    return found


def _cast(table: Table, column: Column, found: Array, values: Array, dtype: Any) -> Array:
    """Return numbers as another type; text is never taken for a number."""
    if not any(isinstance(each, (str, bytes)) for each in found):
        try:
            cast: Array = found.astype(dtype)
            return cast
        except (ValueError, TypeError, OverflowError):
            pass
    row = next(place for place, each in enumerate(found) if not _fits(each, dtype))
    raise _fault(table, column, values, row)


def _fits(value: Any, dtype: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return False
    try:
        np.array([value], dtype=object).astype(dtype)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _check_all(table: Table, column: Column, values: Array, passed: Any) -> None:
    broken = ~np.asarray(passed, dtype=bool)
    if broken.any():
        raise _fault(table, column, values, int(broken.argmax()))


def _fault(table: Table, column: Column, values: Array, row: int) -> TableError:
    return _error(
        table, f"hold {values[row]!r:.80} in row {row} of {column.name!r}", column.expected
    )


def _error(table: Table, what: str, expected: str) -> TableError:
    return TableError(f"The rows of {table.name!r} {what}; expected {expected}.")


def labels(table: Table, frame: pd.DataFrame) -> Array:
    """Return the labels as class indices (int64), or as float64 for a regression.

    Raises TableError for a value that is no class, with its row.
    """
    values = frame[table.label].to_numpy(object)
    if table.task == "regression":
        found = model_values(table, table.column(table.label), values)
        return found.astype(np.float64)
    return encode(table, values)


def encode(table: Table, values: Sequence[Any] | Array) -> Array:
    """Return the indices of labels among the table's classes (int64).

    Raises TableError for a value that is no class, with its row.
    """
    index = {class_key(each): place for place, each in enumerate(table.classes)}
    found = np.fromiter((index.get(class_key(each), -1) for each in values), np.int64, len(values))
    if (found < 0).any():
        row = int((found < 0).argmax())
        raise _error(
            table,
            f"hold {values[row]!r:.80} in row {row} of the label {table.label!r}",
            f"one of {list(table.classes)}",
        )
    return found


def class_key(value: Any) -> Value:
    """Return a label in one spelling: 1, 1.0 and numpy's 1 are the same, True and 1 aren't."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        return f"{value}"
    if isinstance(value, (int, float, np.integer, np.floating)) and float(value).is_integer():
        return int(value)
    return float(value) if isinstance(value, float) else f"text {value}"


def amounts(table: Table, frame: pd.DataFrame) -> Array:
    """Return what each row is worth (float64), 0 where the table has no amount or it's missing."""
    if not table.amount:
        return np.zeros(len(frame))
    values = model_values(table, table.column(table.amount), frame[table.amount].to_numpy(object))
    return np.nan_to_num(values.astype(np.float64))


def slice_masks(table: Table, frame: pd.DataFrame) -> dict[str, Mask]:
    """Return which rows belong to each slice: a slice a category, or what a slicer returns."""
    found: dict[str, Mask] = {}
    for each in table.slices:
        if callable(each):
            found |= {name: np.asarray(mask, dtype=bool) for name, mask in each(frame).items()}
            continue
        values = frame[each].to_numpy(object)
        declared: Sequence[Value] = table.column(each).categories or sorted(
            {value for value in values if value == value and value is not None}, key=str
        )
        found |= {f"{each} {value}": values == value for value in declared}
    return found
