"""Replays and live labels of multi-class models and regressions, read on and read anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mlops_kit.prediction_log.log import Label, Observations
from mlops_kit.prediction_log.prediction import Prediction
from mlops_kit.releases.release import ServedModel
from mlops_kit.rollouts import evidence
from mlops_kit.rollouts.criteria import ModelTask, criteria, live_criteria
from mlops_kit.rollouts.judge import Judge
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality
from mlops_kit.rollouts.replay import Answers, Replay
from mlops_kit.rollouts.shared_replay import ComputedReplays, StoredReplays
from tests.observed import CANDIDATE, CHAMPION, START, prediction, url

LATER = START + 100_000.0
WHERE = ("fraud", "prod")
POLICY = Policy(
    accuracy=0.6, class_recall={"c": 0.5}, absolute_error=1.0, error_cap=5.0, cost=0.5, cost_cap=5.0
)
KINDS = ModelTask("multiclass", ("a", "b", "c"))
NUMBERS = ModelTask("regression")


class Model:
    """A model of one table: it answers by a row's first feature, off by some."""

    def __init__(self, task: ModelTask, off: float, digest: str) -> None:
        self.task, self.off, self.digest = task, off, digest

    def predict(self, rows: Any) -> tuple[Any, Any]:
        if any(row[1] == "bad" for row in rows):
            raise ZeroDivisionError("bad")
        values = np.array([float(row[0]) for row in rows]) + self.off
        if self.task.task == "regression":
            return values, np.empty(0, np.int64)
        decisions = np.floor(values).astype(np.int64) % 3
        return np.eye(3)[decisions], decisions


def answered(number: int, model: Model, **changed: Any) -> Prediction:
    """Return the prediction of a row with text, a number and a gap."""
    row = [number / 10, "fine" if number % 11 else None, None]
    scores, decisions = model.predict([row])
    return prediction(
        number,
        encoding="json",
        features=orjson.dumps(row),
        scores=np.asarray(scores, "<f8").tobytes(),
        decisions=np.asarray(decisions, np.uint8).tobytes(),
        **changed,
    )


