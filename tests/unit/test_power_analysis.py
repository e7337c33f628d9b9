from __future__ import annotations

from dataclasses import replace

import pytest

from mlops_kit.rollouts.criteria import ModelTask
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.power_analysis import Plan, Row, Truth, plan
from mlops_kit.tables.table import Task

CLUSTER = Policy(
    recall=0.85,
    precision=0.90,
    interval=60.0,
    maturity=900.0,
    replay_deadline=86_400.0,
    canary_deadline=86_400.0,
)


def rows(found: Plan) -> dict[str, Row]:
    return {row.what: row for row in found.rows}


def test_a_plan_agrees_with_the_simulated_benchmark() -> None:
    found = plan(
        CLUSTER,
        rate=100,
        positive_rate=0.005,
        label_delay=900,
        history=1_728_000,
        good=Truth(0.92, 0.95, 0.01, 0.004),
        champion=Truth(0.90, 0.94, 0.01, 0.004),
    )
    promotion = found.rows[0]
    assert promotion.told == 1.0
    assert 5 * 60 <= promotion.median <= 8 * 60
    assert rows(found)["recall 75.0 % is found"].median == 60
    assert rows(found)["recall 75.0 % is found"].exposed == 0
    assert 60 <= rows(found)["errors 7.5 % is found"].median <= 120


def test_too_little_traffic_is_said_and_not_guessed() -> None:
    found = plan(Policy(), rate=0.5, positive_rate=0.005)
    assert found.rows[0].told == 0.0
    assert "can't be told at this traffic" in found.lines[1]
    assert "| 0% | – | – | – |" in found._repr_markdown_()


def test_more_traffic_tells_sooner() -> None:
    slow, quick = (
        plan(CLUSTER, rate=rate, positive_rate=0.005, history=200_000) for rate in (5, 500)
    )
    for before, after in zip(slow.rows, quick.rows, strict=True):
        assert after.told >= before.told
        assert after.median <= before.median or before.told < 0.5


def test_labels_that_come_late_delay_what_needs_them() -> None:
    prompt, late = (
        plan(CLUSTER, rate=100, positive_rate=0.01, label_delay=delay) for delay in (900, 36_000)
    )
    assert late.rows[0].median >= prompt.rows[0].median + 30_000
    assert rows(late)["errors 15.0 % is found"] == rows(prompt)["errors 15.0 % is found"]


def test_the_same_seed_plans_the_same_and_a_table_has_a_line_a_row() -> None:
    first, second = (plan(CLUSTER, rate=50, positive_rate=0.01, history=9000) for _ in "12")
    assert first == second
    assert first._repr_markdown_().count("\n|") == len(first.rows) + 2
    assert len(first.lines) == len(first.rows) + 1


@pytest.mark.parametrize(
    ("rate", "positive_rate", "history"), [(0, 0.01, 0), (5, 0, 0), (5, 1.5, 0), (5, 0.1, -1)]
)
def test_traffic_that_cannot_be_is_refused(rate: float, positive_rate: float, history: int) -> None:
    with pytest.raises(ValueError, match="expected a rate over 0"):
        plan(Policy(), rate=rate, positive_rate=positive_rate, history=history)


@pytest.mark.parametrize(
    ("task", "changed", "what"),
    [
        ("multiclass", {"accuracy": 0.8}, "accuracy 70.0 % is found"),
        ("regression", {"absolute_error": 3.0}, "200.0 % of the allowed error is found"),
        ("regression", {}, "200.0 % of the allowed error is found"),
    ],
)
def test_other_tasks_are_planned_by_their_own_metric(
    task: Task, changed: dict[str, float], what: str
) -> None:
    policy = replace(CLUSTER, **changed)  # type: ignore[arg-type]
    found = plan(policy, rate=100, history=5_000, task=ModelTask(task), runs=40)
    assert found.rows[0].told == 1.0
    assert found.rows[0].median <= 20 * 60
    assert rows(found)[what].told == 1.0
    assert rows(found)[what].exposed == 0
    assert "positives" not in found.traffic
    few = plan(policy, rate=0.001, task=ModelTask(task), runs=10)
    assert few.rows[0].told == 0.0
