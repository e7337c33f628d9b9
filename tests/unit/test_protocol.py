"""Any bytes are a request or a RequestError, and numbers come through bit for bit."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import RequestError
from mlops_kit.serving import protocol
from mlops_kit.serving.protocol import Signature

SIGNATURE = Signature(("a", "b"))
MAX_ROWS = 5
IDS = itertools.count()
LENGTH = protocol.JSON_LENGTH


def fresh() -> str:
    return f"fresh-{next(IDS)}"


def decode(body: object, headers: dict[str, str] = {}) -> protocol.InferRequest:  # noqa: B006
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return protocol.decode(content, headers, SIGNATURE, MAX_ROWS, fresh)


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "features", "datatype": "FP64", "shape": [1, 2], "data": [1.5, 2.5], **fields}


def encoded(request: protocol.InferRequest, scores: Any, decisions: Any) -> tuple[bytes, int]:
    values = protocol.answers(SIGNATURE, scores, decisions)
    return protocol.encode("fraud", "3", request, SIGNATURE, values)


def refused(body: object, headers: dict[str, str] = {}) -> str:  # noqa: B006
    with pytest.raises(RequestError) as caught:
        decode(body, headers)
    assert caught.value.status == 400
    return str(caught.value)


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY_JSON = st.recursive(
    NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
# Nearly a request: each part is right, or anything at all.
NEARLY = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.just("features") | ANY_JSON,
                    "datatype": st.sampled_from(["FP64", "FP32", "INT8", "BOOL", "BYTES"])
                    | ANY_JSON,
                    "shape": st.just([1, 2]) | st.lists(st.integers(), max_size=3) | ANY_JSON,
                },
                optional={
                    "data": st.lists(st.floats() | st.none(), max_size=4) | ANY_JSON,
                    "parameters": st.fixed_dictionaries(
                        {"binary_data_size": st.just(16) | ANY_JSON}
                    )
                    | ANY_JSON,
                },
            ),
            max_size=2,
        )
        | ANY_JSON
    },
    optional={
        "id": ANY_JSON,
        "parameters": st.dictionaries(
            st.sampled_from(["client_id", "binary_data_output"]), ANY_JSON, max_size=2
        )
        | ANY_JSON,
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["score", "decision"]) | ANY_JSON},
                optional={
                    "parameters": st.dictionaries(st.just("binary_data"), ANY_JSON) | ANY_JSON
                },
            ),
            max_size=3,
        )
        | ANY_JSON,
    },
)


def assert_right_or_refused(body: bytes, headers: dict[str, str]) -> None:
    try:
        request = protocol.decode(body, headers, SIGNATURE, MAX_ROWS, fresh)
    except RequestError as error:
        refusal = error
    else:
        assert_right(request)
        return
    assert refusal.status == 400
    assert len(str(refusal)) < 1000


def assert_right(request: protocol.InferRequest) -> None:
    assert request.rows.dtype == np.float64
    assert request.rows.shape[1] == 2
    assert 1 <= len(request.rows) <= MAX_ROWS
    assert not np.isinf(request.rows).any()
    assert request.id
    assert set(request.binary) <= set(request.outputs) <= set(protocol.OUTPUTS)
    scores = np.linspace(0, 1, len(request.rows))
    encoded(request, scores, (scores > 0.5).astype(np.int64))


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode()),
    st.text(max_size=8),
)
def test_any_bytes_are_a_request_or_are_refused(body: bytes, length: str) -> None:
    assert_right_or_refused(body, {})
    assert_right_or_refused(body, {LENGTH: length})


@settings(max_examples=400, deadline=None)
@given(NEARLY, st.binary(max_size=40), st.integers(-3, 3))
def test_what_is_nearly_a_request_is_right_or_is_refused(
    document: Any, tail: bytes, shift: int
) -> None:
    head = json.dumps(document).encode()
    assert_right_or_refused(head, {})
    assert_right_or_refused(head + tail, {LENGTH: str(len(head))})
    assert_right_or_refused(head + tail, {LENGTH: str(len(head) + shift)})
    try:
        unpacked = protocol.unpacked(head + tail, str(len(head)))
    except RequestError:
        return
    assert_right_or_refused(unpacked, {})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.floats(allow_infinity=False)] * 2), min_size=1, max_size=MAX_ROWS))
def test_numbers_come_through_bit_for_bit_as_json_and_as_bytes(rows: list[Any]) -> None:
    sent = np.array(rows)
    data = [None if value != value else value for value in sent.ravel().tolist()]
    body = {"inputs": [tensor(shape=list(sent.shape), data=data)]}
    assert np.array_equal(decode(body).rows, sent, equal_nan=True)
    content = sent.tobytes()
    described = tensor(shape=list(sent.shape), parameters={"binary_data_size": len(content)})
    del described["data"]
    head = json.dumps({"inputs": [described]}).encode()
    assert decode(head + content, {LENGTH: str(len(head))}).rows.tobytes() == content
    translated = protocol.unpacked(head + content, str(len(head)))
    assert np.array_equal(decode(translated).rows, sent, equal_nan=True)


def test_a_number_is_what_its_datatype_holds() -> None:
    assert decode({"inputs": [tensor(datatype="FP32", data=[0.1, 1])]}).rows[0, 0] == np.float32(
        0.1
    )
    assert decode({"inputs": [tensor(datatype="BOOL", data=[True, False])]}).rows.tolist() == [
        [1, 0]
    ]
    assert "infinite" in refused({"inputs": [tensor(datatype="FP32", data=[1e300, 1])]})


@pytest.mark.parametrize(
    ("datatype", "value"), [("UINT8", 300), ("UINT8", -1), ("INT64", 1.5), ("BOOL", 7)]
)
def test_a_number_off_its_datatype_is_refused_with_its_column(datatype: str, value: float) -> None:
    said = refused({"inputs": [tensor(datatype=datatype, data=[1, value])]})
    assert all(fact in said for fact in ("'b'", "row 0", str(value), datatype))


def test_infinite_numbers_in_bytes_are_refused() -> None:
    content = np.array([np.inf, 1.0]).tobytes()
    head = json.dumps({"inputs": [tensor(parameters={"binary_data_size": 16})]}).encode()
    assert "infinite" in refused(head + content, {LENGTH: str(len(head))})


def test_a_parameter_goes_before_the_header_that_names_the_client() -> None:
    body = {"inputs": [tensor()]}
    assert decode(body).client == ""
    assert decode(body, {protocol.CLIENT: "by-header"}).client == "by-header"
    both = {**body, "parameters": {"client_id": "by-parameter"}}
    assert decode(both, {protocol.CLIENT: "by-header"}).client == "by-parameter"
    assert "print" in refused(body, {protocol.CLIENT: "a\x00b"})


def test_a_request_without_an_id_gets_one_of_its_own() -> None:
    body = {"inputs": [tensor()]}
    assert decode({**body, "id": "mine"}).id == "mine"
    assert decode(body).id != decode(body).id


def test_an_answer_may_go_out_as_bytes() -> None:
    body = {"inputs": [tensor()], "parameters": {"binary_data_output": True}}
    scores, decisions = np.array([0.25]), np.array([1])
    content, length = encoded(decode(body), scores, decisions)
    head = orjson.loads(content[:length])
    assert [output["parameters"] for output in head["outputs"]] == [{"binary_data_size": 8}] * 2
    assert np.frombuffer(content[length:], "<f8", 1)[0] == 0.25
    assert np.frombuffer(content[length + 8 :], "<i8")[0] == 1
    wanted = [{"name": "decision", "parameters": {"binary_data": False}}]
    content, length = encoded(decode({**body, "outputs": wanted}), scores, decisions)
    assert length == 0
    assert orjson.loads(content)["outputs"] == [
        {"name": "decision", "datatype": "INT64", "shape": [1], "data": [1]}
    ]


def test_a_message_shows_only_the_start_of_what_was_sent() -> None:
    deep: Any = []
    for _ in range(sys.getrecursionlimit() // 2):
        deep = [deep]
    for value in ("x" * 100_000, list(range(100_000)), deep):
        assert len(refused({"inputs": [tensor(name=value)]})) < 400
