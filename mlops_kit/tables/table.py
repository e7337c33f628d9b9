"""A model's table as one value: its columns, their roles, and the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from mlops_kit.errors import TableError
from mlops_kit.formatting import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Array = npt.NDArray[Any]
    Mask = npt.NDArray[np.bool_]

Kind = Literal["float", "int", "bool", "str", "category", "datetime"]
Task = Literal["binary", "multiclass", "regression"]
Unseen = Literal["keep", "missing", "refuse"]
Value = str | int | bool | float
Slicer = Callable[["pd.DataFrame"], Mapping[str, "Mask"]]

TASKS: tuple[Task, ...] = get_args(Task)
# Decisions are logged as one byte, a class's index.
MAX_CLASSES = 255
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column: its type, its range or categories, and whether a value may be missing.

    `low` and `high` are inclusive. `categories` are the values that the column may hold; empty
    for any. A category beyond them is handled as the table's `unseen` says. `day_first` says
    whether 03/04/2026 is in April, in a column of dates that are read from text.
    """

    name: str
    kind: Kind
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[Value, ...] = ()
    day_first: bool | None = None

    @property
    def is_number(self) -> bool:
        """Whether a model sees it as a number: all but text and categories."""
        return self.kind not in ("str", "category")

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        words = _KIND_WORDS[self.kind]
        if self.categories:
            shown = ", ".join(repr(each) for each in self.categories[:_MAX_SHOWN])
            more = len(self.categories) - _MAX_SHOWN
            words = f"one of {shown}" + (f" and {more} more" if more > 0 else "")
        elif self.low is not None and self.high is not None:
            words += f" from {self.low:g} to {self.high:g}"
        elif self.low is not None:
            words += f" of at least {self.low:g}"
        elif self.high is not None:
            words += f" of at most {self.high:g}"
        return f"{words}, or a missing value" if self.nullable else words


_MAX_SHOWN = 5
_KIND_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
    "category": "text",
    "datetime": "a date",
}


