"""Generate transactions that behave like real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from mlops_kit.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Array = npt.NDArray[np.float64]

Drift = Literal["none", "features", "fraud"]

DAYS = 10
"""Days that generated data cover: a whole one in the smallest part of a split."""

DRIFT_FROM = 0.6
"""Share of the time after which a drift shows."""

_GENUINE_RHYTHM = (3, 2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 6, 5)
_FRAUD_RHYTHM = (5, 5, 6, 5, 4, 3, 3, 3, 4, 4, 5, 6, 5, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4)
"""Transactions in each hour of a day, relative to the others; fraud doesn't sleep."""

_SHIFTS: dict[str, dict[int, float]] = {
    "takeover": {3: -5.7, 4: 4.0, 10: -5.3, 12: -5.7, 14: -7.0, 17: -5.7},
    "testing": {2: 3.1, 4: 4.4, 7: -3.5, 11: 5.7, 14: -4.8, 16: -4.8},
    "new": {6: 4.5, 9: 4.5, 13: 4.2, 22: -4.5},
}
"""By how many standard deviations each mode of fraud moves which V: a line finds these."""

_TWO_SIDED = (8, 21, 27)
"""The Vs that the mode "outlier" moves up or down by chance: no line finds it, a tree does."""

_MODES = {"takeover": 0.56, "testing": 0.27, "outlier": 0.12, "hopeless": 0.05}
_DRIFTED_MODES = {"takeover": 0.18, "testing": 0.09, "outlier": 0.05, "hopeless": 0.05, "new": 0.63}
"""Shares of the modes among the frauds; a hopeless one looks like a genuine transaction."""

_FEATURE_DRIFT = {1: 0.5, 4: 0.7, 10: -0.6, 11: 0.6, 12: -0.5, 14: -0.8, 17: -0.4, 21: 0.9}
"""By how many standard deviations each V moves, for everybody, when the features drift."""


def generate(
    rows: int = 120_000,
    *,
    seed: int = 7,
    fraud_rate: float = 0.005,
    drift: Drift = "none",
) -> pd.DataFrame:
    """Return card transactions in time order, the same bytes for the same arguments.

    Columns as in `contract.COLUMNS`: Time in seconds since midnight of the first of `DAYS`
    days, V1 to V28, Amount in euro and Class (1 is fraud). Drift begins after `DRIFT_FROM` of the
    time: `features` moves everybody, `fraud` only the frauds, which no monitor of features sees.
    Raises ParameterError when no such data can be made.
    """
    import numpy as np

    frauds = _count(rows, fraud_rate, drift)
    random = np.random.default_rng(seed)
    times = np.concatenate(
        [
            _times(random.random(rows - frauds), _GENUINE_RHYTHM),
            # One fraud in each equal share of the time, so that every part of a split has some.
            _times((np.arange(frauds) + random.random(frauds)) / frauds, _FRAUD_RHYTHM),
        ]
    )
    labels = np.repeat(np.array([0, 1], dtype=np.int64), [rows - frauds, frauds])
    order = np.argsort(times, kind="stable")
    times, labels = times[order], labels[order]
    late = times >= DRIFT_FROM * DAYS * 86_400

    size = random.standard_normal(rows)
    values = _genuine(random, size)
    _commit_frauds(random, values, size, np.flatnonzero(labels), late & (drift == "fraud"))
    if drift == "features":
        for number, shift in _FEATURE_DRIFT.items():
            values[number - 1, late] += shift
        size[late] += 0.3
    return _frame(times, values, size, labels)


def _count(rows: int, fraud_rate: float, drift: str) -> int:
    """Return how many rows are frauds."""
    if drift not in get_args(Drift):
        raise ParameterError(f"drift is {drift!r}; expected one of {list(get_args(Drift))}.")
    if not 0 < fraud_rate < 0.5:
        raise ParameterError(f"fraud_rate is {fraud_rate!r}; expected more than 0, below 0.5.")
    frauds = round(rows * fraud_rate)
    if frauds < 1:
        raise ParameterError(
            f"rows={rows!r} at fraud_rate={fraud_rate!r} holds no fraud; expected at least one: "
            "ask for more rows or a higher rate."
        )
    return frauds


def _times(shares: Array, rhythm: tuple[int, ...]) -> Array:
    """Return the whole seconds by which these shares of all transactions have happened."""
    import numpy as np

    passed = np.concatenate([[0], np.cumsum(np.tile(rhythm, DAYS))])
    hours = np.interp(shares, passed / passed[-1], np.arange(passed.size))
    return np.floor(hours * 3600)


def _genuine(random: np.random.Generator, size: Array) -> Array:
    """Return 28 rows of standardized features; `size` is the standardized log of the amount."""
    import numpy as np

    values = random.standard_normal((28, size.size))
    # Some customers vary more than others in everything: tails that look like fraud.
    values *= np.exp(0.12 * random.standard_normal(size.size))
    for number, share in {2: -0.45, 5: -0.3, 7: 0.35, 20: 0.3}.items():
        values[number - 1] += share * size
    return values


def _commit_frauds(
    random: np.random.Generator,
    values: Array,
    size: Array,
    rows: npt.NDArray[np.int64],
    drifted: npt.NDArray[np.bool_],
) -> None:
    """Move the features of the frauds at `rows`, in place, each by its mode."""
    import numpy as np

    # Golden-ratio steps: any stretch of time holds the modes in their shares, so that what a
    # hundred frauds of a holdout measure depends little on chance.
    place = (random.random() + np.arange(rows.size) * 0.6180339887498949) % 1
    # Drawn for all, so that a drift changes only the frauds that it moves.
    strength = random.gamma(12.0, 1 / 12.0, rows.size)
    sides = random.choice([-1.0, 1.0], (len(_TWO_SIDED), rows.size))
    for late, shares in ((False, _MODES), (True, _DRIFTED_MODES)):
        mode_of = np.searchsorted(np.cumsum(list(shares.values()))[:-1], place, side="right")
        for index, mode in enumerate(shares):
            here = (mode_of == index) & (drifted[rows] == late)
            chosen = rows[here]
            for number, shift in _SHIFTS.get(mode, {}).items():
                values[number - 1, chosen] += shift * strength[here]
            if mode == "outlier":
                for number, side in zip(_TWO_SIDED, sides, strict=True):
                    values[number - 1, chosen] += 5.0 * side[here] * strength[here]
            if mode == "testing":
                size[chosen] = -2.0 + 0.3 * size[chosen]
            if mode == "takeover":
                size[chosen] += 0.5


def _frame(times: Array, values: Array, size: Array, labels: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Return the columns, rounded as the real ones are: processors differ in the last bits."""
    import numpy as np
    import pandas as pd

    # Principal components: the first varies most.
    values *= np.linspace(1.95, 0.33, 28)[:, np.newaxis]
    columns = {"Time": times}
    columns |= {f"V{number}": row for number, row in enumerate(_rounded(values, 6), start=1)}
    columns["Amount"] = _rounded(np.exp(3.1 + 1.5 * size), 2)
    return pd.DataFrame(columns | {"Class": labels}, copy=False)


def _rounded(values: Array, digits: int) -> Array:
    """Return the values rounded, without negative zeros."""
    import numpy as np

    return np.round(values, digits) + 0.0
