"""A candidate is judged on the champion's logged traffic, however late and changed its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_kit.prediction_log.log import Label, Observations
from mlops_kit.rollouts.criteria import BINARY, criteria
from mlops_kit.rollouts.judge import Judge
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality, Tally
from mlops_kit.rollouts.replay import Answers, Replay, is_held_out
from mlops_kit.serving.predictor import Predictor
from mlops_kit.serving.protocol import Signature
from tests.observed import CANDIDATE, CHAMPION, START, prediction, url
from tests.qualities import binary

LATER = START + 1_000.0
WHERE = ("fraud", "prod")
JUDGE = Judge(criteria(Policy(), BINARY), Policy().regression)


def above(bound: float, digest: str = CANDIDATE) -> Predictor:
    """Return a model that flags a row whose first feature reaches the bound; it can't take 13."""

    def score(rows: Any) -> Any:
        if digest == CANDIDATE and (rows[:, 0] == 13).any():
            raise ZeroDivisionError("13")
        return np.asarray(rows[:, 0] >= bound, float)

    return Predictor("1", digest, Signature(("a", "b", "c")), score, threshold=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Observations:
    return Observations(url(tmp_path))


def logged(number: int, **changed: Any) -> Any:
    """Return the champion's prediction of a row with this first feature: flagged from 50 on."""
    features = np.array([number, 0, 0], "<f8").tobytes()
    return prediction(number, features=features, decisions=bytes([number >= 50]), **changed)


def told(numbers: Any, label: Callable[[int], bool], time: float = START) -> list[Label]:
    return [Label(f"request-{number}", 0, int(label(number)), time) for number in numbers]


def replay(store: Observations, bound: float = 70, share: float = 1.0) -> Replay:
    return Replay(store, *WHERE, above(50, CHAMPION), above(bound), JUDGE, share)


def is_fraud(number: int) -> bool:
    return number >= 60


def filled(store: Observations) -> None:
    """Log 0 to 99, of which the champion flags 50 and 40 are frauds, all labelled."""
    store.add([logged(number) for number in range(100)])
    store.label(told(range(100), is_fraud))


def test_the_candidate_is_counted_against_labels_and_champion(store: Observations) -> None:
    filled(store)
    found = replay(store).read(LATER)
    # 60 to 69 are missed by the candidate alone, and it can't score 13.
    assert found == binary(40, 30, 30, 10, 0, mature=100, labelled=100, failed=1)
    # Below 60 the champion's bound finds all; a lower one more of the others.
    assert replay(store, bound=20).read(LATER) == binary(
        40, 40, 80, mature=100, labelled=100, failed=1
    )


def test_what_only_the_candidate_catches_counts_for_it(store: Observations) -> None:
    store.add([logged(number) for number in range(40, 50)])
    store.label(told(range(40, 50), lambda _number: True))
    found = replay(store, bound=45).read(LATER)
    assert found.of("recall") == Tally(5, 10, better=5)


def test_late_and_changed_labels_count_as_if_read_at_once(store: Observations) -> None:
    store.add([logged(number) for number in range(100)])
    long_lived = replay(store)
    assert long_lived.read(LATER) == Quality(mature=100)
    deliveries = [
        told(range(80, 100), is_fraud),
        told(range(0, 50), is_fraud),
        # What was told turns out to be wrong, some of it twice.
        told(range(85, 95), lambda _number: False, START + 1),
        told(range(90, 95), lambda _number: True, START + 2),
        # Older news than what is known changes nothing.
        told(range(95, 100), lambda _number: False, START - 1),
        told(range(50, 80), is_fraud),
    ]
    for labels in deliveries:
        store.label(labels)
        assert long_lived.read(LATER) == replay(store).read(LATER)
    assert long_lived.read(LATER).of("recall").n == 35
    assert not long_lived.faults


def test_only_what_is_old_enough_counts(store: Observations) -> None:
    filled(store)
    assert replay(store).read(START + 49).mature == 50
    growing = replay(store)
    for before in (10, 30, 99):
        assert growing.read(START + before) == replay(store).read(START + before)


def test_unlabelled_rows_are_mature_and_not_labelled(store: Observations) -> None:
    filled(store)
    store.add([logged(number) for number in range(100, 200)])
    assert replay(store).read(LATER).coverage == 0.5


def test_a_share_is_replayed_and_the_rest_left_to_who_trains(store: Observations) -> None:
    filled(store)
    held = [number for number in range(100) if is_held_out(f"request-{number}", 0.3)]
    assert 15 < len(held) < 45
    found = replay(store, share=0.3).read(LATER)
    assert found.labelled == len(held)
    assert found.of("recall").n == sum(map(is_fraud, held))
    # All are labelled, so the part is, too.
    assert found.coverage == 1.0


def test_a_larger_share_keeps_the_smaller_one() -> None:
    names = [f"request-{number}" for number in range(1_000)]
    small, large = ({n for n in names if is_held_out(n, share)} for share in (0.2, 0.5))
    assert small < large
    assert all(is_held_out(name, 1.0) for name in names)


def test_rows_that_the_candidate_can_t_score_are_failures_alone(store: Observations) -> None:
    filled(store)
    store.add([logged(13, id=f"again-{number}") for number in range(5)])
    store.label([Label(f"again-{number}", 0, 1, START) for number in range(5)])
    found = replay(store).read(LATER)
    assert (found.failed, found.of("recall").n, found.labelled) == (6, 40, 105)


def test_a_champion_that_decides_otherwise_now_is_a_fault(store: Observations) -> None:
    filled(store)
    store.add([replace(logged(10), id=f"otherwise-{number}", decisions=b"\1") for number in "123"])
    store.label([Label(f"otherwise-{number}", 0, 0, START) for number in "123"])
    found = replay(store)
    found.read(LATER)
    assert found.faults == ("The champion now answers otherwise on 3 logged rows.",)
    # A changed label is news of the label, not of the champion.
    store.label([Label("otherwise-1", 0, 1, START + 1)])
    found.read(LATER)
    assert found.faults == ("The champion now answers otherwise on 3 logged rows.",)


def test_features_that_were_not_kept_are_a_fault(store: Observations) -> None:
    store.add([replace(logged(number), features=b"") for number in range(20)])
    store.label(told(range(20), is_fraud))
    found = replay(store)
    assert found.read(LATER).labelled == 0
    (fault,) = found.faults
    assert "20 labelled rows" in fault
    assert "serving.log_features" in fault


def test_errors_and_others_answers_are_no_part_of_it(store: Observations) -> None:
    filled(store)
    failed = replace(logged(200, outcome="error"), decisions=b"")
    store.add([failed, logged(201, role="candidate")])
    store.label(told((200, 201), is_fraud))
    assert replay(store).read(LATER).labelled == 100


def test_own_answers_count_from_the_start_of_the_rollout_on(store: Observations) -> None:
    store.add([logged(number, role="candidate") for number in range(100)])
    store.label(told(range(100), is_fraud))
    assert Answers(store, *WHERE, CANDIDATE, JUDGE).read(LATER) == binary(
        40, 40, 50, mature=100, labelled=100
    )
    since = Answers(store, *WHERE, CANDIDATE, JUDGE, START + 80)
    assert since.read(LATER) == binary(20, 20, 20, mature=20, labelled=20)


def test_nothing_logged_says_nothing(store: Observations) -> None:
    assert replay(store).read(LATER) == Quality()
    assert Answers(store, *WHERE, CHAMPION, JUDGE).read(LATER) == Quality()
