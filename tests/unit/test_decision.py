from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.releases.release import (
    Abort,
    Complete,
    Release,
    Retire,
    ServedModel,
    Shift,
    apply,
)
from mlops_kit.rollouts import evidence
from mlops_kit.rollouts.criteria import BINARY, ModelTask, total
from mlops_kit.rollouts.decision import Decision, RolloutState, decide
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality
from tests.qualities import binary

POLICY = Policy(
    recall=0.85,
    precision=0.90,
    interval=60.0,
    replay_deadline=3600.0,
    canary_deadline=7200.0,
    baking=600.0,
)
ONE, TWO = (ServedModel(v, f"models:/fraud/{v}", f"sha256:{v * 8}") for v in "12")
CHAMPION = Release("fraud", "prod", champion=ONE)
REPLAYED = replace(CHAMPION, candidate=TWO, rollout="r")
GOOD = binary(900, 830, 870, 20, 30, mature=20_000, labelled=19_500)
BAD = binary(900, 640, 680, 190, 10, mature=20_000, labelled=19_500)
WEAK = binary(900, 780, 800, 20, 30, mature=20_000, labelled=19_500)
START = 1_000_000.0


def arm(n: int, errors: float = 0.01, slow: float = 0.003) -> Arm:
    return Arm(n, int(n * errors), int(n * slow))


