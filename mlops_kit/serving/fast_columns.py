"""What a ColumnTransformer makes of rows, without a frame: codes, and numbers.

For one row a frame, its selection by columns and the checks of each transformer take milliseconds;
the arithmetic takes microseconds. One row goes by its values, many rows go by their columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving import fast_steps
from mlops_kit.serving.fast_linear import Floats
from mlops_kit.serving.fast_steps import OneHot, Step, Values
from mlops_kit.serving.signature import Signature
from mlops_kit.tables.table import Column

Read = Callable[[Any], Any]
_NAN = math.nan
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
# Dates outside of these go pandas' way, which not all of its versions take.
_YEARS = range(1700, 2200)
# Rows up to which a row at a time is faster.
_BY_ROW = 3


@dataclass(frozen=True)
class Block:
    """What becomes of some inputs: `width` columns of the output from `start` on.

    With `one_hot` the last step gives codes, from which those columns follow; else the numbers.
    """

    inputs: list[int]
    steps: list[Step]
    start: int
    width: int
    one_hot: OneHot | None = None

    def one(self, row: Values) -> Values:
        """Return the numbers of a row, or its codes."""
        values = [row[place] for place in self.inputs]
        for step in self.steps:
            values = step.one(values)
        return values if self.one_hot is None else self.one_hot.one(values)

    def many(self, columns: Values) -> list[Any]:
        """Return the numbers of many rows, an array a column, or their codes."""
        values = [columns[place] for place in self.inputs]
        for step in self.steps:
            values = step.many(values)
        return values if self.one_hot is None else self.one_hot.many(values)

    @cached_property
    def starts(self) -> list[int]:
        """Return where the columns of each input begin that has codes."""
        counts = self.one_hot.counts if self.one_hot else []
        return [self.start + sum(counts[:at]) for at in range(len(counts))]


@dataclass(frozen=True)
class Columns:
    """Blocks whose outputs stand one after the other, `width` columns in all.

    `is_sparse` says that the transformer gives a sparse matrix. `sources` are the outputs that are
    an input as it came, by their place. `readers` make of a request's values what a model gets.
    """

    blocks: list[Block]
    readers: list[tuple[Column, Read | None]]
    width: int
    is_sparse: bool
    sources: Mapping[int, int]

    def row(self, row: Values) -> Values:
        """Return the values of a row as the table gives them to a model; None is missing text."""
        pairs = zip(row, self.readers, strict=True)
        return [value if read is None else read(value) for value, (_, read) in pairs]

    def columns(self, rows: NDArray[Any]) -> list[Any]:
        """Return the columns of rows (n, inputs), see `fast_steps`."""
        if rows.dtype != object:
            return [*np.ascontiguousarray(rows.T)]
        pairs = zip(rows.T.tolist(), self.readers, strict=True)
        return [_read_all(values, *reader) for values, reader in pairs]

    def pairs(self, row: Values) -> tuple[list[int], list[float]]:
        """Return the places and the numbers of a row that aren't left at zero, in their order."""
        values = self.row(row)
        places: list[int] = []
        numbers: list[float] = []
        for block in self.blocks:
            found = block.one(values)
            if block.one_hot is None:
                places += range(block.start, block.start + block.width)
                numbers += found
            else:
                own = zip(found, block.starts, strict=True)
                known = [start + code for code, start in own if code >= 0]
                places += known
                numbers += [1.0] * len(known)
        return places, numbers

    def matrix(self, rows: NDArray[Any]) -> Floats:
        """Return what the transformer gives, dense, shape (n, width)."""
        if len(rows) <= _BY_ROW:
            found = np.zeros((len(rows), self.width))
            for place, row in enumerate(rows.tolist()):
                at, numbers = self.pairs(row)
                found[place, at] = numbers
            return found
        # The last column takes the ones of categories without a column.
        by_column, each = np.zeros((self.width + 1, len(rows))), np.arange(len(rows))
        for _, start, codes, numbers in self.parts(rows):
            if codes is None:
                by_column[start] = numbers
            else:
                by_column[np.where(codes < 0, self.width, start + codes), each] = 1.0
        return by_column[: self.width].T

    def parts(self, rows: NDArray[Any]) -> list[tuple[Block, int, Any, Any]]:
        """Return each input's block, first place, and the codes or the numbers of the rows."""
        columns = self.columns(rows)
        found: list[tuple[Block, int, Any, Any]] = []
        for block in self.blocks:
            own = block.many(columns)
            if block.one_hot is None:
                found += [(block, block.start + at, None, each) for at, each in enumerate(own)]
            else:
                pairs = zip(block.starts, own, strict=True)
                found += [(block, start, each, None) for start, each in pairs]
        return found


