"""What a ColumnTransformer makes of one row, without a frame: codes, and numbers.

For one row a frame, its selection by columns and the checks of each transformer take milliseconds;
the arithmetic takes microseconds. Each transformer becomes functions from lists to lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.fast_linear import Floats
from mlops_kit.serving.signature import Signature
from mlops_kit.tables.table import Column

Read = Callable[[Any], Any]
Step = Callable[[list[Any]], list[Any]]
# What a block of columns gives: where in the output, and the numbers.
Block = Callable[[list[Any]], tuple[list[int], list[float]]]
_NAN = math.nan
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
# Dates outside of these go pandas' way, which not all of its versions take.
_YEARS = range(1700, 2200)


class Columns:
    """A fitted ColumnTransformer as arithmetic; raises ValueError for one with unknown parts.

    `is_sparse` says that it gives a sparse matrix, `width` how many columns. `sources` are the
    outputs that are an input as it came, by their place.
    """

    def __init__(self, transformer: Any, signature: Signature) -> None:
        """Compile each part of the transformer."""
        names = getattr(transformer, "feature_names_in_", signature.features)
        if list(names) != list(signature.features):
            raise ValueError("it was fitted on other columns")
        self.is_sparse = bool(transformer.sparse_output_)
        self._read = [_reader(column, signature) for column in signature.columns]
        self._blocks: list[tuple[list[int], Block]] = []
        self.sources: dict[int, int] = {}
        self.width = 0
        for name, part, _ in transformer.transformers_:
            inputs = [int(each) for each in transformer._transformer_to_input_indices[name]]
            if part == "drop" or not inputs:
                continue
            span = transformer.output_indices_[name]
            if span.start != self.width:
                raise ValueError("its outputs are in another order")
            if _is_passed(part):
                self.sources |= {self.width + at: place for at, place in enumerate(inputs)}
            self._blocks.append((inputs, _block(part, self.width, span.stop - span.start)))
            self.width = span.stop

    def pairs(self, row: list[Any]) -> tuple[list[int], list[float]]:
        """Return the places and the numbers of a row that aren't left at zero, in their order."""
        values = [read(value) for read, value in zip(self._read, row, strict=True)]
        places: list[int] = []
        numbers: list[float] = []
        for inputs, block in self._blocks:
            at, found = block([values[place] for place in inputs])
            places += at
            numbers += found
        return places, numbers

    def matrix(self, rows: NDArray[Any]) -> Floats:
        """Return what the transformer gives, dense, shape (n, width)."""
        found = np.zeros((len(rows), self.width))
        for place, row in enumerate(rows.tolist()):
            at, numbers = self.pairs(row)
            found[place, at] = numbers
        return found


def _is_passed(part: Any) -> bool:
    return part == "passthrough" or (
        type(part).__name__ == "FunctionTransformer" and part.func is None
    )


def _reader(column: Column, signature: Signature) -> Read:
    """Return what makes of a request's value what the table gives a model; None is missing text."""
    if column.kind == "datetime":
        return _days
    if column.is_number:
        return lambda value: _NAN if value is None else float(value)
    unseen = signature.table.unseen if signature.table is not None else "keep"
    if not column.categories or (unseen == "keep" and column.kind != "category"):
        return lambda value: value
    declared = frozenset(column.categories)
    if unseen == "refuse":
        return lambda value: _known(value, declared)
    return lambda value: value if value in declared else None


def _known(value: Any, declared: frozenset[Any]) -> Any:
    if value is not None and value not in declared:
        raise ValueError(f"{value!r:.80} isn't declared")
    return value


def _days(value: str | None) -> float:
    if value is None:
        return _NAN
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = datetime.min
    if found.year not in _YEARS:
        raise LookupError("a date for pandas")
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return micros / _DAY_US


