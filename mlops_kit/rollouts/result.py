"""A watched rollout: each look in lines, and at its end a record that stays readable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from math import exp, log10
from typing import Any, Literal

from mlops_kit.releases.ledger import Entry
from mlops_kit.reporting import markdown
from mlops_kit.reporting.charts.charts import Lines, Marker
from mlops_kit.reporting.charts.series import Series
from mlops_kit.rollouts.metrics import Metric, times
from mlops_kit.rollouts.state import Decision

Outcome = Literal["completed", "aborted", "rolled back", "serving", "superseded", "running"]
# Evidence over this is drawn at the edge: how much more says nothing more.
_EDGE = 5.3


@dataclass(frozen=True)
class PollRecord:
    """What was seen and decided at one moment, in seconds since the epoch.

    `weight` was the candidate's in percent; `requests` are those that it and the champion have
    answered since the pair first met. `committed` is the revision of the commit that followed.
    """

    time: float
    weight: int
    decision: Decision
    requests: int = 0
    champion_requests: int = 0
    committed: str = ""

    @property
    def lines(self) -> list[str]:
        """The look in lines: the decision first, then each metric, then what comes next."""
        decision = self.decision
        first = f"{self.weight:>3} %  {decision.sentence}"
        if self.requests:
            first += f" [{self.requests:,} requests, champion {self.champion_requests:,}]"
        seen = [metric for metric in decision.metrics if metric.n]
        lines = [f"       {metric.seen}; evidence {times(metric.log_for)}" for metric in seen]
        if seen:
            lines.append(f"       harm, all metrics together: evidence {times(decision.harm)}")
        return [first, *lines, *([f"       {decision.next}"] if decision.next else [])]


@dataclass(frozen=True)
class Watched:
    """What a watch saw, and how the rollout ended, by its commits; newest entry first."""

    model: str
    environment: str
    rollout: str
    outcome: Outcome
    champion: str
    entries: tuple[Entry, ...]
    looks: tuple[PollRecord, ...]
    alpha: float
    dropped: int = 0

    @property
    def verdict(self) -> str:
        """Pass, fail or inconclusive."""
        if self.outcome in ("completed", "serving"):
            return "pass"
        if self.outcome == "rolled back":
            return "fail"
        ends = (entry.verdict for entry in self.entries if entry.action == "abort")
        return next(ends, "inconclusive") or "inconclusive"

    @property
    def sentence(self) -> str:
        """How it ended, as one sentence with the reason of the act that ended it."""
        by_act = {"completed": "complete", "aborted": "abort", "rolled back": "rollback"}
        act = by_act.get(self.outcome)
        why = next((entry.why for entry in self.entries if entry.action == act), "")
        serves = f"{self.model} {self.champion}" if self.champion else f"No version of {self.model}"
        who = f"{serves} serves {self.environment}."
        if self.outcome == "superseded":
            return f"Another rollout took this one's place. {who}"
        return f"{why} {who}".strip() if why else who

    @property
    def weights(self) -> tuple[int, ...]:
        """The path by weight, oldest first: each commit's weight, and 100 for the champion."""
        path: list[int] = []
        for entry in reversed(self.entries):
            weight = 100 if entry.action == "complete" else entry.weight or 0
            if entry.action in ("promote", "shift", "complete", "abort", "rollback") and (
                path[-1:] != [weight] and 100 not in path
            ):
                path.append(weight)
        return tuple(path)

    @property
    def exposed(self) -> int:
        """Requests that the candidate had answered when it was last looked at."""
        return max((look.requests for look in self.looks), default=0)

    def summary(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "rollout": self.rollout,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "champion": self.champion,
            "weights": list(self.weights),
            "requests": self.exposed,
            "dropped": self.dropped,
            "decision": self.looks[-1].decision.summary() if self.looks else None,
            "steps": [
                {
                    "when": entry.when.isoformat(),
                    "act": entry.action,
                    "weight": entry.weight,
                    "verdict": entry.verdict,
                    "counts": entry.counts,
                    "why": entry.why,
                    "revision": entry.revision,
                }
                for entry in reversed(self.entries)
            ],
        }

    @property
    def evidence(self) -> Evidence:
        """The metrics of the last look that decided on the candidate, as a table."""
        last = next(reversed(self._judging), None)
        metrics = last.decision.metrics if last else ()
        return Evidence(tuple(metric for metric in metrics if metric.n), self.alpha)

    @property
    def _judging(self) -> list[PollRecord]:
        """The looks at which something was still to be proved."""
        return [look for look in self.looks if any(m.needed for m in look.decision.metrics)]

    @property
    def record(self) -> Record:
        """Every commit of the rollout, as a table."""
        return Record(self.entries)

    def chart(self) -> Lines:
        """Return the evidence of each metric over time, and the candidate's weight."""
        looks = self._judging
        start = looks[0].time if looks else 0.0
        seconds = tuple(look.time - start for look in looks)
        names = dict.fromkeys(m.name for look in looks for m in look.decision.metrics if m.needed)
        series = [
            Series(name, seconds, tuple(_exponent(look, name) for look in looks)) for name in names
        ]
        share = tuple(look.weight / 100 for look in looks)
        proved = Series(
            "proved from here", seconds, tuple(_tens(1 / self.alpha) for _ in looks), guide=True
        )
        return Lines(
            "Evidence that each metric keeps its bound",
            (*series, proved, Series("weight, 1 is all", seconds, share, dashed=True)),
            "seconds",
            "evidence, as a power of ten",
            tuple(Marker(seconds[i], f"{looks[i].weight} %") for i in _steps(looks)),
        )

    def __repr__(self) -> str:
        # For a notebook in Git, where the data behind it would be 30 kB.
        return f"Watched({self.rollout!r}, {self.outcome!r}, looks={len(self.looks)})"

    def _repr_markdown_(self) -> str:
        path = " → ".join(f"{weight} %" for weight in self.weights) or "no rollout"
        exposed = f"{self.exposed:,} requests were answered by the candidate."
        return "\n\n".join(
            [
                f"**{self.outcome.upper()}** {markdown.escape(self.sentence)}",
                f"Path by weight: {path}. {exposed}",
            ]
        )


