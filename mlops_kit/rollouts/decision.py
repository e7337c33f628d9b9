"""What a rollout does next: advance, hold, complete or go back, as one pure function.

    replay ──quality proved──▶ canary, step by step ──all proved──▶ champion ──▶ labels watched
      │                         │     ▲ data are back                                │
      │                         │     └── weight 0 ◀── data missing                  │
      └── harm, or no time left ┴──▶ aborted                  rolled back ◀── harm ──┘

Missing data are neither a pass nor a fail: they never raise a weight and never blame a candidate.
"""

from __future__ import annotations

from mlops_kit.releases.release import Retire, Shift
from mlops_kit.rollouts import criteria, evidence, phases
from mlops_kit.rollouts.decision_codes import DecisionCode, Reason
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.state import (
    Decision,
    EvaluatedState,
    RolloutState,
    Verdict,
    span,
)

__all__ = ["Decision", "RolloutState", "Verdict", "decide"]


def decide(policy: Policy, seen: RolloutState) -> Decision:
    """Return what to do now; depends on nothing but its arguments, in any order of the blocks."""
    release = seen.release
    if release.champion is None:
        where = f"No version of {release.model or 'a model'} serves {release.environment}."
        return Decision("idle.no-champion", "done", None, "inconclusive", where, "Promote one.")
    if seen.clock_jumped or seen.now < max(seen.started, seen.since):
        why = Reason("held.clock", "Held: the clock can't be trusted.")
        return EvaluatedState(policy, seen, (), 0.0).hold(why)
    if release.candidate is None:
        return _soak(_after(policy, seen))
    if release.champion.is_same(release.candidate):
        return _end_rollout(_after(policy, seen))
    if release.weight == 0 and seen.shifted is None:
        return phases.replay(_before(policy, seen))
    return phases.canary(_before(policy, seen))


def _before(policy: Policy, seen: RolloutState) -> EvaluatedState:
    """Return the evidence on a candidate: of the replay, and of live traffic once it has any."""
    metrics = evidence.of_replay(policy, phases.believed(policy, seen), seen.task)
    has_served = seen.release.weight or any(block.weight for block in seen.blocks)
    if has_served or seen.live or seen.shifted is not None:
        metrics += evidence.of_canary(policy, seen.blocks, seen.bursts, seen.live, seen.task)
    among = criteria.total(policy, seen.task)
    return EvaluatedState(policy, seen, metrics, evidence.harm(metrics, among))


def _after(policy: Policy, seen: RolloutState) -> EvaluatedState:
    metrics = evidence.of_live(policy, seen.live, seen.task)
    return EvaluatedState(policy, seen, metrics, evidence.harm(metrics, max(len(metrics), 1)))


def _end_rollout(look: EvaluatedState) -> Decision:
    """Return how to end a rollout whose candidate is champion already, while both still serve."""
    if look.is_harmful and not look.seen.faults:
        return _roll_back(look)
    if look.seen.held_by:
        return look.hold(Reason("held.by-person", f"Held by {look.seen.held_by}."))
    if not look.seen.is_live:
        why = f"{look.name} is champion; held until the newest commit is served."
        return look.hold(Reason("held.not-live", why))
    if look.seen.release.weight:
        why = f"{look.name} is champion: its traffic moves to the champion's slot."
        settled = Reason("settled", why)
        return look.say(
            "settle", Shift(0), "pass", settled, "Then the candidate's slot is emptied."
        )
    retired = Reason("retired", f"{look.name} is champion: the candidate's slot is emptied.")
    return look.say("retire", Retire(), "pass", retired, "Its labels are still watched.")


def _soak(look: EvaluatedState) -> Decision:
    """Return whether a champion without a candidate stays: its matured labels can still tell."""
    policy, seen = look.policy, look.seen
    if seen.completed is None:
        idle = Reason("idle.no-rollout", f"{look.name} serves; no rollout is running.")
        return look.say("done", None, "pass", idle, "")
    if look.is_harmful and not seen.faults:
        return _roll_back(look)
    # Labels of what it answered until then arrive up to `maturity` later.
    left = seen.completed + policy.baking + policy.maturity - seen.now
    known = any(metric.n for metric in look.metrics)
    state = "; ".join(metric.seen for metric in look.metrics)
    if left <= 0 and known:
        passed = Reason("soak.passed", f"{look.name} stays champion: {state}.")
        return look.say("done", None, "pass", passed, "")
    if left <= 0:
        why = f"{look.name} stays champion, but too few labels arrived to judge its own answers."
        if not look.metrics:
            why = f"{look.name} stays champion. {_UNBOUND}"
        return look.say("done", None, "inconclusive", Reason("soak.unjudged", why), "")
    then = f"For another {span(left)} its labels can still roll it back."
    return look.hold(_soaking(look, state if known else ""), then)


# The champion's error is a measure only while both score the same rows.
_UNBOUND = (
    "Its own labels aren't judged: they need a bound, absolute_error in [models.NAME.rollout]."
)


def _soaking(look: EvaluatedState, state: str) -> Reason:
    """Return why the champion is watched on; `state` is what its labels say, empty for nothing."""
    if look.seen.faults:
        why = f"{look.name} is champion but can't be judged: {' '.join(look.seen.faults)}"
        return Reason("held.fault", why)
    if not look.metrics:
        return Reason("soak.no-labels", f"{look.name} is champion. {_UNBOUND}")
    if not state:
        why = f"{look.name} is champion, but too few labels of its own answers have arrived."
        return Reason("soak.no-labels", f"{why} Missing labels never roll it back.")
    return Reason("soak.watching", f"{look.name} is champion: {state}.")


def _roll_back(look: EvaluatedState) -> Decision:
    """Return the decision to go back from a champion, where there is something to go back to."""
    if look.seen.can_restore and look.seen.target_ready:
        why = Reason("rolled-back.harm", f"{look.name} is rolled back: {look.blame}.")
        then = "It is quarantined, and the last good version serves."
        return look.say("rollback", None, "fail", why, then)
    can_restore = look.seen.can_restore
    code: DecisionCode = "escalated.no-target" if can_restore else "escalated.no-good-release"
    gone = "the one before it can't serve" if can_restore else "no good release precedes it"
    sentence = f"{look.name} should be rolled back, but {gone}: {look.blame}."
    then = "A person must decide; traffic stays where it is."
    return look.say("hold", None, "fail", Reason(code, sentence), then)
