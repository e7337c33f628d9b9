"""Disks that can be filled, for the tests of what a full disk does."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from pathlib import Path


class Quota:
    """No file of this process may grow: as on a full disk, with another error of the system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        largest = max(file.stat().st_size for file in self.folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, self.before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def remove(self) -> None:
        self.free()


class SmallDisk:
    """A file system of its own with little room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def can_mount() -> bool:
    """Tell whether this user may mount; who may not has the other disk's test."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            SmallDisk(Path(folder)).remove()
        except (subprocess.CalledProcessError, FileNotFoundError):
            return False
        return True
