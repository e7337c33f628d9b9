"""The prediction log takes features, scores and labels of any task, also by a client's key."""

from __future__ import annotations

import itertools
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from mlops_kit.prediction_log import database
from mlops_kit.prediction_log.log import Cursor, Label, LabelCounts, LabelledRows, Observations
from tests.failures import fails
from tests.observed import CHAMPION, START, asked, check, prediction, url

WHO = ("fraud", "prod", CHAMPION)
PLACE = {"model": "fraud", "environment": "prod"}


@pytest.fixture
def store(tmp_path: Path) -> Observations:
    return Observations(url(tmp_path))


def keyed(store: Observations, *labels: Label) -> LabelCounts:
    return store.label(labels, model="fraud", environment="prod")


def matured(store: Observations) -> LabelledRows:
    return store.matured(*WHO, before=math.inf)


def answered(number: int, scores: Any, features: bytes, **changed: Any) -> Any:
    """Return a prediction whose features are lines of JSON."""
    values = np.asarray(scores, "<f8")
    rows = {"rows": len(values), "scores": values.tobytes(), "decisions": bytes(len(values))}
    return prediction(number, **{**rows, "features": features, "encoding": "json", **changed})


def test_rows_come_back_as_they_were_logged(store: Observations) -> None:
    lines = [b'["Bern",3,null]', b'["Z\xc3\xbcrich",1.5,true]', b'["a\\nb",0,false]']
    scores = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]
    store.add([answered(1, scores, b"\n".join(lines[:2]) + b"\n", decisions=b"\2\0")])
    store.add([answered(2, scores[:1], lines[2])])
    store.label([Label("request-1", 1, 2, START)])
    found = matured(store)
    assert found.encoding == "json"
    assert found.features is not None
    assert found.features.tolist() == lines
    assert found.scores.tolist() == [*scores, scores[0]]
    assert found.decisions.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(found.labels, [math.nan, 2, math.nan])


def test_a_regression_has_numbers_and_no_decisions(store: Observations) -> None:
    store.add([prediction(n, decisions=b"") for n in range(3)])
    store.label([Label("request-0", 0, -1.0, START), Label("request-2", 0, 0.1, START)])
    first = store.labelled(*WHO, before=math.inf)
    assert first.labels.tolist() == [-1.0, 0.1]
    assert np.isnan(first.previous).all()
    assert not len(first.decisions)
    store.label([Label("request-0", 0, -2.5, START + 1)])
    then = store.labelled(*WHO, before=math.inf, after=first.cursor)
    assert (then.labels.tolist(), then.previous.tolist()) == ([-2.5], [-1.0])
    assert store.status("fraud", "prod")["conflicts"] == 1


def test_rows_of_two_kinds_of_one_version_are_refused(store: Observations) -> None:
    store.add([prediction(1), answered(2, [0.5], b"[1]")])
    with fails("prediction-log", "request-1"):
        matured(store)


def test_what_does_not_fit_its_rows_is_refused(store: Observations) -> None:
    for wrong in (
        answered(1, [0.5], b"[1]\n[2]"),
        prediction(1, rows=2, scores=bytes(24)),
        prediction(1, scores=b"", decisions=b""),
        prediction(1, decisions=b"\0\0"),
    ):
        with fails("prediction-log", "request-1"):
            store.add([wrong])


# --- by the client's own key -------------------------------------------------------------------


@pytest.mark.parametrize("labels_first", [False, True])
def test_a_label_by_key_finds_its_request_whichever_comes_first(
    tmp_path: Path, store: Observations, labels_first: bool
) -> None:
    label = Label("", 0, 1, START + 9, "review", "order-1")
    if labels_first:
        assert keyed(store, label) == LabelCounts(waiting=1)
        assert store.status("fraud", "prod")["unknown_labels"] == 1
    store.add([prediction(1, client_key="order-1"), prediction(2, client_key="order-2")])
    if not labels_first:
        assert keyed(store, label) == LabelCounts(stored=1)
    np.testing.assert_array_equal(matured(store).labels, [1, math.nan])
    assert store.status("fraud", "prod")["unknown_labels"] == 0
    assert asked(tmp_path, "SELECT origin FROM labels") == "review"
    check(tmp_path)


