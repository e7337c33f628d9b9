"""The ways in for labels: over HTTP, from files, folders, tables and Python."""

from __future__ import annotations

import io
import json
import math
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlops_kit
from mlops_kit.prediction_log import label_files
from mlops_kit.prediction_log.label_records import RecordReader
from mlops_kit.prediction_log.log import LabelCounts, LabelledRows, Observations
from mlops_kit.prediction_log.writer import PredictionLog
from mlops_kit.project import labels as project_labels
from mlops_kit.project.workspace import Workspace
from mlops_kit.serving.label_door import LabelDoor
from mlops_kit.serving.options import Serving
from mlops_kit.serving.predictor import LiveRelease, Predictor
from mlops_kit.serving.protocol import Signature
from mlops_kit.serving.server import Server, application
from mlops_kit.tables.table import Column, Table
from tests.commands import called
from tests.failures import fails
from tests.observed import CHAMPION, START, check, prediction, url
from tests.served import Client, Reply, Source

WHO = ("fraud", "prod", CHAMPION)
PATH = "/v2/models/fraud/labels"
CHURN = Table(
    "fraud",
    (Column("calls", "int"), Column("left", "str", categories=("No", "Yes"))),
    "binary",
    "left",
    ("No", "Yes"),
)
PRICES = Table("fraud", (Column("rooms", "int"), Column("price", "float")), "regression", "price")


@pytest.fixture
def store(tmp_path: Path) -> Observations:
    return Observations(url(tmp_path))


def door(store: Observations, table: Table | None = CHURN, **options: Any) -> LabelDoor:
    return LabelDoor(store, "fraud", "prod", lambda: table, Serving(**options))


class Served:
    """A server with a door, which logs what it answers."""

    def __init__(self, store: Observations, table: Table | None = CHURN, **options: Any) -> None:
        settings = Serving(**options)
        champion = Predictor("1", CHAMPION, Signature(("a",)), lambda rows: rows[:, 0], 0.5, True)
        live = LiveRelease("r", "fraud", "prod", "", champion)
        self.log = PredictionLog(store.add)
        self.door = door(store, table, **options)
        app = application(Source(live), self.log, settings, dict, self.door)
        self.server = Server(app, settings)
        self.server.start()
        self.client = Client(self.server.url)

    def post(self, labels: Any, path: str = PATH, **headers: str) -> Reply:
        return self.client.ask(path, labels, headers)

    def close(self) -> None:
        self.server.stop()
        self.log.close()


@pytest.fixture
def served(store: Observations) -> Iterator[Served]:
    found = Served(store)
    yield found
    found.close()


def labels_of(store: Observations) -> list[float]:
    found: LabelledRows = store.matured(*WHO, before=math.inf)
    return [-1.0 if math.isnan(each) else each for each in found.labels.tolist()]


def refused(reply: Any) -> dict[int, str]:
    return {each["place"]: each["reason"] for each in reply["refused"]}


# --- over HTTP ----------------------------------------------------------------------------------


def test_raw_labels_are_stored_and_each_refused_one_has_its_reason(
    store: Observations, served: Served
) -> None:
    store.add([prediction(1, rows=2), prediction(2, client_key="order-2")])
    reply = served.post(
        [
            {"id": "request-1", "row": 1, "label": "Yes", "time": START + 5, "origin": "review"},
            {"key": "order-2", "label": "No", "time": "2023-11-15T00:00:00Z"},
            {"id": "nobody", "label": "Yes"},
            {"id": "request-1", "row": 7, "label": "Yes"},
            {"id": "request-1", "label": "yes"},
            {"id": "request-1", "key": "order-2", "label": "Yes"},
            {"id": "request-1", "lable": "Yes"},
            {"id": "request-1", "label": "Yes", "row": -1},
            {"id": "request-1", "label": "Yes", "time": 1e15},
            {"id": "request-1"},
            "request-1",
        ]
    )
    assert reply.status == 200
    answer = reply.json
    assert (answer["stored"], answer["waiting"], answer["unknown"]) == (2, 1, 1)
    reasons = refused(answer)
    assert [*reasons] == [4, 5, 6, 7, 8, 9, 10]
    assert "'yes'" in reasons[4]
    assert "['No', 'Yes']" in reasons[4]
    assert "'label'" in reasons[6]
    assert labels_of(store) == [-1.0, 1.0, 0.0]


