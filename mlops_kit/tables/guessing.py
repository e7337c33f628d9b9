"""Look at a source, and guess its declaration: each guess with its reason."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.formatting import did_you_mean
from mlops_kit.tables import dialects, peeking, sources
from mlops_kit.tables.contract import MIN_ROWS
from mlops_kit.tables.kinds import find_kind
from mlops_kit.tables.roles import (
    GuessedColumn,
    Roles,
    find_label,
    find_slices,
    find_task,
    find_time,
)
from mlops_kit.tables.table import Column, Table

if TYPE_CHECKING:
    from mlops_kit.tables.dialects import Dialect

LOOKED_AT = 200_000
"""Rows that a guess is made from."""

_MAX_CATEGORIES = 50
_ID_NAME = re.compile(r"(^|_|[a-z])(id|ID|Id|uuid|guid|key|no|nr)$|^(id|index|row|uuid)$", re.I)
_FEW_OF_A_CLASS = 200
"""With fewer rows of a class, a quarter of them can hardly decide."""


@dataclass(frozen=True)
class Guess:
    """A table as it was guessed, and why; `source` is what was looked at, `rows` how many."""

    table: Table
    source: str
    rows: int
    reasons: dict[str, str]
    duplicates: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def lines(self) -> list[str]:
        """Each guess, a line a column, then the roles and what to look at."""
        rows = [
            (textwrap.shorten(each.name, 40), each.kind, self.table.role(each.name))
            for each in self.table.columns
        ]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        found = [
            "  ".join([*map(str.ljust, row, widths), self.reasons[column.name]])
            for row, column in zip(rows, self.table.columns, strict=True)
        ]
        return [*found, *self.notes]


def guess(source: str | Path, name: str, roles: Roles | None = None) -> Guess:
    """Return the guessed declaration of a source, as the table of the model `name`.

    Raises DataError for a source that can't be read or has no column to predict, and
    ParameterError for a role that names no column.
    """
    roles = roles or Roles()
    found, dialect, is_all = peeking.peek(source, LOOKED_AT)
    dialect = dialects.merged(dialect, day_first=roles.day_first)
    names = list(found.column_names)
    _check_names(sources.shown(source), names)
    _check_roles(roles, names)
    columns = [_column(each, found.column(each), dialect, found.num_rows) for each in names]
    by_name = {each.column.name: each for each in columns}
    label = roles.label or find_label(columns)
    labelled, task, positive, why = find_task(by_name[label], found.column(label), roles)
    by_name[label] = labelled
    time, time_why = find_time(columns, label, roles)
    taken = {label, time, roles.entity, roles.amount}
    ignored = [
        each.column.name
        for each in columns
        if (each.is_id or each.is_constant) and each.column.name not in taken
    ]
    classes = labelled.column.categories
    if task == "binary":
        classes = (*(each for each in classes if each != positive), positive)
    table = Table(
        name,
        tuple(by_name[each].column for each in names),
        task,
        label,
        classes if task != "regression" else (),
        time,
        roles.entity,
        roles.amount,
        tuple(ignored),
        find_slices(columns, {*taken, *ignored}),
    )
    reasons = {each: by_name[each].reason for each in names}
    reasons[label] += f"; {why}"
    if time:
        reasons[time] += f"; {time_why}"
    for each in table.slices:
        reasons[str(each)] += "; each a slice"
    duplicates = found.num_rows - found.group_by(names).aggregate([]).num_rows
    columns = [by_name[each] for each in names]
    notes = _notes(table, columns, found, is_all, roles)
    return Guess(
        table, str(source), found.num_rows, reasons, duplicates / found.num_rows, tuple(notes)
    )


def _check_names(source: str, names: Sequence[str]) -> None:
    if all(re.fullmatch(r"[+-]?[\d.,]+", each) for each in names):
        raise DataError(
            f"The first line of {source!r} holds {names[:5]}; expected the columns' names."
        )
    if "" in names:
        raise DataError(
            f"Column {names.index('') + 1} of {source!r} has no name; expected one for each column."
        )


def _check_roles(roles: Roles, names: Sequence[str]) -> None:
    for role in ("label", "time", "entity", "amount"):
        given = getattr(roles, role)
        if given and given not in names:
            raise ParameterError(
                f"There is no column {given!r} for the {role}; expected one of {list(names)[:40]}."
                + did_you_mean(given, names)
            )


def _column(name: str, values: Any, dialect: Dialect, rows: int) -> GuessedColumn:
    """Return a column with the narrowest kind that all its values have."""
    from pyarrow import compute as pc

    column, array, why, strange = find_kind(name, values, dialect)
    known = array.drop_null()
    distinct = int(pc.count_distinct(known).as_py()) if len(known) else 0
    missing = array.null_count
    column = replace(column, nullable=missing > 0)
    if not len(known):
        return GuessedColumn(replace(column, kind="str"), "empty in each row", 0, True)
    if column.kind in ("int", "float"):
        column, why = _ranged(column, known, why)
    if column.kind == "str":
        column, why = _categories(column, known, distinct, rows, why)
    if missing:
        why += f"; {missing / rows:.1%} missing"
    is_unique = distinct == rows and rows > 20 and column.kind in ("str", "int")
    is_text = column.kind == "str" and not strange
    is_id = is_unique and (is_text or bool(_ID_NAME.search(name)) or _is_counter(column, known))
    if is_id:
        why = f"{distinct:,} values in {rows:,} rows: an id"
    is_constant = distinct == 1 and missing == 0 and rows > 1
    if is_constant:
        why += "; the same in each row"
    return GuessedColumn(column, why, distinct, is_constant, is_id, strange)


def _is_counter(column: Column, known: Any) -> bool:
    """Whether distinct values are whole numbers one after the other, as a row's number is."""
    from pyarrow import compute as pc

    if column.kind != "int":
        return False
    ends = pc.min_max(known).as_py()
    return bool(ends["max"] - ends["min"] == len(known) - 1)


