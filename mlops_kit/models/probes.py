"""Rows that try a model: those of its table, and those that its declaration allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.errors import KitError, TableError
from mlops_kit.models import fitted_inputs
from mlops_kit.models import outputs as outputs

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mlops_kit.tables.table import Column, Table, Value

_ROWS = 8
# Of one column; more are much like these.
_MAX_CATEGORIES = 64
UNDECLARED = "a value that nobody declared"
_DATE = "2020-01-01T00:00:00+00:00"


def check_model(model: Any, table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the inputs that a model was tried on, if it gives finite scores for all of them.

    `frame` has rows of the table; none of them need labels. Raises TableError for a model of
    another task, other classes or other columns, and for the first row that it fails at.
    """
    outputs.check(model, table)
    if table.task == "binary":
        outputs.threshold(model, table)
    named = [*_probes(table, frame)]
    inputs = _inputs(table, [row for _, row in named])
    try:
        scores = outputs.outputs(model, inputs, table)
    except KitError:
        raise
    except Exception as error:  # whatever a model may raise
        raise _first_fault(model, table, named, error) from error
    finite = np.isfinite(scores.reshape(len(named), -1)).all(axis=1)
    if not finite.all():
        row = int((~finite).argmax())
        raise TableError(
            f"The model of the table {table.name!r} scores {scores[row]} for {named[row][0]}; "
            "expected a finite number."
        )
    fitted_inputs.check(model, table, inputs)
    return inputs


def _probes(table: Table, frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield rows and what each tries."""
    names = [name for name in table.feature_names if name in frame.columns]
    rows = [
        dict(zip(names, values, strict=True))
        for values in frame[names].head(_ROWS).astype(object).itertuples(index=False, name=None)
    ]
    for number, row in enumerate(rows):
        yield f"row {number} of the table", row
    first = rows[0] if rows else _made_up(table)
    nullable = [column.name for column in table.features if column.nullable]
    for name in nullable:
        yield f"a row without {name!r}", {**first, name: None}
    if nullable:
        yield f"a row without any of {nullable}", {**first, **dict.fromkeys(nullable)}
    for column in table.features:
        for value in _values(table, column):
            yield f"a row with {value!r} in {column.name!r}", {**first, column.name: value}


def _values(table: Table, column: Column) -> Iterator[Value]:
    yield from column.categories[:_MAX_CATEGORIES]
    if column.is_number:
        yield from (int(each) if column.kind == "int" else each for each in _bounds(column))
    elif table.unseen != "refuse" or not column.categories:
        yield UNDECLARED


def _bounds(column: Column) -> list[float]:
    if column.kind not in ("float", "int"):
        return []
    return [bound for bound in (column.low, column.high) if bound is not None]


def _made_up(table: Table) -> dict[str, Any]:
    return {column.name: _any_value(column) for column in table.features}


def _any_value(column: Column) -> Any:
    if column.categories:
        return column.categories[0]
    if column.kind == "bool":
        return False
    if column.kind == "datetime":
        return _DATE
    if not column.is_number:
        return "text"
    bounds = _bounds(column)
    middle = sum(bounds) / len(bounds) if bounds else 0.0
    return int(middle) if column.kind == "int" else middle


def _inputs(table: Table, rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = {name: [row.get(name) for row in rows] for name in table.feature_names}
    return table.inputs(pd.DataFrame(columns, dtype=object))


def _first_fault(
    model: Any, table: Table, named: list[tuple[str, dict[str, Any]]], error: Exception
) -> TableError:
    """Return the fault with the first row that the model fails at on its own."""
    for what, row in named:
        try:
            outputs.outputs(model, _inputs(table, [row]), table)
        except Exception as found:
            return _fault(table, what, found)
    return _fault(table, f"{len(named)} rows at once", error)


def _fault(table: Table, what: str, error: Exception) -> TableError:
    return TableError(
        f"The model of the table {table.name!r} fails at {what}: {error!r:.500}. Expected a score "
        "for each row that the table allows; impute what may be missing, and take unknown "
        "categories, as OneHotEncoder(handle_unknown='ignore') does."
    )


def same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Tell whether a stored model's scores are the fitted one's, but for sums in another order."""
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-9, atol=1e-12))