def test_a_request_gives_its_key_as_a_parameter_or_in_a_header(
    store: Observations, served: Served
) -> None:
    tensor = {"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [0.7]}
    infer = "/v2/models/fraud/infer"
    by_header = served.client.ask(infer, {"inputs": [tensor]}, {"X-Prediction-Key": "one"})
    by_name = {"inputs": [tensor], "parameters": {"key": "two"}}
    assert by_header.status == served.client.ask(infer, by_name).status == 200
    assert served.log.close()
    answer = served.post([{"key": key, "label": "Yes"} for key in ("one", "two", "three")]).json
    assert (answer["stored"], answer["waiting"]) == (2, 1)


def test_two_labels_for_one_row_are_a_conflict_and_the_newest_counts(
    store: Observations, served: Served
) -> None:
    store.add([prediction(1)])
    first = {"id": "request-1", "label": "Yes", "time": START + 2}
    assert served.post([first, {**first, "label": "No", "time": START + 3}]).json["stored"] == 2
    assert served.post([first]).json["stored"] == 1
    assert labels_of(store) == [0.0]
    assert store.status("fraud", "prod")["conflicts"] == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{}", 400),
        (b'[{"id": "a", "label": NaN}]', 400),
        (b"\xff\xfe", 400),
        (b"[" * 1_900, 400),
        (json.dumps([{}] * 101).encode(), 400),
        (b" " * 2_001, 413),
    ],
)
def test_a_body_that_holds_no_labels_is_refused_whole(
    store: Observations, content: bytes, status: int
) -> None:
    found = Served(store, max_rows=100, max_body=2_000)
    try:
        reply = found.post(content)
        assert reply.status == status
        assert reply.json["error"]
        assert found.post([]).json == {"stored": 0, "waiting": 0, "unknown": 0, "refused": []}
    finally:
        found.close()


def test_another_model_and_another_method_are_refused(served: Served) -> None:
    assert served.post([], "/v2/models/other/labels").status == 404
    assert served.client.ask(PATH).status == 405
    assert served.post(b"[]", **{"Content-Encoding": "gzip"}).status == 415


def test_a_store_that_fails_is_said_without_its_insides(tmp_path: Path) -> None:
    (tmp_path / "observations.db").write_bytes(b"no store" * 1000)
    found = Served(Observations(url(tmp_path)))
    try:
        reply = found.post([{"id": "a", "label": "Yes"}])
        assert reply.status == 500
        assert str(tmp_path) not in reply.body.decode()
    finally:
        found.close()


# --- what a record may hold ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "given", "label"),
    [
        (CHURN, "Yes", 1.0),
        (None, 1, 1.0),
        (None, 1.0, 1.0),
        (PRICES, 12.5, 12.5),
        (PRICES, -3, -3.0),
        (None, True, None),
        (None, "1", None),
        (None, 2, None),
        (CHURN, 1, None),
        (PRICES, "12", None),
        (PRICES, True, None),
        (PRICES, 1e400, None),
        (PRICES, [1], None),
    ],
)
def test_a_label_is_one_of_its_table(table: Table | None, given: Any, label: float | None) -> None:
    found, refusals = RecordReader(table, START).read([{"id": "a", "label": given}])
    assert [each.label for each in found] == ([] if label is None else [label])
    assert len(refusals) == (label is None)


