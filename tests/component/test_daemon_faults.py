"""What goes wrong around a platform that serves: it goes on, and counts and says what was lost."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.prediction_log.log import Observations
from mlops_kit.prediction_log.prediction import Prediction
from mlops_kit.prediction_log.writer import DEAD_WRITER, FULL_QUEUE, FULL_STORE
from mlops_kit.serving import daemon
from mlops_kit.serving.daemon import LocalServer, ServerStatus
from mlops_kit.serving.options import Serving
from tests import platforms
from tests.disks import Quota, SmallDisk, can_mount
from tests.failures import fails
from tests.platforms import Customers, Site, until


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("faults")
    return platforms.made(
        folder / "state", folder / "artifacts", platforms.write_models(folder / "artifacts")
    )


@pytest.fixture
def site(models: Site, tmp_path: Path) -> Site:
    (tmp_path / "state").mkdir()
    return platforms.made(tmp_path / "state", models.artifacts, models.sides)


def store(site: Site) -> Observations:
    return Observations(f"sqlite:///{site.state / 'observations.db'}")


def stored(site: Site) -> int:
    with sqlite3.connect(site.state / "observations.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


@contextmanager
def hosted(
    site: Site, observations: Any, say: Callable[[str], None] = print, **serving: Any
) -> Iterator[LocalServer]:
    """Run a platform in a thread of this process."""
    hosted = LocalServer(site.reconciler(), observations, Serving(poll=0.05, **serving), say=say)
    stop = threading.Event()
    thread = threading.Thread(target=hosted.run, args=(stop,))
    thread.start()
    try:
        until(lambda: daemon.running(site.folder), "the start")
        yield hosted
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert daemon.running(site.folder) is None


def lost(status: ServerStatus) -> int:
    return sum(status.log["dropped"].values())


def test_a_second_platform_of_an_environment_names_the_first(site: Site) -> None:
    with hosted(site, store(site)) as first:
        url = first.status().url
        second = LocalServer(site.reconciler(), store(site), Serving())
        with fails("serving.already-running", os.getpid(), url):
            second.run(threading.Event())
        with fails("serving.already-running", url, "fraud v1", os.getpid()):
            daemon.detach(["false"], site.folder)
        assert daemon.running(site.folder) is not None
        with Customers(url) as customers:
            customers.have(10)


def test_an_address_that_is_taken_is_said_and_leaves_nothing_held(site: Site) -> None:
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = LocalServer(site.reconciler(), store(site), Serving(port=port))
        with fails("serving.address", f"127.0.0.1:{port}"):
            refused.run(threading.Event())
    assert threading.active_count() == before
    with hosted(site, store(site), port=port) as good:
        assert good.status().url.endswith(f":{port}")


def test_what_a_command_says_that_does_not_start_is_passed_on(site: Site) -> None:
    with fails("serving.not-started", "out of order"):
        daemon.detach(["sh", "-c", "echo out of order >&2; exit 3"], site.folder)


def test_a_platform_that_nobody_listens_to_goes_on(site: Site) -> None:
    def gone(_said: str) -> None:
        raise BrokenPipeError

    with hosted(site, store(site), say=gone) as served, Customers(served.status().url) as customers:
        revision = site.commit("2")
        until(lambda: served.status().revision == revision, "the commit")
        customers.have(10)
    assert not customers.faults


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Quota | SmallDisk]:
    (tmp_path / "state").mkdir()
    disk = SmallDisk(tmp_path / "state") if can_mount() else Quota(tmp_path / "state")
    yield disk
    disk.remove()


def test_a_full_disk_stops_no_answer_and_is_counted(
    disk: Quota | SmallDisk, models: Site, tmp_path: Path
) -> None:
    site = platforms.made(tmp_path / "state", models.artifacts, models.sides)
    elsewhere = dataclasses.replace(site, state=tmp_path / "elsewhere")
    with (
        hosted(site, store(site), log_rows=40) as full,
        Customers(full.status().url, pause=0.002) as customers,
    ):
        until(lambda: full.status().log["written"], "the log")
        disk.fill()
        until(lambda: full.status().log["dropped"].get(FULL_STORE), "the loss")
        assert "full" in full.status().log["last_error"]
        assert "predictions were dropped: The prediction log" in full.status().sentence
        revision = elsewhere.commit("1", "2", 50)
        if isinstance(disk, SmallDisk):
            until(lambda: full.status().error, "the fault")
            assert "can't be" in full.status().sentence
        customers.have(50)
        disk.free()
        until(lambda: full.status().revision == revision, "the commit")
        assert full.status().error == ""
        written = full.status().log["written"]
        until(lambda: full.status().log["written"] > written + 20, "the log")
        customers.have(50)
        assert full.status().log["last_error"] == ""
        assert re.search(r"were dropped: .*store full", full.status().sentence)
    assert not customers.faults
    status = full.status()
    assert status.log["dropped"].keys() <= {FULL_QUEUE, FULL_STORE}
    assert stored(site) == status.log["written"] == len(customers.answered) - lost(status)


class Deadly(Observations):
    """A store that its writer dies of, once."""

    died = 0

    def add(self, predictions: Sequence[Prediction]) -> None:
        if not self.died:
            self.died = len(predictions)
            raise SystemExit("the writer dies")
        super().add(predictions)


def test_a_dead_writer_of_the_log_is_replaced_and_counted(site: Site) -> None:
    deadly = Deadly(f"sqlite:///{site.state / 'observations.db'}")
    with hosted(site, deadly) as served, Customers(served.status().url) as customers:
        until(lambda: served.status().log["written"] > 50, "the log")
        assert served.status().log["writer_restarts"] == 1
        assert f"{deadly.died:,} predictions were dropped" in served.status().sentence
    assert not customers.faults
    assert served.status().log["dropped"] == {DEAD_WRITER: deadly.died}
    assert stored(site) == len(customers.answered) - deadly.died