def _ranged(column: Column, known: Any, why: str) -> tuple[Column, str]:
    from pyarrow import compute as pc

    found = pc.min_max(known).as_py()
    why += f" from {found['min']:,.6g} to {found['max']:,.6g}"
    return replace(column, low=0.0 if found["min"] >= 0 else None), why


def _categories(
    column: Column, known: Any, distinct: int, rows: int, why: str
) -> tuple[Column, str]:
    from pyarrow import compute as pc

    if distinct <= _MAX_CATEGORIES and (distinct <= 20 or distinct < rows / 20):
        values = sorted(pc.unique(known).to_pylist())
        plain = f"{distinct} values" if why == "text" else f"{why}; {distinct} values"
        return replace(column, categories=tuple(values)), plain
    return column, f"{why}, {distinct:,} values"


def _notes(
    table: Table, columns: Sequence[GuessedColumn], found: Any, is_all: bool, roles: Roles
) -> list[str]:
    """Return what somebody should look at."""
    notes = []
    if not is_all:
        notes.append(
            f"Looked at {found.num_rows:,} rows; another row may hold another kind of value, or a "
            "category that isn't declared."
        )
    elif found.num_rows < MIN_ROWS:
        notes.append(f"There are {found.num_rows:,} rows; the contract expects {MIN_ROWS:,}.")
    notes += [f"{each.column.name!r} is text and seems not to be: {each.odd}."
              for each in columns if each.odd]  # fmt: skip
    label = next(each for each in columns if each.column.name == table.label)
    if label.missing:
        notes.append(f"{label.missing:,} rows have no label; they are refused: leave them out.")
    if not roles.label:
        notes.append(f"{table.label!r} is taken for what is predicted; --target names another.")
    if table.task == "binary" and not roles.positive:
        notes.append(
            f"{table.positive!r} is taken for the class to find; --positive names another."
        )
    if label.rarest and label.rarest < _FEW_OF_A_CLASS and is_all:
        notes.append(
            f"The rarest class has {label.rarest:,} rows, and a quarter of them judges the model: "
            "the verdict may be inconclusive."
        )
    if not table.time:
        notes.append("No column orders the rows; they are split by chance. --time names one.")
    if not table.amount and table.task == "binary":
        notes.append("No column says what a row is worth; --amount names one.")
    return notes
