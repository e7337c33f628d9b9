"""What a person may do about a release: each act with what follows from it, or why it can't be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_kit.jupyter.panel.state import Offer
from mlops_kit.releases.approvals import Consent

if TYPE_CHECKING:
    from mlops_kit.models.evaluation_summary import VerdictSummary
    from mlops_kit.rollouts.observer import ObservedState

REPAIR = Offer(
    "repair", "Repair the registry", "Its alias names the champion that Git names.", "", ""
)
_STOP = "Afterwards the champion answers everything again, and the candidate is taken away."


def of_candidate(
    seen: ObservedState, strategy: str, version: str, verdict: VerdictSummary, consent: Consent
) -> tuple[Offer, ...]:
    """Return what may be done about a version that nothing serves yet."""
    where = consent.environment
    says = f"{where} gets v{version}. {after(seen, strategy, version)}"
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
        f"Nobody can promote v{version} any more, until somebody approves it again.",
        "" if consent.rejection is None else "It is rejected already.",
        "required",
    )
    offers = [promote, reject]
    if verdict.status == "pass" and (consent.needed > 1 or consent.rejection):
        if consent.is_mine:
            told = f"Afterwards {consent.who}'s approval of v{version} doesn't count."
            offers.append(Offer("withdraw", "Withdraw my approval", told, "", ""))
        else:
            told = f"{consent.who} approves v{version}, as it is judged now."
            offers.append(Offer("approve", f"Approve v{version}", told, "", "required", True))
    if seen.release.champion is not None:
        offers.append(rollback(seen))
    return tuple(offers)


def after(seen: ObservedState, strategy: str, version: str) -> str:
    """Return what a promotion of the version leads to."""
    if seen.release.champion is None:
        return "It takes all traffic at once; there is no release to go back to."
    if strategy == "canary":
        return "Promoting starts a replay; no user is exposed."
    return f"Promoting gives v{version} all traffic at once."


def of_rollout(seen: ObservedState, version: str) -> tuple[Offer, ...]:
    """Return what may be done while a version is rolled out."""
    release = seen.release
    is_champion = release.champion is not None and release.champion.is_same(release.candidate)
    held = bool(seen.situation.held_by)
    hold = Offer(
        "hold", f"Hold v{version}", f"Its share stays at {release.weight} % until it is resumed."
    )
    resume = Offer("resume", f"Resume v{version}", "The rollout decides again.", "", "")
    abort = Offer("abort", f"Abort v{version}", _STOP)
    complete = Offer(
        "complete",
        f"Complete v{version}",
        f"v{version} becomes champion now, whatever is still to be proved.",
        "" if release.weight else "It has no traffic yet, so nothing is known of it.",
        "required",
    )
    if is_champion:
        gone = f"v{version} is champion already."
        abort, complete = replace(abort, why_not=gone), replace(complete, why_not=gone)
    return (resume if held else hold, abort, complete, rollback(seen))


def rollback(seen: ObservedState) -> Offer:
    """Return the way back."""
    says = "The last good version answers everything, and this one is quarantined."
    why = "" if seen.situation.can_restore else "There is no good release before this one."
    return Offer("rollback", "Roll back", says, why, "required")


def reason(verdict: VerdictSummary) -> str:
    """Return the first reason of a verdict that isn't a pass."""
    return "" if verdict.status == "pass" else next(iter(verdict.reasons), "")
