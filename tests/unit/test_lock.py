"""One process holds a file, and the system lets it go however that process ends."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_kit import lock

HOLDS = """
import sys, time
from pathlib import Path
from mlops_kit import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_file_is_held_for_a_block(path: Path) -> None:
    assert not lock.is_held(path)
    with lock.hold(path):
        assert lock.is_held(path)
    assert not lock.is_held(path)


def test_a_second_holder_is_refused_in_time(path: Path, holder: subprocess.Popen[str]) -> None:
    began = time.monotonic()
    with pytest.raises(BlockingIOError, match="another process holds"), lock.hold(path, 0.1):
        pass
    assert 0.1 <= time.monotonic() - began < 5


def test_a_kill_lets_it_go(path: Path, holder: subprocess.Popen[str]) -> None:
    assert lock.is_held(path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not lock.is_held(path)
    with lock.hold(path, 0):
        assert lock.is_held(path)


def test_who_waits_for_ever_gets_it_when_it_is_free(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    threading.Timer(0.2, holder.kill).start()
    with lock.hold(path, math.inf):
        assert lock.is_held(path)


def test_who_asks_neither_sees_others_that_ask_nor_keeps_anybody_off(path: Path) -> None:
    with lock.hold(path):
        pass
    stop, seen = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            seen.append(lock.is_held(path))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    time.sleep(0.2)
    asked = len(seen)
    for _ in range(20):
        with lock.hold(path):
            pass
    stop.set()
    for asker in askers:
        asker.join()
    assert not any(seen[:asked])
    assert asked > 10
