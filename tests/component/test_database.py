"""The store stands what happens to a file: several users, a kill, a lock, a full disk."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.errors import ObservationsError, StoreBusyError
from mlops_kit.prediction_log.log import Label, Observations
from mlops_kit.prediction_log.schema import REVISIONS, metadata
from tests.disks import Quota, SmallDisk, can_mount
from tests.failures import fails
from tests.observed import CHAMPION, PAIR, asked, check, child, ended, prediction, said, url

ADDS = """
from mlops_kit.errors import StoreBusyError
first, step = map(int, sys.argv[2:4])
store = Observations(sys.argv[1])
store.prepare()
print("ready", flush=True)
sys.stdin.readline()
for start in range(first, first + 40 * step, step):
    batch = [prediction(number) for number in range(start, start + 50)]
    labels = [Label(each.id, 0, 1, 0.0) for each in batch]
    while True:
        try:
            store.add(batch)
            store.label(labels)
            break
        except StoreBusyError:
            pass
"""


def test_two_processes_add_at_once_and_each_prediction_counts_once(tmp_path: Path) -> None:
    # Each has half of the other's predictions too.
    writers = [child(ADDS, url(tmp_path), first, 50) for first in (0, 1000)]
    for writer in writers:
        said(writer, "ready")
    for writer in writers:
        ended(writer, "go\n")
    assert check(tmp_path) == 3000
    store = Observations(url(tmp_path))
    assert store.coverage(*PAIR[:3], 1e12) == (3000, 3000)
    store.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_loses_no_batch_that_was_stored_and_halves_none(tmp_path: Path, seed: int) -> None:
    code = """
store = Observations(sys.argv[1])
store.prepare()
print("ready", flush=True)
for number in range(0, 10**6, 20):
    batch = [prediction(n) for n in range(number, number + 20)]
    store.label([Label(each.id, 0, 1, 0.0) for each in batch[::3]])
    store.add(batch)
    print(number + 20, flush=True)
"""
    writer = child(code, url(tmp_path))
    said(writer, "ready")
    time.sleep(random.Random(seed).uniform(0.05, 0.3))
    writer.send_signal(signal.SIGKILL)
    out, _ = writer.communicate(timeout=30)
    told = int(out.split()[-1]) if out.split() else 0
    found = check(tmp_path)
    assert found in (told, told + 20)
    store = Observations(url(tmp_path))
    store.add([prediction(number) for number in range(told + 20)])
    store.close()
    assert check(tmp_path) == told + 20


@pytest.mark.parametrize("statement", [1, 5, 12])
def test_a_kill_while_the_store_is_made_leaves_nothing_half(tmp_path: Path, statement: int) -> None:
    code = """
import itertools, os, signal
from sqlalchemy import Engine, event
count = itertools.count(1)
@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if statement.lstrip().startswith("CREATE") and next(count) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
Observations(sys.argv[1]).prepare()
"""
    maker = child(code, url(tmp_path), statement)
    maker.communicate(timeout=60)
    assert maker.returncode == -signal.SIGKILL
    store = Observations(url(tmp_path))
    store.add([prediction(1)])
    store.close()
    assert check(tmp_path) == 1


def test_several_first_users_make_one_store(tmp_path: Path) -> None:
    folder = tmp_path / "a folder" / "100%"
    code = """
print("ready", flush=True)
sys.stdin.readline()
Observations(sys.argv[1]).add([prediction(int(sys.argv[2])), prediction(9)])
"""
    users = [child(code, url(folder), number) for number in range(4)]
    for user in users:
        said(user, "ready")
    for user in users:
        assert user.stdin is not None
        user.stdin.write("go\n")
        user.stdin.flush()
    for user in users:
        ended(user)
    assert check(folder) == 5


def test_a_store_that_another_process_writes_is_busy_and_can_be_read(tmp_path: Path) -> None:
    store = Observations(url(tmp_path))
    store.add([prediction(1)])
    code = """
import sqlite3
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""
    holder = child(code, tmp_path / "observations.db")
    said(holder, "held")
    with fails("prediction-log.busy", "observations.db"):
        store.add([prediction(2)])
    with pytest.raises(StoreBusyError):
        store.label([Label("request-1", 0, 1, 0.0)])
    assert store.status("fraud", "prod")["predictions"] == 1
    ended(holder, "end\n")
    store.add([prediction(2)])
    store.close()
    assert check(tmp_path) == 2


