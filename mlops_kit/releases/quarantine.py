"""Which promotions are refused: a version that failed live, a model that fails too often.

The rules are those of a rollout's failure table, "flapping" and "rollback of a rollback". All of
them take the entries of one model in one environment, the newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_kit.errors import QuarantineError
from mlops_kit.releases.ledger import Entry

_LOOK = "See the history; to promote it anyway, give an override, which is recorded."


@dataclass(frozen=True)
class PromotionLimits:
    """How promotions slow down after rollbacks; times in seconds.

    After a rollback nothing is promoted for `cooldown`, doubled by each further one within
    `freeze_window` up to that; `freeze_after` of them within it stop all promotions.
    """

    cooldown: float = 0.0
    freeze_after: int = 3
    freeze_window: float = 86_400.0


def quarantined(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Return each quarantined digest with the act that put it there.

    That is an abort with a verdict of fail, a rollback from it, or `git revert` of its promotion.
    What brings it back by an override ends it.
    """
    found: dict[str, Entry] = {}
    promoted_by: dict[str, str] = {}
    for entry in reversed(entries):
        if entry.override:
            found.pop(entry.digest, None)
        if entry.deploys:
            promoted_by[entry.revision] = entry.digest
        if entry.action == "abort" and entry.verdict == "fail":
            found[entry.digest] = entry
        elif entry.action == "rollback" and entry.rolled_back:
            found[entry.rolled_back] = entry
        elif entry.reverts in promoted_by:
            found[promoted_by[entry.reverts]] = entry
    return found


def check_promotion(
    entries: Sequence[Entry], version: str, digest: str, limits: PromotionLimits, now: float
) -> None:
    """Raise QuarantineError where only an override lets the version through.

    Args:
        entries: the acts of one model in one environment, newest first.
        version: the version to promote.
        digest: its digest.
        limits: how promotions slow down after rollbacks.
        now: in seconds since the epoch.
    """
    if digest in (bad := quarantined(entries)):
        act = bad[digest]
        raise QuarantineError(
            f"Version {version!r} is in quarantine: {described(act)}. Promote another version. "
            f"{_LOOK}",
            code="release.quarantine.version",
        )
    back = [entry for entry in entries if entry.action == "rollback"]
    recent = [entry for entry in back if now - entry.when.timestamp() < limits.freeze_window]
    if len(recent) >= limits.freeze_after:
        raise QuarantineError(
            f"Promotions are frozen: {len(recent)} rollbacks within {limits.freeze_window:g} s, "
            f"expected less than {limits.freeze_after}; the last: {described(recent[0])}. {_LOOK}",
            code="release.quarantine.frozen",
        )
    if back:
        doubled = limits.cooldown * 2.0 ** min(max(0, len(recent) - 1), 60)
        pause = min(doubled, max(limits.cooldown, limits.freeze_window))
        # A clock that jumped back makes nobody wait longer than the pause.
        left = pause - max(0.0, now - back[0].when.timestamp())
        if left > 0:
            raise QuarantineError(
                f"Promotions wait for another {left:.0f} s: a cool-down of {pause:g} s follows a "
                f"rollback, here {described(back[0])}. {_LOOK}",
                code="release.quarantine.cooldown",
            )


def check_rollback(entries: Sequence[Entry], version: str, digest: str) -> None:
    """Raise QuarantineError where the digest was rolled back by a verdict before.

    Somebody let it through again since then, so it is a person who takes it away again.
    """
    for entry in entries:
        if (entry.action, entry.rolled_back) == ("rollback", digest) and entry.verdict:
            raise QuarantineError(
                f"Version {version!r} stays, though the verdict is against it: it was rolled back "
                f"without a person before ({described(entry)}), and promoted again by an override. "
                "A person must decide: roll back by hand.",
                code="release.quarantine.repeated",
            )


def described(entry: Entry) -> str:
    """Return an act as a few words: what, when and in which commit."""
    return f"{entry.subject!r} at {entry.when:%Y-%m-%d %H:%M:%S} UTC, commit {entry.revision[:10]}"
