"""Words and numbers, as every sentence and table shows them."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_kit import formatting


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        ((0.71234, 0.65, 0.8), "0.712 (0.65 to 0.8)"),
        ((1234.5, None, float("inf")), "1,234 (– to –)"),
        ((None, None, None), "– (– to –)"),
    ],
)
def test_an_interval_stands_behind_its_estimate(
    estimate: tuple[float | None, float | None, float | None], shown: str
) -> None:
    assert formatting.interval(*estimate) == shown


def test_the_nearest_known_name_is_offered() -> None:
    known = ["rows", "seed"]
    assert formatting.did_you_mean("row", known) == " Did you mean 'rows'?"
    assert formatting.did_you_mean("something", known) == ""
    assert formatting.did_you_mean("row", []) == ""


def test_a_violation_says_where_what_and_what_it_got() -> None:
    details = [
        {"loc": ("gates", "recall"), "msg": "Input should be a number", "input": "high"},
        {"loc": (), "msg": "Input should be a mapping", "input": [1]},
    ]
    assert formatting.violations(details) == (
        "gates.recall: Input should be a number, got 'high'; Input should be a mapping, got '[1]'"
    )


def test_a_violation_by_a_deep_or_long_value_is_short() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for given in (deep, "x" * 10_000, dict.fromkeys(range(10_000))):
        said = formatting.violations([{"loc": ("x",), "msg": "No", "input": given}])
        assert len(said) < 100
    while deep:  # else the interpreter takes them apart one in the other
        deep = deep[0]


def test_lines_of_a_notebook_are_one_text() -> None:
    assert formatting.joined(["a\n", "b"]) == formatting.joined("a\nb") == "a\nb"
    assert formatting.joined(3) == "3"
