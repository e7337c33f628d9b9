"""Where the ticks of an axis stand: at round numbers and times, few enough to be read."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MINUTE, _HOUR, _DAY, _WEEK = 60, 3_600, 86_400, 604_800
# From 2 days on a step is whole weeks from a Monday, and then whole months from a January.
_SECONDS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * factor for factor in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * factor for factor in (1, 2, 3, 6, 12)),
    *(_DAY, 2 * _DAY, _WEEK, 2 * _WEEK),
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1_200)
_MONDAY = 4 * _DAY


def linear(low: float, high: float, most: int = 6) -> list[float]:
    """Return the multiples of a round step from `low` to `high`, `most` of them or fewer.

    The step is 1, 2, 2.5 or 5 times a power of ten. Where the ends are the same, or no finite
    numbers, there is one tick.
    """
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return [low]
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (factor * power for factor in _STEPS):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(number * step, 12) for number in range(first, last + 1)] or [low]
    return [low]


def logarithmic(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from `low` to `high`, both over 0: powers of ten, or finer ones.

    Where fewer than three powers of ten lie between them, 2 and 5 times those stand there, too.
    """
    if not (low > 0 and math.isfinite(high) and high > low):
        return [low]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1.0,), (1.0, 2.0, 5.0)):
        every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        inside = [at for at in every if low * (1 - 1e-9) <= at <= high * (1 + 1e-9)]
        if len(inside) >= 3:
            return inside[:: -(-len(inside) // most)]
    return inside or linear(low, high, most)


def moments(low: float, high: float, most: int = 6) -> list[float]:
    """Return round times from `low` to `high`, in seconds since the epoch, UTC."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return [low]
    for step in _SECONDS:
        base = _MONDAY if step % _WEEK == 0 else 0
        first, last = math.ceil((low - base) / step), math.floor((high - base) / step)
        if last - first + 1 <= most:
            return [float(base + step * number) for number in range(first, last + 1)] or [low]
    start, end = datetime.fromtimestamp(low, UTC), datetime.fromtimestamp(high, UTC)
    for step in _MONTHS:
        months = range(start.year * 12 // step * step, end.year * 12 + end.month, step)
        found = [
            datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() for month in months
        ]
        inside = [at for at in found if low <= at <= high]
        if len(inside) <= most:
            return inside or [low]
    return [low]


def times(values: list[float]) -> list[str]:
    """Return these moments as ISO 8601 writes them, each as short as it can be told."""
    told = [datetime.fromtimestamp(value, UTC) for value in values]
    at_midnight = [one.time() == time() for one in told]
    if all(at_midnight):
        # The first of January, of a month, or any day.
        ends = {"%Y": (1, 1), "%Y-%m": (1,)}
        for form, end in ends.items():
            if all((one.day, one.month)[: len(end)] == end for one in told):
                return [one.strftime(form) for one in told]
        return [f"{one:%Y-%m-%d}" for one in told]
    clock = "%H:%M:%S" if any(one.second for one in told) else "%H:%M"
    texts, day = [], None
    for one, starts_day in zip(told, at_midnight, strict=True):
        # The day is told where it changes, and so at the first.
        texts.append(
            f"{one:%m-%d}"
            if starts_day and day
            else one.strftime(clock if one.date() == day else f"%Y-%m-%d {clock}")
        )
        day = one.date()
    return texts
