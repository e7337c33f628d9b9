"""The scores of a model's own library, by the one function that makes a model's inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.models import outputs
from mlops_kit.serving import probes
from mlops_kit.serving.signature import Signature
from mlops_kit.tables import frames

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)
Floats = NDArray[np.float64]
Scores = Callable[[NDArray[Any]], Floats]
_PROBES = 32


def library_scores(model: Any, signature: Signature) -> Scores:
    """Return the library's own scores, from rows without names where that changes no bit.

    Making a frame of each request costs more than some models do.
    """
    table = signature.table

    def asked(inputs: Any) -> Floats:
        if table is not None:
            return np.asarray(outputs.outputs(model, inputs, table), dtype=np.float64)
        return np.asarray(model.predict_proba(inputs)[:, 1], dtype=np.float64)

    def by_frame(rows: NDArray[Any]) -> Floats:
        return asked(frame(signature, rows))

    if not signature.is_matrix:
        return by_frame
    generator = np.random.default_rng(0)
    tried = probes.random_rows(signature, _PROBES, generator)
    if table is None:  # most models of then take no missing value
        tried = generator.normal(scale=3.0, size=tried.shape)
    return asked if _needs_no_names(model, asked, by_frame, tried) else by_frame


def frame(signature: Signature, rows: NDArray[Any]) -> pd.DataFrame:
    """Return rows (see `inputs.rows`) as `table.inputs` makes a model's inputs.

    Raises TableError for a value that the table doesn't take.
    """
    import pandas as pd

    table = signature.table
    if table is None:
        return pd.DataFrame(rows, columns=list(signature.features))
    columns = {}
    for place, column in enumerate(signature.columns):
        values = rows[:, place]
        if rows.dtype == object:
            values = frames.model_values(table, column, values)
        elif not column.nullable and column.kind in ("int", "bool"):
            values = values.astype(np.int64 if column.kind == "int" else np.bool_)
        columns[column.name] = values
    return frames.frame_of(table, columns)


def _needs_no_names(model: Any, asked: Scores, by_frame: Scores, tried: Floats) -> bool:
    """Take the features' names from a model; put them back, where it can't do without."""
    named = list(_named(model))
    if not named:
        return True
    try:
        expected = by_frame(tried).tobytes()
        kept = [(each, vars(each).pop("feature_names_in_")) for each in named]
        try:
            if asked(tried).tobytes() == expected:
                return True
        except Exception:  # some choose columns by their names
            _LOG.info("the model takes named columns only")
        for each, of_each in kept:
            each.feature_names_in_ = of_each
    except Exception:  # what it raises, it raises again when it is probed
        _LOG.info("the model fails at random rows")
    return False


def _named(model: Any) -> Iterator[Any]:
    """Return the model and all estimators in it that know their features' names."""
    waiting, seen = [model], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (list, tuple)):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
        elif type(each).__module__.startswith("sklearn.") and hasattr(each, "__dict__"):
            waiting += vars(each).values()
            if "feature_names_in_" in vars(each):
                yield each
