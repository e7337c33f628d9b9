"""What a running pipeline tells whoever looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A change that a person may want to see; `detail` says why, where there is a why.

    `told` is what the notebook itself wants to be seen now, a line each; empty for a change of
    the step or the cell.
    """

    step: str
    state: str
    cell: str = ""
    index: int = 0
    count: int = 0
    detail: str = ""
    told: tuple[str, ...] = ()


Observer = Callable[[Progress], None]
