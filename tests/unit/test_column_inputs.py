"""One tensor a column becomes rows: each value as its column declares it, or a fault that says so.

We test these aspects: all kinds in JSON and in bytes; missing and absent columns; types that are
held to; the faults; outputs by task; metadata; the matrix of numbers by a table; the log's rows.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import RequestError, TableError
from mlops_kit.serving import probes, protocol, rows
from mlops_kit.serving.column_values import held
from mlops_kit.serving.library_scores import frame
from mlops_kit.serving.signature import Signature
from mlops_kit.serving.tensors import TensorValueError
from mlops_kit.tables.table import Column, Table
from tests import mixed
from tests.failures import fails

TABLE = mixed.table()
SIGNATURE = Signature(tuple(TABLE.feature_names), TABLE)
NUMBERS = Table(
    "numbers",
    (
        Column("a", "float", nullable=True),
        Column("b", "int"),
        Column("c", "bool"),
        Column("label", "int"),
    ),
    "binary",
    "label",
    classes=(0, 1),
)
MATRIX = Signature(("a", "b", "c"), NUMBERS)
LENGTH = protocol.JSON_LENGTH


def decode(
    inputs: Any, signature: Signature = SIGNATURE, tail: bytes = b"", **more: Any
) -> protocol.InferRequest:
    head = json.dumps({"inputs": inputs, **more}).encode()
    headers = {LENGTH: str(len(head))} if tail else {}
    return protocol.decode(head + tail, headers, signature, 1000, lambda: "fresh")


def matrix(data: list[Any], datatype: str = "FP64") -> list[dict[str, Any]]:
    shape = [len(data) // 3, 3]
    return [{"name": "features", "datatype": datatype, "shape": shape, "data": data}]


def binary(found: list[list[Any]]) -> tuple[list[dict[str, Any]], bytes]:
    """Return columns without gaps as binary tensors."""
    tensors, parts = mixed.tensors(found), []
    for tensor in tensors:
        values = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            texts = [value.encode() for value in values]
            parts.append(b"".join(len(t).to_bytes(4, "little") + t for t in texts))
        else:
            dtype = {"INT64": "<i8", "FP64": "<f8", "BOOL": "?"}[tensor["datatype"]]
            parts.append(np.array(values, dtype=dtype).tobytes())
        tensor["parameters"] = {"binary_data_size": len(parts[-1])}
    return tensors, b"".join(parts)


@pytest.mark.parametrize("count", [1, 40])
def test_values_come_through_as_they_are(count: int) -> None:
    found = mixed.rows(count, unknown=True)
    decoded = decode(mixed.tensors(found)).rows
    assert decoded.dtype == object
    assert decoded.tolist() == found
    assert [type(value) for value in decoded[0]] == [type(value) for value in found[0]]


def test_columns_come_in_any_order_and_as_a_column_of_a_matrix() -> None:
    found = mixed.rows(5)
    tensors = mixed.tensors(found)[::-1]
    for tensor in tensors[::2]:
        tensor["shape"] = [5, 1]
    tensors[0]["data"] = [[value] for value in tensors[0]["data"]]
    assert decode(tensors).rows.tolist() == found


def test_bytes_are_what_json_is() -> None:
    found = [row for row in mixed.rows(60) if None not in row]
    assert len(found) > 10
    tensors, tail = binary(found)
    assert decode(tensors, tail=tail).rows.tolist() == found
    head = json.dumps({"inputs": tensors}).encode()
    translated = protocol.unpacked(head + tail, str(len(head)))
    read = protocol.decode(translated, {}, SIGNATURE, 1000, str)
    assert read.rows.tolist() == found


def test_a_column_that_may_be_missing_may_be_absent() -> None:
    found = mixed.rows(3)
    decoded = decode(mixed.tensors(found, age=None, note=None)).rows
    assert decoded[:, [2, 4]].tolist() == [[None, None]] * 3
    with fails("serving.request", "visits"):
        decode(mixed.tensors(found, visits=None))


def test_a_column_takes_the_types_that_hold_its_values() -> None:
    found = mixed.rows(2)
    for datatype in ("UINT8", "INT16", "FP32", "FP64"):
        sent = {"datatype": datatype, "data": [3, 4]}
        decoded = decode(mixed.tensors(found, visits=sent, rate=sent)).rows
        assert decoded[:, 3].tolist() == [3, 4]
        assert [type(value) for value in decoded[0, [3, 6]]] == [int, float]
    small = decode(mixed.tensors(found, rate={"datatype": "FP32", "data": [0.1, 1]})).rows
    assert small[0, 6] == np.float32(0.1)
    truth = decode(mixed.tensors(found, is_member={"datatype": "UINT8", "data": [1, 0]})).rows
    assert truth[:, 7].tolist() == [True, False]


DATES = [
    "2024-02-29",
    "2024-01-01T10:00",
    "2024-01-01 10:00:00.123456+02:00",
    "2024-01-01T10:00:00Z",
    "2024-01-01T10:00:00.123456789Z",
    "20240101",
    "2024-01",
    "2024-02-30",
    "2024-W01-1",
    "1066-10-14",
    "0001-01-01",
    "2024-01-01T25:00",
    "10:00",
    "",
]


@pytest.mark.parametrize("text", DATES)
def test_a_date_is_taken_where_the_table_takes_it(text: str) -> None:
    found = mixed.rows(2)
    (found[0][8], found[1][8]) = ("2024-01-01", text)
    try:
        expected = mixed.frame(found)["since"].tolist()
    except TableError:
        with fails("serving.request", "since", repr(text), "row 1"):
            decode(mixed.tensors(found))
        return
    rows = decode(mixed.tensors(found)).rows
    assert np.array_equal(frame(SIGNATURE, rows)["since"], expected, equal_nan=True)


def test_large_whole_numbers_stay_exact() -> None:
    found = mixed.rows(2)
    large = [2**53 + 1, 2**63 - 1]
    assert decode(mixed.tensors(found, visits={"data": large})).rows[:, 3].tolist() == large
    tensors = mixed.tensors(found, visits={"parameters": {"binary_data_size": 16}})
    tail = np.array(large, "<i8").tobytes()
    assert decode(tensors, tail=tail).rows[:, 3].tolist() == large
    # A column that may be missing reaches a model as float64.
    with fails("serving.request", "age", 2**53 + 1):
        decode(mixed.tensors(found, age={"data": [1, 2**53 + 1]}))


FAULTS: dict[str, tuple[str, dict[str, Any], tuple[object, ...]]] = {
    "a part of a whole number": ("visits", {"data": [1, 1.5]}, (1.5, "row 1")),
    "a whole number as a float with a part": (
        "visits",
        {"datatype": "FP64", "data": [0.5, 1]},
        (0.5, "row 0"),
    ),
    "more than the type holds": ("visits", {"datatype": "UINT8", "data": [1, 300]}, (300, "UINT8")),
    "less than the type holds": ("visits", {"datatype": "UINT8", "data": [-1, 3]}, (-1, "row 0")),
    "more than int64 holds": ("visits", {"datatype": "UINT64", "data": [1, 2**63]}, (2**63,)),
    "text in numbers": ("balance", {"data": [1.5, "2"]}, ("'2'", "row 1")),
    "a number in text": ("city", {"data": ["Bern", 7]}, (7, "row 1")),
    "an infinite number": ("rate", {"datatype": "FP32", "data": [0.5, 1e300]}, ("row 1",)),
    "what is neither true nor false": ("is_member", {"data": [True, 7]}, (7, "row 1", "BOOL")),
    "half a truth": ("is_member", {"datatype": "FP64", "data": [0.5, 1]}, (0.5,)),
    "no date": ("since", {"data": ["2024-01-01", "the 31st"]}, ("the 31st", "row 1", "date")),
    "null where nothing may be missing": ("city", {"data": ["Bern", None]}, (None, "row 1")),
    "null in whole numbers": ("visits", {"data": [None, 1]}, (None, "row 0")),
    "numbers for text": ("city", {"datatype": "INT64"}, ("INT64", "BYTES")),
    "text for numbers": ("rate", {"datatype": "BYTES"}, ("BYTES", "FP64")),
    "an unknown datatype": ("rate", {"datatype": "FP128"}, ("FP128",)),
    "no datatype": ("rate", {"datatype": None}, (None,)),
    "too few values": ("rate", {"data": [0.5]}, (1, 2)),
    "too many values": ("rate", {"data": [0.5] * 3}, (3, 2)),
    "no data": ("rate", {"data": None}, ()),
    "a matrix": ("rate", {"shape": [1, 2]}, ([1, 2],)),
    "no shape": ("rate", {"shape": None}, (None,)),
    "other rows than the rest": ("rate", {"shape": [3], "data": [0.5] * 3}, (3, 2)),
    "no rows": ("city", {"shape": [0], "data": []}, (0,)),
    "more rows than are taken": ("city", {"shape": [1001]}, (1000,)),
    "an unknown column": ("city", {"name": "town"}, ("town", "city")),
    "a column twice": ("city", {"name": "note"}, ("note",)),
    "the matrix of a mixed table": ("city", {"name": "features"}, ("features",)),
    "parameters of no object": ("city", {"parameters": 7}, (7,)),
    "more bytes than there are": ("city", {"parameters": {"binary_data_size": 8}}, (8, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_column_row_value_and_what_was_expected(name: str) -> None:
    column, changed, facts = FAULTS[name]
    tensors = mixed.tensors(mixed.rows(2, seed=3), **{column: changed})
    with fails("serving.request", *facts, changed.get("name", column)) as caught:
        decode(tensors)
    assert isinstance(caught.value, RequestError)
    assert caught.value.status == 400
    assert "expected" in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "tail", [b"\x05\x00\x00", b"\x09\x00\x00\x00Bern", b"\x02\x00\x00\x00\xff\xfe", b""]
)
def test_text_in_bytes_that_is_cut_or_no_text_is_refused(tail: bytes) -> None:
    tensors = mixed.tensors(
        mixed.rows(1), city={"parameters": {"binary_data_size": len(tail)}, "data": None}
    )
    with fails("serving.request"):
        decode(tensors, tail=tail or b"")


def test_bytes_that_nobody_names_are_refused() -> None:
    found = [row for row in mixed.rows(60) if None not in row]
    tensors, tail = binary(found)
    with fails("serving.request", 3):
        decode(tensors, tail=tail + b"abc")


def test_an_unknown_category_is_handled_by_the_tables_word() -> None:
    found = mixed.rows(2)
    unknown = mixed.tensors(found, city={"data": ["Bern", "Chur"]})
    assert decode(unknown).rows[1, 0] == "Chur"
    closed = mixed.table(unseen="refuse")
    with fails("serving.request", "city", "Chur", "row 1", "Zürich"):
        decode(unknown, Signature(tuple(closed.feature_names), closed))


def test_numbers_may_come_as_a_matrix_or_by_their_names() -> None:
    sent = [1.5, 2, 1, None, 3, 0]
    expected = np.array([[1.5, 2, 1], [np.nan, 3, 0]])
    by_name = [
        {"name": "b", "datatype": "INT64", "shape": [2], "data": [2, 3]},
        {"name": "a", "datatype": "FP64", "shape": [2], "data": [1.5, None]},
        {"name": "c", "datatype": "BOOL", "shape": [2, 1], "data": [True, False]},
    ]
    for inputs in (matrix(sent), by_name):
        decoded = decode(inputs, MATRIX).rows
        assert decoded.dtype == np.float64
        assert np.array_equal(decoded, expected, equal_nan=True)
        assert decoded.flags.c_contiguous
    assert decode(by_name[:1] + by_name[2:], MATRIX).rows[0, 0] != 0
    with fails("serving.request", "features"):
        decode([*matrix(sent), by_name[0]], MATRIX)


@pytest.mark.parametrize(
    ("data", "datatype", "facts"),
    [
        ([1.5, 2.5, 1], "FP64", ("'b'", 2.5, "row 0")),
        ([1, 2, 1, 1, 2, 2], "FP64", ("'c'", 2, "row 1")),
        ([1, 2, -1], "FP64", ("'c'", -1)),
        ([1, None, 1], "FP64", ("'b'", None, "row 0", "whole")),
        ([1, 2**60, 1], "FP64", ("'b'", "row 0")),
        ([1.5, 2, 1], "INT64", ("'a'", 1.5, "INT64")),
        ([1, 2**53 + 1, 1], "INT64", ("'b'", 2**53 + 1)),
        ([1, 2, 300], "UINT8", ("'c'", 300, "UINT8")),
        ([1, -2, 1], "UINT8", ("'b'", -2)),
        ([1, 1, 7], "BOOL", ("'c'", 7, "BOOL")),
        ([1, 1, True, 1, 1, "x"], "BOOL", ("'c'", "'x'", "row 1")),
        ([1, 1, 1e400], "FP64", ()),
    ],
)
def test_a_matrix_is_held_to_its_type_and_its_columns(
    data: list[Any], datatype: str, facts: tuple[object, ...]
) -> None:
    with fails("serving.request", *facts):
        decode(matrix(data, datatype), MATRIX)


def test_whole_numbers_of_a_matrix_in_bytes_stay_exact_or_are_refused() -> None:
    def sent(values: list[int], dtype: str) -> tuple[list[dict[str, Any]], bytes]:
        content = np.array(values, dtype).tobytes()
        datatype = {"<i8": "INT64", "<u8": "UINT64", "?": "BOOL"}[dtype]
        (tensor,) = matrix(list(values), datatype)
        del tensor["data"]
        return [tensor | {"parameters": {"binary_data_size": len(content)}}], content

    inputs, tail = sent([5, 2**53, 1], "<i8")
    assert decode(inputs, MATRIX, tail).rows.tolist() == [[5, 2**53, 1]]
    for dtype, value in (("<i8", 2**53 + 1), ("<i8", -(2**53) - 1), ("<u8", 2**64 - 1)):
        inputs, tail = sent([5, value, 1], dtype)
        with fails("serving.request", "'b'", value):
            decode(inputs, MATRIX, tail)
    inputs, tail = sent([1, 1, 1], "?")
    with fails("serving.request", "'c'", 7):
        decode(inputs, MATRIX, b"\x01\x01\x07")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_outputs_are_by_task(task: str) -> None:
    table = mixed.table(task)
    signature = Signature(tuple(table.feature_names), table)
    scores = {
        "binary": np.array([0.2, 0.7]),
        "multiclass": np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]]),
        "regression": np.array([1.5, -2.5]),
    }[task]
    decisions = {"multiclass": [2, 0], "binary": [0, 1], "regression": []}[task]
    values = protocol.answers(signature, scores, np.array(decisions, np.int64))
    request = decode(mixed.tensors(mixed.rows(2)), signature)
    content, length = protocol.encode("m", "1", request, signature, values)
    assert length == 0
    found = {each["name"]: each for each in orjson.loads(content)["outputs"]}
    assert found["score"]["datatype"] == "FP64"
    assert found["score"]["shape"] == list(scores.shape)
    assert found["score"]["data"] == scores.ravel().tolist()
    expected = {"binary": ("INT64", [0, 1]), "multiclass": ("BYTES", ["c", "a"])}.get(task)
    if expected is None:
        assert list(found) == ["score"]
    else:
        decided = found["decision"]
        assert (decided["datatype"], decided["shape"], decided["data"]) == (
            expected[0],
            [2],
            expected[1],
        )


def test_labels_go_out_as_bytes_behind_their_length() -> None:
    table = mixed.table("multiclass")
    signature = Signature(tuple(table.feature_names), table)
    wanted = [{"name": "decision", "parameters": {"binary_data": True}}]
    request = decode(mixed.tensors(mixed.rows(2)), signature, outputs=wanted)
    scores = np.zeros((2, 3))
    values = protocol.answers(signature, scores, np.array([1, 2]))
    content, length = protocol.encode("m", "1", request, signature, values)
    assert content[length:] == b"\x01\x00\x00\x00b\x01\x00\x00\x00c"
    assert orjson.loads(content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 10}
    with fails("serving.request", "decision"):
        regression = mixed.table("regression")
        decode(
            mixed.tensors(mixed.rows(2)),
            Signature(tuple(regression.feature_names), regression),
            outputs=wanted,
        )


def test_labels_that_are_numbers_go_out_as_numbers() -> None:
    columns = (Column("a", "float"), Column("label", "int"))
    table = Table("t", columns, "multiclass", "label", classes=(3, 1, 7))
    signature = Signature(("a",), table)
    assert signature.outputs["decision"] == "INT64"
    values = protocol.answers(signature, np.zeros((2, 3)), np.array([2, 0]))
    assert values["decision"].tolist() == [7, 3]


def test_metadata_says_what_each_input_is_and_what_is_predicted() -> None:
    described = protocol.metadata("m", ["1"], SIGNATURE, 0.3)
    inputs = {each["name"]: each for each in described["inputs"]}
    assert list(inputs) == TABLE.feature_names
    assert {name: each["datatype"] for name, each in inputs.items()} == {
        **dict.fromkeys(("city", "plan", "note", "since"), "BYTES"),
        **dict.fromkeys(("visits", "age"), "INT64"),
        **dict.fromkeys(("balance", "rate"), "FP64"),
        "is_member": "BOOL",
    }
    assert inputs["city"]["parameters"]["categories"] == ["Bern", "Genève", "Zürich"]
    assert inputs["city"]["parameters"]["nullable"] is False
    assert inputs["age"]["parameters"] == {"kind": "int", "nullable": True, "low": 0, "high": 120}
    assert described["parameters"]["classes"] == ["stays", "leaves"]
    assert described["parameters"]["threshold"] == 0.3
    many = mixed.table("multiclass")
    told = protocol.metadata("m", ["1"], Signature(tuple(many.feature_names), many), 0.5)
    assert [each["shape"] for each in told["outputs"]] == [[-1, 3], [-1]]
    assert "threshold" not in told["parameters"]
    of_numbers = protocol.metadata("m", ["1"], MATRIX)["inputs"]
    assert [each["name"] for each in of_numbers] == ["features"]
    assert of_numbers[0]["parameters"]["columns"]["b"] == {"kind": "int", "nullable": False}


@pytest.mark.parametrize("signature", [SIGNATURE, MATRIX])
def test_the_logs_rows_come_back(signature: Signature) -> None:
    table = signature.table
    found = probes.random_rows(signature, 50, np.random.default_rng(1))
    content, encoding = rows.encode_features(found)
    assert encoding == ("json" if signature is SIGNATURE else "f8")
    again = rows.decode_features(table, encoding, content, 50)
    if encoding == "f8":
        assert again.tobytes() == found.tobytes()
    else:
        assert again.tolist() == found.tolist()
        assert len(content.splitlines()) == 50
    with pytest.raises(ValueError, match="49"):
        rows.decode_features(table, encoding, content, 49)


def test_rows_that_a_table_allows_are_requests_that_it_takes() -> None:
    found, told = probes.declared_rows(SIGNATURE)
    assert len(found) == len(told)
    assert decode(mixed.tensors(found.tolist())).rows.tolist() == found.tolist()
    values = {
        column: {row[place] for row in found} for place, column in enumerate(TABLE.feature_names)
    }
    assert values["city"] > {"Bern", "Genève", "Zürich"}
    assert values["plan"] > {"basic", "plus", None}
    assert values["age"] >= {0, 120, None}
    assert values["is_member"] == {True, False}
    closed = mixed.table(unseen="refuse")
    signature = Signature(tuple(closed.feature_names), closed)
    for made in (
        probes.declared_rows(signature)[0],
        probes.random_rows(signature, 200, np.random.default_rng(0)),
    ):
        assert decode(mixed.tensors(made.tolist()), signature).rows.tolist() == made.tolist()
    numbers = probes.random_rows(MATRIX, 200, np.random.default_rng(0), {1: np.array([2.5])})
    data = [None if value != value else value for value in numbers.ravel().tolist()]
    assert decode(matrix(data), MATRIX).rows.tobytes() == numbers.tobytes()


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "datatype": st.sampled_from(["FP64", "INT64", "UINT8", "BOOL", "BYTES", "FP16"]) | ANY,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | ANY,
        "data": st.lists(ANY, max_size=3) | ANY,
        "name": st.sampled_from([*TABLE.feature_names, "features"]) | ANY,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | ANY}) | ANY,
    },
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from(TABLE.feature_names), FIELDS | st.none(), max_size=3),
    st.binary(max_size=20),
)
def test_what_is_nearly_a_request_is_right_or_is_refused(changed: Any, tail: bytes) -> None:
    tensors = mixed.tensors(mixed.rows(2), **changed)
    try:
        found = decode(tensors, tail=tail).rows
    except RequestError as error:
        refusal = error
    else:
        assert_right(found)
        return
    assert refusal.status == 400
    assert len(str(refusal)) < 1000


def assert_right(found: Any) -> None:
    assert found.shape[1] == len(TABLE.feature_names)
    # What was read is what the table makes inputs of.
    assert len(mixed.frame(found.tolist())) == len(found)


def test_an_empty_text_is_no_date_where_none_may_be_missing() -> None:
    assert [*held([""], Column("since", "datetime", nullable=True), SIGNATURE)] == [""]
    with pytest.raises(TensorValueError):
        list(held([""], Column("since", "datetime"), SIGNATURE))