def _block(part: Any, start: int, width: int) -> Block:
    """Return what a transformer, or a pipeline of some, does to the values of its columns."""
    *steps, last = _flat(part)
    before = [_step(step) for step in steps]
    if type(last).__name__ == "OneHotEncoder":
        encode = _one_hot(last, start)
    else:
        after, places = _step(last), list(range(start, start + width))

        def encode(values: list[Any]) -> tuple[list[int], list[float]]:
            return places, after(values)

    if not before:
        return encode

    def block(values: list[Any]) -> tuple[list[int], list[float]]:
        for step in before:
            values = step(values)
        return encode(values)

    return block


def _flat(part: Any) -> list[Any]:
    if type(part).__name__ != "Pipeline":
        return [part]
    return [each for _, step in part.steps for each in _flat(step)]


def _step(step: Any) -> Step:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, OrdinalEncoder, StandardScaler

    if step is None or _is_passed(step):
        return lambda values: values
    if type(step) is SimpleImputer and not step.add_indicator:
        return _imputed(step)
    if type(step) is StandardScaler:
        return _scaled(step)
    if type(step) is MinMaxScaler and not step.clip:
        slopes = [*zip(step.scale_.tolist(), step.min_.tolist(), strict=True)]
        return lambda values: [
            value * slope + low for value, (slope, low) in zip(values, slopes, strict=True)
        ]
    if type(step) is OrdinalEncoder:
        return _ordinal(step)
    raise ValueError(f"no arithmetic for {type(step).__name__}")


def _imputed(step: Any) -> Step:
    filled = step.statistics_.tolist()
    is_nan = isinstance(step.missing_values, float) and math.isnan(step.missing_values)
    if not is_nan or any(value is None or value != value for value in filled):
        raise ValueError("it fills something else than NaN, or drops a column")
    # A value that differs from itself is missing.
    return lambda values: [
        value if value is not None and value == value else fill
        for value, fill in zip(values, filled, strict=True)
    ]


def _scaled(step: Any) -> Step:
    count = step.n_features_in_
    means = step.mean_.tolist() if step.with_mean else [0.0] * count
    scales = step.scale_.tolist() if step.with_std else [1.0] * count
    both = [*zip(means, scales, strict=True)]
    return lambda values: [
        (value - mean) / scale for value, (mean, scale) in zip(values, both, strict=True)
    ]


def _codes(encoder: Any) -> list[dict[Any, int]]:
    """Return the code of each category by column; None is a missing value."""
    if np.dtype(encoder.dtype) != np.float64 or getattr(encoder, "_infrequent_enabled", False):
        raise ValueError("it gives other numbers, or joins rare categories")
    return [
        {None if each != each else each: code for code, each in enumerate(categories.tolist())}
        for categories in encoder.categories_
    ]


def _ordinal(encoder: Any) -> Step:
    codes: list[dict[Any, float]] = []
    for of_column in _codes(encoder):
        found: dict[Any, float] = {value: float(code) for value, code in of_column.items()}
        if None in found:
            found[None] = float(encoder.encoded_missing_value)
        codes.append(found)
    if encoder.handle_unknown == "error":
        return lambda values: [code[_key(value)] for value, code in zip(values, codes, strict=True)]
    unknown = float(encoder.unknown_value)
    return lambda values: [
        code.get(_key(value), unknown) for value, code in zip(values, codes, strict=True)
    ]


def _key(value: Any) -> Any:
    return value if value == value else None


def _one_hot(encoder: Any, start: int) -> Block:
    dropped = encoder.drop_idx_
    codes: list[dict[Any, int]] = []
    for column, of_column in enumerate(_codes(encoder)):
        left_out = None if dropped is None else dropped[column]
        kept = {value: code for value, code in of_column.items() if code != left_out}
        places = {value: start + at for at, value in enumerate(kept)}
        # One that is dropped is known, and gives no number.
        codes.append(places | {v: -1 for v, code in of_column.items() if code == left_out})
        start += len(kept)
    is_open = encoder.handle_unknown != "error"

    def encode(values: list[Any]) -> tuple[list[int], list[float]]:
        places = []
        for value, of_column in zip(values, codes, strict=True):
            key = value if value == value else None
            place = of_column.get(key, -1) if is_open else of_column[key]
            if place >= 0:
                places.append(place)
        return places, [1.0] * len(places)

    return encode
