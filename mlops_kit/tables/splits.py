"""Cut the rows of a table into parts: by time, by entity, or alike in their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.tables import leaks

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

    Parts = list[NDArray[np.int64]]

SHARES = (0.55, 0.10, 0.25, 0.10)
"""Shares of the rows that the parts of a `Split` get, in their order."""

PARTS = ("train", "calibrate", "holdout", "replay")
By = Literal["", "time", "entity", "label"]
_UNEVEN = 0.25
"""A part with less than this of its share of a class isn't like the others."""

_STRATA = 10
_MAX_COUNTED = 5


@dataclass(frozen=True, eq=False)
class Split:
    """Four parts of a data set, and a note that says how it was cut.

    A model learns from `train`, its scores are calibrated and its threshold chosen on
    `calibrate`, and it is judged on `holdout`. No step learns from `replay`, which stands for
    the traffic that comes later.
    """

    train: pd.DataFrame
    calibrate: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame
    note: str = ""
    table: Table | None = None

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The parts by name, in their order."""
        return {name: getattr(self, name) for name in PARTS}

    def _repr_markdown_(self) -> str:
        if self.table is None:
            return self.note
        table = self.table
        head, cells = _columns(table)
        lines = [f"| part | rows |{head}", "|---|---:|" + "---:|" * head.count("|")]
        for name, part in self.parts.items():
            lines.append(f"| {name} | {len(part):,} |{cells(part)}")
        return "\n".join([*lines, "", self.note]) + "\n"


def _columns(table: Table) -> tuple[str, Any]:
    """Return the header for what a part is described by, and what describes one."""
    shown = table.classes[1:] if table.task == "binary" else table.classes[:_MAX_COUNTED]
    names = [f"{table.label} {each}" for each in shown] or [f"median {table.label}"]
    names += ["from", "to"] if table.time else []

    def cells(part: pd.DataFrame) -> str:
        rates = [f"{(part[table.label] == each).mean():.2%}" for each in shown]
        found = rates or [f"{part[table.label].median():,.4g}"]
        if table.time:
            found += [f"{part[table.time].min()}", f"{part[table.time].max()}"]
        return "".join(f" {each} |" for each in found)

    return "".join(f" {name} |" for name in names), cells


def split(
    frame: pd.DataFrame,
    table: Table,
    *,
    by: By = "",
    shares: tuple[float, float, float, float] = SHARES,
    seed: int = 7,
) -> Split:
    """Return the rows in four parts.

    By time: each part later than the one before, rows of the same time together; where a class
    comes nearly all at another time than the others, as in a sample that somebody drew, each
    class is cut by its own time. By entity: no entity in two parts. By label: each part with the
    same share of each class, or of each tenth of a number.

    Args:
        frame: the rows, in any order; those of a part are in the order of time, or the frame's.
        table: which of its columns are label, time and entity.
        by: "time", "entity" or "label"; by default the first of them that the table declares.
        shares: of the rows, by part.
        seed: of the split by label.

    Raises DataError where a part lacks a class or a row has no time, and ParameterError for
    shares that aren't four positive numbers with the sum 1, or a role that isn't declared.
    """
    if len(shares) != 4 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ParameterError(f"shares is {shares!r}; expected four positive numbers, sum 1.")
    chosen = by or ("time" if table.time else "entity" if table.entity else "label")
    if chosen not in ("time", "entity", "label") or not getattr(table, chosen):
        raise ParameterError(
            f"by is {by!r}; expected 'time', 'entity' or 'label', and that {table.name!r} has it."
        )
    frame = sort_by_time(frame, table)
    strata = _strata(frame, table)
    if chosen == "time":
        parts, note = _by_time(frame, table, strata, shares)
    elif chosen == "entity":
        parts, note = _by_entity(frame, table, shares)
    else:
        parts, note = _by_label(table, strata, shares, seed)
    _check_classes(table, strata, parts)
    frames = [frame.iloc[np.sort(rows)].reset_index(drop=True) for rows in parts]
    shared, all_entities = leaks.shared_entities(frames, table)
    if shared:
        note += (
            f" {shared:,} of {all_entities:,} values of {table.entity} stand in more than one part;"
            " by='entity' keeps them apart."
        )
    train, calibrate, holdout, replay = frames
    return Split(train, calibrate, holdout, replay, note, table)


def sort_by_time(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return the rows in the order of the table's time, those of one time in their own order.

    Raises DataError for a row without a time.
    """
    if not table.time:
        return frame
    missing = frame[table.time].isna().to_numpy(dtype=bool)
    if missing.any():
        raise DataError(
            f"{table.time} is missing in {missing.sum():,} row(s), first in row "
            f"{int(missing.argmax())} (counted from 0); expected a time in each row."
        )
    if frame[table.time].is_monotonic_increasing:
        return frame
    return frame.sort_values(table.time, kind="stable", ignore_index=True)


