"""Tell how far the reading of a large table has come, where a person looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

# A table that is read sooner needs no word.
_FIRST_SECONDS = 2.0
_SECONDS = 3.0

Say = Callable[[Sequence[str]], None]


class RowProgress:
    """Says how many rows were read and how fast, every few seconds: one line, updated in place.

    Says nothing of a table that is read at once. In the executed notebook, `end` leaves a line
    that is the same each time.
    """

    def __init__(self, say: Say | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """By default, say it below the cell that runs, or else on a terminal."""
        self._say = say or _default()
        self._clock = clock
        self._start = clock()
        self._next = self._start + _FIRST_SECONDS
        self._is_told = False

    def __call__(self, rows: int, total: int | None) -> None:
        """Take how many rows were read, of how many if that is known."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _SECONDS
        self._is_told = True
        rate = rows / max(now - self._start, 1e-9)
        of = f" of {total:,}" if total else ""
        self._say([f"{rows:,}{of} rows read, {rate:,.0f} rows/s"])

    def end(self, note: str) -> None:
        """Leave a last line in the place of the others, if there are any."""
        if self._is_told:
            self._say([note])


def _default() -> Say:
    from mlops_kit.pipelines.values import Teller, in_kernel

    return Teller() if in_kernel() else _OnStream(sys.stderr)


class _OnStream:
    """Writes the newest line over the one before on a terminal, and below it in a log."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._is_over = False

    def __call__(self, lines: Sequence[str]) -> None:
        if self.stream.isatty():
            # To the line above, which is then cleared.
            self.stream.write("\x1b[A\x1b[2K\r" if self._is_over else "")
        self._is_over = True
        self.stream.write(f"{' '.join(lines)}\n")
        self.stream.flush()
