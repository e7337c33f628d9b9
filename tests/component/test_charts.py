"""Charts are one value that becomes SVG, PNG and a table; plotly's JSON becomes a picture."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import math
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlops_kit.reporting.charts import charts, labels, plotly_json, plotly_pictures, series, text
from mlops_kit.reporting.charts.charts import (
    Bars,
    Grid,
    Group,
    Interval,
    Intervals,
    Lines,
    Marker,
    Series,
)

X = tuple(i / 50 for i in range(51))
CURVES = Lines(
    "Precision-recall",
    (
        Series("champion v12", X, [1 - x**4 for x in X], dashed=True),
        Series(
            "candidate v13", X, [1 - x**5 for x in X], [0.9 - x**5 for x in X], [1.0 for _ in X]
        ),
    ),
    "recall",
    "precision",
    (Marker(0.42, "threshold"),),
)
GATES = Intervals(
    "Gates", (Interval("recall", 0.92, 0.88, 0.95, 0.85), Interval("cost", 0.9, 0.8, 1))
)
SLICES = Bars(
    "Slices",
    ("under 100", "over 100"),
    (Group("v12", (0.8, 0.7), dashed=True), Group("v13", (0.9, 0.8))),
)
HOURS = [datetime(2026, 1, 1) + timedelta(hours=i) for i in range(48)]
DRIFT = Lines(
    "Drift",
    (Series("psi", HOURS, [i / 48 for i in range(48)]),),
    markers=(Marker(HOURS[9], "v13"),),
)
NASTY = "<b>$\\frac{ \x00 | & \u202e ` \n end"
ODD = [
    Lines("nothing", ()),
    Lines("no points", (Series("a", [], []),)),
    Lines("no numbers", (Series("a", [1, 2], [math.nan, math.inf]),)),
    Lines("one point", (Series("a", [1], [2]),)),
    Lines("log without positives", (Series("a", [0, -1], [0, -1]),), log_x=True, log_y=True),
    Lines(NASTY, (Series(NASTY, [1, 2], [3, 4]),), NASTY, NASTY, (Marker(1, NASTY),)),
    Lines("many", tuple(Series(f"line {i}", [0, 1], [i, i]) for i in range(12))),
    Intervals("nothing", ()),
    Intervals("no numbers", (Interval(NASTY, math.nan, -math.inf, math.inf, math.nan),)),
    Intervals("many", tuple(Interval(f"r{i}", i, i - 1, i + 1) for i in range(50))),
    Bars("nothing", (), ()),
    Bars("no numbers", ("a", NASTY), (Group("g", (math.nan, math.nan)),)),
    Bars("many", tuple(f"c{i}" for i in range(60)), (Group("g", tuple(range(60))),)),
    Bars.histogram("nothing", {"a": []}),
    Bars.histogram("the same", {"a": [1, 1, 1], "b": [1, math.nan]}),
    Bars("long names", tuple(f"{NASTY} {i}" for i in range(9)), (Group("g", range(-4, 5)),)),
    Grid("no numbers", ("a",), (NASTY,), ((math.nan,),)),
    Grid("many", tuple(map(str, range(40))), ("a", "b"), ((1.0, math.inf),) * 40),
]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("chart", [CURVES, GATES, SLICES, DRIFT], ids=lambda chart: chart.title)
def test_a_chart_is_a_picture_on_an_opaque_white_card(chart):
    picture = Image.open(io.BytesIO(chart.png()))
    shown = pixels(chart.png())
    assert picture.info["dpi"][0] == pytest.approx(144, abs=0.5)
    assert picture.size[0] == 1080
    assert tuple(shown[0, 0]) == (255, 255, 255)
    assert 0.01 < (shown != 255).any(axis=2).mean() < 0.5


def test_svg_is_one_element_with_words_as_text_and_a_label():
    root = ElementTree.fromstring(CURVES.svg())
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Precision-recall"
    assert {"champion v12", "candidate v13", "threshold", "recall"} <= set(words)
    assert "dc:date" not in CURVES.svg()


@pytest.mark.parametrize(
    "chart", ODD, ids=lambda chart: chart.title[:20].encode("ascii", "replace").decode()
)
def test_odd_data_are_drawn_too(chart):
    assert pixels(chart.png()).any()
    ElementTree.fromstring(chart.svg())
    assert chart.markdown().startswith("| ")


CONFUSION = Grid(
    "Confusion", ("genuine", "fraud"), ("genuine", "fraud"), ((9120, 12), (31, 88)), "said", "true"
)
CLASSES = tuple(f"a class of a long name {i}" for i in range(20))
SHARES = tuple(tuple(float(90 * (i == j) + (i + j) % 9) for j in range(20)) for i in range(20))
MATRIX = Grid("Confusion of many", CLASSES, CLASSES, SHARES, "predicted", "true class")
WATCHED = Lines(
    "Evidence",
    (
        Series("errors", range(60), [i / 12 for i in range(60)]),
        Series("slow requests", range(60), [i / 12 + 0.01 for i in range(60)]),
        Series("proved from here", range(60), [1.3] * 60, guide=True),
    ),
    "seconds",
    "evidence",
    tuple(Marker(at, f"{at} %") for at in (15, 25, 30, 31, 31, 45, 58)),
)


def boxes(drawn):
    """The room of each text that lies level, by its place, anchor and size."""
    for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"):
        if element.get("transform"):
            continue
        x, y, size = (float(element.get(key)) for key in ("x", "y", "font-size"))
        wide = text.width(element.text or "", size, bold=element.get("font-weight") == "bold")
        start = {"middle": x - wide / 2, "end": x - wide}.get(element.get("text-anchor"), x)
        yield element.text, labels.Box(start, y - 0.75 * size, start + wide, y + 0.15 * size)


@pytest.mark.parametrize("chart", [CURVES, GATES, SLICES, DRIFT, CONFUSION, MATRIX, WATCHED, *ODD])
def test_no_word_lies_on_another_or_outside_the_card(chart):
    drawing = chart.draw()
    card = labels.Box(0, 0, charts.WIDTH, drawing.height)
    found = list(boxes(str(drawing.svg)))
    assert all(card.holds(box) for _, box in found), found
    pairs = itertools.combinations(found, 2)
    assert not [(a, b) for (a, one), (b, other) in pairs if one.overlaps(other)]


def test_words_of_marks_stand_above_the_lines_and_no_mark_runs_through_them():
    root = ElementTree.fromstring(WATCHED.svg())
    marks = [
        element
        for element in root.iter("{http://www.w3.org/2000/svg}line")
        if element.get("stroke-dasharray")
    ]
    words = [box for said, box in boxes(WATCHED.svg()) if said.endswith("%")]
    assert len(words) >= 5
    for mark in marks:
        ends = [(float(mark.get(f"x{i}")), float(mark.get(f"y{i}"))) for i in (1, 2)]
        assert not any(box.meets(*ends) for box in words)
    top = min(
        float(polyline.get("points").split(",")[1].split()[0])
        for polyline in root.iter("{http://www.w3.org/2000/svg}polyline")
    )
    assert all(box.bottom < top for box in words)


def test_a_confusion_matrix_shows_its_numbers_and_is_a_table():
    assert {"9,120", "12", "31", "88"} <= {said for said, _ in boxes(CONFUSION.svg())}
    assert CONFUSION.markdown().splitlines()[2] == "| genuine | 9,120 | 12 |"


def test_many_classes_keep_their_numbers_and_their_names():
    words = list(ElementTree.fromstring(MATRIX.svg()).iter("{http://www.w3.org/2000/svg}text"))
    turned = [word for word in words if "rotate(-90" in (word.get("transform") or "")]
    assert len(turned) == len(CLASSES) + 1
    written = [word.text for word in words if (word.text or "").isdigit()]
    assert written == [f"{value:.0f}" for row in SHARES for value in row]
    cells = tuple(tuple((f"{value:.0f}", "of 90") for value in row) for row in SHARES[:3])
    wide = Grid("Few", CLASSES[:3], CLASSES[:3], tuple(row[:3] for row in SHARES[:3]), cells=cells)
    assert wide.svg().count(">of 90<") == 9
    assert "of 90" not in dataclasses.replace(MATRIX, cells=cells * 7).svg()


def test_what_is_missing_is_said():
    assert "no finite values" in ODD[2].svg()
    assert "no data" in ODD[0].svg()
    assert "4 more lines are not drawn" in ODD[6].markdown()
    assert "20 more categories are not drawn" in ODD[12].svg()
    assert "No data." in ODD[7].markdown()


def test_a_table_carries_the_numbers():
    assert GATES.markdown().splitlines()[2] == "| recall | 0.92 | 0.88 to 0.95 | 0.85 |"
    assert SLICES.markdown().splitlines()[3] == "| over 100 | 0.7 | 0.8 |"
    assert CURVES.markdown().splitlines()[2] == "| 0 | 1 | 1 (0.9 to 1) |"
    assert len(CURVES.markdown().splitlines()) < 18


def test_a_histogram_loses_no_share_in_its_table():
    scores = np.random.default_rng(0).beta(1, 5, 4000)
    rows = Bars.histogram("scores", {"v12": scores, "v13": scores**2}).markdown().splitlines()[2:]
    shares = [row.split("|")[2:4] for row in rows if row.startswith("|")]
    assert len(shares) <= charts.ROWS
    assert sum(float(first) for first, _ in shares) == pytest.approx(1, abs=0.01)


def test_a_huge_series_keeps_its_extremes_and_says_so():
    y = np.zeros(200_000)
    y[123_456], y[7] = 9, math.nan
    chart = Lines("walk", (Series("y", np.arange(200_000), y),))
    thin = chart.series[0].decimated()
    assert len(thin.y) <= series.POINTS
    assert max(v for v in thin.y if math.isfinite(v)) == 9
    assert any(math.isnan(v) for v in thin.y)
    assert "drawn from 200,000 points" in chart.svg()
    assert len(chart.svg()) < 120_000


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="1 values of y for 2 of x"):
        Series("a", [1, 2], [1])


def test_rows_of_very_different_size_get_scales_of_their_own():
    apart = Intervals(
        "x", (Interval("errors", 0.9, 0.3, 1.6, 5), Interval("cost", 3710, 3500, 3950))
    )
    assert apart.svg().count(">3,600<") == 1
    assert ">2<" in apart.svg()


SCRIPT = """
import hashlib
from mlops_kit.reporting.charts.charts import Lines, Series
chart = Lines("a", (Series("b", [1, 2, 3], [1, 4, 9], [0, 3, 8], [2, 5, 10], dashed=True),))
print(hashlib.sha256(chart.png() + chart.svg().encode()).hexdigest())
"""


def test_another_process_draws_the_same_bytes_whatever_the_notebook_set():
    import matplotlib

    chart = Lines("a", (Series("b", [1, 2, 3], [1, 4, 9], [0, 3, 8], [2, 5, 10], dashed=True),))
    with matplotlib.rc_context(
        {"figure.facecolor": "black", "font.size": 30, "lines.linewidth": 9}
    ):
        here = hashlib.sha256(chart.png() + chart.svg().encode()).hexdigest()
        assert matplotlib.rcParams["font.size"] == 30
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == here


def test_threads_draw_the_same_as_one_after_the_other():
    expected = [CURVES.svg(), GATES.svg(), SLICES.svg()]
    drawn = {}

    def draw(i):
        drawn[i] = [CURVES, GATES, SLICES][i % 3].svg()

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == {i: expected[i % 3] for i in range(6)}


def test_drawing_loads_no_chart_library_and_importing_no_renderer():
    script = (
        "import sys, mlops_kit.reporting.charts.plotly_pictures\n"
        "from mlops_kit.reporting.charts.charts import Bars, Group\n"
        "chart = Bars('a', ('b',), (Group('c', (1,)),))\n"
        "assert chart.svg()\n"
        "assert not {'matplotlib', 'plotly', 'resvg_py'} & set(sys.modules)\n"
        "chart.png()\n"
        "assert 'resvg_py' in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@given(st.lists(st.floats(-0.5, 1.5), max_size=8))
def test_names_keep_their_order_and_their_distance(places):
    moved = labels.apart(places, 0.07)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 0.0699 for a, b in itertools.pairwise(order))
    assert all(0.4 - 0.07 * 8 <= place <= 1.0001 for place in moved)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.912345, "0.9123"),
        (12, "12"),
        (1234567, "1,234,567"),
        (2e-7, "2e-07"),
        (math.nan, "no number"),
        (None, "–"),
        (0, "0"),
    ],
)
def test_numbers_are_short(value, text):
    assert series.number(value) == text


R = np.random.default_rng(1)
FIGURES = {
    "scatter": go.Figure(
        [
            go.Scatter(y=R.normal(size=50), name="a"),
            go.Scattergl(y=R.normal(size=9), mode="markers"),
        ]
    ),
    "bar": go.Figure([go.Bar(x=["a", "b"], y=[1, 2]), go.Bar(x=["b", "c"], y=[3, 4])]),
    "sideways": go.Figure(go.Bar(x=[1, 2], y=["a", "b"], orientation="h")),
    "histogram": go.Figure([go.Histogram(x=R.normal(size=200)), go.Histogram(x=R.normal(size=90))]),
    "names": go.Figure(go.Histogram(x=["a", "b", "a"])),
    "heatmap": go.Figure(go.Heatmap(z=R.normal(size=(4, 5)), x=list("abcde"))),
    "box": go.Figure([go.Box(y=R.normal(size=50), name="x"), go.Violin(y=R.normal(size=50))]),
    "pie": go.Figure(go.Pie(labels=["a", "b"], values=[3, 1])),
    "dates": go.Figure(
        go.Scatter(x=["2026-01-01", "2026-02-01"], y=[1, 3]), layout={"title": {"text": "a<br>b"}}
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_plotly_figure_becomes_a_picture_in_colour(name):
    shown = pixels(plotly_pictures.picture(json.loads(FIGURES[name].to_json())))
    coloured = (shown.max(axis=2).astype(int) - shown.min(axis=2)) > 60
    assert shown.shape[1] == 1080
    # A box is drawn by thin lines, all others by areas and markers.
    assert coloured.mean() > (0.0001 if name == "box" else 0.002)


def test_columns_in_base64_are_read():
    raw = {"dtype": "i2", "bdata": "AQACAAMABAA=", "shape": "2, 2"}
    assert plotly_json.values(raw) == [[1, 2], [3, 4]]


def test_panels_stand_one_under_the_other():
    from plotly.subplots import make_subplots

    figure = make_subplots(2, 2, subplot_titles=list("abcd"))
    for row, column in ((1, 1), (1, 2), (2, 1), (2, 2)):
        figure.add_scatter(y=[1, 2], row=row, col=column)
    assert (
        Image.open(io.BytesIO(plotly_pictures.picture(json.loads(figure.to_json())))).size[1] > 1000
    )


def test_a_trace_that_cannot_be_drawn_is_named_with_its_size():
    surface = {"type": "surface", "name": "hill", "z": [[1.0] * 30] * 20}
    assert plotly_json.described(surface) == "surface 'hill': 600 values"
    assert pixels(plotly_pictures.picture({"data": [surface]})).any()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "bdata", "text", "color"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = [
    "x",
    "y",
    "z",
    "name",
    "mode",
    "line",
    "marker",
    "labels",
    "values",
    "xaxis",
    "orientation",
    "fill",
]
TRACES = st.builds(
    lambda kind, rest: {"type": kind, **rest},
    st.sampled_from(["scatter", "bar", "histogram", "heatmap", "box", "pie", "surface"]),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4),
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(TRACES | JSON, max_size=3),
    st.dictionaries(
        st.sampled_from(["title", "xaxis", "yaxis", "shapes", "annotations", "barmode"]),
        JSON,
        max_size=3,
    ),
)
def test_no_figure_raises(data, layout):
    assert plotly_pictures.picture({"data": data, "layout": layout}).startswith(b"\x89PNG")
