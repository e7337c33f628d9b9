"""A candidate's trial: its replay, then its canary, to the last step or back."""

from __future__ import annotations

from mlops_kit.prediction_log.blocks import Block
from mlops_kit.releases.release import Abort, Complete, Shift
from mlops_kit.rollouts import evidence, relative_rates
from mlops_kit.rollouts.decision_codes import DecisionCode, Reason
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality
from mlops_kit.rollouts.state import Decision, EvaluatedState, RolloutState, Verdict, listed, span

# Under so many expected requests, none at all may be chance: e^-5 is under 1 %.
_EXPECTED = 5.0


def believed(policy: Policy, seen: RolloutState) -> Quality:
    """Return the replay, or an empty one where too few of its rows have a label."""
    replay = seen.replay or Quality()
    return replay if replay.coverage >= policy.coverage else Quality()


def replay(look: EvaluatedState) -> Decision:
    """Return what to do while the candidate is replayed and has no traffic."""
    policy, seen = look.policy, look.seen
    if look.is_harmful and not seen.faults:
        why = f"{look.name} is aborted: {look.blame}. No user was exposed."
        return look.say("abort", Abort(), "fail", Reason("aborted.harm", why), "It is quarantined.")
    stop = _no_start(look)
    if stop is None:
        first = policy.steps[0]
        why = f"{look.name} passes its replay: {look.proofs}. No user was exposed."
        then = f"It gets {first} % of the traffic."
        return look.say("advance", Shift(first), "pass", Reason("replay.passed", why), then)
    left = seen.started + policy.replay_deadline - seen.now
    if left <= 0:
        return _inconclusive(look, stop.sentence)
    return look.hold(stop, f"{look.again} Times out in {span(left)}.")


def _no_start(look: EvaluatedState) -> Reason | None:
    """Return why the candidate may not have traffic; None: its quality is proved."""
    policy, seen = look.policy, look.seen
    if waiting := _waiting(look):
        return waiting
    replay = seen.replay or Quality()
    if not replay.labelled:
        why = f"No labels have arrived for the replay of {look.name}; that is no verdict."
        return Reason("replay.no-labels", why)
    if replay.coverage < policy.coverage:
        why = (
            f"Only {replay.labelled:,} of {replay.mature:,} mature rows have a label "
            f"({replay.coverage:.0%}, at least {policy.coverage:.0%} needed); early labels are a "
            "biased sample."
        )
        return Reason("replay.few-labels", why)
    quality = evidence.of_replay(policy, replay, seen.task)
    if not evidence.promotes(quality, policy.alpha_promote):
        why = f"{look.name} is being replayed: {look.proofs}. No user is exposed."
        return Reason("replay.unproved", why)
    return None


def canary(look: EvaluatedState) -> Decision:
    """Return what to do once the candidate has, or had, traffic."""
    policy, seen = look.policy, look.seen
    weight, last = seen.release.weight, policy.steps[-1]
    if look.is_harmful and not seen.faults:
        return _abort(look)
    stop = _no_advance(look) if weight else _no_return(look)
    if stop is None and weight >= last:
        if evidence.promotes(look.metrics, policy.alpha_promote):
            why = Reason("completed", f"{look.name} becomes champion: {look.proofs}.")
            return look.say("complete", Complete(), "pass", why, "Its labels are still watched.")
        stop = _unproved(look)
    begun = seen.since if seen.shifted is None else seen.shifted
    left = begun + policy.canary_deadline - seen.now
    if left <= 0:
        short = f"It got no further than {weight} % of the traffic."
        return _inconclusive(look, stop.sentence if stop else short)
    if weight and look.is_harmful:
        doubt = stop.sentence if stop else ""
        return _withdraw(look, f"{look.blame}, but the data can't be trusted. {doubt}")
    if weight and seen.is_live and _is_lost(look):
        return _withdraw(look, f"no data on {look.name} for {policy.missing_looks} intervals.")
    if stop:
        return look.hold(stop, f"{look.again} Times out in {span(left)}.")
    return _advance(look)


def _advance(look: EvaluatedState) -> Decision:
    """Return the decision to give the candidate the next step's weight."""
    weight = look.seen.release.weight
    to = next(step for step in look.policy.steps if step > weight)
    code: DecisionCode = "canary.advanced" if weight else "canary.resumed"
    why = f"{look.name} goes from {weight} to {to} % without harm so far: {look.proofs}."
    return look.say("advance", Shift(to), "inconclusive", Reason(code, why), look.again)


def _abort(look: EvaluatedState) -> Decision:
    if _is_stuck(look):
        return _escalate(look, "fail", look.blame)
    why = f"{look.name} is aborted at {look.seen.release.weight} %: {look.blame}."
    then = f"{look.champion} serves all traffic again."
    return look.say("abort", Abort(), "fail", Reason("aborted.harm", why), then)


def _inconclusive(look: EvaluatedState, why: str) -> Decision:
    if _is_stuck(look):
        return _escalate(look, "inconclusive", why)
    why = f"{look.name} is aborted as inconclusive: it ran out of time. {why}"
    then = "It may be promoted again."
    return look.say("abort", Abort(), "inconclusive", Reason("aborted.timeout", why), then)


