"""Manage the private folders and sockets of this user's kernels."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 107  # the limit for a Unix socket


def runtime_folder() -> Path:
    """Return the folder of this user's shared zygotes."""
    return Path(tempfile.gettempdir()) / f"mlops-kit-{os.getuid()}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the private folder's lock; raises PermissionError if another user owns it."""
    import fcntl

    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            facts = os.fstat(descriptor)
            if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
                raise PermissionError(f"{str(folder)!r} must belong to this user, with mode 0700")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(folder.stat(), facts):
                    yield
                    return
        finally:
            os.close(descriptor)


def dial(path: Path) -> socket.socket:
    """Connect to a socket; raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def private_folder() -> Path:
    """Create a folder for one kernel's sockets, with a path short enough for them."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-kit-"))
    if len(os.fsencode(folder)) + len("/k-5") <= MAX_SOCKET_PATH_BYTES:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="mlops-kit-", dir="/tmp"))