def test_of_requests_with_one_key_the_newest_before_the_label_gets_it(store: Observations) -> None:
    store.add([prediction(n, client_key="customer") for n in (1, 5, 9)])
    keyed(store, Label("", 0, 1, START + 6, key="customer"))
    np.testing.assert_array_equal(matured(store).labels, [math.nan, 1, math.nan])
    keyed(store, Label("", 0, 0, START - 6, key="customer"))
    np.testing.assert_array_equal(matured(store).labels, [0, 1, math.nan])


def test_a_key_belongs_to_a_model_and_an_environment(store: Observations) -> None:
    store.add([prediction(1, client_key="order", environment="staging")])
    assert keyed(store, Label("", 0, 1, START, key="order")).waiting == 1
    store.add([prediction(2, client_key="order", model="other")])
    assert store.status("fraud", "prod")["labels"] == 0
    store.add([prediction(3, client_key="order")])
    assert store.status("fraud", "prod")["labels"] == 1
    with fails("prediction-log", "order"):
        store.label([Label("", 0, 1, START, key="order")])


def test_a_row_that_a_request_lacks_is_unknown(store: Observations) -> None:
    store.add([prediction(1, rows=2, client_key="order")])
    labels = [Label("request-1", 2, 1, START), Label("", 1, 1, START, key="order")]
    labels += [Label("nobody", 0, 1, START), Label("", 5, 1, START, key="order")]
    assert keyed(store, *labels) == LabelCounts(stored=1, waiting=1, unknown=2)


def test_waiting_labels_of_one_key_count_as_one_in_any_order(store: Observations) -> None:
    for label in (
        Label("", 0, 1, START + 3, "b", "k"),
        Label("", 0, 0, START + 2, "a", "k"),
        Label("", 0, 1, START + 3, "a", "k"),
    ):
        keyed(store, label)
    store.add([prediction(1, client_key="k")])
    assert matured(store).labels.tolist() == [1]
    assert store.status("fraud", "prod")["conflicts"] == 1


# --- provisional and final labels ---------------------------------------------------------------


def given(label: float, at: float, state: str, origin: str = "") -> Label:
    return Label("", 0, label, START + at, origin, "k", is_final=state == "final")


@pytest.mark.parametrize(
    ("labels", "counts", "conflicts"),
    [
        ([given(1, 1, "provisional"), given(0, 2, "provisional")], 0, 0),
        ([given(1, 3, "provisional"), given(0, 2, "final")], 0, 0),
        ([given(0, 2, "final"), given(1, 2, "provisional"), given(0, 4, "final")], 0, 0),
        ([given(0, 2, "final"), given(1, 3, "provisional"), given(1, 4, "final")], 1, 1),
        ([given(1, 1, "final"), given(1, 1, "provisional")], 1, 0),
    ],
)
@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_final_label_counts_before_a_provisional_one_in_any_order(
    tmp_path: Path, labels: list[Label], counts: float, conflicts: int, is_waiting: bool
) -> None:
    for number, order in enumerate(itertools.permutations(labels)):
        (tmp_path / str(number)).mkdir()
        store = Observations(url(tmp_path / str(number)))
        if is_waiting:
            keyed(store, *order[:1])
        store.add([prediction(1, client_key="k")])
        for label in order:
            keyed(store, label)
        assert matured(store).labels.tolist() == [counts]
        assert store.status("fraud", "prod")["conflicts"] == conflicts
        store.close()


def test_a_provisional_label_that_is_replaced_is_a_change_to_whoever_read_it(
    tmp_path: Path, store: Observations
) -> None:
    store.add([prediction(1, client_key="k")])
    keyed(store, given(0, 1, "provisional"))
    first = store.labelled(*WHO, before=math.inf)
    keyed(store, given(0, 2, "final"))
    same = store.labelled(*WHO, before=math.inf, after=first.cursor)
    assert not len(same.labels)
    assert asked(tmp_path, "SELECT is_final FROM labels") == 1
    keyed(store, given(1, 3, "provisional"), given(1, 4, "final"))
    then = store.labelled(*WHO, before=math.inf, after=first.cursor)
    assert (then.labels.tolist(), then.previous.tolist()) == ([1], [0])


