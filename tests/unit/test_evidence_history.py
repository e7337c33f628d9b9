"""The evidence over time is that of each moment, whoever computes it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.rollouts import evidence, evidence_history
from mlops_kit.rollouts.evidence import Bursts
from mlops_kit.rollouts.policy import Policy

POLICY, BURSTS = Policy(), Bursts()


def blocks(starts: Iterable[float], errors: int = 0) -> list[Block]:
    return [Block(10, float(at), Arm(20, errors, 0), Arm(180, 2, 0)) for at in starts]


def test_each_point_is_the_evidence_of_all_up_to_then() -> None:
    made = blocks(range(30), errors=1)
    found = {trail.name: trail.points for trail in evidence_history.of_canary(POLICY, made, BURSTS)}
    assert list(found) == ["errors", "slow"]
    for number, point in enumerate(found["errors"]):
        errors, _slow, *_ = evidence.of_canary(POLICY, made[: number + 1], BURSTS)
        assert point == (number + POLICY.interval, errors.log_for, errors.log_against)


def test_what_came_before_counts_but_is_not_drawn() -> None:
    made = blocks(range(30))
    whole = evidence_history.of_canary(POLICY, made, BURSTS)[0].points
    late = evidence_history.of_canary(POLICY, made, BURSTS, since=20.0)[0].points
    assert late == whole[20:]


def test_a_long_rollout_has_few_points_and_its_last_one_among_them() -> None:
    made = blocks(range(4_900))
    points = evidence_history.of_canary(POLICY, made, BURSTS, most=40)[0].points
    assert len(points) == 40, "a gap between two points that are drawn is none in the data"
    assert None not in points
    assert points[-1] is not None
    assert points[-1][0] == 4_899 + POLICY.interval
    assert points[-1][1] == evidence.of_canary(POLICY, made, BURSTS)[0].log_for


@pytest.mark.parametrize("most", [40, 3])
def test_a_time_without_data_is_a_gap(most: int) -> None:
    made = [*blocks(range(3)), *blocks(range(60, 63))]
    points = evidence_history.of_canary(POLICY, made, BURSTS, most=most)[0].points
    assert points.count(None) == 1


def test_a_replay_has_no_trail_of_live_traffic() -> None:
    assert evidence_history.of_canary(POLICY, [], BURSTS) == ()
    assert evidence_history.of_canary(POLICY, [Block(0, 1.0, Arm(), Arm(9, 0, 0))], BURSTS) == ()
