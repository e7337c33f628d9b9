"""Write a file whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path beside `path`, whose file takes that name when the block ends well.

    A reader, a second writer or a kill sees the old file or the new one, never half of one; a
    block that raises, as on a full disk, leaves the old one. The folder is made. A `durable` file
    is on the disk before it gets its name, so it survives a power cut.
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
    """Replace a file by this content, as `whole` does; it keeps its permissions."""
    with whole(path) as partial:
        partial.write_bytes(content)
        with suppress(FileNotFoundError):
            shutil.copymode(path, partial)
