"""Where the ticks of an axis stand: at round numbers, few enough to be read.

Matplotlib's locators do the same, but the panel would wait 0.2 s for their import.
"""

from __future__ import annotations

import math

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


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
