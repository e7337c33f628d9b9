"""Axes tick at round numbers, and a line's name lies on no line and on no other name."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.jupyter.html import svg
from mlops_kit.reporting.charts import labels, text, ticks
from mlops_kit.reporting.charts.charts import Lines, Series
from mlops_kit.reporting.charts.labels import Box
from mlops_kit.reporting.charts.scale import Scale

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


@given(st.floats(0, 2e9), st.floats(2, 3e9))
def test_times_are_round_few_and_within(low: float, width: float) -> None:
    found = ticks.moments(low, low + width)
    assert 1 <= len(found) <= 6
    assert all(low <= at <= low + width for at in found)
    assert len(set(ticks.times(found))) == len(found)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (6, ["2026-01-31 18:00", "20:00", "22:00", "02-01"]),
        (48, ["2026-02-01 00:00", "12:00", "02-02", "12:00"]),
        (24 * 5, ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05"]),
        (24 * 120, ["2026-02", "2026-03", "2026-04", "2026-05"]),
        (24 * 1500, ["2027", "2028", "2029", "2030"]),
    ],
)
def test_times_are_told_as_short_as_they_can(hours: int, expected: list[str]) -> None:
    start = datetime(2026, 1, 31, 18, tzinfo=UTC).timestamp()
    assert ticks.times(ticks.moments(start, start + 3600 * hours)) == expected


@given(finite, st.floats(1e-2, 1e9), st.floats(60, 900))
def test_ticks_side_by_side_do_not_touch(low: float, width: float, room: float) -> None:
    scale = Scale(low, low + width, 0.0, room)
    halves = [(scale(at), text.width(told, 11) / 2) for at, told in scale.fitting(11)]
    assert all(b - half > a + before for (a, before), (b, half) in pairwise(halves))


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(5, 90)), max_size=12))
def test_words_of_marks_lie_on_no_mark_and_on_no_other_word(
    marks: list[tuple[float, float]],
) -> None:
    found = labels.flags([at for at, _ in marks], [wide for _, wide in marks], 0, 400)
    flags = [flag for flag in found if flag]
    assert not any(one.clashes(other) for one, other in combinations(flags, 2))
    assert all(flag.left >= 0 and flag.right <= 400 for flag in flags)
    if len(marks) == 1:
        assert flags


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
    wide = Series(
        "a name that is much longer than the picture is wide, so that it has no room",
        (0, 1),
        (0, 1),
    )
    shown = str(svg.chart(Lines("T", (wide, Series("v2", (0, 1), (1, 0), dashed=True)), "x", "y")))
    figure, _, picture = shown.partition("</small>")
    assert wide.name in figure
    assert "v2" in figure
    assert wide.name not in picture


def test_a_usual_pair_of_curves_is_named_within_the_picture() -> None:
    x = [i / 20 for i in range(21)]
    chart = Lines(
        "T",
        (
            Series("fraud v2", x, [each**2 for each in x]),
            Series("fraud v1", x, [1 - each for each in x], dashed=True),
        ),
        "x",
        "y",
        says="says",
        x_range=(0, 1),
        y_range=(0, 1),
    )
    shown = str(svg.chart(chart))
    assert "</small>" not in shown
    assert len(re.findall(r">fraud v[12]</text>", shown)) == 2
