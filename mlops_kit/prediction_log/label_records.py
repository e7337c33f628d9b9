"""Labels as people deliver them, each a mapping, become labels of the log, or are refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import ObservationsError
from mlops_kit.formatting import did_you_mean
from mlops_kit.prediction_log.label import STATES, Label, State
from mlops_kit.tables.frames import class_key

if TYPE_CHECKING:
    from mlops_kit.tables.table import Table

FIELDS = ("id", "key", "row", "label", "time", "origin", "state")
_MAX_TEXT = 200
_MAX_ROW = 10**9
# A label from further ahead has a time in another unit, or of a broken clock; in seconds.
_MAX_AHEAD = 86_400.0


@dataclass(frozen=True)
class Refusal:
    """A label that wasn't taken: its place in what was delivered, from 0, and why."""

    place: int
    reason: str


class RecordReader:
    """Reads the labels of one model, raw as its table has them."""

    def __init__(
        self,
        table: Table | None,
        now: float,
        *,
        is_text: bool = False,
        state: State = "final",
    ) -> None:
        """Take a table's classes, 0 and 1 for a model without one.

        Args:
            table: declares the label.
            now: the time of a label that gives none, in seconds since the epoch.
            is_text: whether all values are text, as in CSV.
            state: of a label that gives none.
        """
        self._is_number = table is not None and table.task == "regression"
        classes = table.classes if table is not None else (0, 1)
        self._expected = "a number" if self._is_number else f"one of {list(classes)!r:.200}"
        self._index = {class_key(each): place for place, each in enumerate(classes)}
        self._texts = {str(each): place for place, each in enumerate(classes)} if is_text else {}
        self._now, self._is_text, self._state = now, is_text, state

    def read(self, records: Iterable[object], first: int = 0) -> tuple[list[Label], list[Refusal]]:
        """Return the labels, and those that are refused; `first` is the place of the first one."""
        labels, refused = [], []
        for place, record in enumerate(records, first):
            try:
                labels.append(self._label(record))
            except ObservationsError as error:
                refused.append(Refusal(place, str(error)))
        return labels, refused

    def _label(self, record: object) -> Label:
        if not isinstance(record, Mapping):
            raise _refusal(f"{record!r:.80} is no object with {list(FIELDS)}.")
        given = {name: value for name, value in record.items() if not _is_missing(value)}
        for name in given:
            if name not in FIELDS:
                raise _refusal(
                    f"{name!r:.80} is no field; expected one of {list(FIELDS)}."
                    + did_you_mean(str(name), FIELDS)
                )
        if ("id" in given) == ("key" in given):
            raise _refusal("A label has either an 'id' or a 'key'; expected one of the two.")
        if "label" not in given:
            raise _refusal(f"'label' is missing; expected {self._expected}.")
        return Label(
            _name(given, "id"),
            self._row(given.get("row", 0)),
            self._value(given["label"]),
            self._time(given.get("time", self._now)),
            _name(given, "origin"),
            _name(given, "key"),
            _is_final(given.get("state", self._state)),
        )

    def _value(self, value: Any) -> float:
        """Return a raw label as a number."""
        found: float | None = None
        if not self._is_number:
            found = self._index.get(class_key(value))
            if found is None:
                found = self._texts.get(value if isinstance(value, str) else str(value))
        elif (isinstance(value, (int, float)) and not isinstance(value, bool)) or self._is_text:
            found = _float(value)
        if found is None or not math.isfinite(found):
            raise _refusal(f"'label' is {value!r:.80}; expected {self._expected}.")
        return float(found)

    def _row(self, value: Any) -> int:
        number = _float(value) if self._is_text or _is_number(value) else None
        if number is None or not 0 <= number <= _MAX_ROW or number != int(number):
            raise _refusal(f"'row' is {value!r:.80}; expected a row of the request, from 0.")
        return int(number)

    def _time(self, value: Any) -> float:
        number: float | None = None
        if isinstance(value, datetime):
            number = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        elif _is_number(value):
            number = _float(value)
        elif isinstance(value, str):
            number = _float(value) if self._is_text else None
            number = _iso(value) if number is None else number
        if number is None or not 0 <= number <= self._now + _MAX_AHEAD:
            raise _refusal(
                f"'time' is {value!r:.80}; expected when the label became known, in seconds since "
                "1970 or as ISO 8601, and not in the future."
            )
        return number


def _is_final(value: Any) -> bool:
    if value not in STATES:
        raise _refusal(f"'state' is {value!r:.80}; expected one of {[*STATES]}.")
    return bool(value == "final")


def _name(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise _refusal(
            f"{name!r} is {value!r:.80}; expected text of at most {_MAX_TEXT} printable characters."
        )
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _float(value: Any) -> float | None:
    try:
        found = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _iso(text: str) -> float | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _refusal(why: str) -> ObservationsError:
    return ObservationsError(why, code="prediction-log.label")
