"""Rows that try a model: those of its table, and what its declaration allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.errors import KitError, TableError
from mlops_kit.models import fitted_inputs
from mlops_kit.models import outputs as outputs
from mlops_kit.tables import trial_rows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mlops_kit.tables.table import Table

_ROWS = 8


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


def _probes(table: Table, frame: pd.DataFrame) -> Iterator[tuple[str, list[Any]]]:
    """Yield what each row tries, and the row: a value a feature, None where it is missing."""
    columns = {name: [None] * len(frame) for name in table.feature_names}
    given = frame[[name for name in columns if name in frame.columns]].head(_ROWS)
    columns |= {name: given[name].astype(object).tolist() for name in given.columns}
    rows = [list(row) for row in zip(*columns.values(), strict=False)]
    for number, row in enumerate(rows):
        yield f"row {number} of the table", row
    yield from trial_rows.declared(table.features, table.unseen, rows[0] if rows else None)


def _inputs(table: Table, rows: list[list[Any]]) -> pd.DataFrame:
    import pandas as pd

    return table.inputs(pd.DataFrame(rows, columns=table.feature_names, dtype=object))


def _first_fault(
    model: Any, table: Table, named: list[tuple[str, list[Any]]], error: Exception
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
