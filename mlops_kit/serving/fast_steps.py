"""What a fitted encoder, imputer or scaler does, as arithmetic on one row and on columns of many.

A column of numbers is an array of float64 with NaN for what is missing, any other a list with None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = list[Any]
_NAN = math.nan


@dataclass(frozen=True)
class Step:
    """A change of the values of one row, and the same of columns of many rows."""

    one: Callable[[Values], Values]
    many: Callable[[Values], Values]


@dataclass(frozen=True)
class OneHot:
    """The code of each category by column, -1 for one that gives no number.

    `counts` are how many codes each column has, `unknown` the code of a category that no training
    row had. Unless it `is_open`, such a category is a KeyError.
    """

    codes: list[dict[Any, int]]
    counts: list[int]
    unknown: list[int]
    is_open: bool

    def one(self, values: Values) -> list[int]:
        """Return the codes of a row."""
        if self.is_open:
            each = zip(values, self.codes, self.unknown, strict=True)
            return [code.get(_key(value), unknown) for value, code, unknown in each]
        return [code[_key(value)] for value, code in zip(values, self.codes, strict=True)]

    def many(self, columns: Values) -> list[Any]:
        """Return an array of codes a column."""
        return [
            _looked_up(column, code, unknown if self.is_open else None, np.intp)
            for column, code, unknown in zip(columns, self.codes, self.unknown, strict=True)
        ]


def step(part: Any) -> Step:
    """Return what a fitted transformer does; raises ValueError for one that isn't known here."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, OrdinalEncoder, StandardScaler

    if part is None or is_passed(part):
        return Step(_same, _same)
    if type(part) is SimpleImputer and not part.add_indicator:
        return _imputed(part)
    if type(part) is StandardScaler:
        return _scaled(part)
    if type(part) is MinMaxScaler and not part.clip:
        pairs = [*zip(part.scale_.tolist(), part.min_.tolist(), strict=True)]

        def in_range(values: Values) -> Values:
            return [value * slope + low for value, (slope, low) in zip(values, pairs, strict=True)]

        return Step(in_range, in_range)
    if type(part) is OrdinalEncoder:
        return _ordinal(part)
    raise ValueError(f"no arithmetic for {type(part).__name__}")


def is_passed(part: Any) -> bool:
    """Tell whether a transformer changes nothing."""
    from sklearn.utils import check_array

    if isinstance(part, str):
        return part == "passthrough"
    if type(part).__name__ != "FunctionTransformer":
        return False
    return part.func is None or getattr(part.func, "func", None) is check_array


def _same(values: Values) -> Values:
    return values


def _imputed(part: Any) -> Step:
    filled = part.statistics_.tolist()
    is_nan = isinstance(part.missing_values, float) and math.isnan(part.missing_values)
    if not is_nan or any(value is None or value != value for value in filled):
        raise ValueError("it fills something else than NaN, or drops a column")

    def one(values: Values) -> Values:
        # A value that differs from itself is missing.
        return [
            value if value is not None and value == value else fill
            for value, fill in zip(values, filled, strict=True)
        ]

    def many(columns: Values) -> Values:
        return [_filled(column, fill) for column, fill in zip(columns, filled, strict=True)]

    return Step(one, many)


def _filled(column: Any, fill: Any) -> Any:
    if isinstance(column, list):
        return [fill if value is None else value for value in column]
    return np.where(np.isnan(column), float(fill), column)


def _scaled(part: Any) -> Step:
    count = part.n_features_in_
    means = part.mean_.tolist() if part.with_mean else [0.0] * count
    scales = part.scale_.tolist() if part.with_std else [1.0] * count
    both = [*zip(means, scales, strict=True)]

    def change(values: Values) -> Values:
        return [(value - mean) / scale for value, (mean, scale) in zip(values, both, strict=True)]

    return Step(change, change)


def _codes(encoder: Any) -> list[dict[Any, int]]:
    """Return the code of each category by column; None is a missing value."""
    if np.dtype(encoder.dtype) != np.float64:
        raise ValueError("it gives other numbers")
    return [
        {None if each != each else each: code for code, each in enumerate(categories.tolist())}
        for categories in encoder.categories_
    ]


def _ordinal(encoder: Any) -> Step:
    if getattr(encoder, "_infrequent_enabled", False):
        raise ValueError("it joins rare categories")
    codes: list[dict[Any, float]] = []
    for of_column in _codes(encoder):
        found: dict[Any, float] = {value: float(code) for value, code in of_column.items()}
        if None in found:
            found[None] = float(encoder.encoded_missing_value)
        codes.append(found)
    is_open = encoder.handle_unknown != "error"
    return coded(codes, float(encoder.unknown_value) if is_open else None)


def coded(codes: list[dict[Any, float]], unknown: float | None) -> Step:
    """Return what gives the number of each category by column, for an unknown one a KeyError.

    `unknown` is the number of one that isn't known, if that is no fault.
    """

    def one(values: Values) -> Values:
        pairs = zip(values, codes, strict=True)
        if unknown is None:
            return [code[_key(value)] for value, code in pairs]
        return [code.get(_key(value), unknown) for value, code in pairs]

    def many(columns: Values) -> Values:
        pairs = zip(columns, codes, strict=True)
        return [_looked_up(column, code, unknown, np.float64) for column, code in pairs]

    return Step(one, many)


def _key(value: Any) -> Any:
    return value if value == value else None


def _looked_up(column: Any, codes: Mapping[Any, Any], unknown: Any, dtype: Any) -> Any:
    if not isinstance(column, list):
        column = [value if value == value else None for value in column.tolist()]
    if unknown is None:
        return np.array([codes[value] for value in column], dtype=dtype)
    get = codes.get
    return np.array([get(value, unknown) for value in column], dtype=dtype)


def one_hot(encoder: Any) -> OneHot:
    """Return the codes of a fitted one-hot encoder; rare categories may share one."""
    dropped = encoder.drop_idx_
    shared = _shared(encoder)
    codes, counts, unknown = [], [], []
    for column, of_column in enumerate(_codes(encoder)):
        rare = shared[column] if shared else None
        if rare is not None:
            codes.append({value: int(rare[code]) for value, code in of_column.items()})
            counts.append(int(max(rare)) + 1)
            unknown.append(-1 if encoder.handle_unknown == "ignore" else counts[-1] - 1)
            continue
        left_out = None if dropped is None else dropped[column]
        kept = [value for value, code in of_column.items() if code != left_out]
        # One that is dropped is known, and gives no number.
        codes.append({value: at for at, value in enumerate(kept)})
        codes[-1] |= {value: -1 for value, code in of_column.items() if code == left_out}
        counts.append(len(kept))
        unknown.append(-1)
    return OneHot(codes, counts, unknown, encoder.handle_unknown != "error")


def _shared(encoder: Any) -> Any:
    """Return by column the code for each category's own; None where no rare ones share one."""
    if not getattr(encoder, "_infrequent_enabled", False):
        return None
    if encoder.drop_idx_ is not None:
        raise ValueError("it joins rare categories and drops one")
    return encoder._default_to_infrequent_mappings