@dataclass(frozen=True)
class Table:
    """The columns of a model's data, what each is for, and what the model predicts.

    The features are the columns without another role, in this order. `classes` are the label's
    values: the negative and the positive one of a binary task, all of a multi-class task, none
    of a regression. `time` orders the rows, `entity` names what belongs together (a customer, a
    card), `amount` is what a row is worth, in the currency of the costs. `slices` are columns, or
    functions from a frame to masks by name, whose metrics are judged on their own. `unseen` says
    what happens to a category that isn't declared. `schema` is the pandera schema with the
    checks beyond these.
    """

    name: str
    columns: tuple[Column, ...]
    task: Task
    label: str
    classes: tuple[Value, ...] = ()
    time: str = ""
    entity: str = ""
    amount: str = ""
    ignored: tuple[str, ...] = ()
    slices: tuple[str | Slicer, ...] = ()
    unseen: Unseen = "keep"
    schema: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a table that contradicts itself, by TableError."""
        if len(self._by_name) != len(self.columns):
            names = [column.name for column in self.columns]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise self._error(f"declares {twice} more than once", "columns with distinct names")
        for role, name in self._roles():
            if name not in self._by_name:
                raise self._error(
                    f"names {name!r} as {role}",
                    f"one of its columns {list(self._by_name)}" + did_you_mean(name, self._by_name),
                )
        if not self.features:
            raise self._error("has no features", "a column without another role")
        for column in self.columns:
            if column.kind not in get_args(Kind):
                raise self._error(
                    f"declares {column.name!r} as {column.kind!r}", f"{get_args(Kind)}"
                )
        self._check_label()
        if self.amount and not self.column(self.amount).is_number:
            raise self._error(f"has the amount {self.amount!r}, which is text", "a number")

    def _check_label(self) -> None:
        if self.task not in TASKS:
            raise self._error(f"has the task {self.task!r}", f"one of {list(TASKS)}")
        if self.column(self.label).nullable:
            raise self._error(f"lets the label {self.label!r} be missing", "a label in each row")
        count = len(self.classes)
        if len({(type(each) is bool, each) for each in self.classes}) != count:
            raise self._error(f"has the classes {list(self.classes)}", "distinct ones")
        if self.task == "regression":
            if self.classes or not self.column(self.label).is_number:
                raise self._error("is a regression on classes", "a label that is a number")
        elif self.task == "binary" and count != 2:
            raise self._error(f"has the classes {list(self.classes)}", "two: negative, positive")
        elif not 2 <= count <= MAX_CLASSES:
            raise self._error(f"has {count} classes", f"2 to {MAX_CLASSES}")

    def _roles(self) -> list[tuple[str, str]]:
        roles = [("label", self.label)]
        optional = {"time": self.time, "entity": self.entity, "amount": self.amount}
        roles += [(role, name) for role, name in optional.items() if name]
        roles += [("ignored", name) for name in self.ignored]
        return roles + [("slice", each) for each in self.slices if isinstance(each, str)]

    def _error(self, what: str, expected: str) -> TableError:
        return TableError(f"The table {self.name!r} {what}; expected {expected}.")

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def column(self, name: str) -> Column:
        """Return a column by its name; raises TableError with the nearest one."""
        if name not in self._by_name:
            raise self._error(
                f"has no column {name!r}",
                f"one of {list(self._by_name)}" + did_you_mean(name, self._by_name),
            )
        return self._by_name[name]

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """What a model sees, in the order of its inputs."""
        others = {self.label, self.time, self.entity, *self.ignored}
        return tuple(column for column in self.columns if column.name not in others)

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in the order of the model's inputs."""
        return [column.name for column in self.features]

    @property
    def numbers(self) -> list[str]:
        """The names of the features that a model sees as numbers; the others are `texts`."""
        return [column.name for column in self.features if column.is_number]

    texts = property(lambda self: [each.name for each in self.features if not each.is_number])

    @property
    def positive(self) -> Value:
        """The positive class of a binary task."""
        if self.task != "binary":
            raise self._error(f"has the task {self.task!r}", "a binary one, with a positive class")
        return self.classes[1]

    def inputs(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the features as a model gets them, here and in service; see `frames.inputs`."""
        from mlops_kit.tables import frames

        return frames.inputs(self, frame)

    def labels(self, frame: pd.DataFrame) -> Array:
        """Return the labels: the class's index (int64), or the number (float64) of a regression.

        Raises TableError for a value that is no class, with its row.
        """
        from mlops_kit.tables import frames

        return frames.labels(self, frame)

    def amounts(self, frame: pd.DataFrame) -> Array:
        """Return what each row is worth (float64), 0 where the table has no amount."""
        from mlops_kit.tables import frames

        return frames.amounts(self, frame)

    def slice_masks(self, frame: pd.DataFrame) -> dict[str, Mask]:
        """Return which rows belong to each slice, by the slice's name."""
        from mlops_kit.tables import frames

        return frames.slice_masks(self, frame)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, without the slices' functions and the schema."""
        names = ("name", "task", "label", "classes", "time", "entity", "amount", "ignored")
        return {
            "schema_version": SCHEMA_VERSION,
            **{name: getattr(self, name) for name in names},
            "slices": [each for each in self.slices if isinstance(each, str)],
            "unseen": self.unseen,
            "columns": [_plain(column) for column in self.columns],
        }

    @classmethod
    def from_json(cls, data: Any, where: str) -> Table:
        """Return the table that `to_json` gave; raises TableError, which names `where`."""
        try:
            found = dict(data)
            version = found.pop("schema_version")
            columns = [
                Column(**{**each, "categories": tuple(each.get("categories", ()))})
                for each in found.pop("columns")
            ]
            lists: dict[str, Any] = {
                name: tuple(found.pop(name)) for name in ("classes", "ignored", "slices")
            }
            if version == SCHEMA_VERSION:
                return cls(columns=tuple(columns), **lists, **found)
            error = f"its schema_version is {version!r}"
        except (KeyError, TypeError, ValueError) as fault:
            error = repr(fault)
        raise TableError(
            f"{where} holds no table that this mlops-kit can read: {error}. Register the model "
            "anew."
        )

    def _repr_markdown_(self) -> str:
        lines = ["| column | type | values | role |", "|---|---|---|---|"]
        lines += [
            f"| {column.name} | {column.kind} | {column.expected} | {self.role(column.name)} |"
            for column in self.columns
        ]
        return "\n".join(lines)

    def role(self, name: str) -> str:
        """Return what a column is for, in words."""
        found = ["feature"] if name in self.feature_names else []
        return ", ".join([*found, *(role for role, each in self._roles() if each == name)])


def _plain(column: Column) -> dict[str, Any]:
    """Return what a column declares, without what it leaves open."""
    open_ = asdict(Column("", column.kind)) | {"kind": ""}
    return {name: value for name, value in asdict(column).items() if value != open_[name]}
