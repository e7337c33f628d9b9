"""Cut a data set into parts by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from mlops_kit.errors import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.55, 0.10, 0.25, 0.10)
"""Shares of the rows that the parts of a `Split` get, in their order."""

PARTS = ("train", "calibrate", "holdout", "replay")

_UNEVEN = 0.25
"""A part with less than this of its share of either class isn't like the others."""


@dataclass(frozen=True, eq=False)
class Split:
    """Four parts of a data set, each later in time than the one before.

    `note` says so where that holds only within each class.
    """

    train: pd.DataFrame
    calibrate: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame
    note: str = ""

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The parts by name, in the order of time."""
        return {name: getattr(self, name) for name in PARTS}

    def _repr_markdown_(self) -> str:
        lines = ["| part | rows | frauds | rate | hours |", "|---|---:|---:|---:|---|"]
        for name, part in self.parts.items():
            start, end = part["Time"].iloc[0] / 3600, part["Time"].iloc[-1] / 3600
            frauds = int(part["Class"].sum())
            lines.append(
                f"| {name} | {len(part):,} | {frauds:,} | {frauds / len(part):.2%} "
                f"| {start:.1f} to {end:.1f} |"
            )
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"


def split(frame: pd.DataFrame, *, shares: tuple[float, float, float, float] = SHARES) -> Split:
    """Return the frame in four parts by time; rows of the same second stay together.

    Where one class comes nearly all at another time than the other, as in a sample that somebody
    drew, each class is cut by its own time, and the split's note says so. Raises DataError when
    the rows aren't in the order of time or a part lacks a class, and ParameterError for shares
    that aren't four positive numbers with the sum 1.
    """
    if len(shares) != 4 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ParameterError(f"shares is {shares!r}; expected four positive numbers, sum 1.")
    times = frame["Time"].to_numpy()
    if not (times[1:] >= times[:-1]).all():
        raise DataError("Time decreases somewhere; expected rows in the order of time: run check.")
    parts = _by_time(frame, shares)
    note = _uneven(parts, shares)
    if note:
        import pandas as pd

        by_class = [_by_time(rows, shares) for _, rows in frame.groupby("Class", sort=True)]
        parts = [
            pd.concat(same).sort_values("Time", kind="stable")
            for same in zip(*by_class, strict=True)
        ]
    _check_both_classes(parts)
    train, calibrate, holdout, replay = (part.reset_index(drop=True) for part in parts)
    return Split(train, calibrate, holdout, replay, note)


def _by_time(frame: pd.DataFrame, shares: Sequence[float]) -> list[pd.DataFrame]:
    import numpy as np

    times = frame["Time"].to_numpy()
    borders = [0]
    for reached in np.round(np.cumsum(shares[:-1]) * len(frame)).astype(int):
        same = times[min(reached, len(frame) - 1)] if len(frame) else 0
        borders.append(int(np.searchsorted(times, same)))
    borders.append(len(frame))
    return [frame.iloc[start:end] for start, end in pairwise(borders)]


def _uneven(parts: Sequence[pd.DataFrame], shares: Sequence[float]) -> str:
    """Return why the parts can't be compared with each other; nothing where they can."""
    counts = [_counts(part) for part in parts]
    for label, word in enumerate(("genuine transactions", "frauds")):
        total = sum(count[label] for count in counts)
        for name, count, share in zip(PARTS, counts, shares, strict=True):
            if total and count[label] < _UNEVEN * share * total:
                return (
                    f"Split by time within each class: by time alone, {name} would have "
                    f"{count[label]:,} of {total:,} {word}."
                )
    return ""


def _check_both_classes(parts: Sequence[pd.DataFrame]) -> None:
    counts = [_counts(part) for part in parts]
    if any(min(count) == 0 for count in counts):
        raise DataError(
            "A part of the split lacks a class; expected both in each: take more rows, or other "
            "shares.",
            reasons=[
                f"{name}: {genuine:,} genuine, {frauds:,} frauds."
                for name, (genuine, frauds) in zip(PARTS, counts, strict=True)
            ],
        )


def _counts(part: pd.DataFrame) -> tuple[int, int]:
    frauds = int((part["Class"] == 1).sum())
    return len(part) - frauds, frauds
