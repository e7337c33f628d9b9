"""Say what transactions must hold before a model may learn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from mlops_kit.examples.fraud.table import TYPES
from mlops_kit.tables.rules import Contract, Rule, Status

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Values = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

MIN_ROWS, MIN_CLASS_ROWS = 1_000, 10
TOLERATED_DUPLICATES = 0.01
"""Share of repeated rows; the data set that the columns come from has 0.0038."""

MAX_AUC = 0.9995
"""A column that separates the classes better than this knows the answer."""

_MAX_SHOWN = 3
_LOOSE: dict[str, Any] = {"ignore_na": False, "n_failure_cases": _MAX_SHOWN}


def check(frame: pd.DataFrame, *, duplicates: float = TOLERATED_DUPLICATES) -> pd.DataFrame:
    """Return the frame if it keeps the contract; raise DataError with all reasons if not."""
    examine(frame, duplicates=duplicates).raise_if_failed()
    return frame


def examine(frame: pd.DataFrame, *, duplicates: float = TOLERATED_DUPLICATES) -> Contract:
    """Return what pandera finds in the frame; `duplicates` is the tolerated share of rows."""
    import pandera.pandas as pa

    if not frame.columns.is_unique:
        twice = [str(name) for name in frame.columns[frame.columns.duplicated()]]
        findings = [("columns", len(twice), f"{_few(twice)} more than once.")]
        return _contract(len(frame), findings, set(_expected(duplicates)) - {"columns"}, duplicates)
    # Row numbers, whatever the index is.
    frame = frame.reset_index(drop=True)
    labels = _labels(frame)
    unjudged = set() if labels is not None else {"leak"}
    findings = []
    try:
        _schema(labels).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for error in errors.schema_errors:
            if error.reason_code.name == "CHECK_ERROR":
                unjudged.add(error.check.name)
            else:
                findings.append(_finding(frame, labels, error))
    return _contract(len(frame), findings, unjudged, duplicates)


def _expected(duplicates: float) -> dict[str, str]:
    """Return each rule's name with what it expects, in the order of the table."""
    return {
        "columns": "Time, V1 to V28, Amount and Class, nothing else",
        "types": "float64, and int64 for Class",
        "finite": "no empty and no infinite value",
        "amounts": "Amount at least 0",
        "times": "Time at least 0, never decreasing",
        "labels": "Class 0 or 1",
        "classes": f"at least {MIN_CLASS_ROWS} rows of each class",
        "rows": f"at least {MIN_ROWS:,} rows",
        "duplicates": f"at most {duplicates:.2%} of the rows repeat another",
        "leak": f"no column alone tells the classes apart (AUC up to {MAX_AUC})",
    }


def _contract(
    rows: int, findings: Iterable[tuple[str, int, str]], unjudged: set[str], duplicates: float
) -> Contract:
    """Return the rules in order, with the findings of each."""
    findings = list(findings)
    rules = []
    for name, expected in _expected(duplicates).items():
        count = sum(number for rule, number, _ in findings if rule == name)
        reasons = tuple(reason for rule, _, reason in findings if rule == name)
        tolerated = duplicates * rows if name == "duplicates" else 0
        status: Status = "fail" if count > tolerated else "pass"
        if name in unjudged:
            status = "not judged"
        rules.append(Rule(name, expected, status, count, reasons))
    return Contract(rows, tuple(rules), "mlops_kit.examples.fraud.contract")


def _schema(labels: Mask | None) -> Any:
    """Return the pandera schema; `labels` say which rows are fraud, if that can be known."""
    import numpy as np
    import pandera.pandas as pa

    columns = {}
    for name, kind in TYPES.items():
        rules: list[tuple[str, str, Callable[[Values], Mask]]] = [
            ("finite", "empty or infinite", np.isfinite)
        ]
        if name == "Time":
            rules += [
                ("times", "below 0", _not_negative),
                ("times", "before the row above", _not_before),
            ]
        if name == "Amount":
            rules += [("amounts", "below 0", _not_negative)]
        if name == "Class":
            rules += [("labels", "neither 0 nor 1", _zero_or_one)]
        elif labels is not None:
            rules += [
                ("leak", "", lambda values: np.full(values.size, _auc(labels, values) <= MAX_AUC))
            ]
        checks = [
            pa.Check(partial(_judge, rule), name=title, error=fault, **_LOOSE)
            for title, fault, rule in rules
        ]
        checks.append(pa.Check(partial(_is_of_type, kind), name="types"))
        columns[name] = pa.Column(None, checks, nullable=True)
    whole = {
        "rows": lambda frame: len(frame) >= MIN_ROWS,
        "classes": lambda frame: _smaller_class(frame) >= MIN_CLASS_ROWS,
        "duplicates": lambda frame: ~frame.duplicated(),
    }
    frame_checks = [
        pa.Check(rule, name=title, n_failure_cases=_MAX_SHOWN) for title, rule in whole.items()
    ]
    return pa.DataFrameSchema(columns, checks=frame_checks, strict=True)


