"""Tell how a kernel died, and whether it ran out of memory."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Death:
    """How a kernel ended: its exit code or signal, and whether memory ran out."""

    code: int | None
    signal: int | None
    out_of_memory: bool | None

    @classmethod
    def of(cls, status: int, memory: OomCounter | None) -> Death:
        """Interpret a `Popen`'s status, with the memory counter from the start."""
        if status >= 0:
            return cls(code=status, signal=None, out_of_memory=None)
        return cls(code=None, signal=-status, out_of_memory=memory.has_risen() if memory else None)

    def __str__(self) -> str:
        """Return it in words, for example: killed by SIGKILL, likely out of memory."""
        if self.signal is None:
            return f"ended with exit code {self.code}"
        words = f"killed by {signal.Signals(self.signal).name}"
        if self.out_of_memory:
            return f"{words}, out of memory"
        # Hardly anything else sends SIGKILL, unless the control group rules memory out.
        is_likely = self.signal == signal.SIGKILL and self.out_of_memory is None
        return f"{words}, likely out of memory" if is_likely else words


@dataclass(frozen=True)
class OomCounter:
    """The control group's count of out-of-memory kills, as of a kernel's start."""

    file: Path
    count: int

    @classmethod
    def of(cls, pid: int) -> OomCounter | None:
        """Read the count for the group of `pid`; None if it can't be read."""
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return None
        for _, controllers, path in (group.split(":", 2) for group in groups):
            if controllers in ("", "memory"):  # version 2 has one unnamed hierarchy
                name = "memory.oom_control" if controllers else "memory.events"
                root = Path("/sys/fs/cgroup", controllers)
                # Inside a container, the path is often the host's and the root is ours.
                for folder in (root / path.lstrip("/"), root):
                    with contextlib.suppress(OSError, ValueError, KeyError):
                        return cls(folder / name, _oom_kills(folder / name))
        return None

    def has_risen(self) -> bool:
        """Return whether a process was killed since; False once the group is gone."""
        with contextlib.suppress(OSError):
            return _oom_kills(self.file) > self.count
        return False


def _oom_kills(file: Path) -> int:
    return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])