def test_text_is_read_as_a_file_of_text_means_it() -> None:
    rows = [{"id": "a", "label": "1", "row": "2", "time": "1700000000.5"}]
    (label,), _ = RecordReader(None, START, is_text=True).read(rows)
    assert (label.label, label.row, label.time) == (1.0, 2, 1700000000.5)
    (label,), _ = RecordReader(PRICES, START, is_text=True).read([{"key": "7", "label": "1e3"}])
    assert (label.label, label.key, label.time) == (1000.0, "7", START)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
NAME = st.sampled_from(["id", "key", "row", "label", "time", "origin", "state"])


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(
        VALUE
        | st.dictionaries(
            NAME | st.text(max_size=5), VALUE | st.sampled_from(["Yes", "a", "final"])
        ),
        max_size=6,
    ),
    table=st.sampled_from([CHURN, PRICES, None]),
    is_text=st.booleans(),
)
def test_whatever_is_delivered_is_taken_or_refused(
    empty: Path, records: list[Any], table: Table | None, is_text: bool
) -> None:
    labels, refusals = RecordReader(table, START, is_text=is_text).read(records)
    assert len(labels) + len(refusals) == len(records)
    assert all(each.reason for each in refusals)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "observations.db").write_bytes(empty.read_bytes())
        store = Observations(url(Path(folder)))
        counts = store.label(labels, model="fraud", environment="prod")
        assert counts.stored == counts.unknown == 0
        assert counts.waiting == len(labels)
        store.close()
        check(Path(folder))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty store, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    store = Observations(url(folder))
    store.add([])
    store.prepare()
    store.close()
    return folder / "observations.db"


# --- files --------------------------------------------------------------------------------------


def records(content: bytes, kind: label_files.Kind) -> list[Any]:
    return [dict(each) for each in label_files.records(io.BytesIO(content), kind, "labels")]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    found = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), found)
    return found.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_is_read_in_its_dialects(separator: str) -> None:
    lines = ["key;label;more", '"a;1";Yes;x', "b;No;"]
    content = "\r\n".join(lines).replace(";", separator).encode("utf-8-sig")
    assert records(content, "csv") == [
        {"key": f"a{separator}1", "label": "Yes"},
        {"key": "b", "label": "No"},
    ]


def test_json_lines_and_parquet_keep_their_types() -> None:
    rows = [{"id": "a", "row": 1, "label": 1}, {"id": "b", "row": 0, "label": 0}]
    content = "\n".join([json.dumps(row) for row in rows] + [""]).encode()
    assert records(content, "jsonl") == rows
    assert records(parquet(rows), "parquet") == rows


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "csv"),
        (b"a,b\n1,2\n", "csv"),
        (b"id,label\na,1,2\n", "csv"),
        (b"id,label\n\xff\xfe,1\n", "csv"),
        (b"{", "jsonl"),
        (b"PAR1", "parquet"),
        (parquet([{"label": 1}]), "parquet"),
    ],
)
def test_a_file_without_labels_is_named(content: bytes, kind: label_files.Kind) -> None:
    with fails("prediction-log.label-file", "labels"):
        records(content, kind)


# --- in a project -------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    (tmp_path / "mlops-kit.toml").write_text(
        'model = "fraud"\n[labels]\nfolder = "in"\nsql = "sqlite:///%s"\n'
        % (tmp_path / "labels.db")
    )
    (tmp_path / "in").mkdir()
    with sqlite3.connect(tmp_path / "labels.db") as connection:
        connection.execute("CREATE TABLE labels (id, label, time, note)")
    workspace = Workspace.open(tmp_path)
    store = opened(workspace)
    store.add([prediction(n, client_key=f"order-{n}") for n in range(6)])
    store.close()
    return workspace


def opened(workspace: Workspace) -> Observations:
    return Observations(workspace.settings.observations_url)


def settled(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (START, START + len(content)))


