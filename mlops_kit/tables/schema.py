"""A pandera schema, with the roles of its columns, becomes a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_kit.errors import TableError
from mlops_kit.tables.table import Column, Kind, Slicer, Table, Task, Unseen, Value

# pandera's checks that a column's declaration holds by itself, and where the bounds stand.
_LOW = {"greater_than_or_equal_to": "min_value", "in_range": "min_value"}
_HIGH = {"less_than_or_equal_to": "max_value", "in_range": "max_value"}


def declare_table(
    name: str,
    schema: Any,
    *,
    label: str,
    positive: Value | None = None,
    task: Task | None = None,
    time: str = "",
    entity: str = "",
    amount: str = "",
    ignored: Sequence[str] = (),
    slices: Sequence[str | Slicer] = (),
    unseen: Unseen = "keep",
) -> Table:
    """Return the table of a model.

    Args:
        name: the registered model's name.
        schema: a pandera DataFrameSchema or DataFrameModel: types, ranges, categories, nullable,
            and `metadata={"day_first": True}` on a column of dates like 03/04/2026.
        label: the column that the model predicts.
        positive: the label's value that a binary model finds, as "Yes" or 1.
        task: "binary", "multiclass" or "regression"; by default binary with `positive`,
            regression for a float label, else multi-class.
        time: the column that orders the rows.
        entity: the column that names what belongs together, as a customer.
        amount: the column with what a row is worth, in the currency of the costs.
        ignored: columns that no model sees.
        slices: columns, or functions from a frame to masks by name, as `bins` returns them.
        unseen: what happens to a category that isn't declared: "keep" passes it to the model,
            "missing" makes it a missing value, "refuse" refuses the row.

    Raises TableError for a declaration that contradicts itself.
    """
    if hasattr(schema, "to_schema"):
        schema = schema.to_schema()
    columns = tuple(_column(name, each) for each in schema.columns.values())
    found = next((each for each in columns if each.name == label), None)
    if found is not None and task is None:
        task = "binary" if positive is not None else "multiclass"
        task = "regression" if found.kind == "float" and positive is None else task
    return Table(
        name,
        columns,
        task or "binary",
        label,
        _classes(name, found, positive, task) if found is not None else (),
        time,
        entity,
        amount,
        tuple(ignored),
        tuple(slices),
        unseen,
        schema,
    )


def _column(table: str, declared: Any) -> Column:
    """Return one column of a pandera schema."""
    kind = _kind(table, declared)
    categories: tuple[Value, ...] = ()
    if kind == "category":
        categories = tuple(getattr(declared.dtype, "categories", None) or ())
    low = high = None
    for check in declared.checks:
        known = check.statistics or {}
        if check.name == "isin":
            categories = tuple(_value(each) for each in known["allowed_values"])
        if check.name in _LOW:
            low = _bound(known[_LOW[check.name]])
        if check.name in _HIGH:
            high = _bound(known[_HIGH[check.name]])
    nullable = bool(declared.nullable)
    first = _day_first(table, declared)
    return Column(str(declared.name), kind, nullable, low, high, categories, first)


def _day_first(table: str, declared: Any) -> bool | None:
    """Return what a column's metadata say of dates like 03/04/2026."""
    first = (getattr(declared, "metadata", None) or {}).get("day_first")
    if first is None or isinstance(first, bool):
        return first
    raise TableError(
        f"The table {table!r} declares {declared.name!r} with day_first={first!r}; expected True, "
        "False or nothing."
    )


def _kind(table: str, declared: Any) -> Kind:
    name = str(declared.dtype).lower()
    kinds: dict[str, Kind] = {
        "float": "float",
        "double": "float",
        "int": "int",
        "uint": "int",
        "bool": "bool",
        "str": "str",
        "object": "str",
        "category": "category",
        "datetime": "datetime",
        "timestamp": "datetime",
        "date": "datetime",
    }
    for start, kind in kinds.items():
        if name.startswith(start):
            return kind
    raise TableError(
        f"The table {table!r} declares {declared.name!r} as {declared.dtype}; expected float, int, "
        "bool, str, a category or a datetime."
    )


def _classes(
    table: str, label: Column, positive: Value | None, task: Task | None
) -> tuple[Value, ...]:
    if task == "regression":
        return ()
    classes = label.categories or ((False, True) if label.kind == "bool" else ())
    if not classes:
        raise TableError(
            f"The table {table!r} doesn't say which values the label {label.name!r} has; expected "
            "pandera.Check.isin([...]) on it."
        )
    if task != "binary":
        return classes
    if positive not in classes:
        raise TableError(
            f"The table {table!r} has the positive class {positive!r}; expected one of "
            f"{list(classes)}."
        )
    others = tuple(each for each in classes if each != positive)
    return (*others, positive) if positive is not None else classes


def _value(value: Any) -> Value:
    """Return a plain value for one of numpy's."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain


def _bound(value: Any) -> float | None:
    """Return a bound that is a number; dates are left to the schema."""
    return float(value) if isinstance(value, (int, float, np.number)) else None
