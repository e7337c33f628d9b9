"""The gates of a verdict as a chart: each interval against its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_kit.models.evaluation_summary import GateSummary
from mlops_kit.reporting.charts.charts import Interval, Intervals


def gates_chart(gates: Sequence[GateSummary]) -> Intervals:
    """Return a chart of the gates' intervals against their bounds.

    Shows all gates that don't pass, first and with their status, and of the passing gates of a
    kind only the closest one. Gates whose names agree up to a comma, as those of slices do, are
    of a kind.
    """
    missed = [gate for gate in gates if gate.status != "pass"]
    kinds: dict[str, list[GateSummary]] = {}
    for gate in gates:
        if gate.status == "pass":
            words, comma, _ = gate.name.partition(",")
            kinds.setdefault(words + comma, []).append(gate)
    kept = [*missed, *(min(kind, key=_room) for kind in kinds.values())]
    title = "Is each interval on the right side of its bound (dashed)?"
    return Intervals(title, tuple(_row(gate) for gate in kept))


def _row(gate: GateSummary) -> Interval:
    word = "" if gate.status == "pass" else f"{gate.status.upper()} "
    found = gate.estimate
    value, low, high = (_drawn(each) for each in (found.value, found.low, found.high))
    return Interval(f"{word}{gate.name}", value, low, high, gate.bound)


def _room(gate: GateSummary) -> float:
    """Return the distance from interval to bound; gates of a kind share a unit."""
    estimate = gate.estimate
    room = (
        _drawn(estimate.low) - gate.bound
        if gate.side == "at_least"
        else gate.bound - _drawn(estimate.high)
    )
    return room if math.isfinite(room) else -math.inf


def _drawn(value: float | None) -> float:
    return math.nan if value is None else value