def _judge(rule: Callable[[Values], Mask], series: pd.Series[Any]) -> pd.Series[Any]:
    """Apply a rule for numbers; what isn't numbers is left to the rule about types."""
    import numpy as np
    import pandas as pd

    passed: Mask = np.ones(len(series), dtype=bool)
    if series.dtype.kind in "biuf":
        passed = rule(series.to_numpy(dtype="float64", na_value=np.nan))
    return pd.Series(passed, index=series.index)


def _is_of_type(kind: str, series: pd.Series[Any]) -> bool:
    # pandera takes Int64, which holds empty values, for int64.
    return str(series.dtype) == kind


def _not_negative(values: Values) -> Mask:
    below: Mask = values < 0
    return ~below


def _not_before(values: Values) -> Mask:
    import numpy as np

    earlier: Mask = np.diff(values, prepend=values[:1]) < 0
    return ~earlier


def _zero_or_one(values: Values) -> Mask:
    allowed: Mask = (values == 0) | (values == 1)
    return allowed


def _auc(labels: Mask, values: Values) -> float:
    """Return how well the values order the classes: 0.5 is not at all, 1 is perfectly.

    The area under the ROC curve, in the better direction: Mann-Whitney's U with ties halved.
    """
    import numpy as np

    from mlops_kit.tables import leaks

    return leaks.auc(labels, values) if np.isfinite(values).all() else 0.5


def _labels(frame: pd.DataFrame) -> Mask | None:
    """Return which rows are fraud, or None where too few are known to judge a leak."""
    if "Class" not in frame or _smaller_class(frame) < MIN_CLASS_ROWS:
        return None
    labels: Mask = (frame["Class"] == 1).to_numpy(dtype=bool)
    return labels


def _smaller_class(frame: pd.DataFrame) -> int:
    return min(int((frame["Class"] == label).sum()) for label in (0, 1))


def _finding(frame: pd.DataFrame, labels: Mask | None, error: Any) -> tuple[str, int, str]:
    """Return the broken rule's name, the count and the reason for one of pandera's errors."""
    column = str(error.failure_cases)
    match error.reason_code.name:
        case "COLUMN_NOT_IN_DATAFRAME":
            return "columns", 1, f"{column!r} is missing."
        case "COLUMN_NOT_IN_SCHEMA":
            return "columns", 1, f"{column!r} is not a column of the contract."
    rule = error.check.name
    if rule == "rows":
        return rule, 1, f"{len(frame):,} rows, not {MIN_ROWS:,}."
    if rule == "classes":
        counts = {label: int((frame["Class"] == label).sum()) for label in (0, 1)}
        return rule, 1, f"{counts[0]:,} genuine and {counts[1]:,} fraud rows."
    name = error.schema.name
    if rule == "types":
        return (
            rule,
            1,
            f"{name} is {frame[name].dtype}, not {TYPES[name]}{_not_a_number(frame[name])}.",
        )
    if rule == "leak" and labels is not None:
        area = _auc(labels, frame[name].to_numpy(dtype="float64"))
        return rule, 1, f"{name} alone tells the classes apart (AUC {area:.5f})."
    broken = (~error.check_output).to_numpy().nonzero()[0]
    values = frame["Time" if rule == "duplicates" else name]
    first = _few([f"row {row} ({values.iloc[row]!s})" for row in broken[: _MAX_SHOWN + 1]])
    what = (
        "a copy of an earlier row (its Time)"
        if rule == "duplicates"
        else f"{name} {error.check.error}"
    )
    return rule, len(broken), f"{what} in {len(broken):,} row(s): {first}."


def _not_a_number(series: pd.Series[Any]) -> str:
    """Return the first value that isn't a number, for a column that should hold numbers."""
    import pandas as pd

    wrong = pd.to_numeric(series, errors="coerce").isna().to_numpy().nonzero()[0]
    return f"; row {wrong[0]} is {series.iloc[wrong[0]]!r}" if wrong.size else ""


def _few(items: list[str]) -> str:
    """Return the first few items, and say when there are more."""
    return ", ".join(items[:_MAX_SHOWN]) + (", …" if len(items) > _MAX_SHOWN else "")
