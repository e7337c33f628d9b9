"""What two declarations of one table don't have in common."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_kit.errors import TableError
from mlops_kit.tables.table import Table

_ROLES = ("task", "label", "classes", "unseen", "time", "entity", "amount", "ignored")
# What a model's answers depend on.
_ANSWERS = ("task", "label", "classes", "unseen")


def differences(first: Table, second: Table) -> list[str]:
    """Return the roles that differ, and the names of the columns that do."""
    columns, others = ({each.name: each for each in one.columns} for one in (first, second))
    names = sorted(columns.keys() | others.keys())
    return [
        *_roles(first, second, _ROLES),
        *(repr(each) for each in names if columns.get(each) != others.get(each)),
    ]


def check(declared: Table, held: Table, what: str) -> None:
    """Raise TableError where a model would answer otherwise by its own table than by the project's.

    `held` is the one that it was registered with, and `what` names the model. Other ranges of a
    column, slices and roles that no answer depends on may differ.
    """
    found = _roles(declared, held, _ANSWERS)
    mine, other = (
        {each.name: (each.kind, each.nullable, each.categories) for each in one.features}
        for one in (declared, held)
    )
    found += [repr(each) for each in sorted({*mine, *other}) if mine.get(each) != other.get(each)]
    if not found and [*mine] != [*other]:
        found = ["the order of its columns"]
    if found:
        raise TableError(
            f"The table {declared.name!r} in workflows/tables differs in {', '.join(found)} from "
            f"the one that {what} was registered with; expected the same. Train again, or restore "
            "the declaration.",
            code="table.changed",
        )


def _roles(first: Table, second: Table, names: Sequence[str]) -> list[str]:
    return [name for name in names if getattr(first, name) != getattr(second, name)]
