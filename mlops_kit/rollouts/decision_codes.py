"""The stable code of each decision about a rollout; docs/decision-codes.md explains them."""

from __future__ import annotations

from typing import Literal, NamedTuple

DecisionCode = Literal[
    # Nothing to decide.
    "idle.no-champion",
    "idle.no-rollout",
    "superseded",
    # The candidate is replayed and has no traffic.
    "replay.no-labels",
    "replay.few-labels",
    "replay.unproved",
    "replay.passed",
    # The candidate has, or had, traffic.
    "canary.just-shifted",
    "canary.low-traffic",
    "canary.no-data",
    "canary.shared-outage",
    "canary.broken-split",
    "canary.doubtful",
    "canary.unproved",
    "canary.advanced",
    "canary.withdrawn",
    "canary.waiting",
    "canary.resumed",
    # Something other than evidence stops the rollout.
    "held.by-person",
    "held.clock",
    "held.fault",
    "held.not-live",
    # It ends well.
    "completed",
    "settled",
    "retired",
    "soak.watching",
    "soak.no-labels",
    "soak.passed",
    "soak.unjudged",
    # It ends, or should end, without the candidate.
    "aborted.harm",
    "aborted.timeout",
    "rolled-back.harm",
    "escalated.no-target",
    "escalated.no-good-release",
    "escalated.refused",
]


class Reason(NamedTuple):
    """Why something is decided: a code that stays, and a sentence that may get better."""

    code: DecisionCode
    sentence: str
