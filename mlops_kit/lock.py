"""A file that one process holds; the system lets it go however that process ends."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Seconds: whoever asks whether a file is held has a share in it for a moment.
_WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 0.02

# Held for each migration, MLflow's too: alembic keeps the one that runs in its modules, where a
# second thread's breaks both, whichever stores they are for.
migration = threading.Lock()


@contextmanager
def hold(path: Path, timeout: float = _WAIT_SECONDS) -> Iterator[None]:
    """Hold the file, which is made, for a block.

    Raises BlockingIOError where another holds it for longer than `timeout` seconds; infinity waits.
    """
    with path.open("ab") as file:
        deadline = time.monotonic() + timeout
        while not _taken(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise BlockingIOError(f"another process holds {str(path)!r}")
            time.sleep(_PAUSE_SECONDS)
        yield


def is_held(path: Path) -> bool:
    """Tell whether a process holds the file; any number may ask at once."""
    try:
        with path.open("rb") as file:
            return not _taken(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _taken(file: IO[bytes], how: int) -> bool:
    """Take the lock, which ends when the file is closed, if it is free."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
