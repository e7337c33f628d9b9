"""Guess what is predicted, and which column orders the rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.tables import converting
from mlops_kit.tables.dialects import MISSING_WORDS
from mlops_kit.tables.table import MAX_CLASSES, Column, Kind, Task, Value

_MAX_CLASS_NUMBERS = 20
_TIME_NAME = re.compile(r"time|date|day|stamp|created|when|_at$|_on$", re.I)
_NO_TIME_NAME = re.compile(r"birth|dob|end|due|expir|until|valid", re.I)
_LABEL_NAMES = ("target", "label", "class", "y", "outcome", "response", "default")
# Words for nothing that a class may have as its name.
_CLASS_WORDS = {"none", "nil", "missing"}
_MAX_SLICES, _MAX_SLICE_VALUES = 4, 8
_POSITIVE = ("yes", "true", "1", "1.0", "y", "t", "bad", "positive")


@dataclass(frozen=True)
class Roles:
    """What somebody says of the columns; empty is guessed.

    `day_first` is for dates like 03/04/2026 where no other of the column shows it.
    """

    label: str = ""
    time: str = ""
    positive: str = ""
    entity: str = ""
    amount: str = ""
    task: Task | None = None
    day_first: bool | None = None


@dataclass(frozen=True)
class GuessedColumn:
    """One column as it was found; `reason` says why it is what it is.

    `odd` says why a column that seems to be numbers or dates is text, where one is. Of a label,
    `missing` are the rows without one, and `rarest` those of its rarest class.
    """

    column: Column
    reason: str
    distinct: int
    is_constant: bool = False
    is_id: bool = False
    odd: str = ""
    missing: int = 0
    rarest: int = 0


def find_label(columns: Sequence[GuessedColumn]) -> str:
    """Return the column that is probably predicted."""
    for wanted in _LABEL_NAMES:
        for each in columns:
            if each.column.name.lower() == wanted:
                return each.column.name
    last = columns[-1]
    if 2 <= last.distinct <= _MAX_CLASS_NUMBERS:
        return last.column.name
    raise ParameterError(
        "No column looks like what is to be predicted; name it by --target, one of "
        f"{[each.column.name for each in columns][:40]}."
    )


def find_task(
    guessed: GuessedColumn, values: Any, roles: Roles
) -> tuple[GuessedColumn, Task, Value, str]:
    """Return the label's column with its classes, the task, the positive class and the reason."""
    from pyarrow import compute as pc

    column = guessed.column
    task: Task = roles.task or _task(guessed)
    if guessed.odd and roles.task != "multiclass":
        raise DataError(
            f"The label {column.name!r} is text and seems not to be: {guessed.odd}, or say "
            "--task multiclass."
        )
    if task == "regression":
        if not column.is_number:
            raise DataError(f"The label {column.name!r} is text; a regression takes a number.")
        plain = replace(column, kind="float", nullable=False)
        return replace(guessed, column=plain), task, "", "a number: regression"
    kind: Kind = "int" if column.kind == "float" else column.kind
    counts: Counter[Any] = Counter()
    for each in pc.value_counts(values.combine_chunks()):
        counts[_value(kind, each["values"].as_py())] += each["counts"].as_py()
    guessed = replace(guessed, missing=counts.pop(None, 0))
    if task == "multiclass" and len(counts) == 2:
        task = roles.task or "binary"
    if not 2 <= len(counts) <= MAX_CLASSES or (task == "binary" and len(counts) != 2):
        raise DataError(
            f"The label {column.name!r} has {len(counts):,} values {list(counts)[:5]}; expected "
            f"{'2' if task == 'binary' else f'2 to {MAX_CLASSES}'} for a {task} task"
            f"{', or numbers' if kind == 'str' else ''}."
        )
    _check_distinct(column.name, counts)
    classes = tuple(sorted(counts, key=lambda each: (str(type(each)), each)))
    column = replace(column, kind=kind, nullable=False, categories=classes, low=None, high=None)
    guessed = replace(guessed, column=column, is_id=False, rarest=min(counts.values()))
    if task == "multiclass":
        return guessed, task, "", f"{len(classes)} classes: multi-class"
    positive, why = _positive(counts, roles.positive)
    return guessed, task, positive, f"2 classes: binary, {positive!r} is positive, as {why}"


def _task(guessed: GuessedColumn) -> Task:
    if guessed.distinct == 2:
        return "binary"
    if not guessed.column.is_number:
        return "multiclass"
    is_few = guessed.column.kind == "int" and guessed.distinct <= _MAX_CLASS_NUMBERS
    return "multiclass" if is_few else "regression"


def _check_distinct(label: str, counts: Iterable[Any]) -> None:
    """Raise DataError for classes that differ only in capitals."""
    spelt: dict[str, Any] = {}
    for each in counts:
        other = spelt.setdefault(str(each).casefold(), each)
        if other != each:
            raise DataError(
                f"The label {label!r} holds {other!r} and {each!r}, which differ only in capitals; "
                "expected each class in one spelling."
            )


def _value(kind: Kind, raw: Any) -> Any:
    """Return a label's value as its kind; None for a missing one, as the reader takes it."""
    text = "" if raw is None else str(raw).strip()
    if text.lower() in MISSING_WORDS - _CLASS_WORDS:
        return None
    if kind == "bool":
        return text.lower() in converting.TRUE_WORDS
    return int(float(text)) if kind == "int" else text


def _positive(counts: dict[Any, int], given: str) -> tuple[Value, str]:
    """Return the class that a model should find."""
    if given:
        for each in counts:
            if str(each).lower() == given.strip().lower():
                return each, "you say"
        raise ParameterError(f"No label is {given!r}; expected one of {list(counts)}.")
    words = {str(each).lower(): each for each in counts}
    # Of 1 and 2 either may be the one to find.
    for word in () if {*words} == {"1", "2"} else _POSITIVE:
        if word in words:
            return words[word], "its name says"
    rarest = min(counts, key=lambda each: (counts[each], str(each)))
    return rarest, "it is the rarer"


def find_time(columns: Sequence[GuessedColumn], label: str, roles: Roles) -> tuple[str, str]:
    """Return the column that orders the rows, if one does."""
    if roles.time:
        return roles.time, "orders the rows, as you say"
    likely = [
        each.column.name
        for each in columns
        if each.column.name != label
        and not each.column.nullable
        and not each.is_constant
        and each.column.kind == "datetime"
        and not _NO_TIME_NAME.search(each.column.name)
    ]
    named = [name for name in likely if _TIME_NAME.search(name)]
    if named:
        return named[0], "orders the rows, by its name"
    return (likely[0], "orders the rows, as the only date") if len(likely) == 1 else ("", "")


def find_slices(columns: Sequence[GuessedColumn], others: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of few categories, whose values are worth judging on their own.

    `others` are the columns that aren't features.
    """
    few = [
        each
        for each in columns
        if each.column.name not in {*others}
        and not each.odd
        and (each.column.kind == "bool" or (each.column.kind == "str" and each.column.categories))
        and 2 <= each.distinct <= _MAX_SLICE_VALUES
    ]
    chosen = sorted(few, key=lambda each: each.distinct)[:_MAX_SLICES]
    return tuple(each.column.name for each in few if each in chosen)
