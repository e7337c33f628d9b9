"""Render a rollout as HTML: each metric against its bound, and the evidence over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, log10, nan

from mlops_kit.jupyter.html import svg
from mlops_kit.jupyter.metrics_view import MetricsView
from mlops_kit.reporting.charts.charts import Lines, Marker, Rule, Series
from mlops_kit.reporting.markup import Html, control, folded, joined, tag
from mlops_kit.reporting.markup import table as html_table
from mlops_kit.rollouts.evidence_history import Trail
from mlops_kit.rollouts.metrics import Metric, times
from mlops_kit.rollouts.state import Decision

_HEADER = (
    *("metric", "bound", "now (interval valid at any time)", "chart"),
    *("evidence / needs", "verdict"),
)
# More evidence than this is drawn at the edge: it changes nothing.
_MAX_EVIDENCE = 200.0


@dataclass(frozen=True)
class Watch:
    """A watched rollout: the state of the watch, and its newest decision.

    `state` and `sentence` are the watch's own; an empty sentence shows the decision's.
    """

    title: str
    state: str
    sentence: str = ""
    share: str = ""
    decision: Decision | None = None
    evidence: MetricsView | None = None


def page(watch: Watch) -> Html:
    """Return the decision and its evidence."""
    is_over = watch.state != "running"
    stop = control("button", "Stop watching", data_act="cancel", type="button")
    decision = watch.decision
    standing = watch.state if is_over or decision is None else _standing(decision)
    said = watch.sentence or (decision.sentence if decision else "")
    following = decision.next if decision and not is_over else ""
    return joined(
        [
            tag(
                "div",
                tag("strong", watch.title),
                tag("span", watch.share),
                None if is_over else stop,
                class_="bar",
            ),
            tag(
                "div",
                tag("h2", svg.word(standing), " ", said),
                tag("p", tag("strong", "Next: "), following) if following else None,
                role="status",
                data_key="sentence",
                data_state=watch.state,
            ),
            # At the end the record shows it, without a kernel.
            rollout(watch.evidence, is_unfolded=True) if watch.evidence and not is_over else None,
        ]
    )


def _standing(decision: Decision) -> str:
    return "running" if decision.verdict == "inconclusive" else decision.verdict


def rollout(evidence: MetricsView, *, is_unfolded: bool = False) -> Html:
    """Return the metrics and their evidence over time, folded unless `is_unfolded`."""
    rows = [_metric(metric, evidence.alpha) for metric in evidence.metrics if metric.n]
    if rows:
        rows.append(_harm(evidence))
    shown = _over_time(evidence)
    return tag(
        "section",
        tag("div", html_table("Metrics of the rollout", _HEADER, rows), class_="wide")
        if rows
        else tag("p", "No observations yet."),
        tag("p", f"The candidate has answered {evidence.requests:,} requests."),
        tag("div", shown, data_key="trails")
        if is_unfolded
        else folded("Evidence over time", shown, key="trails"),
        data_key="rollout",
    )


def _metric(metric: Metric, alpha: float) -> tuple[object, ...]:
    low, high = metric.interval(alpha)
    share = metric.share
    sign = "at most" if metric.side == "<" else "at least"
    edge = 1.0 if metric.side == ">" else max(2 * metric.bound, high, share)
    proved = metric.is_proved(alpha)
    verdict = svg.word("proved" if proved else "not yet") if metric.needed else "watched"
    counted = metric.counted[1]
    bursts = f", counted as {counted:,.0f}" if counted < 0.95 * metric.n else ""
    return (
        metric.name,
        tag("span", f"{sign} {metric.shown(metric.bound)}", class_="whole"),
        joined(
            [
                tag(
                    "span",
                    f"{metric.shown(share)} ({metric.shown(low)} to {metric.shown(high)})",
                    class_="whole",
                ),
                tag("small", f" n = {metric.n:,}{bursts}", class_="whole"),
            ]
        ),
        svg.interval(low, high, share, metric.bound, edge),
        f"{times(metric.log_for)} / {1 / alpha:,.0f}x" if metric.needed else "–",
        verdict,
    )


def _harm(evidence: MetricsView) -> tuple[object, ...]:
    """Return the row that decides a rollback: harm over all metrics together."""
    limit = 1 / evidence.alpha_rollback
    is_shown = evidence.harm >= log(limit)
    return (
        "harm, all metrics together",
        tag("span", f"under {limit:,.0f}x", class_="whole"),
        "–",
        "–",
        f"{times(evidence.harm)} / {limit:,.0f}x to roll back",
        svg.word("fail", "harm shown") if is_shown else "no sign of harm",
    )


def _over_time(evidence: MetricsView) -> Html:
    strips = [svg.chart(_strip(trail, evidence)) for trail in evidence.trails]
    said = "The evidence over time starts with the first live traffic."
    if strips:
        needed = f"{1 / evidence.alpha:,.0f}"
        said = (
            f"If a metric is beyond its bound, evidence of {needed}x for it appears in at most 1 "
            f"of {needed} rollouts, however often you look. Evidence falls when new data disagree."
        )
    weights = svg.chart(_weights(evidence))
    return joined([tag("p", said, class_="help"), tag("div", *strips, weights, class_="grid")])


def _strip(trail: Trail, evidence: MetricsView) -> Lines:
    """Return a chart of one metric's evidence: up for its bound, down against it.

    The axis is fixed: one that follows the data makes noise look like a verdict.
    """
    needed, limit = 1 / evidence.alpha, 1 / evidence.alpha_rollback
    edge = log10(max(_MAX_EVIDENCE, 10 * needed, 10 * limit))
    last = next((point for point in reversed(trail.points) if point), None)
    told = f"{times(last[1])} for, {times(last[2])} against" if last else "nothing yet"
    return Lines(
        f"{trail.name}: evidence over time",
        tuple(
            _side(name, trail, evidence.start, side, edge)
            for name, side in (("within its bound", 1), ("beyond it", -1))
        ),
        "seconds since the promotion",
        "evidence",
        _shifts(evidence),
        says=f"{told}; {needed:,.0f}x for it is proof.",
        steps=True,
        rules=(
            Rule(log10(needed), f"{needed:,.0f}x = proved"),
            Rule(0.0, "1x"),
            Rule(-log10(limit), f"{limit:,.0f}x against"),
        ),
        x_range=(0.0, evidence.weights[-1][0] if evidence.weights else 1.0),
        y_range=(-edge, edge),
    )


def _side(name: str, trail: Trail, start: float, side: int, edge: float) -> Series:
    """Return one side's evidence in powers of ten; below 1x it lies on the middle line."""
    xs: list[float] = []
    ys: list[float] = []
    for point in trail.points:
        # A gap has no moment of its own.
        xs.append(point[0] - start if point else (xs[-1] if xs else 0.0))
        power = point[1 if side > 0 else 2] / log(10) if point else nan
        ys.append(side * min(edge, max(0.0, power)) if point else nan)
    return Series(name, xs, ys, dashed=side < 0)


def _shifts(evidence: MetricsView) -> tuple[Marker, ...]:
    """Return when the weight changed, and to what."""
    path = evidence.weights
    return tuple(
        Marker(at, f"{weight:g} %")
        for (_, before), (at, weight) in pairwise(path)
        if weight != before
    )


def _weights(evidence: MetricsView) -> Lines:
    weights = evidence.weights
    seconds, shares = zip(*weights, strict=True) if weights else ((), ())
    return Lines(
        "The candidate's share over time",
        (Series("weight", seconds, shares),),
        "seconds since the promotion",
        "percent",
        says=f"{weights[-1][1]:g} % now." if weights else "No traffic yet.",
        steps=True,
        y_range=(0.0, max(shares, default=0.0) or 1.0),
    )
