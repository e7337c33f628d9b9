"""A file is written whole or not at all."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlops_kit import files

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


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.write_whole(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            files.write_whole(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


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