@dataclass(frozen=True)
class Evidence:
    """Metrics with their counts, intervals that hold at any look, and evidence."""

    metrics: tuple[Metric, ...]
    alpha: float

    def __repr__(self) -> str:
        return f"Evidence({[metric.name for metric in self.metrics]})"

    def _repr_markdown_(self) -> str:
        rows = []
        for metric in self.metrics:
            low, high = metric.interval(self.alpha)
            sign = "≤" if metric.side == "<" else "≥"
            needed = f"{times(metric.log_for)} / {1 / self.alpha:,.0f}x" if metric.needed else "–"
            proved = "PROVED" if metric.is_proved(self.alpha) else "NOT YET"
            rows.append(
                (
                    metric.name,
                    metric.amount,
                    f"{metric.shown(low)} to {metric.shown(high)}",
                    f"{sign} {metric.shown(metric.bound)}",
                    needed,
                    proved if metric.needed else "watched",
                )
            )
        header = ("metric", "seen", "at any look", "bound", "evidence / needs", "verdict")
        return markdown.table(header, rows)


@dataclass(frozen=True)
class Record:
    """The commits of a rollout, oldest first."""

    entries: tuple[Entry, ...]

    def __repr__(self) -> str:
        return f"Record({[entry.revision[:10] for entry in self.entries]})"

    def _repr_markdown_(self) -> str:
        rows = [
            (
                f"{entry.when.astimezone(UTC):%H:%M:%S}",
                entry.action,
                f"{entry.weight or 0} %",
                entry.verdict or "–",
                entry.why,
                entry.revision[:10],
            )
            for entry in reversed(self.entries)
        ]
        return markdown.table(("UTC", "act", "weight", "verdict", "why", "commit"), rows, left=6)


def _exponent(look: PollRecord, name: str) -> float:
    found = next((m.log_for for m in look.decision.metrics if m.name == name), 0.0)
    return _tens(exp(min(max(found, -50.0), 50.0)))


def _tens(value: float) -> float:
    return max(-1.0, min(_EDGE, log10(value)))


def _steps(looks: Sequence[PollRecord]) -> list[int]:
    """Return where the weight changed."""
    return [i for i in range(1, len(looks)) if looks[i].weight != looks[i - 1].weight]
