"""Values arrive through Argo as they were sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.argo import transport
from mlops_kit.pipelines import parameters
from mlops_kit.pipelines.definition import Step
from mlops_kit.pipelines.values import Value
from tests.failures import fails

STEP = Step(
    "train",
    "train.ipynb",
    outputs={"n": int, "x": float, "ok": bool, "s": str, "d": dict, "l": list, "f": Path},
)


@given(st.text(max_size=2_000))
def test_any_text_arrives_and_holds_nothing_that_argo_would_read(text: str) -> None:
    packed = transport.packed(text)
    assert transport.unpacked(packed) == text
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]*", packed)


@pytest.mark.parametrize(
    "text", ["pass", "007", "1.10", "2026-11-23", "sha256:ab", "s3://bucket/key", "a@b.c"]
)
def test_what_is_safe_stays_readable(text: str) -> None:
    assert transport.packed(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-5", "a b", "$(HOME)", "{{workflow.name}}", "{{=1+1}}", "a\n", "\x1b[0m"),
        *("pass == pass || x", "x' == 'x", "b64.cGFzcw", "-absent-", "é"),
    ],
)
def test_what_argo_would_change_or_evaluate_is_packed(text: str) -> None:
    assert transport.packed(text).startswith("b64.")
    assert transport.unpacked(transport.packed(text)) == text


def test_text_that_somebody_typed_is_itself() -> None:
    assert transport.unpacked("any text at all") == "any text at all"
    with fails("parameter.encoding", "'b64.not base64!'"):
        transport.unpacked("b64.not base64!")
    with fails("parameter.encoding", "'b64._w'"):
        transport.unpacked("b64._w")  # bytes that are no text


def test_what_is_too_long_is_refused_before_argo_replaces_it_by_a_file_s_name() -> None:
    assert len(transport.packed("é" * 7_000)) < 131_072 // 4
    with fails("parameter.too-long", "24,001"):
        transport.packed("x" * 24_001)


@pytest.mark.parametrize(
    ("name", "data"), [("n", -7), ("x", 0.1), ("ok", True), ("ok", False), ("s", "a b")]
)
def test_a_parameter_has_its_declared_type_again(name: str, data: object) -> None:
    assert not transport.is_file(STEP.output(name))
    packed = transport.packed(data)
    assert transport.parsed(STEP.output(name), packed).data == data


@pytest.mark.parametrize(
    ("annotation", "value"),
    [("int | None", None), ("list", [None, 1e-07, "a\nb"]), ("dict[int, bool]", {1: True})],
)
def test_an_input_of_any_type_arrives_as_the_notebook_typed_it(
    annotation: str, value: object
) -> None:
    parameter = parameters.Parameter("x", annotation, None, "")
    arrived = transport.unpacked(transport.packed(value))
    assert parameters.convert(parameter, arrived, notebook="n.ipynb") == value


@pytest.mark.parametrize(("name", "text"), [("n", "1.5"), ("ok", "True"), ("x", "")])
def test_a_parameter_of_another_type_is_refused(name: str, text: str) -> None:
    with fails("parameter.type", repr(text), name):
        transport.parsed(STEP.output(name), text)


@pytest.mark.parametrize(("name", "data"), [("d", {"a": [1, None]}), ("l", ["x", 0.5])])
def test_lists_and_dicts_travel_as_a_file(tmp_path: Path, name: str, data: object) -> None:
    assert transport.is_file(STEP.output(name))
    file = transport.written(name, Value(data=data), tmp_path / name)
    assert json.loads(file.read_bytes()) == data
    assert transport.read(STEP.output(name), tmp_path / name, tmp_path).data == data


def test_a_file_keeps_its_name_and_bytes(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv.gz"
    source.write_bytes(b"\0\xff")
    transport.written("f", Value(file=source), tmp_path / "f")
    found = transport.read(STEP.output("f"), tmp_path / "f", tmp_path / "here")
    assert found.file
    assert found.file.parent == tmp_path / "here"
    assert (found.file.name, found.file.read_bytes()) == ("rows.csv.gz", b"\0\xff")


def test_a_folder_that_holds_no_value_or_two_is_said(tmp_path: Path) -> None:
    for names in ((), ("a", "b")):
        for name in names:
            (tmp_path / name).write_text("1")
        with fails("parameter.files", "'train'", "'d'", list(names)):
            transport.read(STEP.output("d"), tmp_path, tmp_path)
