"""Lock a file for one process; the system releases the lock however the process ends."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Longer than `is_held` keeps its shared lock.
_WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 0.02

# Hold this during every migration, MLflow's too: alembic keeps the running migration in module
# globals, so a second thread breaks both, even for different stores.
migration = threading.Lock()


@contextmanager
def hold(path: Path, timeout: float = _WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock on a file for a block, and create the file if needed.

    Raises BlockingIOError if another process holds it for longer than `timeout` seconds; pass
    infinity to wait without end.
    """
    with path.open("ab") as file:
        deadline = time.monotonic() + timeout
        while not _taken(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise BlockingIOError(f"another process holds {str(path)!r}")
            time.sleep(_PAUSE_SECONDS)
        yield


def is_held(path: Path) -> bool:
    """Return whether a process holds the file; any number of callers may ask at once."""
    try:
        with path.open("rb") as file:
            return not _taken(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _taken(file: IO[bytes], how: int) -> bool:
    """Try to take the lock, which lasts until the file is closed."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
