"""How far a rollout has come, read from its commits alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_kit.releases.ledger import Entry
from mlops_kit.releases.release import Release

Outcome = Literal["running", "completed", "aborted", "rolled back", "serving"]


@dataclass(frozen=True)
class Timeline:
    """When the phases of a rollout began, in seconds since the epoch; None before.

    `started` is the promotion's commit, `shifted` the first with a weight over 0, `since` the
    newest on this environment, `completed` the one that made the present champion champion.
    """

    started: float
    since: float
    shifted: float | None = None
    completed: float | None = None


def course(entries: Sequence[Entry], release: Release) -> Timeline:
    """Return how far the release's rollout has come; the newest entry comes first.

    Without a candidate it is the rollout that made the champion, if one did.
    """
    since = _when(entries[0]) if entries else 0.0
    crown = next((entry for entry in entries if entry.makes_champion), None)
    completed = _when(crown) if crown and crown.action == "complete" else None
    name = release.rollout or (crown.rollout if crown else "")
    own = of(entries, name)
    shifts = [_when(entry) for entry in own if entry.weight]
    return Timeline(
        started=_when(own[-1]) if own else since,
        since=since,
        shifted=min(shifts) if shifts else None,
        completed=completed,
    )


def of(entries: Sequence[Entry], rollout: str) -> tuple[Entry, ...]:
    """Return the entries of one rollout, newest first; none for an empty name."""
    return tuple(entry for entry in entries if rollout and entry.rollout == rollout)


def outcome(entries: Sequence[Entry], rollout: str) -> Outcome:
    """Return how a rollout ended, or that it still runs; newest entry first.

    "serving" is a promotion that made its version the champion at once, without a rollout.
    """
    own = of(entries, rollout)
    completed = next((entry for entry in own if entry.action == "complete"), None)
    crown = completed or next((entry for entry in own if entry.makes_champion), None)
    if any(entry.action == "rollback" for entry in own):
        return "rolled back"
    if crown is not None:
        later = entries[: list(entries).index(crown)]
        gone = any(entry.rolled_back == crown.digest for entry in later if entry.rolled_back)
        return "rolled back" if gone else "completed" if completed else "serving"
    return "aborted" if any(entry.action == "abort" for entry in own) else "running"


def _when(entry: Entry) -> float:
    return entry.when.timestamp()
