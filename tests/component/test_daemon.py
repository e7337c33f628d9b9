"""A platform in a process of its own serves each commit, and ends as it was told, or killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from mlops_kit import lock
from mlops_kit.prediction_log.log import Observations
from mlops_kit.serving import daemon
from mlops_kit.serving.daemon import ServerStatus
from tests import platforms
from tests.platforms import ENVIRONMENT, Customers, Remote, Site, until
from tests.served import MODEL, Client

MARK = f"platform-test-{uuid4().hex}"
SETTINGS = """
[gitops]
url = "{url}"
timeout = 5.0
"""
# Attends a platform until it is stopped itself.
PARENT = """
import sys, time
from pathlib import Path
from mlops_kit.serving import daemon

with daemon.ensure_running(sys.argv[2:], Path(sys.argv[1])) as status:
    print(status.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with a platform, for all tests of this file, that each of them may start."""
    folder = tmp_path_factory.mktemp("platform")
    (folder / "gitconfig").touch()
    before = dict(os.environ)
    os.environ.update(MARK=MARK, GIT_CONFIG_GLOBAL=str(folder / "gitconfig"))
    sides = platforms.write_models(folder / "artifacts")
    site = project(folder / "first", folder / "artifacts", sides)
    yield site
    daemon.stop(site.folder)
    end = time.monotonic() + 10
    while (left := alive()) and time.monotonic() < end:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(before)
    assert left == set()


@pytest.fixture
def second(first: Site, tmp_path: Path) -> Site:
    """Another project, where nothing serves yet."""
    return project(tmp_path / "second", first.artifacts, first.sides)


@pytest.fixture
def remote(second: Site) -> Remote:
    return Remote(second, Path(os.environ["GIT_CONFIG_GLOBAL"]))


def project(folder: Path, artifacts: Path, sides: Any) -> Site:
    folder.mkdir()
    site = platforms.made(folder / ".mlops-kit", artifacts, sides)
    (folder / "mlops-kit.toml").write_text(SETTINGS.format(url=site.bare))
    site.cache("1")
    return site


def command(site: Site, *words: str) -> list[str]:
    place = ("--project", str(site.state.parent))
    words = ("serve", "--model", MODEL, "--environment", ENVIRONMENT, *words)
    return [sys.executable, "-m", "mlops_kit", *place, *words]


def run(site: Site, *words: str) -> Any:
    done = subprocess.run(
        command(site, *words, "--json"), capture_output=True, text=True, check=True, timeout=90
    )
    return json.loads(done.stdout)


def running(site: Site) -> ServerStatus:
    """Return the status of the site's platform, which is started where it isn't running."""
    return daemon.running(site.folder) or daemon.detach(command(site), site.folder)


def alive() -> set[int]:
    """Every process that was started from here."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if MARK.encode() in (path / "environ").read_bytes():
                found.add(int(path.name))
        except OSError:
            continue
    return found


def is_open(url: str) -> bool:
    host, _, port = urlsplit(url).netloc.partition(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) == 0


def released(site: Site, *release: Any) -> float:
    """Commit a release; return the seconds until it is served."""
    site.cache(*(version for version in release[:2] if version))
    revision, start = site.commit(*release), time.monotonic()

    def is_served() -> bool:
        found = daemon.running(site.folder)
        return found is not None and found.revision == revision

    until(is_served, f"{release}")
    return time.monotonic() - start


def stored(site: Site) -> set[str]:
    """Return the clients of the predictions that are in the store, which must be sound."""
    with sqlite3.connect(site.state / "observations.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {client for (client,) in connection.execute("SELECT client FROM predictions")}


def counted(site: Site) -> int:
    """Return the requests that the counters of champion 1 alone have."""
    observations = Observations(f"sqlite:///{site.state / 'observations.db'}")
    arms = observations.champion_blocks(MODEL, ENVIRONMENT, site.sides["1"].digest)
    observations.close()
    return sum(arm.requests for arm in arms)


def test_new_commits_are_served_without_a_dropped_request(first: Site) -> None:
    url = running(first).url
    course = [("1", "2", 0), *(("1", "2", weight) for weight in (10, 20, 30, 40, 50)), ("1",)]
    course += [("1", "3", 50), ("3", "3", 50), ("3", "3", 0), ("3",), ("2",), ("1",)]
    with Customers(url, pause=0.005) as customers:
        for release in course:
            took = released(first, *release)
            print(f"{release}: served after {took:.2f} s")
            customers.have(30)
    assert customers.faults == []
    assert customers.versions.keys() == {"1", "2", "3"}
    print(f"{len(customers.answered)} answers by {dict(customers.versions)}")
    status = Client(url).ask("/status").json
    assert status["error"] == ""
    assert status["log"]["dropped"] == {}
    # Being stopped loses nothing either.
    stopped = daemon.stop(first.folder)
    assert stopped is not None
    assert customers.answered.keys() <= stored(first)


def test_a_kill_under_load_loses_the_last_moments_and_a_restart_goes_on(
    second: Site, remote: Remote
) -> None:
    status = running(second)
    with Customers(status.url, pause=0.005) as customers:
        time.sleep(2.5)
        assert not customers.faults
        os.kill(status.pid, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: customers.faults, "the end")
    kept = stored(second)
    lost = customers.answered.keys() - kept
    # What one batch gathers and what is being written, on a busy machine.
    oldest = max((killed - customers.answered[name] for name in lost), default=0.0)
    print(f"{len(lost)} of {len(customers.answered)} answers are lost, {oldest:.3f} s of traffic")
    assert oldest < 1.0
    assert counted(second) == len(kept)
    # What a killed one leaves is nobody's.
    assert (second.folder / "status.json").exists()
    assert (second.folder / "lock").exists()
    assert daemon.running(second.folder) is None
    assert daemon.stop(second.folder) is None
    with remote.away():
        again = ServerStatus(**run(second, "--detach"))
        assert (again.champion, again.revision) == ("1", status.revision)
        assert "RemoteError" in again.error
        with Customers(again.url) as more:
            more.have(100)
    until(lambda: not Client(again.url).ask("/status").json["error"], "the remote's return")
    daemon.stop(second.folder)
    assert stored(second) == kept | more.answered.keys()
    assert counted(second) == len(kept) + len(more.answered)


def test_a_detached_platform_outlives_its_command_until_it_is_stopped(second: Site) -> None:
    started = ServerStatus(**run(second, "--detach"))
    assert daemon.running(second.folder) is not None
    assert Client(started.url).ask("/v2/health/ready").status == 200
    assert os.getsid(started.pid) == started.pid
    with daemon.ensure_running(["false"], second.folder) as found:
        assert found.pid == started.pid
    assert is_open(started.url)
    stopped = run(second, "stop")
    assert stopped["pid"] == started.pid
    assert not is_open(started.url)
    assert not (second.folder / "status.json").exists()
    assert run(second, "stop") is None
    said = (second.folder / daemon.LOG).read_text()
    assert f"{started.url} serves fraud v1, as of commit {started.revision[:10]}." in said
    assert "Traceback" not in said


def test_an_attended_platform_ends_with_its_block_even_while_git_hangs(
    second: Site, remote: Remote
) -> None:
    settings = second.state.parent / "mlops-kit.toml"
    settings.write_text(settings.read_text().replace("5.0", "60.0"))
    with ExitStack() as trouble:
        with daemon.ensure_running(command(second), second.folder) as status:
            trouble.enter_context(remote.hanging())
            # A call of Git that hangs is one that lives on.
            until(lambda: len(processes(second)) > 1, "a call of Git")
            time.sleep(0.5)
            called = processes(second)
            time.sleep(0.5)
            assert processes(second) == called > {status.pid}
            assert Client(status.url).ask("/v2/health/ready").status == 200
            left = time.monotonic()
        assert time.monotonic() - left < daemon.STOP_DEADLINE
        ended_well(second, status.url)


def test_an_attended_platform_may_be_stopped_before_its_parent_ends(second: Site) -> None:
    with daemon.ensure_running(command(second), second.folder) as status:
        assert daemon.stop(second.folder) is not None
        ended_well(second, status.url)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_attended_platform_ends_with_its_parent(second: Site, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(second.folder), *command(second)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        status = daemon.running(second.folder)
        assert status is not None
        assert status.pid == pid
        # Ctrl-C is for all that a terminal runs, a kill for one.
        (os.killpg if how == signal.SIGINT else os.kill)(parent.pid, how)
    until(lambda: pid not in alive(), "its end")
    ended_well(second, status.url)


def ended_well(site: Site, url: str) -> None:
    """Check that nothing is left of a platform, and that it ended by itself."""
    until(lambda: not processes(site), "the end of its processes")
    assert not is_open(url)
    assert not lock.is_held(site.folder / "lock")
    assert not (site.folder / "status.json").exists()
    said = (site.folder / daemon.LOG).read_text()
    assert "Traceback" not in said
    assert "Fatal" not in said


def processes(site: Site) -> set[int]:
    """Return those that have the site's folder in their command line."""
    found = set()
    for pid in alive():
        try:
            if str(site.state.parent).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
        except OSError:
            continue
    return found
