"""Show what a binary model does at each threshold: a slider, curves, costs, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_kit.formatting import number
from mlops_kit.jupyter.html import svg
from mlops_kit.models import slice_confusions
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.reporting.charts.charts import Lines, Marker, Series
from mlops_kit.reporting.charts.scale import Scale
from mlops_kit.reporting.markup import Html, control, folded, tag
from mlops_kit.reporting.markup import table as html_table

SLIDER = "threshold"
_ROLES = ("reference", "candidate")
_COUNTS = ("true positives", "false negatives", "false positives", "true negatives")


def parts(found: EvaluationSummary) -> list[Html]:
    """Return what unfolds below the slices; nothing without curves by threshold."""
    curves = found.curves
    if "thresholds" not in curves:
        return []
    sections = [folded("Curves and threshold", *_curves(found, curves), key="curves")]
    if slices := slice_confusions.read(curves):
        sections.append(
            folded("Confusion by slice", _by_slice(found, slices), key="confusion-by-slice")
        )
    return sections


def _curves(found: EvaluationSummary, curves: Mapping[str, Any]) -> list[Html]:
    models, thresholds = curves["models"], curves["thresholds"]
    start = _nearest(thresholds, models["candidate"]["threshold"])
    names = found.names.model_dump()
    charts = (
        _precision_recall(names, models),
        _calibration(names, models),
        _costs(names, models, thresholds),
    )
    return [
        _slider(thresholds, start),
        tag("div", *charts, class_="grid"),
        _confusion(names, models, start),
    ]


def _slider(thresholds: Sequence[float], start: int) -> Html:
    said = tag(
        "output",
        number(thresholds[start]),
        for_=SLIDER,
        **_following([number(value) for value in thresholds], "text"),
    )
    return tag(
        "p",
        tag("label", "What if the threshold were ", said, "? ", for_=SLIDER),
        control(
            "input",
            type="range",
            id=SLIDER,
            min=0,
            max=len(thresholds) - 1,
            value=start,
            class_="slider",
            data_key=SLIDER,
        ),
        tag("span", " This changes nothing in the release.", class_="help"),
    )


def _precision_recall(names: Mapping[str, str], models: Mapping[str, Any]) -> Html:
    lines = tuple(
        Series(names[role], *_rates(models[role]), dashed=role == "reference") for role in _ROLES
    )
    value = Lines(
        "Precision and recall",
        lines,
        "recall",
        "precision",
        says="Each point is a threshold; up and to the right is better.",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
    )

    def marks(x: Scale, y: Scale) -> list[Html]:
        found = []
        for role in _ROLES:
            recall, precision = _rates(models[role])
            fill = "var(--ground)" if role == "reference" else "var(--running)"
            xs, ys = [x(each) for each in recall], [y(each) for each in precision]
            found.append(_mark(xs, ys, fill))
        return found

    return svg.chart(value, marks)


def _calibration(names: Mapping[str, str], models: Mapping[str, Any]) -> Html:
    pairs = {role: models[role]["calibration"] for role in _ROLES}
    lowest = min(
        (min(pair) for each in pairs.values() for pair in each if min(pair) > 0), default=1e-4
    )
    lines = [
        Series(
            names[role],
            [score for score, _ in pairs[role]],
            [share for _, share in pairs[role]],
            dashed=role == "reference",
        )
        for role in _ROLES
    ]
    ideal = Series("perfectly calibrated", (lowest, 1.0), (lowest, 1.0), guide=True)
    value = Lines(
        "Calibration",
        (*lines, ideal),
        "score",
        "share of positives",
        log_x=True,
        log_y=True,
        says="On the diagonal, scores equal the observed share of positives.",
    )
    return svg.chart(value)


def _costs(
    names: Mapping[str, str], models: Mapping[str, Any], thresholds: Sequence[float]
) -> Html:
    lines = tuple(
        Series(names[role], thresholds, models[role]["cost"], dashed=role == "reference")
        for role in _ROLES
    )
    best = {role: min(zip(models[role]["cost"], thresholds, strict=True)) for role in _ROLES}
    told = "; ".join(
        f"{names[role]} costs least at {number(at)}: {number(cost)}"
        for role, (cost, at) in best.items()
    )
    chosen = models["candidate"]["threshold"]
    value = Lines(
        "Cost per 1,000 rows",
        lines,
        "threshold",
        "cost",
        (Marker(chosen, "chosen"),),
        log_x=True,
        log_y=True,
        says=told,
    )

    def marks(x: Scale, y: Scale) -> list[Html]:
        moving = tag(
            "line",
            y1=y.end,
            y2=y.start,
            x1=x(chosen),
            x2=x(chosen),
            stroke="var(--running)",
            stroke_width=2,
            **_following([x(value) for value in thresholds], "x1 x2"),
        )
        return [moving]

    return svg.chart(value, marks)


def _confusion(names: Mapping[str, str], models: Mapping[str, Any], start: int) -> Html:
    rows = []
    for role in _ROLES:
        each = models[role]
        positives = each["positives"]
        negatives = each["rows"] - positives
        columns = (
            each["caught"],
            [positives - caught for caught in each["caught"]],
            each["alarms"],
            [negatives - alarms for alarms in each["alarms"]],
            each["cost"],
        )
        cells = [
            tag("span", _told(column[start]), **_following([*map(_told, column)], "text"))
            for column in columns
        ]
        rows.append((names[role], *cells))
    header = ("at this threshold", *_COUNTS, "cost per 1,000")
    return tag("div", html_table("Confusion at the threshold", header, rows), class_="wide")


def _by_slice(found: EvaluationSummary, slices: Sequence[slice_confusions.SliceConfusion]) -> Html:
    """Return the counts of each slice, a row a model, each at its own threshold."""
    names = found.names.model_dump()
    rows = [
        (part.name, names[role], *map(_told, getattr(part, role).model_dump().values()))
        for part in slices
        for role in _ROLES
    ]
    header = ("slice", "model", *_COUNTS)
    caption = "Confusion by slice, each model at its own threshold"
    return tag("div", html_table(caption, header, rows), class_="wide")


def _rates(model: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    positives = max(model["positives"], 1)
    recall = [caught / positives for caught in model["caught"]]
    flagged = [a + b for a, b in zip(model["caught"], model["alarms"], strict=True)]
    precision = [
        caught / total if total else 1.0
        for caught, total in zip(model["caught"], flagged, strict=True)
    ]
    return recall, precision


def _mark(xs: Sequence[float], ys: Sequence[float], fill: str) -> Html:
    inner = tag(
        "circle",
        cx=xs[0],
        cy=ys[0],
        r=5,
        fill=fill,
        stroke="currentColor",
        **_following(xs, "cx"),
    )
    # A follower has one list of values, so the circle moves in x and its group in y.
    moves = [f"translate(0 {y - ys[0]:.2f})" for y in ys]
    return tag("g", inner, **_following(moves, "transform"))


def _following(values: Sequence[object], sets: str) -> dict[str, Any]:
    return {"data_follows": SLIDER, "data_values": list(values), "data_sets": sets}


def _told(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _nearest(thresholds: Sequence[float], wanted: float) -> int:
    return min(range(len(thresholds)), key=lambda i: abs(thresholds[i] - wanted))
