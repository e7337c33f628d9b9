"""Say what the rows of a table must hold before a model may learn from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mlops_kit.tables import findings, leaks, summaries
from mlops_kit.tables.findings import Finding
from mlops_kit.tables.rules import Contract, Rule, Status
from mlops_kit.tables.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.scans import Scan
    from mlops_kit.tables.table import Table

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
    names = _names(frame, table)
    # Row numbers, whatever the index is.
    frame = frame.loc[:, ~frame.columns.duplicated()].reset_index(drop=True)
    types, sound = findings.wrong_types(frame, table)
    tally = Tally(table, sound)
    tally.add(frame)
    found = [*names, *types, *tally.findings(rows, class_rows, missing, known_ahead)]
    found += _repeated(frame, table, duplicates)
    unjudged = set() if len(sound) == len(table.columns) else {"checks"}
    if not any(column.name == table.label for column in sound):
        unjudged |= {"labels", "classes"}
    found += _of_whole(frame, table, found, unjudged)
    expected = _expected(table, duplicates, rows, class_rows, missing)
    return Contract(len(frame), tuple(_rules(expected, found, unjudged)))


def examine_sampled(
    sample: pd.DataFrame,
    scan: Scan,
    *,
    note: str,
    duplicates: float = TOLERATED_DUPLICATES,
    rows: int = MIN_ROWS,
    class_rows: int = MIN_CLASS_ROWS,
    missing: float = 1.0,
    known_ahead: Sequence[str] = (),
) -> Contract:
    """Return the same of all rows that were scanned, of which the frame is a sample.

    What is judged on the sample says so. The order of time isn't judged, as the sample is sorted.

    Args:
        sample: some of the rows.
        scan: what was found in all of them.
        note: says how many were read and sampled.
        duplicates: as of `examine`.
        rows: as of `examine`.
        class_rows: as of `examine`.
        missing: as of `examine`.
        known_ahead: as of `examine`.
    """
    table = scan.tally.table
    found = [
        each
        for each in scan.tally.findings(rows, class_rows, missing, known_ahead)
        if each.rule != "times"
    ]
    found += scan.repeated(duplicates * scan.rows)
    unjudged: set[str] = set()
    found += _of_whole(sample, table, found, unjudged)
    expected = _expected(table, duplicates, rows, class_rows, missing)
    for name in ("leak", "checks"):
        expected[name] += ", judged on the sample"
    expected["times"] += ", as the sample is sorted" if table.time else ""
    if scan.copies.halvings:
        expected["duplicates"] += f", estimated from {scan.copies.looked_at:,} rows"
    return Contract(scan.rows, tuple(_rules(expected, found, unjudged)), note=note)


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


def _repeated(frame: pd.DataFrame, table: Table, duplicates: float) -> list[Finding]:
    if not len(frame.columns):
        return []
    copies = summaries.copies(frame)
    if not copies.any():
        return []
    key = frame[table.time if table.time in frame.columns else frame.columns[0]]
    words = f"({key.name}): a copy of an earlier row"
    return [findings.of_rows("duplicates", words, key, copies, duplicates * len(frame))]


def _of_whole(
    frame: pd.DataFrame, table: Table, found: Sequence[Finding], unjudged: set[str]
) -> list[Finding]:
    """Return what only many rows at once can tell; add to `unjudged` what other faults hide."""
    leaking: list[Finding] = []
    if unjudged or any(each.rule in ("labels", "classes") for each in found):
        unjudged.add("leak")
    else:
        known_late = "if it isn't known when a row is scored, name it in `ignored`"
        leaking = [
            Finding("leak", 1, f"{leak.said}; {known_late}.") for leak in leaks.told(frame, table)
        ]
    return leaking if "checks" in unjudged else leaking + findings.of_checks(frame, table)
