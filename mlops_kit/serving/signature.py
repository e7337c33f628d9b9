"""What a model takes and gives, in the protocol's words; made of its table."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.tables.table import Column, Table, Task, Value

INPUT, SCORE, DECISION = "features", "score", "decision"
# What a column is sent as; any type that its kind takes is read.
DATATYPES = {
    "float": "FP64",
    "int": "INT64",
    "bool": "BOOL",
    "str": "BYTES",
    "category": "BYTES",
    "datetime": "BYTES",
}
_NUMBERS = ("float", "int", "bool")


@dataclass(frozen=True)
class Signature:
    """The features in their order, and the table that declares them.

    Without a table, as of a model of before there were any, all are numbers that may be missing,
    and the task is binary.
    """

    features: tuple[str, ...]
    table: Table | None = field(default=None, compare=False)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What each feature may hold."""
        if self.table is None:
            return tuple(Column(name, "float", nullable=True) for name in self.features)
        return self.table.features

    @cached_property
    def by_name(self) -> dict[str, tuple[int, Column]]:
        """Each feature's place among the inputs, and its column."""
        return {column.name: (place, column) for place, column in enumerate(self.columns)}

    @cached_property
    def is_matrix(self) -> bool:
        """Whether all features are numbers, so that rows are one float64 matrix."""
        return all(column.kind in _NUMBERS for column in self.columns)

    @cached_property
    def takes_matrix(self) -> bool:
        """Whether a request may hold the one matrix, whose name no feature has."""
        return self.is_matrix and INPUT not in self.by_name

    @cached_property
    def task(self) -> Task:
        """What the model predicts."""
        return "binary" if self.table is None else self.table.task

    @cached_property
    def classes(self) -> tuple[Value, ...]:
        """The label's values; empty for a regression, and where there is no table."""
        return () if self.table is None else self.table.classes

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The datatype of each output."""
        if self.task == "regression":
            return {SCORE: "FP64"}
        return {SCORE: "FP64", DECISION: "INT64" if self.task == "binary" else self._label_type}

    @property
    def _label_type(self) -> str:
        kinds = {type(each) for each in self.classes}
        if kinds == {int}:
            return "INT64"
        return "FP64" if kinds <= {int, float} else "BYTES"

    @cached_property
    def labels(self) -> NDArray[Any]:
        """The label of each class as it is sent."""
        if self._label_type == "BYTES":
            return np.array([str(each) for each in self.classes], dtype=object)
        return np.array(self.classes)

    @cached_property
    def required(self) -> NDArray[np.intp]:
        """The places of the features that can't be missing."""
        return self._places(lambda column: not column.nullable)

    @cached_property
    def whole(self) -> NDArray[np.intp]:
        """The places of the features that are whole numbers."""
        return self._places(lambda column: column.kind in ("int", "bool"))

    def _places(self, chosen: Any) -> NDArray[np.intp]:
        found = [place for place, column in enumerate(self.columns) if chosen(column)]
        return np.array(found, dtype=np.intp)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Return the shape of the scores of so many rows."""
        return (rows, len(self.classes)) if self.task == "multiclass" else (rows,)

    def takes_the_same(self, other: Signature) -> bool:
        """Tell whether one request is right for both, and both answer in the same words."""
        mine, theirs = (
            (each.task, each.features, [column.kind for column in each.columns])
            for each in (self, other)
        )
        # A table says which class is positive; where there is none, nobody knows better.
        is_known = self.table is not None and other.table is not None
        return mine == theirs and (not is_known or self.classes == other.classes)