def _strata(frame: pd.DataFrame, table: Table) -> NDArray[np.int64]:
    """Return each row's class, or the tenth of all numbers that its label is in."""
    labels = table.labels(frame)
    if table.task != "regression":
        return labels.astype(np.int64)
    if not len(labels):
        return np.zeros(0, np.int64)
    edges = np.quantile(labels, np.linspace(0, 1, _STRATA + 1)[1:-1])
    return np.searchsorted(edges, labels, side="right").astype(np.int64)


def _cut(rows: NDArray[np.int64], borders: Sequence[int]) -> Parts:
    return [rows[start:end] for start, end in pairwise([0, *borders, len(rows)])]


def _borders(count: int, shares: Sequence[float]) -> list[int]:
    found: list[int] = np.round(np.cumsum(shares[:-1]) * count).astype(int).tolist()
    return found


def _spread(count: int, shares: Sequence[float]) -> list[int]:
    """Return the borders of parts that have a row each, however rare their class is."""
    found, last = _borders(count, shares), len(shares) - 1
    if count <= last:
        return found
    for place in range(last):
        least = found[place - 1] + 1 if place else 1
        found[place] = min(max(found[place], least), count - last + place)
    return found


def _by_time(
    frame: pd.DataFrame, table: Table, strata: NDArray[np.int64], shares: Sequence[float]
) -> tuple[Parts, str]:
    times = frame[table.time].to_numpy()

    def cut(rows: NDArray[np.int64]) -> Parts:
        own = times[rows]
        if not len(own):
            return [rows] * 4
        reached = [own[min(place, len(own) - 1)] for place in _borders(len(own), shares)]
        return _cut(rows, [int(np.searchsorted(own, each)) for each in reached])

    everything = np.arange(len(frame))
    parts = cut(everything)
    uneven = _uneven(table, strata, parts, shares) if table.task != "regression" else ""
    if not uneven:
        return parts, f"Split by {table.time}: each part is later than the one before."
    by_class = [cut(everything[strata == each]) for each in np.unique(strata)]
    merged = [np.concatenate(same) for same in zip(*by_class, strict=True)]
    return merged, f"Split by {table.time} within each class: by time alone, {uneven}."


def _uneven(table: Table, strata: NDArray[np.int64], parts: Parts, shares: Sequence[float]) -> str:
    """Return why the parts can't be compared with each other; nothing where they can."""
    for place, label in enumerate(table.classes):
        total = int((strata == place).sum())
        for name, rows, share in zip(PARTS, parts, shares, strict=True):
            count = int((strata[rows] == place).sum())
            if total and count < _UNEVEN * share * total:
                return f"{name} would have {count:,} of {total:,} rows of {label!r}"
    return ""


def _by_entity(frame: pd.DataFrame, table: Table, shares: Sequence[float]) -> tuple[Parts, str]:
    """Cut by the hash of each entity, so that it stays in its part when more rows come."""
    import pandas as pd

    codes, entities = pd.factorize(frame[table.entity], use_na_sentinel=False)
    hashes = np.array(
        [
            int.from_bytes(hashlib.blake2b(str(each).encode(), digest_size=7).digest(), "big")
            for each in entities
        ],
        dtype=np.float64,
    ) / float(2**56)
    part = np.searchsorted(np.cumsum(shares[:-1]), hashes, side="right")[codes]
    parts = [np.flatnonzero(part == place) for place in range(4)]
    return parts, f"Split by {table.entity}: each of its {len(entities):,} values is in one part."


def _by_label(
    table: Table, strata: NDArray[np.int64], shares: Sequence[float], seed: int
) -> tuple[Parts, str]:
    random = np.random.default_rng(seed)
    cuts = []
    for each in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == each))
        cuts.append(_cut(rows, _spread(len(rows), shares)))
    none: Parts = [np.zeros(0, np.int64)] * 4
    parts = [np.concatenate(same) for same in zip(none, *cuts, strict=True)]
    alike = "tenth of its numbers" if table.task == "regression" else "class"
    return (
        parts,
        f"Split by chance (seed {seed}), with the same share of each {alike} in each part.",
    )


def _check_classes(table: Table, strata: NDArray[np.int64], parts: Parts) -> None:
    """Raise DataError for a part without rows or without a class."""
    count = max(len(table.classes), 1)
    counts = [np.bincount(strata[rows] % count, minlength=count) for rows in parts]
    if any(each.min() == 0 for each in counts):
        words = [
            ", ".join(
                f"{number:,} of {label!r}" if table.classes else f"{number:,} rows"
                for number, label in zip(each, table.classes or ("",), strict=True)
            )
            for each in counts
        ]
        raise DataError(
            "A part of the split lacks a class; expected each in each part: take more rows, or "
            "other shares.",
            reasons=[f"{name}: {said}." for name, said in zip(PARTS, words, strict=True)],
        )
