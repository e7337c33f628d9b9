"""Report the progress of a running pipeline to its observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A change worth showing; `detail` gives the reason, if there is one.

    `told` holds the lines that the notebook itself wants shown; empty if the step or the cell
    changed.
    """

    step: str
    state: str
    cell: str = ""
    index: int = 0
    count: int = 0
    detail: str = ""
    told: tuple[str, ...] = ()


Observer = Callable[[Progress], None]
