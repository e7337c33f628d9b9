"""Find columns that know the answer, and entities that stand on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

    Array = NDArray[Any]
    Floats = NDArray[np.float64]

MAX_TOLD = 0.9995
"""A column that tells the label better than this knows it."""

_MAX_DISTINCT = 255
_MAX_ROWS, _MIN_CLASS_ROWS = 200_000, 1_000


@dataclass(frozen=True)
class Leak:
    """A column that tells the label by itself."""

    column: str
    said: str


def told(frame: pd.DataFrame, table: Table) -> list[Leak]:
    """Return the features that tell the label alone.

    Binary: by the area under the ROC curve. Multi-class: by the share of rows whose class a
    column's value names. Regression: by Spearman's rank correlation, or for text by the share of
    the variance that its values explain. Text is judged on the half of the rows that its values
    weren't learned from, so an id tells nothing. Whether a value is missing is judged as well.
    """
    labels = table.labels(frame)
    rows = _judged(labels, table)
    frame, labels = frame.iloc[rows], labels[rows]
    measure = {"binary": "AUC", "multiclass": "accuracy", "regression": "rank correlation"}
    found = []
    for column in table.features:
        if column.name in frame.columns:
            strength = _strength(table, column, frame[column.name], labels)
            if strength > MAX_TOLD:
                words = (
                    f"{column.name} alone tells the label ({measure[table.task]} {strength:.5f})"
                )
                found.append(Leak(column.name, words))
    return found


def _judged(labels: Array, table: Table) -> NDArray[np.int64]:
    """Return the rows to judge by: all, or of very many every n-th, and all of a rare class."""
    step = -(-len(labels) // _MAX_ROWS)
    chosen = np.arange(len(labels)) % max(1, step) == 0
    if table.task != "regression":
        counts = np.bincount(labels[chosen], minlength=len(table.classes))
        chosen |= (counts < _MIN_CLASS_ROWS)[labels]
    return np.flatnonzero(chosen)


def _strength(table: Table, column: Column, series: pd.Series[Any], labels: Array) -> float:
    """Return how well a column tells the label: 1 is wholly."""
    missing = series.isna().to_numpy(dtype=bool)
    scores: list[Floats] = [missing.astype(float)] if missing.any() else []
    if column.is_number:
        numbers = _numbers(series)
        # At either end, so that what is missing can't hide the order of the rest.
        fill = np.nanmax(numbers) + 1 if not missing.all() else 0.0
        scores.append(np.where(np.isnan(numbers), fill, numbers))
    if table.task == "multiclass":
        return max(_named(each, labels) for each in [*scores, _codes(series)])
    judged = np.arange(len(labels)) % 2 == 1
    learned = _learned(_codes(series), labels, ~judged) if not column.is_number else None
    if table.task == "binary":
        areas = [auc(labels == 1, each) for each in scores]
        areas += [auc(labels[judged] == 1, learned[judged])] if learned is not None else []
        return max(areas, default=0.5)
    ranks = [abs(_correlation(_ranks(each), _ranks(labels))) for each in scores]
    if learned is not None:
        ranks.append(abs(_correlation(learned[judged], labels[judged])))
    return max(ranks, default=0.0)


def _numbers(series: pd.Series[Any]) -> Floats:
    if series.dtype.kind == "M":
        days: Floats = series.to_numpy("datetime64[us]").astype("int64").astype(float)
        return np.where(series.isna().to_numpy(dtype=bool), np.nan, days)
    found: Floats = series.to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isinf(found), np.nan, found)


def _codes(series: pd.Series[Any]) -> Floats:
    import pandas as pd

    codes: Floats = pd.factorize(series, use_na_sentinel=False)[0].astype(float)
    return codes


def auc(positive: NDArray[np.bool_], values: Floats) -> float:
    """Return how well the values order two classes: 0.5 is not at all, 1 is perfectly.

    The area under the ROC curve, in the better direction: Mann-Whitney's U with ties halved.
    """
    negatives, positives = np.sort(values[~positive]), values[positive]
    if not len(negatives) or not len(positives):
        return 0.5
    below, upto = (np.searchsorted(negatives, positives, side=side) for side in ("left", "right"))
    area = float((below + upto).mean()) / (2 * negatives.size)
    return max(area, 1 - area)


def _learned(codes: Floats, labels: Array, used: NDArray[np.bool_]) -> Floats:
    """Return the mean label of each value, learned from the rows in use; the overall one else."""
    places = codes.astype(np.int64)
    count = np.bincount(places[used], minlength=places.max() + 1)
    total = np.bincount(places[used], weights=labels[used], minlength=places.max() + 1)
    overall = labels[used].mean() if used.any() else 0.0
    means = np.where(count > 0, total / np.maximum(count, 1), overall)
    return np.asarray(means[places], dtype=np.float64)


def _named(values: Floats, labels: Array) -> float:
    """Return the accuracy of naming each value's commonest class, on the rows not learned from.

    0 where the commonest class of all does as well. Many distinct numbers are taken in bins.
    """
    _, places = np.unique(values, return_inverse=True)
    if places.max(initial=0) > _MAX_DISTINCT:
        places = (_ranks(values) / max(1, len(values)) * _MAX_DISTINCT).astype(np.int64)
    judged = np.arange(len(labels)) % 2 == 1
    counts = np.zeros((places.max(initial=0) + 1, int(labels.max(initial=0)) + 1))
    np.add.at(counts, (places[~judged], labels[~judged]), 1)
    right = float((counts.argmax(1)[places[judged]] == labels[judged]).mean()) if any(judged) else 0
    commonest = np.bincount(labels).max(initial=0) / max(1, len(labels))
    return right if right > commonest else 0.0


def _ranks(values: Floats) -> Floats:
    """Return the ranks, those of ties averaged."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places], dtype=np.float64)


def _correlation(first: Floats, second: Floats) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def shared_entities(parts: Sequence[pd.DataFrame], table: Table) -> tuple[int, int]:
    """Return how many entities stand in more than one part, and how many there are."""
    if not table.entity:
        return 0, 0
    import pandas as pd

    seen = pd.concat([pd.Series(part[table.entity].dropna().unique()) for part in parts])
    counts = seen.value_counts()
    return int((counts > 1).sum()), len(counts)