def of_transformer(transformer: Any, signature: Signature) -> Columns:
    """Return a fitted ColumnTransformer as arithmetic; ValueError for one with unknown parts."""
    names = getattr(transformer, "feature_names_in_", signature.features)
    if list(names) != list(signature.features):
        raise ValueError("it was fitted on other columns")
    blocks, width = [], 0
    sources: dict[int, int] = {}
    for name, part, _ in transformer.transformers_:
        inputs = [int(each) for each in transformer._transformer_to_input_indices[name]]
        if (isinstance(part, str) and part == "drop") or not inputs:
            continue
        span = transformer.output_indices_[name]
        if span.start != width:
            raise ValueError("its outputs are in another order")
        if fast_steps.is_passed(part):
            sources |= {width + at: place for at, place in enumerate(inputs)}
        blocks.append(_block(part, inputs, width, span.stop - span.start))
        width = span.stop
    return Columns(blocks, _readers(signature), width, bool(transformer.sparse_output_), sources)


def of_frame(signature: Signature, categories: Mapping[int, tuple[Any, ...] | None]) -> Columns:
    """Return a frame's own columns, its categories coded as a booster codes them.

    `categories` are those of a column in their order, None for the declared ones, by the column's
    place, or by -1, -2 and so on for the first, the second column that has some. Raises ValueError
    for text, and for other columns.
    """
    coded = [place for place, each in enumerate(signature.columns) if each.kind == "category"]
    named = {place: coded[-1 - place] if place < 0 else place for place in categories}
    if sorted(named.values()) != coded or any(c.kind == "str" for c in signature.columns):
        raise ValueError("its columns of text have no codes")
    of_each = {
        named[place]: signature.columns[named[place]].categories if each is None else each
        for place, each in categories.items()
    }
    blocks, width = [], len(signature.columns)
    for place in range(width):
        codes = {each: float(code) for code, each in enumerate(of_each.get(place, ()))}
        steps = [fast_steps.coded([codes], _NAN)] if place in of_each else []
        blocks.append(Block([place], steps, place, 1))
    sources = {place: place for place in range(width) if place not in of_each}
    return Columns(blocks, _readers(signature), width, False, sources)


def _readers(signature: Signature) -> list[tuple[Column, Read | None]]:
    return [(column, _reader(column, signature)) for column in signature.columns]


def _reader(column: Column, signature: Signature) -> Read | None:
    """Return what makes of a request's value what the table gives a model; None for the value."""
    if column.kind == "datetime":
        return _days
    if column.is_number:
        return lambda value: _NAN if value is None else float(value)
    unseen = signature.table.unseen if signature.table is not None else "keep"
    if not column.categories or (unseen == "keep" and column.kind != "category"):
        return None
    declared = frozenset(column.categories)
    if unseen == "refuse":
        return lambda value: _known(value, declared)
    return lambda value: value if value in declared else None


def _read_all(values: Values, column: Column, read: Read | None) -> Any:
    if column.kind == "datetime":
        return np.array([_days(value) for value in values])
    if column.is_number:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    return values if read is None else [read(value) for value in values]


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


def _block(part: Any, inputs: list[int], start: int, width: int) -> Block:
    """Return what a transformer, or a pipeline of some, does to the values of its columns."""
    *steps, last = _flat(part)
    before = [fast_steps.step(each) for each in steps]
    if type(last).__name__ == "OneHotEncoder":
        return Block(inputs, before, start, width, fast_steps.one_hot(last))
    return Block(inputs, [*before, fast_steps.step(last)], start, width)


def _flat(part: Any) -> list[Any]:
    if type(part).__name__ != "Pipeline":
        return [part]
    return [each for _, step in part.steps for each in _flat(step)]