# --- an old store -------------------------------------------------------------------------------


def old(folder: Path, version: str = "v0002") -> sqlite3.Connection:
    """Make a store of an earlier version."""
    engine = sqlalchemy.create_engine(url(folder))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(database._MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    engine.dispose()
    return sqlite3.connect(folder / "observations.db")


def fill(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"""
        PRAGMA journal_mode=WAL;
        INSERT INTO splits VALUES (1, 'fraud', 'prod', '{CHAMPION}', '', 0);
        INSERT INTO answerers VALUES (1, 'fraud', 'prod', '{CHAMPION}');
        INSERT INTO counters VALUES (1, 'champion', 250, {START}, 2, 0, 0);
        INSERT INTO tallies VALUES (1, 'ok', {START}, 2, 1, 1);
        INSERT INTO labels VALUES (1, 0, 0, {START + 1}, 1);
        INSERT INTO label_changes VALUES (1, 1, 1, 0, 1, -1), (2, 1, 1, 0, 0, 1);
        INSERT INTO waiting VALUES ('request-3', 0, 1, {START}, 0);
        """
    )
    row = (1, 1, "champion", "1", "abc", START, "", "ok", 1.0, 1, bytes(8), b"\1", "", bytes(24))
    for number in (1, 2):
        marks = ", ".join("?" * (len(row) + 2))
        values = (number, f"request-{number}", *row)
        connection.execute(f"INSERT INTO predictions VALUES ({marks})", values)
    connection.commit()
    connection.close()


def test_an_old_store_reads_on(tmp_path: Path) -> None:
    fill(old(tmp_path))
    store = Observations(url(tmp_path))
    found = matured(store)
    assert found.encoding == "f8"
    np.testing.assert_array_equal(found.labels, [0, math.nan])
    # Who had read up to the first change gets the second one.
    read = store.labelled(*WHO, before=math.inf, after=Cursor(START, 2, 1))
    assert (read.labels.tolist(), read.previous.tolist()) == ([0], [1])
    store.add([prediction(3)])
    store.label([Label("request-2", 0, 0.5, START)])
    assert store.status("fraud", "prod") == {
        "predictions": 3,
        "labels": 3,
        "conflicts": 1,
        "unknown_labels": 0,
        "newest_prediction": START + 3,
        "newest_label": START,
    }
    check(tmp_path)
    without_rowid = "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%' AND name "
    assert asked(tmp_path, without_rowid + "IN ('labels', 'waiting', 'waiting_keys')") == 3


def test_the_labels_of_an_old_store_are_final(tmp_path: Path) -> None:
    connection = old(tmp_path, "v0003")
    connection.executescript(
        f"""
        INSERT INTO waiting VALUES ('request-1', 0, 1, {START}, 0, 'review');
        INSERT INTO waiting_keys VALUES ('fraud', 'prod', 'k', 0, 1, {START}, 0, 'review');
        """
    )
    connection.close()
    store = Observations(url(tmp_path))
    store.add([prediction(1), prediction(2, client_key="k")])
    store.label([Label("request-1", 0, 0, START + 1, is_final=False)])
    keyed(store, given(0, 1, "provisional"))
    assert matured(store).labels.tolist() == [1, 1]
    assert store.status("fraud", "prod")["conflicts"] == 0
    check(tmp_path)


def test_the_migration_is_sql_for_postgresql_too(capsys: pytest.CaptureFixture[str]) -> None:
    context = sqlalchemy.create_mock_engine("postgresql://", lambda *_: None)
    assert context.dialect.name == "postgresql"
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    options = {"as_sql": True}
    made = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with Operations.context(made):
        from mlops_kit.prediction_log.migrations.versions import v0003_any_task, v0004_label_states

        v0003_any_task.upgrade()
        v0004_label_states.upgrade()
    sql = capsys.readouterr().out
    assert "ALTER TABLE label_changes ALTER COLUMN previous DROP NOT NULL" in sql
    assert "ALTER TABLE labels ALTER COLUMN label TYPE FLOAT" in sql
    assert "WHERE client_key <> ''" in sql
    assert "ALTER TABLE labels ADD COLUMN is_final BOOLEAN DEFAULT true NOT NULL" in sql
