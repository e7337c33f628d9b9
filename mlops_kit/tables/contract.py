"""Say what the rows of a table must hold before a model may learn from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.tables import findings, leaks, summaries
from mlops_kit.tables.findings import Finding
from mlops_kit.tables.rules import Contract, Rule, Status

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

    Mask = npt.NDArray[np.bool_]

MIN_ROWS, MIN_CLASS_ROWS = 100, 10
TOLERATED_DUPLICATES = 0.01
"""Share of rows that may repeat another."""

_RULES = ("columns", "types", "missing", "finite", "ranges", "categories", "labels", "classes")
_ORDER = (*_RULES, "rows", "times", "duplicates", "leak", "future", "checks")


def examine(
    frame: pd.DataFrame,
    table: Table,
    *,
    duplicates: float = TOLERATED_DUPLICATES,
    rows: int = MIN_ROWS,
    class_rows: int = MIN_CLASS_ROWS,
    missing: float = 1.0,
    known_ahead: Sequence[str] = (),
) -> Contract:
    """Return what holds of the frame, and what doesn't.

    Args:
        frame: the rows, as `read` returns them.
        table: what they have to be; the checks of its pandera schema are run as they are.
        duplicates: the tolerated share of rows that repeat another.
        rows: how many rows it takes at least.
        class_rows: how many of each class.
        missing: the tolerated share of missing values in a column that may lack some.
        known_ahead: dates that may lie after a row's own time, as the end of a contract.
    """
    expected = _expected(table, duplicates, rows, class_rows, missing)
    names = _names(frame, table)
    # Row numbers, whatever the index is.
    frame = frame.loc[:, ~frame.columns.duplicated()].reset_index(drop=True)
    types, sound = findings.wrong_types(frame, table)
    found = [*names, *types]
    for column in sound:
        found += findings.of_values(frame[column.name], column, table, missing)
    unjudged = set() if len(sound) == len(table.columns) else {"checks"}
    if any(column.name == table.label for column in sound):
        found += findings.of_classes(frame, table, class_rows)
    else:
        unjudged |= {"labels", "classes"}
    if len(frame) < rows:
        found.append(Finding("rows", 1, f"{len(frame):,} rows, not {rows:,}."))
    found += _whole(frame, table, sound, duplicates, known_ahead)
    if unjudged or any(each.rule in ("labels", "classes") for each in found):
        unjudged.add("leak")
    else:
        known_late = "if it isn't known when a row is scored, name it in `ignored`"
        found += [
            Finding("leak", 1, f"{leak.said}; {known_late}.") for leak in leaks.told(frame, table)
        ]
    found += [] if "checks" in unjudged else findings.of_checks(frame, table)
    return Contract(len(frame), tuple(_rules(expected, found, unjudged)))


def check(frame: pd.DataFrame, table: Table, **bounds: Any) -> pd.DataFrame:
    """Return the frame if it keeps the contract; raise DataError with all reasons if not."""
    examine(frame, table, **bounds).raise_if_failed()
    return frame


def _expected(
    table: Table, duplicates: float, rows: int, class_rows: int, missing: float
) -> dict[str, str]:
    """Return each rule's name with what it expects."""
    is_number = table.task == "regression"
    return {
        "columns": "the declared columns, nothing else",
        "types": "the declared types",
        "missing": "no missing value where the declaration allows none"
        + (f", and at most {missing:.1%} where it does" if missing < 1 else ""),
        "finite": "no infinite number",
        "ranges": "each value within its column's range",
        "categories": "the declared categories"
        + ("" if table.unseen == "refuse" else "; others are counted, and pass"),
        "labels": "a finite number" if is_number else f"one of {list(table.classes)[:5]}",
        "classes": "two labels or more" if is_number else f"at least {class_rows} rows of each",
        "rows": f"at least {rows:,} rows",
        "times": f"{table.time} never decreasing" if table.time else "no time declared",
        "duplicates": f"at most {duplicates:.2%} of the rows repeat another",
        "leak": f"no column alone tells the label (up to {leaks.MAX_TOLD})",
        "future": "no date after the row's own time",
        "checks": "what else the schema checks",
    }


def _rules(
    expected: dict[str, str], found: Iterable[Finding], unjudged: set[str]
) -> Iterable[Rule]:
    """Yield the rules in order, with the findings of each."""
    found = list(found)
    for name in _ORDER:
        mine = [each for each in found if each.rule == name]
        count = sum(each.count for each in mine)
        broken = [each for each in mine if each.count > each.tolerated]
        status: Status = "fail" if broken else "pass"
        if name in unjudged and not broken:
            status = "not judged"
        yield Rule(name, expected[name], status, count, tuple(each.said for each in broken))


def _names(frame: pd.DataFrame, table: Table) -> list[Finding]:
    declared = [column.name for column in table.columns]
    twice = [str(name) for name in frame.columns[frame.columns.duplicated()]]
    said = [f"{name!r} stands there twice." for name in twice]
    said += [f"{name!r} is missing." for name in declared if name not in frame.columns]
    said += [f"{name!r:.80} is not declared." for name in frame.columns if name not in declared]
    return [Finding("columns", 1, each) for each in said]


def _whole(
    frame: pd.DataFrame,
    table: Table,
    sound: Sequence[Column],
    duplicates: float,
    known_ahead: Sequence[str],
) -> list[Finding]:
    """Return what is wrong between rows and between columns."""
    found = []
    copies = summaries.copies(frame)
    key = frame[table.time or frame.columns[0]] if len(frame.columns) else None
    if copies.any() and key is not None:
        words = f"({key.name}): a copy of an earlier row"
        tolerated = duplicates * len(frame)
        found.append(findings.of_rows("duplicates", "", words.strip(), key, copies, tolerated))
    if table.time in {column.name for column in sound}:
        times = frame[table.time]
        earlier = (times < times.shift()).to_numpy(dtype=bool, na_value=False)
        if earlier.any():
            words = "is before the row above"
            found.append(findings.of_rows("times", table.time, words, times, earlier))
        late = leaks.from_later(frame, table, known_ahead)
        found += [Finding("future", leak.rows, f"{leak.said}.") for leak in late]
    return found
