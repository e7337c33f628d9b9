"""Write files atomically."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` when the block succeeds.

    A reader, a second writer or a kill sees the old file or the new one, never half of one. A
    block that raises, for example on a full disk, leaves the old file. Creates the folder. A
    `durable` file is synced to disk before the rename, so it survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content atomically, and keep its permissions."""
    with whole(path) as partial:
        partial.write_bytes(content)
        with suppress(FileNotFoundError):
            shutil.copymode(path, partial)
