"""One list of what the V2 protocol asks, held against the kit's server and its MLServer runtime."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from tests import served
from tests.served import FEATURES, MAX_BODY, MAX_ROWS, MODEL, POISON, Client, Reply

INFER = f"/v2/models/{MODEL}/infer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    for name, model in served.models().items():
        joblib.dump(model, made / f"{name}.joblib")
    return made


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Any]:
    return {"1": joblib.load(folder / "fast.joblib"), "2": joblib.load(folder / "slow.joblib")}


@pytest.fixture(scope="module", params=["kit", "mlserver"])
def client(request: pytest.FixtureRequest, folder: Path) -> Iterator[Client]:
    with served.started(request.param, folder) as addresses:
        client = Client(addresses["url"])
        yield client
        # Whatever the cases sent, the server still answers as it did.
        assert client.ask(f"/v2/models/{MODEL}/ready").status == 200


def asked(rows: Any, **more: object) -> dict[str, Any]:
    values = np.asarray(rows, dtype=float)
    data = [None if value != value else value for value in values.ravel().tolist()]
    tensor = {"name": "features", "datatype": "FP64", "shape": list(values.shape), "data": data}
    return {"inputs": [tensor], **more}


def changed(**fields: object) -> dict[str, Any]:
    body = asked(np.zeros((1, len(FEATURES))))
    tensor = {name: value for name, value in (body["inputs"][0] | fields).items() if value != "-"}
    return {"inputs": [tensor]}


def version_path(version: str) -> str:
    return f"/v2/models/{MODEL}/versions/{version}/infer"


def outputs(reply: Reply) -> dict[str, list[float]]:
    assert reply.status == 200, reply.body
    return {output["name"]: output["data"] for output in reply.json["outputs"]}


def assert_v2_error(reply: Reply, status: int) -> None:
    assert reply.status == status, reply.body
    assert list(reply.json) == ["error"]
    assert reply.json["error"]
    assert "Traceback" not in reply.json["error"]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("count", [1, 7, 500])
def test_the_answers_are_those_of_scikit_learn_bit_for_bit(
    client: Client, models: dict[str, Any], version: str, count: int
) -> None:
    frame, _ = served.table(count, seed=5)
    found = outputs(client.ask(version_path(version), asked(frame)))
    assert found["score"] == models[version].predict_proba(frame)[:, 1].tolist()
    assert found["decision"] == models[version].predict(frame).tolist()


def test_an_answer_names_the_version_that_gave_it_and_keeps_the_request_id(client: Client) -> None:
    body = asked(np.zeros((2, len(FEATURES))), id="request-7")
    for version in ("1", "2"):
        reply = client.ask(version_path(version), body)
        assert reply.json["model_name"] == MODEL
        assert reply.json["model_version"] == version
        assert reply.json["id"] == "request-7"
        assert [each["shape"] for each in reply.json["outputs"]] == [[2], [2]]
        assert [each["datatype"] for each in reply.json["outputs"]] == ["FP64", "INT64"]


def test_only_the_outputs_that_are_asked_for_come(client: Client) -> None:
    body = asked(np.zeros((1, len(FEATURES))), outputs=[{"name": "decision"}])
    assert list(outputs(client.ask(version_path("1"), body))) == ["decision"]


def test_null_is_a_missing_value_that_the_model_sees(
    client: Client, models: dict[str, Any]
) -> None:
    frame, _ = served.table(20, seed=6)
    frame = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.3)
    found = outputs(client.ask(version_path("1"), asked(frame)))
    assert found["score"] == models["1"].predict_proba(frame)[:, 1].tolist()


def test_rows_may_come_as_lists_and_as_other_numbers(client: Client) -> None:
    rows = [[1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 1]]
    expected = outputs(client.ask(version_path("1"), asked(rows)))
    for datatype in ("FP32", "INT64", "UINT8"):
        body = changed(datatype=datatype, shape=[2, len(FEATURES)], data=rows)
        assert outputs(client.ask(version_path("1"), body)) == expected


def test_the_binary_extension_goes_in_and_comes_out_or_not_at_all(client: Client) -> None:
    frame, _ = served.table(3, seed=8)
    expected = outputs(client.ask(version_path("1"), asked(frame)))
    content = frame.to_numpy().tobytes()
    body = changed(shape=[3, len(FEATURES)], data="-")
    body["inputs"][0]["parameters"] = {"binary_data_size": len(content)}
    head = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    assert outputs(client.ask(version_path("1"), head + content, headers)) == expected
    assert_v2_error(client.ask(version_path("1"), head + content[:-8], headers), 400)
    too_long = {"Inference-Header-Content-Length": "99999999"}
    assert_v2_error(client.ask(version_path("1"), head + content, too_long), 400)


def test_health_and_metadata_say_what_is_served(client: Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}/versions/2/ready"):
        assert client.ask(path).status == 200
    described = client.ask(f"/v2/models/{MODEL}").json
    assert (described["name"], described["versions"]) == (MODEL, ["1", "2"])
    (tensor,) = described["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("features", "FP64", [-1, 6])
    assert tensor["parameters"]["feature_names"] == list(FEATURES)
    assert [(each["name"], each["datatype"]) for each in described["outputs"]] == [
        ("score", "FP64"),
        ("decision", "INT64"),
    ]
    server = client.ask("/v2").json
    assert server["name"]
    assert "binary_tensor_data" in server["extensions"]


BAD_BODIES = {
    "no JSON": b"{",
    "empty": b"",
    "a list": b"[]",
    "a number": b"1",
    "no inputs": {},
    "two inputs": {"inputs": changed()["inputs"] * 2},
    "another name": changed(name="X"),
    "no name": changed(name="-"),
    "no datatype": changed(datatype="-"),
    "an unknown datatype": changed(datatype="FP128"),
    "text": changed(datatype="BYTES"),
    "no shape": changed(shape="-"),
    "one dimension": changed(shape=[6]),
    "three dimensions": changed(shape=[1, 6, 1]),
    "too few features": changed(shape=[1, 5], data=[0.0] * 5),
    "no rows": changed(shape=[0, 6], data=[]),
    "negative rows": changed(shape=[-1, 6]),
    "huge rows": changed(shape=[10**18, 6]),
    "too many rows": changed(shape=[MAX_ROWS + 1, 6], data=[0] * 6 * (MAX_ROWS + 1)),
    "too few numbers": changed(data=[0.0] * 5),
    "no data": changed(data="-"),
    "strings": changed(data=["1.5"] * 6),
    "an object": changed(data=[{}] * 6),
    "ragged rows": changed(shape=[2, 6], data=[[0.0] * 6, [0.0] * 5]),
    "NaN": json.dumps(changed(data=[float("nan")] * 6)).encode(),
    "infinity": json.dumps(changed(data=[float("inf")] * 6)).encode(),
    "more than floats hold": json.dumps(changed(data=[7.5] * 6)).replace("7.5", "1e999").encode(),
    "an unknown output": {**changed(), "outputs": [{"name": "X"}]},
    "an id that is too long": {**changed(), "id": "x" * 300},
    "a client that is a number": {**changed(), "parameters": {"client_id": 7}},
    "deep nesting": b"[" * 5000,
    "deep data": json.dumps(changed(data="deep")).replace('"deep"', "[" * 600 + "]" * 600).encode(),
    "no text": b"\xff\xfe\x00",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_gets_a_v2_error(client: Client, name: str) -> None:
    assert_v2_error(client.ask(INFER, BAD_BODIES[name]), 400)


def test_a_body_has_a_bound(client: Client) -> None:
    assert_v2_error(client.ask(INFER, b" " * (MAX_BODY + 1)), 413)
    assert client.ask(INFER, asked(np.zeros((1, 6)))).status == 200


def test_a_packed_body_is_refused_unopened(client: Client) -> None:
    packed = gzip.compress(json.dumps(changed()).encode())
    assert_v2_error(client.ask(INFER, packed, {"Content-Encoding": "gzip"}), 415)
    assert_v2_error(client.ask(INFER, b"x", {"Content-Encoding": "br"}), 415)
    identity = {"Content-Encoding": "identity"}
    assert client.ask(INFER, asked(np.zeros((1, 6))), identity).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other/infer",
        f"/v2/models/{MODEL}/versions/9/infer",
        f"/v2/models/{MODEL}/generate",
        "/v2/repository/index",
        f"/v2/repository/models/{MODEL}/unload",
        "/other",
    ],
)
def test_what_is_not_served_is_not_found(client: Client, path: str) -> None:
    assert_v2_error(client.ask(path, asked(np.zeros((1, 6)))), 404)


def test_what_is_not_there_to_be_read_is_not_found(client: Client) -> None:
    for path in ("/v2/models/other", "/v2/models/other/ready", f"/v2/models/{MODEL}/versions/9"):
        assert_v2_error(client.ask(path), 404)


def test_a_wrong_method_is_refused(client: Client) -> None:
    assert_v2_error(client.ask(INFER), 405)
    assert_v2_error(client.ask("/v2/health/live", b"{}"), 405)


def test_the_split_is_sticky_near_its_weight_and_follows_the_client(client: Client) -> None:
    def version(**more: object) -> str:
        reply = client.ask(INFER, asked(np.zeros((1, 6)), **more))
        return str(reply.json["model_version"])

    names = [f"client-{number}" for number in range(100)]
    first = [version(parameters={"client_id": name}) for name in names]
    assert [version(parameters={"client_id": name}) for name in names] == first
    body = asked(np.zeros((1, 6)))
    by_header = [client.ask(INFER, body, {"X-Client-Id": name}) for name in names]
    assert [reply.json["model_version"] for reply in by_header] == first
    assert 30 <= first.count("2") <= 70
    # Without a client's id, one request's own id doesn't always fall on the same side.
    assert {version(id="always the same") for _ in range(40)} == {"1", "2"}


def test_a_candidate_that_raises_fails_alone_and_tells_no_secret(client: Client) -> None:
    poison = asked([[POISON] * 6], id="bad-1")
    reply = client.ask(version_path("2"), poison)
    assert_v2_error(reply, 500)
    assert "bad-1" in reply.json["error"]
    assert "secret" not in reply.json["error"]
    assert client.ask(version_path("1"), poison).status == 200
    # A missing value makes this candidate's own scikit-learn raise.
    assert_v2_error(client.ask(version_path("2"), asked([[float("nan")] * 6])), 500)
    assert client.ask(version_path("2"), asked(np.zeros((1, 6)))).status == 200


def test_labels_come_in_by_their_own_path(client: Client) -> None:
    path = f"/v2/models/{MODEL}/labels"
    label = {"id": "unseen", "label": 1, "state": "provisional"}
    reply = client.ask(path, [label, {"id": "unseen", "label": 2}, {**label, "state": "sure"}])
    assert reply.status == 200, reply.body
    assert [reply.json[name] for name in ("stored", "waiting", "unknown")] == [0, 1, 0]
    assert [each["place"] for each in reply.json["refused"]] == [1, 2]
    assert client.ask(path, []).json == {"stored": 0, "waiting": 0, "unknown": 0, "refused": []}
    assert_v2_error(client.ask("/v2/models/other/labels", []), 404)
    assert_v2_error(client.ask(path), 405)
    assert_v2_error(client.ask(path, b"{"), 400)
    assert_v2_error(client.ask(path, [label] * (MAX_ROWS + 1)), 400)
    assert_v2_error(client.ask(path, b" " * (MAX_BODY + 1)), 413)
    assert_v2_error(client.ask(path, b"[]", {"Content-Encoding": "gzip"}), 415)


def test_each_request_of_the_split_is_logged_and_no_other(folder: Path) -> None:
    place = folder / "log"
    place.mkdir()
    for name in ("fast", "slow"):
        (place / f"{name}.joblib").write_bytes((folder / f"{name}.joblib").read_bytes())
    with served.started("kit", place) as addresses:
        client = Client(addresses["url"])
        for number in range(30):
            client.ask(
                INFER, asked(np.full((2, 6), POISON), id=f"r{number}"), {"X-Client-Id": f"{number}"}
            )
        client.ask(version_path("1"), asked(np.zeros((1, 6))))
        client.ask(INFER, b"{")
        metrics = client.ask("/metrics").body.decode()
    written = json.loads((place / "kit-written.json").read_text())
    assert sorted(each["id"] for each in written) == sorted(f"r{number}" for number in range(30))
    for each in written:
        is_candidate = each["role"] == "candidate"
        assert each["version"] == ("2" if is_candidate else "1")
        assert each["outcome"] == ("error" if is_candidate else "ok")
        assert (each["rows"], each["features"], each["weight"]) == (2, 96, 50)
        assert (each["scores"], each["decisions"]) == ((0, 0) if is_candidate else (16, 2))
        assert each["latency_ms"] > 0
    failed = sum(each["outcome"] == "error" for each in written)
    assert 0 < failed < 30
    counted = dict(re.findall(r"^(mlops_kit_[^ ]+) (\S+)$", metrics, re.MULTILINE))
    series = 'mlops_kit_requests_total{outcome="%s",role="%s",version="%s"}'
    assert float(counted[series % ("error", "candidate", "2")]) == failed
    # One of the champion's was asked for by its version.
    assert float(counted[series % ("ok", "champion", "1")]) == 30 - failed + 1
    assert float(counted['mlops_kit_refused_requests_total{status="400"}']) == 1
    assert float(counted["mlops_kit_requests_without_client_total"]) == 1