def truth(task: ModelTask, number: int, change: int = 0) -> float:
    if task.task == "regression":
        return number / 10 + (number % 7 - 3) * 0.1 - 5 * change
    return float((number // 10 + (number % 5 == 0) + change) % 3)


def costs(labels: Any, scores: Any, decisions: Any, features: Any) -> Any:
    assert len(features) == len(labels)
    answers = decisions if len(decisions) else scores
    return np.minimum(np.abs(labels - answers), 4.0)


def told(task: ModelTask, numbers: Sequence[int], change: int = 0) -> list[Label]:
    when = START + change
    return [Label(f"request-{n}", 0, truth(task, n, change), when) for n in numbers]


@pytest.fixture
def store(tmp_path: Path) -> Observations:
    return Observations(url(tmp_path))


def judge(task: ModelTask) -> Judge:
    return Judge(criteria(POLICY, task), POLICY.regression, costs)


def replay(store: Observations, task: ModelTask, off: float = 0.3) -> Replay:
    sides = (Model(task, 0.0, CHAMPION), Model(task, off, CANDIDATE))
    return Replay(store, *WHERE, *sides, judge(task))  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [KINDS, NUMBERS], ids=lambda task: task.task)
def test_counts_read_on_equal_counts_from_the_start(store: Observations, task: ModelTask) -> None:
    champion = Model(task, 0.0, CHAMPION)
    long_lived = replay(store, task)
    live = Answers(store, *WHERE, CHAMPION, judge(task))
    deliveries: list[Any] = [
        [answered(n, champion) for n in range(0, 200)],
        told(task, range(100, 260)),
        [answered(n, champion) for n in range(200, 300)],
        told(task, range(0, 300, 3)),
        # What was told turns out to be wrong, and then right again.
        told(task, range(50, 150), change=1),
        told(task, range(100, 120), change=2),
        told(task, range(0, 300)),
    ]
    for batch in deliveries:
        (store.label if isinstance(batch[0], Label) else store.add)(batch)
        assert long_lived.read(LATER) == replay(store, task).read(LATER)
        assert live.read(LATER) == Answers(store, *WHERE, CHAMPION, judge(task)).read(LATER)
    found = long_lived.read(LATER)
    assert (found.labelled, found.mature, found.failed) == (300, 300, 0)
    assert not long_lived.faults


def test_classes_and_costs_are_counted_beside_the_champions(store: Observations) -> None:
    champion = Model(KINDS, 0.0, CHAMPION)
    store.add([answered(n, champion) for n in range(300)])
    store.label(told(KINDS, range(300)))
    found = replay(store, KINDS, off=0.0).read(LATER)
    # One row in five has another class than its number says.
    accuracy = found.of("accuracy")
    assert (accuracy.events, accuracy.n, accuracy.worse, accuracy.better) == (240, 300, 0, 0)
    assert found.of("recall of c").n == sum(truth(KINDS, n) == 2 for n in range(300))
    worse = replay(store, KINDS, off=0.5).read(LATER)
    assert worse.of("accuracy").worse > worse.of("accuracy").better
    assert worse.of("cost").events > found.of("cost").events
    names = [each.name for each in evidence.of_replay(POLICY, found, KINDS)]
    assert names == ["accuracy", "recall of c", "cost", "failures"]


def test_numbers_are_judged_by_their_error(store: Observations) -> None:
    champion = Model(NUMBERS, 0.0, CHAMPION)
    store.add([answered(n, champion) for n in range(400)])
    store.label(told(NUMBERS, range(400)))
    for off, is_good in ((0.1, True), (3.0, False)):
        found = replay(store, NUMBERS, off).read(LATER)
        metrics = {each.name: each for each in evidence.of_replay(POLICY, found, NUMBERS)}
        assert metrics["absolute error"].is_proved(0.05) is is_good
        assert (metrics["absolute error"].log_against > 3) is not is_good
    own = Answers(store, *WHERE, CHAMPION, Judge(live_criteria(POLICY, NUMBERS), 2.0))
    mean = own.read(LATER).of("absolute error")
    assert mean.events / 2**30 / mean.n * 5 == pytest.approx(0.171, abs=0.002)
    assert not own.features


def test_rows_that_raise_are_failures_and_the_rest_counts(store: Observations) -> None:
    champion = Model(NUMBERS, 0.0, CHAMPION)
    rows = [answered(n, champion) for n in range(60)]
    rows += [
        replace(answered(n, champion), features=orjson.dumps([n / 10, "bad", None]))
        for n in range(60, 66)
    ]
    store.add(rows)
    store.label(told(NUMBERS, range(66)))
    found = replay(store, NUMBERS).read(LATER)
    assert (found.failed, found.labelled, found.of("absolute error").n) == (6, 66, 60)


def test_a_champion_that_answers_otherwise_now_is_a_fault(store: Observations) -> None:
    store.add([answered(n, Model(NUMBERS, 1e-3, CHAMPION)) for n in range(20)])
    store.label(told(NUMBERS, range(20)))
    found = replay(store, NUMBERS)
    found.read(LATER)
    (fault,) = found.faults
    assert "20" in fault
    close = Model(NUMBERS, 1e-12, CHAMPION)
    store.add([replace(answered(n, close), id=f"close-{n}") for n in range(20)])
    store.label([Label(f"close-{n}", 0, truth(NUMBERS, n), START) for n in range(20)])
    found.read(LATER)
    assert found.faults == (fault,)


def test_a_watchers_counts_are_read_by_viewers_and_old_ones_are_said(store: Observations) -> None:
    champion, candidate = (ServedModel(v, "uri", d) for v, d in (("1", CHAMPION), ("2", CANDIDATE)))
    store.add([answered(n, Model(NUMBERS, 0.0, CHAMPION)) for n in range(50)])
    store.label(told(NUMBERS, range(50)))
    models = {"1": Model(NUMBERS, 0.0, CHAMPION), "2": Model(NUMBERS, 0.2, CANDIDATE)}
    place = (store, *WHERE)
    watcher = ComputedReplays(*place, lambda side: models[side.version], judge(NUMBERS))  # type: ignore[arg-type,return-value]
    found = watcher.read(champion, candidate, LATER, LATER)
    viewer = StoredReplays(*place)
    assert viewer.read(champion, candidate, LATER, LATER) == found
    assert isinstance(found.quality, Quality)
    pair = (*WHERE, CHAMPION, CANDIDATE)
    old = store.replay(*pair)
    assert old is not None
    store.save_replay(*pair, replace(old, counts={"frauds": 3, "caught": 2}))
    read = viewer.read(champion, candidate, LATER, LATER)
    assert read.quality is None
    assert read.faults
