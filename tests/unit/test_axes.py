"""Axes tick at round numbers, and a line's name lies on no line and on no other name."""

from __future__ import annotations

import math
import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.jupyter.html import labels, svg
from mlops_kit.jupyter.html.labels import Box
from mlops_kit.jupyter.html.svg import Chart, Line
from mlops_kit.reporting.charts import ticks

finite = st.floats(-1e4, 1e4, allow_nan=False)
positive = st.floats(1e-9, 1e9, allow_nan=False)
unit = st.floats(0, 1, allow_nan=False)


def is_round(value: float) -> bool:
    """Whether a number has at most three digits that count."""
    return value == 0 or math.isclose(float(f"{value:.3g}"), value, rel_tol=1e-9)


@given(finite, st.floats(1e-2, 1e9))
def test_linear_ticks_are_round_few_and_within(low: float, width: float) -> None:
    high = low + width
    found = ticks.linear(low, high)
    assert 1 <= len(found) <= 6
    steps = {round(after - before, 9) for before, after in pairwise(found)}
    for step in steps:
        assert max(steps) - min(steps) <= 1e-6 * max(1.0, abs(step), abs(low))
    assert all(low - 1e-6 * width <= at <= high + 1e-6 * width for at in found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 97.3, [0.0, 20.0, 40.0, 60.0, 80.0]),
        (-3.0, 8.0, [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0]),
        (0.0, 13_000.0, [0.0, 2500.0, 5000.0, 7500.0, 10000.0, 12500.0]),
        (5.0, 5.0, [5.0]),
        (0.0, math.inf, [0.0]),
    ],
)
def test_these_ends_have_these_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks.linear(low, high) == expected


@given(positive, st.floats(1.01, 1e9))
def test_logarithmic_ticks_are_round_few_and_within(low: float, ratio: float) -> None:
    high = low * ratio
    found = ticks.logarithmic(low, high)
    assert 1 <= len(found) <= 6
    assert all(low * (1 - 1e-6) <= at <= high * (1 + 1e-6) for at in found)
    if ratio > 1_000:
        assert all(is_round(at) for at in found)
        assert len(found) >= 2


def test_few_powers_of_ten_have_ticks_between_them() -> None:
    assert ticks.logarithmic(1.0, 10.0) == [1.0, 2.0, 5.0, 10.0]
    assert ticks.logarithmic(1e-4, 1.0) == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


@given(st.lists(st.lists(st.tuples(unit, unit), min_size=1, max_size=12), min_size=1, max_size=4))
def test_names_lie_on_no_line_and_on_no_other(lines: list[list[tuple[float, float]]]) -> None:
    frame = Box(0, 0, 340, 190)
    pieces = [[[(x * 340, y * 190) for x, y in sorted(line)]] for line in lines]
    names = [f"fraud v{number}" for number in range(len(lines))]
    found = labels.places(names, pieces, frame)
    if found is None:
        return
    boxes = [labels.box_of(name, *at) for name, at in zip(names, found, strict=True)]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    segments = [pair for (piece,) in pieces for pair in pairwise(piece)]
    assert not any(box.meets(*segment) for box in boxes for segment in segments)
    assert all(frame.holds(box) for box in boxes)


def test_names_without_room_stand_beside_the_picture() -> None:
    wide = Line(
        "a name that is much longer than the picture is wide, so that it has no room",
        ((0, 0), (1, 1)),
    )
    shown = str(
        svg.chart(Chart("T", "says", (wide, Line("v2", ((0, 1), (1, 0)), dashed=True)), "x", "y"))
    )
    figure, _, picture = shown.partition("</small>")
    assert wide.name in figure
    assert "v2" in figure
    assert wide.name not in picture


def test_a_usual_pair_of_curves_is_named_within_the_picture() -> None:
    up = tuple((i / 20, (i / 20) ** 2) for i in range(21))
    down = tuple((i / 20, 1 - i / 20) for i in range(21))
    chart = Chart(
        "T",
        "says",
        (Line("fraud v2", up), Line("fraud v1", down, dashed=True)),
        "x",
        "y",
        unit=True,
    )
    shown = str(svg.chart(chart))
    assert "</small>" not in shown
    assert len(re.findall(r">fraud v[12]</text>", shown)) == 2
