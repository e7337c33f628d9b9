"""A mixed table by the V2 protocol, from the kit's server and its MLServer runtime."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from tests import mixed, served
from tests.served import MODEL, Client, Reply

VERSION = f"/v2/models/{MODEL}/versions/%s/infer"
# MLServer starts slowly, and what is by task is the kit's own part.
SERVED = (
    *(("binary", "kit"), ("multiclass", "kit"), ("regression", "kit")),
    *(("multiclass", "mlserver"), ("regression", "mlserver")),
)


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Client]]:
    task, kind = request.param
    folder = tmp_path_factory.mktemp(task)
    (folder / "task").write_text(task)
    for name, of_kind in (("fast", "trees"), ("slow", "linear")):
        joblib.dump(mixed.fitted(task, of_kind, 300), folder / f"{name}.joblib")
    with served.started(kind, folder) as addresses:
        yield folder, Client(addresses["url"])


@pytest.fixture
def folder(started: tuple[Path, Client]) -> Path:
    return started[0]


@pytest.fixture
def client(started: tuple[Path, Client]) -> Client:
    return started[1]


def outputs(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    return {output["name"]: output for output in reply.json["outputs"]}


def expected(folder: Path, name: str, sent: list[list[Any]]) -> dict[str, Any]:
    """Return what the model itself says."""
    task = (folder / "task").read_text()
    model, table = joblib.load(folder / f"{name}.joblib"), mixed.table(task)
    frame = mixed.frame(sent, table)
    if task == "regression":
        return {"score": model.predict(frame).tolist()}
    order = [model.classes_.tolist().index(each) for each in table.classes]
    scores = model.predict_proba(frame)[:, order]
    labels = model.predict(frame).tolist()
    if task == "binary":
        decided = [table.classes.index(each) for each in labels]
        return {"score": scores[:, 1].tolist(), "decision": decided}
    return {"score": scores.ravel().tolist(), "decision": labels}


@pytest.mark.parametrize(("version", "name"), [("1", "fast"), ("2", "slow")])
@pytest.mark.parametrize("count", [1, 60])
def test_the_answers_are_the_librarys_bit_for_bit(
    client: Client, folder: Path, version: str, name: str, count: int
) -> None:
    sent = mixed.rows(count, seed=4, unknown=True)
    found = outputs(client.ask(VERSION % version, {"inputs": mixed.tensors(sent)}))
    assert {key: each["data"] for key, each in found.items()} == expected(folder, name, sent)


def test_binary_tensors_go_in_side_by_side(client: Client, folder: Path) -> None:
    sent = [row for row in mixed.rows(60, seed=5) if None not in row]
    tensors, parts = mixed.tensors(sent), []
    for tensor in tensors:
        values = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            texts = [value.encode() for value in values]
            parts.append(b"".join(struct.pack("<I", len(text)) + text for text in texts))
        else:
            dtype = {"INT64": "<i8", "FP64": "<f8", "BOOL": "?"}[tensor["datatype"]]
            parts.append(np.array(values, dtype=dtype).tobytes())
        tensor["parameters"] = {"binary_data_size": len(parts[-1])}
    head = json.dumps({"inputs": tensors}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    found = outputs(client.ask(VERSION % "1", head + b"".join(parts), headers))
    assert found["score"]["data"] == expected(folder, "fast", sent)["score"]
    cut = client.ask(VERSION % "1", head + b"".join(parts)[:-1], headers)
    assert cut.status == 400
    assert list(cut.json) == ["error"]


def test_absent_columns_are_missing_where_they_may_be(client: Client, folder: Path) -> None:
    sent = mixed.rows(3, seed=6)
    for row in sent:
        row[2] = row[4] = None
    body = {"inputs": mixed.tensors(sent, note=None, age=None)}
    found = outputs(client.ask(VERSION % "1", body))
    assert found["score"]["data"] == expected(folder, "fast", sent)["score"]


def test_metadata_says_each_input_and_the_task(client: Client, folder: Path) -> None:
    task = (folder / "task").read_text()
    described = client.ask(f"/v2/models/{MODEL}").json
    names = [(each["name"], each["datatype"]) for each in described["inputs"]]
    assert names[:4] == [
        ("city", "BYTES"),
        ("plan", "BYTES"),
        ("note", "BYTES"),
        ("visits", "INT64"),
    ]
    assert described["inputs"][0]["parameters"]["categories"] == ["Bern", "Genève", "Zürich"]
    assert described["parameters"]["task"] == task
    assert described["parameters"].get("classes", []) == list(mixed.CLASSES[task])
    shapes = {each["name"]: each["shape"] for each in described["outputs"]}
    assert shapes["score"] == ([-1, 3] if task == "multiclass" else [-1])
    assert ("decision" in shapes) is (task != "regression")


@pytest.mark.parametrize(
    ("column", "changed", "fact"),
    [
        ("visits", {"data": [1, 1.5]}, "1.5"),
        ("visits", {"data": [1, None]}, "visits"),
        ("city", {"data": ["Bern", 7]}, "city"),
        ("city", None, "city"),
        ("city", {"name": "town"}, "town"),
        ("since", {"data": ["2024-01-01", "never"]}, "never"),
        ("rate", {"shape": [3], "data": [0.5] * 3}, "rate"),
        ("is_member", {"data": [True, 7]}, "7"),
    ],
)
def test_a_fault_is_a_v2_error_that_names_the_column(
    client: Client, column: str, changed: Any, fact: str
) -> None:
    tensors = mixed.tensors(mixed.rows(2), **{column: changed})
    reply = client.ask(VERSION % "1", {"inputs": tensors})
    assert reply.status == 400
    assert list(reply.json) == ["error"]
    assert fact in reply.json["error"]


def test_what_the_split_answers_is_logged(client: Client) -> None:
    body = {"inputs": mixed.tensors(mixed.rows(3))}
    for number in range(6):
        reply = client.ask(f"/v2/models/{MODEL}/infer", body, {"X-Client-Id": f"{number}"})
        assert reply.status == 200
