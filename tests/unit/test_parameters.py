"""Typed parameters: the notebook's annotations decide, text is never guessed at."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.errors import KitError, NotebookError, ParameterError
from mlops_kit.pipelines import parameters
from tests.failures import fails

SOURCE = """
from typing import Literal

data: str = "generated"  # where from
rows: int = 1000  # how many
rate: float = 0.5
flag: bool = False
role: Literal["baseline", "candidate"] = "candidate"
names: list[str] = []
weights: dict[str, float] = {}
limit: int | None = None
place: Path = ""
"""


def signature(source=SOURCE):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    return parameters.signature([cell], notebook="n.ipynb")


def typed(**given):
    return parameters.typed(signature(), given, notebook="n.ipynb")


def test_names_annotations_defaults_and_help_are_read():
    found = {p.name: p for p in signature()}
    assert (found["data"].annotation, found["data"].default) == ("str", "generated")
    assert found["rows"].help == "how many"
    assert found["role"].choices == ("baseline", "candidate")
    assert found["limit"].default is None


@pytest.mark.parametrize(
    "text", ["007", "1.10", "12345e7", "true", "null", "1_000", "~", " x ", ""]
)
def test_text_stays_text_where_the_annotation_says_str(text):
    assert typed(data=text) == {"data": text}


@pytest.mark.parametrize(
    ("given_text", "value"),
    [
        ({"rows": "12"}, 12),
        ({"rate": "1e-3"}, 0.001),
        ({"rate": 1}, 1.0),
        ({"flag": "true"}, True),
        ({"flag": "no"}, False),
        ({"names": "[a, b]"}, ["a", "b"]),
        ({"weights": '{"a": 1}'}, {"a": 1.0}),
        ({"limit": "null"}, None),
        ({"limit": "3"}, 3),
        ({"place": "a/b.csv"}, "a/b.csv"),
    ],
)
def test_text_is_converted_by_the_annotation(given_text, value):
    assert typed(**given_text) == dict.fromkeys(given_text, value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": "1.5"},
        {"rows": "x"},
        {"rows": True},
        {"rows": 1.0},
        {"data": 7},
        {"flag": "maybe"},
        {"flag": 2},
        {"role": "champion"},
        {"names": "a"},
        {"limit": "x"},
        {"weights": "[1]"},
    ],
)
def test_a_wrong_type_is_refused_with_what_was_expected(wrong):
    with fails("parameter.type", next(iter(wrong))):
        typed(**wrong)


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with fails("parameter.unknown", "'row'", "'rows'"):
        typed(row="1")


@pytest.mark.parametrize("written", ["[no, 007, 1.10, 12:30, 2024-01-05]"])
def test_text_in_a_list_stays_as_it_was_written(written):
    found = parameters.typed(signature("x: list = []"), {"x": written}, notebook="n.ipynb")
    assert found == {"x": written.strip("[]").split(", ")}


def test_items_that_are_written_as_they_are_read_have_types():
    read = {"x": "[1, 1.5, true, null, a]", "y": "[1, a]", "z": "{a: 007}"}
    declared = signature("x: list = []\ny: list[str] = []\nz: dict[str, int] = {}")
    found = parameters.typed(declared, read, notebook="n.ipynb")
    assert found == {"x": [1, 1.5, True, None, "a"], "y": ["1", "a"], "z": {"a": 7}}


@pytest.mark.parametrize("given", [{"data": "caf\udce9"}, {"names": ["caf\udce9"]}])
def test_text_that_utf_8_cannot_write_is_refused(given):
    with fails("parameter.undecodable", next(iter(given))):
        typed(**given)


def test_untyped_parameters_take_their_types_from_their_defaults_and_that_is_said_once(caplog):
    source = "alpha = 0.1  # step size\nrows = 10\nname = 'a'\nfast = False\nseen = []\nseed = None"
    for _ in range(2):
        found = signature(source)
    assert [(p.name, p.annotation, p.default) for p in found] == [
        ("alpha", "float", 0.1), ("rows", "int", 10), ("name", "str", "a"),
        ("fast", "bool", False), ("seen", "list", []), ("seed", "Any", None),
    ]  # fmt: skip
    assert found[0].help == "step size"
    given = {"alpha": "0.2", "rows": "7", "name": "007", "fast": "true"}
    assert parameters.typed(found, given, notebook="n.ipynb") == {
        "alpha": 0.2, "rows": 7, "name": "007", "fast": True,
    }  # fmt: skip
    with fails("parameter.type", "rows"):
        parameters.typed(found, {"rows": "many"}, notebook="n.ipynb")
    assert [record.args[1] for record in caplog.records] == ["alpha, rows, name, fast, seen, seed"]


@pytest.mark.parametrize(
    "source",
    [
        "x = f()",
        "x = y = 1",
        "x, y = 1, 2",
        "x += 1",
        "x: int",
        "x: int = f()",
        "x: Foo = 1",
        "x: int = 'a'",
        "def f(): pass",
        "x: int = (",
        "for",
    ],
)
def test_a_parameters_cell_that_is_not_annotated_assignments_is_refused(source):
    with pytest.raises(NotebookError):
        signature(source)


def test_an_annotation_is_never_evaluated():
    with pytest.raises(NotebookError):
        signature("x: __import__('os').system('true') = 1")


@given(st.text(max_size=200))
def test_any_text_as_a_cell_gives_parameters_or_a_kit_error(source):
    try:
        found = signature(source)
    except KitError:
        return
    assert all(p.name.isidentifier() for p in found)


@given(
    st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()))
)
def test_any_value_is_converted_to_its_type_or_refused(value):
    for parameter in signature():
        try:
            converted = parameters.convert(parameter, value, notebook="n.ipynb")
        except ParameterError:
            continue
        # What passed can be written into a notebook and read back.
        if converted == converted and converted not in (float("inf"), float("-inf")):
            assert ast.literal_eval(repr(converted)) == converted


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(), PLAIN, max_size=3))
def test_a_typed_value_as_text_is_read_as_the_same_value(value):
    (parameter,) = signature(f"x: {type(value).__name__} = {type(value)()!r}")
    text = parameters.text(value)
    assert parameters.convert(parameter, text, notebook="n.ipynb") == value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        *(("int | None", None), ("int | None", 7), ("float", 1e-07), ("bool", False)),
        *(("str", "007"), ("dict[int, str]", {7: "null"}), ("list", [None, "1e-07", 1e-07])),
    ],
)
def test_text_keeps_the_type_that_the_annotation_gave(annotation, value):
    parameter = parameters.Parameter("x", annotation, None, "")
    found = parameters.convert(parameter, parameters.text(value), notebook="n.ipynb")
    assert repr(found) == repr(value)


def test_a_date_within_a_mapping_is_text():
    (parameter,) = signature("x: dict = {}")
    found = parameters.convert(parameter, "{day: 2026-11-23}", notebook="n.ipynb")
    assert found == {"day": "2026-11-23"}
