"""A fitted model takes what its table gives: the columns it was fitted on, and their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.errors import TableError
from mlops_kit.models import outputs

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

# What LightGBM and CatBoost name the columns of an array.
_NUMBERED = re.compile(r"Column_\d+|\d+")
_MAX_SHOWN = 5


def check(model: Any, table: Table, inputs: pd.DataFrame) -> None:
    """Raise TableError for a model that was fitted on other columns, or other values of them.

    LightGBM and CatBoost read columns by their place and compare no names; an encoder that
    ignores unknown categories ignores all of a column whose values were others. `inputs` are rows
    of the table that the model can score.
    """
    names = _names(model)
    if names and not all(map(_NUMBERED.fullmatch, names)):
        _check_names(model, table, inputs, names)
    for name, known in _encoded(model):
        if name in table.feature_names:
            _check_values(table, table.column(name), known)


def _names(model: Any) -> list[str]:
    """Return the columns that a model was fitted on; empty where it doesn't know."""
    for _ in range(8):
        for attribute in ("feature_names_in_", "feature_names_"):
            found = getattr(model, attribute, None)
            if found is not None and len(found):
                return [str(each) for each in found]
        inner = getattr(model, "estimator_", getattr(model, "estimator", None))
        steps = [each for _, each in getattr(model, "steps", ()) if each != "passthrough"]
        model = steps[0] if steps else inner
    return []


def _check_names(model: Any, table: Table, inputs: pd.DataFrame, names: Sequence[str]) -> None:
    own = table.feature_names
    unknown = [name for name in names if name not in own]
    if unknown:
        raise _error(
            table, f"was fitted on the columns {_shown(unknown)}", f"some of {_shown(own)}"
        )
    if [*names] == own:
        return
    # Who picks columns by name may have fewer, in another order; who counts them may not.
    try:
        there = outputs.outputs(model, inputs[[*names]], table)
    except Exception:  # whatever a model may raise
        return
    here = outputs.outputs(model, inputs, table)
    if not np.array_equal(here, there, equal_nan=True):
        raise _error(
            table,
            f"was fitted on the columns {_shown(names)} in this order and reads them by place",
            f"the order of table.inputs(frame), {_shown(own)}",
        )


def _encoded(part: Any, columns: Sequence[Any] = ()) -> Iterator[tuple[str, list[Any]]]:
    """Yield the columns that an encoder is the first to change, and the values that it knows."""
    if hasattr(part, "steps"):
        for _, step in part.steps:
            # These leave a column's values as they are.
            if step != "passthrough" and type(step).__name__ != "SimpleImputer":
                yield from _encoded(step, columns)
                return
    elif hasattr(part, "transformers_"):
        for _, inner, chosen in part.transformers_:
            if not isinstance(chosen, (str, slice)):
                yield from _encoded(inner, [*chosen])
    elif hasattr(part, "categories_"):
        names = columns or getattr(part, "feature_names_in_", ())
        if len(names) == len(part.categories_):
            known = (np.asarray(each, dtype=object).tolist() for each in part.categories_)
            yield from zip(map(str, names), known, strict=True)
    elif (inner := getattr(part, "estimator_", getattr(part, "estimator", None))) is not None:
        yield from _encoded(inner, columns)


def _check_values(table: Table, column: Column, known: list[Any]) -> None:
    values = [each for each in known if each is not None and each == each]
    if column.categories:
        fits = set(values) & set(column.categories)
        expected = f"some of {_shown(column.categories)}"
    else:
        fits = {each for each in values if _is_number(each) == column.is_number}
        expected = f"values of the type {column.kind!r}"
    if values and not fits:
        what = f"knows only the values {_shown(values)} of {column.name!r}"
        raise _error(table, what, f"{expected}, as table.inputs(frame) gives them")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number, np.bool_))


def _shown(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _MAX_SHOWN} more" if len(values) > _MAX_SHOWN else ""
    return f"{[*values[:_MAX_SHOWN]]}{more}"


def _error(table: Table, what: str, expected: str) -> TableError:
    return TableError(f"The model of the table {table.name!r} {what}; expected {expected}.")