def _withdraw(look: EvaluatedState, why: str) -> Decision:
    """Return the decision to take the candidate's traffic away without a verdict."""
    if _is_stuck(look):
        return _escalate(look, "inconclusive", why)
    reason = Reason("canary.withdrawn", f"Weight set to 0: {why}")
    then = f"{look.name} resumes when data are back."
    return look.say("hold", Shift(0), "inconclusive", reason, then)


def _is_stuck(look: EvaluatedState) -> bool:
    return look.seen.release.weight > 0 and not look.seen.target_ready


def _escalate(look: EvaluatedState, verdict: Verdict, why: str) -> Decision:
    cause = why.rstrip(".")
    why = f"{look.name} should lose its traffic, but {look.champion} can't serve: {cause}."
    then = "A person must decide; traffic stays where it is."
    return look.say("hold", None, verdict, Reason("escalated.no-target", why), then)


def _waiting(look: EvaluatedState) -> Reason | None:
    """Return why nothing may be changed for the better now."""
    seen = look.seen
    if seen.faults:
        return Reason("held.fault", f"Held: {' '.join(seen.faults)}")
    if seen.held_by:
        return Reason("held.by-person", f"Held by {seen.held_by}.")
    if not seen.is_live:
        return Reason("held.not-live", "Held until the newest commit is served.")
    return None


def _no_return(look: EvaluatedState) -> Reason | None:
    """Return why a candidate whose traffic was taken away doesn't get it back."""
    silence = _silence(look)
    if stop := _no_start(look):
        return stop
    if silence is None or silence > look.policy.interval or _since(look) < look.policy.interval:
        why = f"{look.name} stays at weight 0 until data are back."
        return Reason("canary.waiting", why)
    return _doubt(look)


def _no_advance(look: EvaluatedState) -> Reason | None:
    """Return why the candidate doesn't get more traffic now."""
    policy, seen = look.policy, look.seen
    if waiting := _waiting(look):
        return waiting
    weight, clients = seen.release.weight, seen.clients
    if relative_rates.is_split_broken(*clients, weight):
        why = (
            f"Held at {weight} %: the traffic split is broken, {clients[0]:,} of {clients[1]:,} "
            f"clients got {look.name}."
        )
        return Reason("canary.broken-split", why)
    if _since(look) < policy.interval:
        ago = span(_since(look))
        why = f"{look.name} answers {weight} % of requests; that began {ago} ago."
        return Reason("canary.just-shifted", why)
    silence = _silence(look)
    if silence is None or silence > policy.interval:
        return _unseen(look)
    recent = [b for b in seen.blocks if b.start + 2 * policy.interval >= seen.now]
    if shared := evidence.fail_together(policy, recent):
        why = f"Held at {weight} %: a shared outage, the champion fails too ({listed(shared)})."
        return Reason("canary.shared-outage", why)
    return _doubt(look)


def _unproved(look: EvaluatedState) -> Reason:
    weight = look.seen.release.weight
    why = f"{look.name} answers {weight} % of requests without harm so far: {look.proofs}."
    return Reason("canary.unproved", why)


def _unseen(look: EvaluatedState) -> Reason:
    is_chance = _is_chance(look)
    code: DecisionCode = "canary.low-traffic" if is_chance else "canary.no-data"
    cause = "too little traffic to see" if is_chance else "no data on"
    weight = look.seen.release.weight
    why = f"Held at {weight} %: {cause} {look.name}; that is no verdict."
    return Reason(code, why)


def _doubt(look: EvaluatedState) -> Reason | None:
    if look.harm <= 0:
        return None
    weight = look.seen.release.weight
    why = f"Held at {weight} %: the evidence leans against {look.name}, {look.blame}."
    return Reason("canary.doubtful", why)


def _since(look: EvaluatedState) -> float:
    seen = look.seen
    return seen.now - max(seen.since, seen.applied or seen.since)


def _present(look: EvaluatedState) -> list[Block]:
    """Return the blocks of this weight since it began."""
    seen, interval = look.seen, look.policy.interval
    begun, weight = seen.now - _since(look), seen.release.weight
    return [b for b in seen.blocks if b.weight == weight and b.start + interval > begun]


def _silence(look: EvaluatedState) -> float | None:
    """Return for how long nothing was seen at this weight of who should be; None: never."""
    weight, interval = look.seen.release.weight, look.policy.interval
    heard = [
        block.start + interval
        for block in _present(look)
        if (block.candidate if weight else block.champion).requests
    ]
    return look.seen.now - max(heard) if heard else None


def _is_chance(look: EvaluatedState) -> bool:
    """Tell whether the champion had so few requests since that the candidate may have had none."""
    silence, weight = _silence(look), look.seen.release.weight
    since = look.seen.now - (_since(look) if silence is None else silence)
    asked = sum(b.champion.requests for b in _present(look) if b.start >= since)
    return 0 < asked * weight < _EXPECTED * (100 - weight)


def _is_lost(look: EvaluatedState) -> bool:
    """Tell whether nothing is seen of a candidate that has traffic, for too many looks."""
    silence = _silence(look)
    quiet = _since(look) if silence is None else silence
    return quiet >= look.policy.missing_looks * look.policy.interval and not _is_chance(look)