def blocks(weight: int, since: float, now: float, errors: float = 0.01, champion: float = 0.01):
    """100 requests a second at this weight, in whole intervals."""
    minutes = int((now - since) // 60)
    return tuple(
        Block(
            weight,
            since + 60 * i,
            arm(60 * weight, errors),
            arm(60 * (100 - weight), champion),
        )
        for i in range(minutes)
    )


def replaying(**changes: object) -> RolloutState:
    base = RolloutState(START + 60, REPLAYED, started=START, since=START, replay=GOOD)
    return replace(base, **changes)  # type: ignore[arg-type]


def canary(
    weight: int = 10, minutes: int = 1, errors: float = 0.01, **changes: object
) -> RolloutState:
    """A canary that rose each minute and has now been at this weight for some."""
    since = START + 60 + 60 * (weight // 10)
    now = since + 60 * minutes
    earlier = [
        block
        for step in range(10, weight, 10)
        for block in blocks(step, START + 60 + 6 * step, START + 120 + 6 * step, errors)
    ]
    base = RolloutState(
        now,
        replace(REPLAYED, weight=weight),
        started=START,
        since=since,
        shifted=START + 120,
        replay=GOOD,
        blocks=(*earlier, *blocks(weight, since, now, errors)),
        clients=(weight * 10, 1000),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def baking(**changes: object) -> RolloutState:
    base = RolloutState(
        START + 60, replace(CHAMPION, champion=TWO), START, START, completed=START, live=GOOD
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def is_hold(decision: Decision, code: str = "") -> bool:
    """Tell whether nothing is changed, for the reason of this code."""
    is_waiting = decision.act == "hold" and decision.change is None
    return is_waiting and (not code or decision.code == code)


# The path of a good candidate.


def test_a_proved_replay_gets_the_first_step() -> None:
    decision = decide(POLICY, replaying())
    assert (decision.act, decision.change, decision.verdict) == ("advance", Shift(10), "pass")
    assert decision.code == "replay.passed"


def test_a_canary_without_harm_rises_step_by_step() -> None:
    for weight in (10, 20, 30, 40):
        decision = decide(POLICY, canary(weight))
        assert (decision.act, decision.change) == ("advance", Shift(weight + 10))
        assert (decision.code, decision.verdict) == ("canary.advanced", "inconclusive")


def test_a_weight_between_the_steps_goes_on_with_the_next() -> None:
    seen = canary(20)
    assert decide(replace(POLICY, steps=(5, 15, 60)), seen).change == Shift(60)


def test_a_canary_waits_an_interval_before_it_rises() -> None:
    seen = canary(20)
    assert is_hold(decide(POLICY, replace(seen, now=seen.since + 30)), "canary.just-shifted")


def test_the_last_step_completes_when_all_is_proved() -> None:
    decision = decide(POLICY, canary(50))
    assert (decision.act, decision.change, decision.verdict) == ("complete", Complete(), "pass")
    assert decision.code == "completed"
    needed = [metric for metric in decision.metrics if metric.needed]
    assert [metric.name for metric in needed] == [
        *("recall", "precision", "failures", "errors", "slow")
    ]
    assert all(metric.is_proved(POLICY.alpha_promote) for metric in needed)


def test_the_last_step_waits_while_something_is_not_proved() -> None:
    seen = canary(50)
    few = tuple(replace(block, candidate=arm(20), champion=arm(20)) for block in seen.blocks)
    for waiting in (replace(seen, blocks=few), replace(seen, replay=WEAK)):
        assert is_hold(decide(POLICY, waiting), "canary.unproved")


def test_a_completed_rollout_is_settled_then_retired() -> None:
    finishing = replace(REPLAYED, champion=TWO, weight=50)
    seen = RolloutState(START + 60, finishing, START, START, shifted=START, completed=START)
    settle = decide(POLICY, seen)
    assert (settle.code, settle.act, settle.change) == ("settled", "settle", Shift(0))
    retire = decide(POLICY, replace(seen, release=apply(finishing, Shift(0))))
    assert (retire.code, retire.act, retire.change) == ("retired", "retire", Retire())
    assert is_hold(decide(POLICY, replace(seen, is_live=False)), "held.not-live")
    assert is_hold(decide(POLICY, replace(seen, held_by="ben: a call")), "held.by-person")


def test_a_baked_champion_is_done() -> None:
    assert is_hold(decide(POLICY, baking()), "soak.watching")
    decision = decide(POLICY, baking(now=START + 601))
    assert (decision.code, decision.act, decision.verdict) == ("soak.passed", "done", "pass")


def test_baking_lasts_until_the_last_answers_labels_are_mature() -> None:
    policy = replace(POLICY, maturity=900.0)
    assert is_hold(decide(policy, baking(now=START + 1400)), "soak.watching")
    assert decide(policy, baking(now=START + 1501)).code == "soak.passed"


def test_nothing_is_to_do_without_a_rollout() -> None:
    for release, code in (
        (CHAMPION, "idle.no-rollout"),
        (Release("", "prod"), "idle.no-champion"),
    ):
        decision = decide(POLICY, RolloutState(START, release, 0.0, 0.0))
        assert (decision.code, decision.act) == (code, "done")


def test_a_replay_waits_for_no_metric_of_live_traffic() -> None:
    decision = decide(POLICY, replaying(blocks=blocks(0, START - 60, START + 60)))
    assert decision.change == Shift(10)
    assert [metric.name for metric in decision.metrics] == ["recall", "precision", "failures"]


# The path of a bad one.


def test_a_bad_replay_aborts_with_no_request_exposed() -> None:
    decision = decide(POLICY, replaying(replay=BAD))
    assert (decision.act, decision.change, decision.verdict) == ("abort", Abort(), "fail")
    assert decision.code == "aborted.harm"
    worst = max(decision.metrics, key=lambda metric: metric.log_against)
    assert (worst.name, worst.events, worst.n, worst.bound) == ("recall", 640, 900, 0.85)


@pytest.mark.parametrize("weight", [10, 20, 30, 40, 50])
def test_harm_takes_all_traffic_from_the_candidate(weight: int) -> None:
    decision = decide(POLICY, canary(weight, errors=0.2))
    assert (decision.act, decision.change, decision.verdict) == ("abort", Abort(), "fail")
    assert decision.code == "aborted.harm"
    assert apply(canary(weight).release, Abort()).weight == 0


def test_harm_aborts_although_a_person_holds_or_a_commit_is_not_live() -> None:
    assert decide(POLICY, canary(errors=0.2, held_by="ben: a call")).act == "abort"
    assert decide(POLICY, canary(errors=0.2, is_live=False)).act == "abort"


def test_net_harm_below_the_limit_holds() -> None:
    seen = canary(20)
    some = replace(seen.blocks[-1], candidate=Arm(100, 10, 0), champion=arm(400))
    assert is_hold(decide(POLICY, replace(seen, blocks=(some,))), "canary.doubtful")


def test_late_labels_roll_a_completed_release_back() -> None:
    decision = decide(POLICY, baking(live=BAD))
    assert (decision.act, decision.change, decision.verdict) == ("rollback", None, "fail")
    assert decision.code == "rolled-back.harm"
    finishing = replace(REPLAYED, champion=TWO, weight=50)
    assert decide(POLICY, baking(release=finishing, live=BAD)).act == "rollback"


def test_labels_of_the_candidates_own_answers_abort_its_canary() -> None:
    assert decide(POLICY, canary(live=BAD)).act == "abort"


# The failure table: one test a row that is decided here.


def test_no_labels_are_no_verdict() -> None:
    for replay in (None, Quality(), Quality(mature=20_000)):
        decision = decide(POLICY, replaying(replay=replay))
        assert is_hold(decision, "replay.no-labels")
        assert decision.verdict == "inconclusive"


def test_too_few_labels_are_neither_a_pass_nor_a_fail() -> None:
    for quality in (GOOD, BAD):
        decision = decide(POLICY, replaying(replay=replace(quality, labelled=10_000)))
        assert is_hold(decision, "replay.few-labels")
        assert decision.verdict == "inconclusive"
    few = canary(50, replay=replace(GOOD, labelled=10_000))
    assert is_hold(decide(POLICY, few), "canary.unproved")


def test_lost_metrics_hold_then_take_the_weight_away_without_a_verdict() -> None:
    seen = canary(20)
    quiet = replace(seen, now=seen.now + 90)
    assert is_hold(decide(POLICY, quiet), "canary.no-data")
    decision = decide(POLICY, replace(seen, now=seen.now + 180))
    assert decision.code == "canary.withdrawn"
    assert (decision.act, decision.change, decision.verdict) == ("hold", Shift(0), "inconclusive")
    assert decide(POLICY, replace(seen, now=seen.now + 180, blocks=())).change == Shift(0)


def test_a_store_that_is_away_takes_the_weight_away_too() -> None:
    seen = canary(20, minutes=4, blocks=(), faults=("The store does not answer.",))
    assert decide(POLICY, seen).change == Shift(0)


def test_too_little_traffic_is_waited_for() -> None:
    seen = canary(10, minutes=10)
    few = tuple(
        Block(10, seen.since + 60 * minute, Arm(), Arm(int(minute % 5 == 0), 0, 0))
        for minute in range(10)
    )
    assert is_hold(decide(POLICY, replace(seen, blocks=few)), "canary.low-traffic")


def test_a_candidate_that_alone_gets_no_requests_loses_its_weight() -> None:
    seen = canary(10, minutes=4)
    deaf = tuple(replace(block, candidate=Arm()) for block in seen.blocks)
    assert decide(POLICY, replace(seen, blocks=deaf)).change == Shift(0)


def resting(minutes: int = 2, **changes: object) -> RolloutState:
    since = START + 600
    base = RolloutState(
        since + 60 * minutes,
        REPLAYED,
        START,
        since,
        shifted=START + 60,
        replay=GOOD,
        blocks=(*blocks(10, START + 60, START + 180), *blocks(0, since, since + 60 * minutes)),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_candidate_gets_its_traffic_back_when_data_are_back() -> None:
    back = decide(POLICY, resting())
    assert (back.code, back.change) == ("canary.resumed", Shift(10))
    for not_yet, code in (
        (resting(blocks=blocks(10, START + 60, START + 180)), "canary.waiting"),
        (resting(replay=None), "replay.no-labels"),
        (resting(replay=WEAK), "replay.unproved"),
        (resting(faults=("The store does not answer.",)), "held.fault"),
        (resting(is_live=False), "held.not-live"),
    ):
        assert is_hold(decide(POLICY, not_yet), code)
    late = decide(POLICY, resting(now=START + 60 + 7200, blocks=()))
    assert (late.code, late.act, late.verdict) == ("aborted.timeout", "abort", "inconclusive")
    assert decide(POLICY, resting(replay=BAD)).code == "aborted.harm"


def test_lost_labels_while_baking_are_an_alert_and_no_rollback() -> None:
    for live in (None, Quality(), replace(BAD, labelled=10_000)):
        assert is_hold(decide(POLICY, baking(live=live)), "soak.no-labels")
    ended = decide(POLICY, baking(live=None, now=START + 601))
    assert (ended.code, ended.act, ended.verdict) == ("soak.unjudged", "done", "inconclusive")
    blind = baking(live=BAD, faults=("The store does not answer.",))
    assert is_hold(decide(POLICY, blind), "held.fault")


def test_a_regression_without_a_bound_of_its_own_is_said_to_be_unjudged() -> None:
    task = ModelTask("regression")
    early = decide(POLICY, baking(live=None, task=task))
    late = decide(POLICY, baking(live=None, task=task, now=START + 601))
    for found in (early, late):
        assert "absolute_error" in found.sentence
    assert (early.code, late.code) == ("soak.no-labels", "soak.unjudged")


def test_a_shared_outage_holds_and_says_that_the_champion_fails_too() -> None:
    seen = canary(20, minutes=2)
    outage = blocks(20, seen.since, seen.now, errors=0.3, champion=0.3)
    assert is_hold(decide(POLICY, replace(seen, blocks=outage)), "canary.shared-outage")


def test_a_dead_target_is_never_gone_back_to() -> None:
    for seen in (
        canary(errors=0.2, target_ready=False),
        canary(target_ready=False, now=START + 120 + 7200),
        canary(20, minutes=5, blocks=(), target_ready=False),
        baking(live=BAD, target_ready=False),
    ):
        assert is_hold(decide(POLICY, seen), "escalated.no-target")
    assert decide(POLICY, canary(errors=0.2, target_ready=False)).verdict == "fail"


def test_a_champion_without_a_good_state_before_it_stays() -> None:
    decision = decide(POLICY, baking(live=BAD, can_restore=False))
    assert is_hold(decision, "escalated.no-good-release")
    assert decision.verdict == "fail"


def test_each_phase_has_a_deadline_that_is_no_verdict() -> None:
    for seen in (
        replaying(replay=None, now=START + 3600),
        replaying(held_by="ben: a call", now=START + 3600),
        replaying(faults=("The parity is broken.",), now=START + 3600),
        canary(now=START + 120 + 7200),
        canary(50, is_live=False, now=START + 120 + 7200),
        canary(held_by="ben: a call", now=START + 120 + 7200),
        canary(errors=0.2, faults=("The store lies.",), now=START + 120 + 7200),
    ):
        decision = decide(POLICY, seen)
        assert (decision.act, decision.change) == ("abort", Abort())
        assert (decision.code, decision.verdict) == ("aborted.timeout", "inconclusive")


def test_a_watcher_that_comes_back_late_still_uses_what_is_proved() -> None:
    assert decide(POLICY, replaying(now=START + 5000)).code == "replay.passed"
    late = canary(50, minutes=150)
    assert late.now > START + 120 + 7200
    assert decide(POLICY, late).code == "completed"


def test_evidence_of_an_earlier_attempt_of_the_pair_counts_on() -> None:
    seen = canary(10)
    before = blocks(10, START - 7200, START - 7080, errors=0.2)
    assert decide(POLICY, seen).act == "advance"
    assert decide(POLICY, replace(seen, blocks=(*before, *seen.blocks))).act == "abort"


def test_a_persons_hold_stops_the_rise_and_names_the_reason() -> None:
    for seen in (replaying(held_by="ben: a call"), canary(50, held_by="ben: a call")):
        decision = decide(POLICY, seen)
        assert is_hold(decision, "held.by-person")
        assert "ben: a call" in decision.sentence


def test_a_broken_split_is_a_fault_and_no_evidence() -> None:
    decision = decide(POLICY, canary(10, clients=(300, 1000)))
    assert is_hold(decision, "canary.broken-split")
    assert decision.harm < 0


def test_a_fault_keeps_harm_from_being_a_verdict_but_not_from_going_to_weight_0() -> None:
    decision = decide(POLICY, canary(errors=0.2, faults=("The parity is broken.",)))
    assert (decision.act, decision.change, decision.verdict) == ("hold", Shift(0), "inconclusive")
    assert decision.code == "canary.withdrawn"
    blind = replaying(replay=BAD, faults=("The parity is broken.",))
    assert is_hold(decide(POLICY, blind), "held.fault")


def test_a_wrong_clock_decides_nothing() -> None:
    for seen in (
        canary(50, clock_jumped=True),
        canary(errors=0.2, clock_jumped=True),
        canary(now=START - 5),
        replaying(now=START - 5),
    ):
        assert is_hold(decide(POLICY, seen), "held.clock")


def test_nothing_rises_before_the_commit_is_live() -> None:
    for seen in (replaying(is_live=False), canary(is_live=False), canary(50, is_live=False)):
        assert is_hold(decide(POLICY, seen), "held.not-live")
    # A platform that took long to apply a weight isn't blamed on the candidate's silence.
    seen = canary(10, minutes=4, blocks=())
    assert decide(POLICY, seen).change == Shift(0)
    assert is_hold(decide(POLICY, replace(seen, applied=seen.now - 30)), "canary.just-shifted")
    assert is_hold(decide(POLICY, replace(seen, is_live=False)), "held.not-live")


# Invariants, over everything that can be seen.

shares = st.sampled_from([0.0, 0.01, 0.05, 0.2, 1.0])
qualities = st.sampled_from(
    [
        None,
        Quality(),
        GOOD,
        BAD,
        replace(GOOD, labelled=10_000),
        replace(GOOD, failed=9000),
        binary(10, 9, 10, mature=1000, labelled=1000),
    ]
)


@st.composite
def arms(draw: st.DrawFn) -> Arm:
    n = draw(st.sampled_from([0, 1, 60, 600, 6000]))
    return Arm(n, int(n * draw(shares)), 0)


@st.composite
def situations(draw: st.DrawFn) -> RolloutState:
    weight = draw(st.sampled_from([0, 10, 25, 50]))
    champion = draw(st.sampled_from([ONE, TWO]))
    candidate = draw(st.sampled_from([None, TWO]))
    release = (
        Release("fraud", "prod", champion=champion)
        if candidate is None
        else Release("fraud", "prod", "", champion, candidate, weight, "r")
    )
    since = START + draw(st.integers(0, 9000))
    found = [
        Block(
            draw(st.sampled_from([0, 10, 25, 50])),
            since - 120 + 60 * i,
            *draw(st.tuples(arms(), arms())),
        )
        for i in range(draw(st.integers(0, 5)))
    ]
    shifted = since - draw(st.integers(0, 8000)) if weight else draw(st.sampled_from([None, since]))
    return RolloutState(
        now=since + draw(st.integers(-10, 400)),
        release=release,
        started=START,
        since=since,
        shifted=shifted,
        completed=draw(st.sampled_from([None, since])),
        held_by=draw(st.sampled_from(["", "ben: a call"])),
        blocks=tuple(found),
        replay=draw(qualities),
        live=draw(qualities),
        clients=draw(st.sampled_from([(0, 0), (10, 100), (900, 1000)])),
        is_live=draw(st.booleans()),
        target_ready=draw(st.booleans()),
        can_restore=draw(st.booleans()),
        faults=draw(st.sampled_from([(), ("The store does not answer.",)])),
    )


def weight_after(seen: RolloutState, decision: Decision) -> int:
    change = decision.change
    return seen.release.weight if change is None else apply(seen.release, change).weight


many = settings(deadline=None, max_examples=100)


@given(situations(), st.randoms())
@many
def test_a_decision_is_legal_and_the_same_in_any_order_of_the_blocks(seen, random) -> None:  # type: ignore[no-untyped-def]
    decision = decide(POLICY, seen)
    weight_after(seen, decision)  # raises where the change isn't legal
    assert decision.sentence
    shuffled = list(seen.blocks)
    random.shuffle(shuffled)
    assert decide(POLICY, replace(seen, blocks=tuple(shuffled))) == decision


@given(situations())
@many
def test_what_cannot_be_believed_never_raises_a_weight(seen: RolloutState) -> None:
    blind = replace(seen, faults=("The store does not answer.",))
    decision = decide(POLICY, blind)
    assert weight_after(blind, decision) <= blind.release.weight
    assert decision.act != "complete"


@given(situations())
@many
def test_without_requests_no_candidate_gets_more_of_them(seen: RolloutState) -> None:
    blind = replace(seen, blocks=())
    decision = decide(POLICY, blind)
    assert decision.act != "complete"
    if blind.shifted is not None:
        assert weight_after(blind, decision) <= blind.release.weight


@given(situations())
@many
def test_without_labels_no_candidate_starts_or_completes(seen: RolloutState) -> None:
    blind = replace(seen, replay=None)
    decision = decide(POLICY, blind)
    assert decision.act != "complete"
    if blind.release.weight == 0:
        assert weight_after(blind, decision) == 0


@given(situations())
@many
def test_nothing_completes_unless_all_is_proved_and_seen_now(seen: RolloutState) -> None:
    decision = decide(POLICY, seen)
    if decision.act == "complete":
        assert seen.is_live
        assert not seen.faults
        assert not seen.held_by
        assert seen.release.weight >= POLICY.steps[-1]
        needed = [metric for metric in decision.metrics if metric.needed]
        assert len(needed) == 5
        assert all(metric.is_proved(POLICY.alpha_promote) for metric in needed)
        assert decision.harm <= 0


@given(situations())
@many
def test_harm_leads_to_weight_0_from_every_weight(seen: RolloutState) -> None:
    able = replace(seen, target_ready=True, can_restore=True, now=max(seen.now, seen.since))
    decision = decide(POLICY, able)
    if able.release.weight and decision.harm >= 3.0:
        finished = able.release.champion == able.release.candidate
        assert decision.act == "rollback" or weight_after(able, decision) == 0 or finished


@given(situations())
@many
def test_a_dead_target_gets_no_traffic(seen: RolloutState) -> None:
    dead = replace(seen, target_ready=False)
    decision = decide(POLICY, dead)
    if dead.release.champion != dead.release.candidate:
        assert weight_after(dead, decision) >= dead.release.weight
    assert decision.act != "rollback"


@given(situations())
@many
def test_the_harm_is_the_mean_of_what_the_metrics_say(seen: RolloutState) -> None:
    decision = decide(POLICY, seen)
    if seen.release.candidate == TWO and seen.release.champion == ONE and decision.metrics:
        assert decision.harm == pytest.approx(
            evidence.harm(decision.metrics, total(POLICY, BINARY))
        )
