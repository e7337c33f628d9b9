"""A file is written whole or not at all."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_kit import files
from tests.disks import Quota, SmallDisk, can_mount

HALF = """
import os, signal, sys
from pathlib import Path
from mlops_kit import files
with files.whole(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    for content in (b"1", b"22"):
        files.write_whole(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.write_whole(path, b"old")
    done = subprocess.run([sys.executable, "-c", HALF, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.fixture(params=[Quota, SmallDisk] if can_mount() else [Quota])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Quota | SmallDisk]:
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    disk = request.param(tmp_path)
    yield disk
    disk.remove()
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(disk: Quota | SmallDisk) -> None:
    path = disk.folder / "state.json"
    files.write_whole(path, b"old")
    disk.fill()
    with pytest.raises(OSError, match="large|space"):
        files.write_whole(path, b"x" * 100_000)
    assert path.read_bytes() == b"old"
    disk.free()
    assert list(disk.folder.iterdir()) == [path]


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.write_whole(path, b"old")
    for mode in (0o600, 0o640, 0o444):
        path.chmod(mode)
        files.write_whole(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_that_is_replaced_is_not_written_through_a_link(tmp_path: Path) -> None:
    cached, path = tmp_path / "cached", tmp_path / "output.json"
    cached.write_bytes(b"cached")
    path.hardlink_to(cached)
    files.write_whole(path, b"new")
    assert (cached.read_bytes(), path.read_bytes()) == (b"cached", b"new")


def test_what_raises_within_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.write_whole(path, b"old")

    def broken() -> None:
        with files.whole(path, durable=True) as partial:
            partial.write_bytes(b"new")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        broken()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_writers_each_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    contents = [bytes([65 + number]) * 50_000 for number in range(8)]
    writers = [threading.Thread(target=files.write_whole, args=(path, c)) for c in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert not path.exists() or path.read_bytes() in contents
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_durable_file_is_the_same_file(tmp_path: Path) -> None:
    with files.whole(tmp_path / "table", durable=True) as partial:
        partial.write_bytes(b"rows")
    assert (tmp_path / "table").read_bytes() == b"rows"
