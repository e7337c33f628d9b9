"""A pipeline's inputs get the types of the notebooks that read them, and keep them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_kit.pipelines import notebooks, validation
from mlops_kit.pipelines.definition import Input, Pipeline, Step
from tests.failures import fails

Write = Callable[..., Path]


def pipeline(*readers: str) -> Pipeline:
    steps = tuple(Step(name, f"{name}.ipynb", {"number": Input("number")}, {}) for name in readers)
    return Pipeline("example", steps, inputs={"number": "1"})


def declare(notebook: Write, **annotations: str) -> Path:
    for name, annotation in annotations.items():
        path = notebook(f"# parameters\nnumber: {annotation}  # a number", name=f"{name}.ipynb")
    return path.parent


def test_what_is_checked_is_what_is_used(notebook: Write) -> None:
    folder = declare(notebook, first="int = 1", second="int = 2")
    checked = validation.check(folder, pipeline("first", "second"), {"number": "007"})
    assert checked == {"number": 7}
    assert validation.check(folder, pipeline("first", "second"), checked) == checked


@pytest.mark.parametrize("given", ["007", "1.10", "12345678901234567890"])
def test_text_stays_text_where_the_notebook_says_so(notebook: Write, given: str) -> None:
    folder = declare(notebook, first='str = ""')
    assert validation.check(folder, pipeline("first"), {"number": given}) == {"number": given}


def test_an_input_that_notebooks_read_differently_stays_as_it_was_given(notebook: Write) -> None:
    folder = declare(notebook, first="int = 1", second='str = ""')
    both = pipeline("first", "second")
    assert validation.check(folder, both, {"number": "007"}) == {"number": "007"}
    with fails("parameter.type", "first.ipynb", "'number'", "'many'"):
        validation.check(folder, both, {"number": "many"})


def test_a_notebook_is_read_once_until_it_changes(notebook: Write) -> None:
    folder = declare(notebook, first="int = 1", second="int = 2")
    before = notebooks._signature.cache_info().misses
    for _ in range(3):
        validation.check(folder, pipeline("first", "second"), {"number": "7"})
    assert notebooks._signature.cache_info().misses - before == 2
    path = declare(notebook, first='str = ""') / "first.ipynb"
    os.utime(path, ns=(1, 1))
    only = pipeline("first")
    assert validation.check(folder, only, {"number": "7"}) == {"number": "7"}


def test_a_default_is_typed_too(notebook: Write) -> None:
    folder = declare(notebook, first="int = 1")
    assert validation.check(folder, pipeline("first"), {}) == {"number": 1}


@pytest.mark.parametrize(
    ("annotation", "given", "kept"),
    [
        ("int | None = None", "null", None),
        ("list[int] = []", "[007, 8]", [7, 8]),
        ("dict[int, str] = {}", "{7: a}", "{7: a}"),
        ("float = 0.0", "nan", "nan"),
    ],
)
def test_an_input_is_kept_typed_where_its_file_brings_back_the_same(
    notebook: Write, annotation: str, given: str, kept: object
) -> None:
    folder = declare(notebook, first=annotation)
    assert validation.check(folder, pipeline("first"), {"number": given}) == {"number": kept}
