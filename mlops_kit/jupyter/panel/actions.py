"""The actions on a release: what each one leads to, or why it isn't possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_kit.jupyter.panel.state import Offer
from mlops_kit.releases.approvals import Consent

if TYPE_CHECKING:
    from mlops_kit.models.evaluation_summary import VerdictSummary
    from mlops_kit.project.release_views import Status
    from mlops_kit.rollouts.observer import ObservedState

_STOP = "The champion answers all requests again, and the candidate is removed."


def of_candidate(
    seen: ObservedState, version: str, verdict: VerdictSummary, consent: Consent, following: str
) -> tuple[Offer, ...]:
    """Return the actions on a version that isn't serving yet.

    Args:
        seen: the release and its rollout.
        version: the version.
        verdict: the evaluation's.
        consent: who approved or rejected it, and who is looking.
        following: what promoting it leads to, as `after` says.
    """
    where = consent.environment
    says = f"Releases v{version} to {where}. {following}"
    promote = Offer("promote", f"Promote v{version} to {where}", says, "", "required", True)
    if verdict.status != "pass":
        promote = replace(promote, why_not=f"{verdict.sentence} {reason(verdict)}".strip())
    elif consent.rejection is not None:
        promote = replace(promote, why_not=f"Rejected by {consent.rejection.sentence}.")
    elif consent.missing:
        promote = replace(promote, why_not=consent.sentence)
    reject = Offer(
        "reject",
        f"Reject v{version}",
        f"Nobody can promote v{version} until somebody approves it again.",
        "" if consent.rejection is None else f"v{version} is already rejected.",
        "required",
    )
    offers = [promote, reject]
    if verdict.status == "pass" and (consent.needed > 1 or consent.rejection):
        if consent.is_mine:
            told = f"{consent.who}'s approval of v{version} no longer counts."
            offers.append(Offer("withdraw", "Withdraw my approval", told, "", ""))
        else:
            told = f"{consent.who} approves v{version} with its current evaluation."
            offers.append(Offer("approve", f"Approve v{version}", told, "", "required", True))
    if seen.release.champion is not None:
        offers.append(rollback(seen))
    return tuple(offers)


def after(seen: ObservedState, strategy: str, version: str, first: str = "") -> str:
    """Return what promoting the version leads to; `first` becomes champion before."""
    if first:
        return f"v{first} becomes the first champion; then starts a replay, which exposes no users."
    if seen.release.champion is None:
        return "It takes all traffic at once; there is no earlier release to roll back to."
    if strategy == "canary":
        return "Promoting starts a replay, which exposes no users."
    return f"Promoting gives v{version} all traffic at once."


def of_rollout(seen: ObservedState, version: str) -> tuple[Offer, ...]:
    """Return the actions on a running rollout."""
    release = seen.release
    is_champion = release.champion is not None and release.champion.is_same(release.candidate)
    held = bool(seen.situation.held_by)
    hold = Offer(
        "hold", f"Hold v{version}", f"Keeps it at {release.weight} % of requests until resumed."
    )
    resume = Offer("resume", f"Resume v{version}", "Lets the rollout decide again.", "", "")
    abort = Offer("abort", f"Abort v{version}", _STOP)
    complete = Offer(
        "complete",
        f"Complete v{version}",
        f"Makes v{version} champion now, without waiting for more evidence.",
        "" if release.weight else f"v{version} has had no traffic yet, so there is no evidence.",
        "required",
    )
    if is_champion:
        gone = f"v{version} is already champion."
        abort, complete = replace(abort, why_not=gone), replace(complete, why_not=gone)
    return (resume if held else hold, abort, complete, rollback(seen))


def rollback(seen: ObservedState) -> Offer:
    """Return the action that restores the last good release."""
    says = "The last good version answers all requests, and this one is quarantined."
    why = "" if seen.situation.can_restore else "There is no earlier good release."
    return Offer("rollback", "Roll back", says, why, "required")


def repair(status: Status) -> Offer:
    """Return the action that points the registry's alias at Git's champion."""
    before = f" from v{status.alias}" if status.alias else ""
    after = f"v{status.champion}, the champion in Git" if status.champion else "the champion in Git"
    return Offer("repair", "Repair the registry", f"Sets its alias{before} to {after}.", "", "")


def reason(verdict: VerdictSummary) -> str:
    """Return the first reason of a verdict that isn't a pass; empty for a pass."""
    return "" if verdict.status == "pass" else next(iter(verdict.reasons), "")
