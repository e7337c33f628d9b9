"""Show a running pipeline: as a live tree on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from mlops_kit.pipelines.definition import Step
from mlops_kit.pipelines.progress import Observer, Progress

# Each state has a mark of its own, because colour alone must not carry the meaning.
_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "blue"),
    "succeeded": ("✔", "green"),
    "cached": ("✔", "green"),
    "skipped": ("–", "dim"),
    "failed": ("✘", "red"),
    "not run": ("·", "dim"),
    "interrupted": ("■", "yellow"),
}
_BAR_WIDTH = 12


@contextmanager
def shown(
    title: str, steps: Sequence[Step] = (), *, stream: TextIO | None = None
) -> Iterator[Observer]:
    """Yield an observer that shows the given steps, and any others it hears of."""
    out = stream or sys.stderr
    if out.isatty():
        with _tree(Tree(title, [step.name for step in steps]), out) as tree:
            yield tree
    else:
        yield Lines(out)


class Lines:
    """One line per change, for logs and pipes; leaves out cells, which would flood a log."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting seconds."""
        self.out = out
        self.clock = clock
        self.start = clock()
        self.begun: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        """Write a line for this change."""
        if progress.cell:
            return
        now = self.clock()
        if progress.told:
            self.out.write(
                f"{now - self.start:6.1f}s  {progress.step}  {_line(progress.told[0])}\n"
            )
            self.out.flush()
            return
        begun = self.begun.setdefault(progress.step, now)
        took = f" in {now - begun:.1f} s" if progress.state in {"succeeded", "failed"} else ""
        why = f": {_line(progress.detail)}" if progress.detail else ""
        self.out.write(f"{now - self.start:6.1f}s  {progress.step}  {progress.state}{took}{why}\n")
        self.out.flush()


class Tree:
    """The steps and what each one is doing; rich redraws it many times a second."""

    def __init__(
        self, title: str, steps: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with every step waiting."""
        self.title = title
        self.steps = tuple(steps)
        self.clock = clock
        self.now: dict[str, Progress] = {}
        self.told: dict[str, tuple[str, ...]] = {}
        self.times: dict[str, tuple[float, float | None]] = {}
        self.lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Record a change."""
        with self.lock:
            if progress.told:
                self.told[progress.step] = progress.told
                return
            if progress.state != "running":
                self.told.pop(progress.step, None)
            self.now[progress.step] = progress
            now = self.clock()
            began, _ = self.times.get(progress.step, (now, None))
            ended = None if progress.state in {"running", "waiting"} else now
            self.times[progress.step] = (began, ended)

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_row(Text(self.title, style="bold"))
        with self.lock:
            for step in dict.fromkeys((*self.steps, *self.now)):
                now = self.now.get(step, Progress(step, "waiting"))
                mark, style = _MARKS[now.state]
                table.add_row(
                    Text(f"  {mark} {step}", style=style),
                    Text(now.state, style=style),
                    Text(self._seconds(step), style="dim"),
                    Text(_doing(now)),
                )
            told = [line for lines in self.told.values() for line in lines]
        if told:
            return Group(table, *(Text(f"      {_line(line)}") for line in told))
        return table

    def _seconds(self, step: str) -> str:
        if step not in self.times:
            return ""
        began, ended = self.times[step]
        return f"{(ended or self.clock()) - began:5.1f} s"


def _doing(progress: Progress) -> str:
    if progress.cell:
        done = round(_BAR_WIDTH * progress.index / max(1, progress.count))
        bar = "█" * done + "░" * (_BAR_WIDTH - done)
        return f"{bar} {progress.index + 1}/{progress.count} {progress.cell}"
    return _line(progress.detail)


def _line(text: str) -> str:
    """Return the first line, without control characters."""
    first = (text.strip().splitlines() or [""])[0]
    return "".join(each if each.isprintable() else "\ufffd" for each in first)


@contextmanager
def _tree(tree: Tree, out: TextIO) -> Iterator[Observer]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=out)
    if console.is_dumb_terminal:  # it can't move its cursor
        yield Lines(out)
        return
    with Live(tree, console=console, refresh_per_second=8, get_renderable=lambda: tree):
        yield tree