@pytest.fixture(params=[Quota, SmallDisk] if can_mount() else [Quota])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Quota | SmallDisk]:
    disk = request.param(tmp_path)
    yield disk
    disk.remove()


def test_a_full_disk_is_said_and_harms_nothing(disk: Quota | SmallDisk) -> None:
    store = Observations(url(disk.folder))
    store.add([prediction(number) for number in range(20)])
    disk.fill()
    large = [prediction(number, rows=1000) for number in range(20, 120)]
    with fails("prediction-log.full", "observations.db"):
        store.add(large)
    # Labels need room too, and what is stored can be read.
    labels = [Label(f"request-{number}" * 100, 0, 1, 0.0) for number in range(5_000)]
    with fails("prediction-log.full", "observations.db"):
        store.label(labels)
    status = store.status("fraud", "prod")
    assert (status["predictions"], status["unknown_labels"]) == (20, 0)
    disk.free()
    store.add(large[:10])
    store.label(labels[:10])
    store.close()
    assert check(disk.folder) == 30


def test_a_disk_that_is_full_before_the_store_is_made_is_said(disk: Quota | SmallDisk) -> None:
    (disk.folder / "other").write_bytes(b"x")
    disk.fill()
    store = Observations(url(disk.folder))
    with fails("prediction-log.full", "observations.db"):
        store.prepare()
    disk.free()
    store.add([prediction(1)])
    store.close()
    assert check(disk.folder) == 1


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "observations.db"
    file.write_bytes(b"not a database at all" * 100)
    before = file.read_bytes()
    with fails("prediction-log", "observations.db"):
        Observations(url(tmp_path)).status("fraud", "prod")
    assert file.read_bytes() == before


def test_a_store_of_a_newer_kit_is_left_as_it_is(tmp_path: Path) -> None:
    Observations(url(tmp_path)).prepare()
    with sqlite3.connect(tmp_path / "observations.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9999'")
    with fails("prediction-log.newer", "v9999"):
        Observations(url(tmp_path)).prepare()


@pytest.mark.parametrize(
    "wrong", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://ann:secret@host/x"]
)
def test_a_url_that_names_no_file_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(ObservationsError) as caught:
        Observations(wrong)
    assert "secret" not in str(caught.value)


def test_a_fault_shows_nothing_that_customers_sent(tmp_path: Path) -> None:
    store = Observations(url(tmp_path))
    store.add([prediction(1)])
    with sqlite3.connect(tmp_path / "observations.db") as connection:
        connection.execute("DROP TABLE predictions")
    with pytest.raises(ObservationsError) as caught:
        store.add([prediction(2, id="ann@example.com", client="ann")])
    fault: BaseException | None = caught.value
    while fault is not None:
        assert "ann" not in str(fault)
        fault = fault.__cause__


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    Observations(url(tmp_path)).close()
    assert list(tmp_path.iterdir()) == []


def test_a_current_store_is_opened_without_alembic(tmp_path: Path) -> None:
    Observations(url(tmp_path)).prepare()
    code = """
store = Observations(sys.argv[1])
store.add([prediction(1)])
print([name for name in ("alembic", "mako", "filelock") if name in sys.modules])
"""
    assert ended(child(code, url(tmp_path))).strip() == "[]"


def test_the_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    Observations(url(tmp_path)).prepare()
    engine = create_engine(url(tmp_path))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    assert asked(tmp_path, "SELECT version_num FROM alembic_version") == REVISIONS[-1]
    rowless = {name for name, table in metadata.tables.items() if not _has_rowid(table)}
    made = "SELECT group_concat(name) FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%'"
    assert set(asked(tmp_path, made).split(",")) == rowless


def test_what_the_store_knows_by_digest_survives_another_champion(tmp_path: Path) -> None:
    store = Observations(url(tmp_path))
    store.add([prediction(1), prediction(2, champion="sha256:next", candidate=CHAMPION)])
    store.add([prediction(3, champion="sha256:next", candidate=CHAMPION, role="candidate")])
    assert store.coverage("fraud", "prod", CHAMPION, 1e12) == (2, 0)
    store.close()


def _has_rowid(table: Any) -> bool:
    return bool(table.dialect_options["sqlite"]["with_rowid"])
