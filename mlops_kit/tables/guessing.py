"""Look at a source, and guess its declaration: each guess with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.formatting import did_you_mean
from mlops_kit.tables import converting, peeking
from mlops_kit.tables.roles import GuessedColumn, Roles, find_label, find_task, find_time
from mlops_kit.tables.table import Column, Kind, Table

if TYPE_CHECKING:
    from mlops_kit.tables.dialects import Dialect

LOOKED_AT = 200_000
"""Rows that a guess is made from."""

_MAX_CATEGORIES = 50
_BIT_WORDS = {"true", "false", "t", "f"}
_ID_NAME = re.compile(r"(^|_|[a-z])(id|ID|Id|uuid|guid|key|no|nr)$|^(id|index|row|uuid)$", re.I)
_DATE = re.compile(r"\d{1,2}[/-]\d{1,2}[/-]\d{4}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,. '’]\d{3})+([.,]\d+)?$")
_ZEROS = re.compile(r"^0\d+$")


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
        width = max(len(column.name) for column in self.table.columns)
        found = [
            f"{column.name:<{width}}  {column.kind:<8}  {self.table.role(column.name):<8}  "
            f"{self.reasons[column.name]}"
            for column in self.table.columns
        ]
        return [*found, *self.notes]


def guess(source: str | Path, name: str, roles: Roles | None = None) -> Guess:
    """Return the guessed declaration of a source, as the table of the model `name`.

    Raises DataError for a source that can't be read or has no column to predict, and
    ParameterError for a role that names no column.
    """
    roles = roles or Roles()
    found, dialect, is_all = peeking.peek(source, LOOKED_AT)
    names = list(found.column_names)
    if all(re.fullmatch(r"[+-]?[\d.,]+", each) for each in names):
        raise DataError(
            f"The first line of {str(source)!r} holds {names[:5]}; expected the columns' names."
        )
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
    )
    reasons = {each: by_name[each].reason for each in names}
    reasons[label] += f"; {why}"
    if time:
        reasons[time] += f"; {time_why}"
    duplicates = found.num_rows - found.group_by(names).aggregate([]).num_rows
    notes = _notes(table, found, is_all, roles)
    return Guess(
        table, str(source), found.num_rows, reasons, duplicates / found.num_rows, tuple(notes)
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

    kind, array, why = _kind(name, values, dialect)
    known = array.drop_null()
    distinct = int(pc.count_distinct(known).as_py()) if len(known) else 0
    missing = array.null_count
    column = Column(name, kind, nullable=missing > 0)
    if not len(known):
        return GuessedColumn(replace(column, kind="str"), "empty in each row", 0, True)
    if kind in ("int", "float"):
        column, why = _ranged(column, known, why)
    if kind == "str":
        column, why = _categories(column, known, distinct, rows, why)
    if missing:
        why += f"; {missing / rows:.1%} missing"
    is_unique = distinct == rows and rows > 20 and kind in ("str", "int")
    is_text = kind == "str" and ":" not in why
    is_id = is_unique and (is_text or bool(_ID_NAME.search(name)))
    if is_id:
        why = f"{distinct:,} values in {rows:,} rows: an id"
    is_constant = distinct == 1 and missing == 0 and rows > 1
    if is_constant:
        why += "; the same in each row"
    return GuessedColumn(column, why, distinct, is_constant, is_id)


def _kind(name: str, values: Any, dialect: Dialect) -> tuple[Kind, Any, str]:
    """Return the kind, the values as that kind, and the reason."""
    import pyarrow as pa
    from pyarrow import compute as pc

    text = values.combine_chunks()
    if pa.types.is_dictionary(text.type):
        text = text.dictionary_decode()
    is_text = pa.types.is_string(text.type) or pa.types.is_large_string(text.type)
    if is_text:
        cells = set(map(str.lower, pc.unique(text.drop_null())[:1_000].to_pylist()))
        if {each.strip() for each in cells} - {""} <= _BIT_WORDS:
            return "bool", converting.convert(Column(name, "bool"), text, dialect)[0], "true, false"
        if any(_ZEROS.match(each.strip()) for each in cells):
            return "str", _as("str", name, text, dialect)[0], "digits with zeros before them"
    for kind, why in _tried(text.type):
        array, bad = _as(kind, name, text, dialect)
        if not len(bad) and len(array.drop_null()):
            return kind, array, why
    known = [each.strip() for each in cells if each.strip()] if is_text else []
    why = "text"
    if known and all(_DATE.match(each) for each in known):
        why = "text: dates whose day or month may be first; write them as 2026-12-31"
    if known and all(_THOUSANDS.match(each) for each in known):
        why = "text: numbers with marks for thousands; write them without"
    return "str", _as("str", name, text, dialect)[0], why


def _as(kind: Kind, name: str, values: Any, dialect: Dialect) -> tuple[Any, Any]:
    return converting.convert(Column(name, kind, nullable=True), values, dialect)


def _tried(kind: Any) -> list[tuple[Kind, str]]:
    """Return the kinds that values of a type may be, the narrowest first."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return [("bool", "true, false")]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return [("datetime", "dates")]
    numbers: list[tuple[Kind, str]] = [("int", "whole numbers"), ("float", "numbers")]
    return numbers if not pa.types.is_string(kind) else [*numbers, ("datetime", "dates")]


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


def _notes(table: Table, found: Any, is_all: bool, roles: Roles) -> list[str]:
    """Return what somebody should look at."""
    notes = []
    if not is_all:
        notes.append(
            f"Looked at the first {found.num_rows:,} rows; a value that comes later may be "
            "another kind, or a category that isn't declared."
        )
    empty = sum(
        1
        for each in found.column(table.label).combine_chunks()
        if each.as_py() is None or not str(each.as_py()).strip()
    )
    if empty:
        notes.append(f"{empty:,} rows have no label; they are refused: leave them out.")
    if not roles.label:
        notes.append(f"{table.label!r} is taken for what is predicted; --target names another.")
    if not table.time:
        notes.append("No column orders the rows; they are split by chance. --time names one.")
    if not table.amount and table.task == "binary":
        notes.append("No column says what a row is worth; --amount names one.")
    return notes