def test_python_takes_frames_and_mappings(place: Workspace) -> None:
    frame = pd.DataFrame(
        {"key": ["order-0", "order-1"], "label": [1, 0], "time": pd.Timestamp("2023-12-01")}
    )
    assert mlops_kit.label(frame, workspace=place).counts == LabelCounts(stored=2)
    result = mlops_kit.label(
        [{"id": "request-2", "label": 1}, {"id": "x", "label": 5}], workspace=place
    )
    assert (result.counts.stored, result.refused, result.reasons[0].place) == (1, 1, 1)
    assert labels_of(opened(place)) == [1.0, 0.0, 1.0, -1.0, -1.0, -1.0]
    with fails("prediction-log.label"):
        mlops_kit.label(["request-1"], workspace=place)


def test_a_state_comes_with_each_label_or_for_all(place: Workspace) -> None:
    rows = [{"key": "order-0", "label": 1}, {"key": "order-1", "label": 1, "state": "final"}]
    assert mlops_kit.label(rows, state="provisional", workspace=place).counts.stored == 2
    (place.project / "later.jsonl").write_text('{"key": "order-0", "label": 0}')
    done = called(("label", "later.jsonl", "--state", "final"), place.project, {})
    assert done.returncode == 0, done.stderr
    store = opened(place)
    mlops_kit.label([{"key": "order-1", "label": 0}], state="provisional", workspace=place)
    assert labels_of(store)[:2] == [0.0, 1.0]
    assert store.status("fraud", "prod")["conflicts"] == 0
    result = mlops_kit.label([{"key": "a", "label": 1, "state": "sure"}], workspace=place)
    assert "'sure'" in result.reasons[0].reason
    settled(place.project / "in" / "a.csv", b"key,label,state\norder-2,1,provisional\norder-3,1,\n")
    assert project_labels.from_settings(place).counts.stored == 2
    with sqlite3.connect(place.settings.observations_url.removeprefix("sqlite:///")) as connection:
        found = connection.execute("SELECT is_final FROM labels ORDER BY prediction").fetchall()
    assert found == [(1,), (1,), (0,), (1,)]


def test_a_folder_and_a_table_are_read_on_each_row_once(place: Workspace) -> None:
    folder = place.project / "in"
    settled(folder / "a.csv", b"key,label\norder-0,1\n")
    settled(folder / "b.jsonl", b'{"id": "request-1", "label": 0}\n')
    (folder / "notes.txt").write_text("no labels")
    with sqlite3.connect(place.project / "labels.db") as connection:
        connection.execute("INSERT INTO labels VALUES ('request-2', 1, 1700000005, 'x')")
    assert project_labels.from_settings(place).counts.stored == 3
    assert str(project_labels.from_settings(place)).startswith("1 labels")  # the last row again
    # A file that grew is read from where it ended, one that was replaced from its start.
    settled(folder / "a.csv", b"key,label\norder-0,1\norder-3,1\n")
    settled(folder / "b.jsonl", b'{"id": "request-4", "label": 1}\n\n')
    with sqlite3.connect(place.project / "labels.db") as connection:
        connection.execute("INSERT INTO labels VALUES ('request-5', 1, 1700000006, 'x')")
    assert project_labels.from_settings(place).counts.stored == 4
    assert labels_of(opened(place)) == [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    (folder / "still-written.csv").write_bytes(b"key,lab")
    project_labels.from_settings(place)


def test_a_source_that_is_not_there_is_named(place: Workspace) -> None:
    (place.project / "in").rmdir()
    with fails("prediction-log.label-file", str(place.project / "in")):
        project_labels.from_settings(place)
    (place.project / "in").mkdir()
    with sqlite3.connect(place.project / "labels.db") as connection:
        connection.execute("ALTER TABLE labels RENAME COLUMN time TO when_known")
    with fails("prediction-log.label-table", "time"):
        project_labels.from_settings(place)


def test_no_source_is_an_error_only_where_one_is_asked_for(tmp_path: Path) -> None:
    bare = Workspace.open(tmp_path)
    assert project_labels.from_settings(bare, required=False).refused == 0
    with fails("settings", "folder", "sql"):
        project_labels.from_settings(bare)
