"""Rows that a model's table allows, as a request's become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.serving.signature import Signature
from mlops_kit.tables import trial_rows
from mlops_kit.tables.table import Unseen

Rows = NDArray[Any]


def declared_rows(signature: Signature) -> tuple[Rows, list[str]]:
    """Return rows that try each thing that the table allows, and what each tries."""
    found = trial_rows.declared(signature.columns, _unseen(signature))
    return as_rows([row for _, row in found], signature), [what for what, _ in found]


def random_rows(
    signature: Signature,
    count: int,
    generator: np.random.Generator,
    edges: Mapping[int, NDArray[np.float64]] | None = None,
) -> Rows:
    """Return rows of any values that the table allows, see `trial_rows.random_rows`."""
    columns, unseen = signature.columns, _unseen(signature)
    return as_rows(trial_rows.random_rows(columns, unseen, count, generator, edges), signature)


def as_rows(rows: list[list[Any]], signature: Signature) -> Rows:
    """Return rows as a request's become, see `inputs.rows`."""
    if signature.is_matrix:
        return np.array(rows, dtype=np.float64)
    found = np.empty((len(rows), len(signature.features)), dtype=object)
    for place, row in enumerate(rows):
        found[place] = row
    return found


def _unseen(signature: Signature) -> Unseen:
    return signature.table.unseen if signature.table is not None else "keep"
