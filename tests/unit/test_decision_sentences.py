"""Each decision in words: the one place that holds its sentences, as people read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.releases.release import Release, Shift, apply
from mlops_kit.rollouts.decision import RolloutState, decide
from mlops_kit.rollouts.decision_codes import DecisionCode
from tests.unit.test_decision import (
    BAD,
    CHAMPION,
    GOOD,
    POLICY,
    REPLAYED,
    START,
    TWO,
    WEAK,
    arm,
    baking,
    blocks,
    canary,
    replaying,
    resting,
)

# Only a controller makes these; tests/component/test_controller.py has them.
ELSEWHERE = {"superseded", "escalated.refused"}
FAULT = ("The store does not answer.",)
FINISHING = replace(REPLAYED, champion=TWO, weight=50)


def finishing(weight: int) -> RolloutState:
    release = FINISHING if weight else apply(FINISHING, Shift(0))
    return RolloutState(START + 60, release, START, START, shifted=START, completed=START)


def rare() -> RolloutState:
    """A canary whose champion has a request every five minutes."""
    seen = canary(10, minutes=10)
    few = (
        Block(10, seen.since + 60 * minute, Arm(), Arm(int(minute % 5 == 0), 0, 0))
        for minute in range(10)
    )
    return replace(seen, blocks=tuple(few))


def doubtful() -> RolloutState:
    seen = canary(20)
    return replace(
        seen, blocks=(replace(seen.blocks[-1], candidate=Arm(100, 10), champion=arm(400)),)
    )


def outage() -> RolloutState:
    seen = canary(20, minutes=2)
    return replace(seen, blocks=blocks(20, seen.since, seen.now, errors=0.3, champion=0.3))


def quiet(seconds: float) -> RolloutState:
    seen = canary(20)
    return replace(seen, now=seen.now + seconds)


def young() -> RolloutState:
    seen = canary(20)
    return replace(seen, now=seen.since + 30)


Case = tuple[DecisionCode, Callable[[], RolloutState], str, str]
CASES: list[Case] = [
    (
        "idle.no-champion",
        lambda: RolloutState(START, Release("fraud", "prod"), 0.0, 0.0),
        "No version of fraud serves prod.",
        "Promote one.",
    ),
    (
        "idle.no-champion",
        lambda: RolloutState(START, Release("", "prod"), 0.0, 0.0),
        "No version of a model serves prod.",
        "Promote one.",
    ),
    (
        "idle.no-rollout",
        lambda: RolloutState(START, CHAMPION, 0.0, 0.0),
        "fraud 1 serves; no rollout is running.",
        "",
    ),
    (
        "replay.no-labels",
        lambda: replaying(replay=None),
        "No labels have arrived for the replay of fraud 2; that is no verdict.",
        "Next look in 60 s. Times out in 59 min.",
    ),
    (
        "replay.few-labels",
        lambda: replaying(replay=replace(GOOD, labelled=10_000)),
        (
            "Only 10,000 of 20,000 mature rows have a label (50%, at least 90% needed); early"
            " labels are a biased sample."
        ),
        "Next look in 60 s. Times out in 59 min.",
    ),
    (
        "replay.unproved",
        lambda: replaying(replay=WEAK),
        (
            "fraud 2 is being replayed: precision and failures proved within bounds; recall "
            "780 of 900 (86.7 %, bound at least 85.0 %): evidence below 1x, needs 20x, not "
            "yet proved. No user is exposed."
        ),
        "Next look in 60 s. Times out in 59 min.",
    ),
    (
        "replay.passed",
        replaying,
        (
            "fraud 2 passes its replay: recall, precision and failures proved within bounds. "
            "No user was exposed."
        ),
        "It gets 10 % of the traffic.",
    ),
    (
        "canary.just-shifted",
        young,
        "fraud 2 answers 20 % of requests; that began 30 s ago.",
        "Next look in 60 s. Times out in 118 min.",
    ),
    (
        "canary.low-traffic",
        rare,
        "Held at 10 %: too little traffic to see fraud 2; that is no verdict.",
        "Next look in 60 s. Times out in 110 min.",
    ),
    (
        "canary.no-data",
        lambda: quiet(90),
        "Held at 20 %: no data on fraud 2; that is no verdict.",
        "Next look in 60 s. Times out in 116 min.",
    ),
    (
        "canary.shared-outage",
        outage,
        "Held at 20 %: a shared outage, the champion fails too (errors).",
        "Next look in 60 s. Times out in 117 min.",
    ),
    (
        "canary.broken-split",
        lambda: canary(10, clients=(300, 1000)),
        "Held at 10 %: the traffic split is broken, 300 of 1,000 clients got fraud 2.",
        "Next look in 60 s. Times out in 119 min.",
    ),
    (
        "canary.doubtful",
        doubtful,
        (
            "Held at 20 %: the evidence leans against fraud 2, errors 10 of 100 (10.0 %, "
            "bound at most 5.0 %, champion 1.0 %); combined evidence of harm 2.5x, limit 20x."
        ),
        "Next look in 60 s. Times out in 118 min.",
    ),
    (
        "canary.unproved",
        lambda: canary(50, replay=WEAK),
        (
            "fraud 2 answers 50 % of requests without harm so far: precision, failures, "
            "errors and slow proved within bounds; recall 780 of 900 (86.7 %, bound at least "
            "85.0 %): evidence below 1x, needs 20x, not yet proved."
        ),
        "Next look in 60 s. Times out in 115 min.",
    ),
    (
        "canary.advanced",
        lambda: canary(10),
        (
            "fraud 2 goes from 10 to 20 % without harm so far: recall, precision, failures "
            "and errors proved within bounds; slow 1 of 600 (0.2 %, bound at most 1.0 %, "
            "champion 0.3 %): evidence 11x, needs 20x, not yet proved."
        ),
        "Next look in 60 s.",
    ),
    (
        "canary.withdrawn",
        lambda: quiet(180),
        "Weight set to 0: no data on fraud 2 for 3 intervals.",
        "fraud 2 resumes when data are back.",
    ),
    (
        "canary.withdrawn",
        lambda: canary(errors=0.2, faults=FAULT),
        (
            "Weight set to 0: errors 120 of 600 (20.0 %, bound at most 5.0 %, champion 1.0 "
            "%); combined evidence of harm over 1,000,000x, limit 20x, but the data can't be "
            "trusted. Held: The store does not answer."
        ),
        "fraud 2 resumes when data are back.",
    ),
    (
        "canary.waiting",
        lambda: resting(blocks=blocks(10, START + 60, START + 180)),
        "fraud 2 stays at weight 0 until data are back.",
        "Next look in 60 s. Times out in 109 min.",
    ),
    (
        "canary.resumed",
        resting,
        (
            "fraud 2 goes from 0 to 10 % without harm so far: recall, precision, failures, "
            "errors and slow proved within bounds."
        ),
        "Next look in 60 s.",
    ),
    (
        "held.by-person",
        lambda: replaying(held_by="ben: a call"),
        "Held by ben: a call.",
        "Next look in 60 s. Times out in 59 min.",
    ),
    (
        "held.clock",
        lambda: replaying(clock_jumped=True),
        "Held: the clock can't be trusted.",
        "Next look in 60 s.",
    ),
    (
        "held.fault",
        lambda: replaying(faults=FAULT),
        "Held: The store does not answer.",
        "Next look in 60 s. Times out in 59 min.",
    ),
    (
        "held.fault",
        lambda: baking(faults=FAULT),
        "fraud 2 is champion but can't be judged: The store does not answer.",
        "For another 9 min its labels can still roll it back.",
    ),
    (
        "held.not-live",
        lambda: replaying(is_live=False),
        "Held until the newest commit is served.",
        "Next look in 60 s. Times out in 59 min.",
    ),
    (
        "held.not-live",
        lambda: replace(finishing(50), is_live=False),
        "fraud 2 is champion; held until the newest commit is served.",
        "Next look in 60 s.",
    ),
    (
        "completed",
        lambda: canary(50),
        (
            "fraud 2 becomes champion: recall, precision, failures, errors and slow proved "
            "within bounds."
        ),
        "Its labels are still watched.",
    ),
    (
        "settled",
        lambda: finishing(50),
        "fraud 2 is champion: its traffic moves to the champion's slot.",
        "Then the candidate's slot is emptied.",
    ),
    (
        "retired",
        lambda: finishing(0),
        "fraud 2 is champion: the candidate's slot is emptied.",
        "Its labels are still watched.",
    ),
    (
        "soak.watching",
        baking,
        (
            "fraud 2 is champion: live recall 830 of 900 (92.2 %, bound at least 85.0 %); "
            "live precision 830 of 870 (95.4 %, bound at least 90.0 %)."
        ),
        "For another 9 min its labels can still roll it back.",
    ),
    (
        "soak.no-labels",
        lambda: baking(live=None),
        (
            "fraud 2 is champion, but too few labels of its own answers have arrived. Missing"
            " labels never roll it back."
        ),
        "For another 9 min its labels can still roll it back.",
    ),
    (
        "soak.passed",
        lambda: baking(now=START + 601),
        (
            "fraud 2 stays champion: live recall 830 of 900 (92.2 %, bound at least 85.0 %); "
            "live precision 830 of 870 (95.4 %, bound at least 90.0 %)."
        ),
        "",
    ),
    (
        "soak.unjudged",
        lambda: baking(live=None, now=START + 601),
        "fraud 2 stays champion, but too few labels arrived to judge its own answers.",
        "",
    ),
    (
        "aborted.harm",
        lambda: replaying(replay=BAD),
        (
            "fraud 2 is aborted: recall 640 of 900 (71.1 %, bound at least 85.0 %); combined "
            "evidence of harm over 1,000,000x, limit 20x. No user was exposed."
        ),
        "It is quarantined.",
    ),
    (
        "aborted.harm",
        lambda: canary(20, errors=0.2),
        (
            "fraud 2 is aborted at 20 %: errors 360 of 1,800 (20.0 %, bound at most 5.0 %, "
            "champion 1.0 %); combined evidence of harm over 1,000,000x, limit 20x."
        ),
        "fraud 1 serves all traffic again.",
    ),
    (
        "aborted.timeout",
        lambda: replaying(replay=None, now=START + 3600),
        (
            "fraud 2 is aborted as inconclusive: it ran out of time. No labels have arrived "
            "for the replay of fraud 2; that is no verdict."
        ),
        "It may be promoted again.",
    ),
    (
        "aborted.timeout",
        lambda: canary(now=START + 120 + 7200),
        (
            "fraud 2 is aborted as inconclusive: it ran out of time. Held at 10 %: no data on"
            " fraud 2; that is no verdict."
        ),
        "It may be promoted again.",
    ),
    (
        "aborted.timeout",
        lambda: canary(10, is_live=False, now=START + 120 + 7200),
        (
            "fraud 2 is aborted as inconclusive: it ran out of time. Held until the newest "
            "commit is served."
        ),
        "It may be promoted again.",
    ),
    (
        "rolled-back.harm",
        lambda: baking(live=BAD),
        (
            "fraud 2 is rolled back: live recall 640 of 900 (71.1 %, bound at least 85.0 %); "
            "combined evidence of harm over 1,000,000x, limit 20x."
        ),
        "It is quarantined, and the last good version serves.",
    ),
    (
        "escalated.no-target",
        lambda: canary(errors=0.2, target_ready=False),
        (
            "fraud 2 should lose its traffic, but fraud 1 can't serve: errors 120 of 600 "
            "(20.0 %, bound at most 5.0 %, champion 1.0 %); combined evidence of harm over "
            "1,000,000x, limit 20x."
        ),
        "A person must decide; traffic stays where it is.",
    ),
    (
        "escalated.no-target",
        lambda: canary(20, minutes=5, blocks=(), target_ready=False),
        (
            "fraud 2 should lose its traffic, but fraud 1 can't serve: no data on fraud 2 for"
            " 3 intervals."
        ),
        "A person must decide; traffic stays where it is.",
    ),
    (
        "escalated.no-target",
        lambda: baking(live=BAD, target_ready=False),
        (
            "fraud 2 should be rolled back, but the one before it can't serve: live recall "
            "640 of 900 (71.1 %, bound at least 85.0 %); combined evidence of harm over "
            "1,000,000x, limit 20x."
        ),
        "A person must decide; traffic stays where it is.",
    ),
    (
        "escalated.no-good-release",
        lambda: baking(live=BAD, can_restore=False),
        (
            "fraud 2 should be rolled back, but no good release precedes it: live recall 640 "
            "of 900 (71.1 %, bound at least 85.0 %); combined evidence of harm over "
            "1,000,000x, limit 20x."
        ),
        "A person must decide; traffic stays where it is.",
    ),
]


@pytest.mark.parametrize(("code", "seen", "sentence", "after"), CASES)
def test_a_decision_says_what_why_and_what_is_next(
    code: str, seen: Callable[[], RolloutState], sentence: str, after: str
) -> None:
    decision = decide(POLICY, seen())
    assert (decision.code, decision.sentence, decision.next) == (code, sentence, after)


def test_each_code_has_its_sentence_here() -> None:
    assert {code for code, *_ in CASES} | ELSEWHERE == set(get_args(DecisionCode))
