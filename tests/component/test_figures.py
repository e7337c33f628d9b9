"""A figure to explore is valid for plotly, small, and readable where no plotly is."""

from __future__ import annotations

import json
import math
from datetime import datetime

import numpy as np
import pytest

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
from mlops_kit.reporting.charts.plotly_figures import explore

PLOTLY = "application/vnd.plotly.v1+json"
N = 100_000
CHARTS = {
    "lines": Lines(
        "a <script>",
        (
            Series(
                "champion", [1, 2, 3], [1, math.nan, 3], [0, 1, 2], [2, math.inf, 4], dashed=True
            ),
            Series("candidate", [1, 10, 100], [2, 3, 4]),
        ),
        markers=(Marker(10, "here"),),
        log_x=True,
    ),
    "days": Lines("days", (Series("a", [datetime(2026, 1, 1), datetime(2026, 1, 2)], [1, 2]),)),
    "many": Lines("many", (Series("a", np.arange(N), np.sin(np.arange(N))),)),
    "nothing": Lines("nothing", ()),
    "intervals": Intervals(
        "i", (Interval("r", 0.9, 0.8, 0.95, 0.85), Interval("no", math.nan, 0, math.inf))
    ),
    "bars": Bars("b", ("x", "y"), (Group("v12", (1, math.nan), dashed=True), Group("v13", (2, 3)))),
    "grid": Grid("g", ("a <b>", "b"), ("a", "b"), ((1, math.nan), (3, 4)), "x", "y"),
    "histogram": Bars.histogram("h", {"v12": [1, 2, 2, 3], "v13": [2, 3, 3]}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_plotly_accepts_the_figure(name):
    import plotly.graph_objects as go

    spec = explore(CHARTS[name]).plotly()
    text = json.dumps(spec, allow_nan=False)
    figure = go.Figure(json.loads(text))
    assert len(figure.data) == len(spec["data"])
    assert len(text) < 40_000


@pytest.mark.parametrize("name", CHARTS)
def test_an_output_is_interactive_and_readable_without_a_kernel(name):
    bundle, metadata = explore(CHARTS[name])._repr_mimebundle_()
    assert list(bundle) == [PLOTLY, "image/png", "text/plain"]
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert bundle["text/plain"].startswith(CHARTS[name].title)
    assert metadata["image/png"]["width"] == 720


def test_the_champion_is_dashed_and_names_are_no_html():
    spec = explore(CHARTS["lines"]).plotly()
    dashes = [
        trace["line"].get("dash")
        for trace in spec["data"]
        if trace["name"] in ("champion", "candidate")
    ]
    assert dashes == ["dash", "solid"]
    assert spec["layout"]["title"]["text"] == "a &lt;script&gt;"


def test_a_notebook_shows_the_bundle():
    from IPython.core.formatters import DisplayFormatter

    data, metadata = DisplayFormatter().format(explore(CHARTS["bars"]))
    assert {PLOTLY, "image/png", "text/plain"} == set(data)
    assert metadata["image/png"]["width"] == 720
