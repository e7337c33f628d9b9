"""Evidence of any task: classes' recalls, bounded errors and costs, in any order, at any look."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.rollouts import evidence
from mlops_kit.rollouts.criteria import BINARY, ModelTask, criteria, live_criteria, total
from mlops_kit.rollouts.judge import Answered, Judge
from mlops_kit.rollouts.metrics import Metric, counts
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality
from mlops_kit.rollouts.sequential_tests import (
    BETS,
    SHARES,
    Side,
    bounded_bets,
    log_bets,
    log_sum,
    paired_bets,
)
from tests.benchmarks import bounded_means

KINDS_OF_LOSSES = bounded_means.KINDS
NUMBERS = ModelTask("regression")
KINDS = ModelTask("multiclass", ("a", "b", "c"))
POLICY = Policy(
    accuracy=0.8, class_recall={"c": 0.6}, absolute_error=2.0, error_cap=10.0, coverage=0.5
)
LOUD = math.log(20)


def judge(policy: Policy, task: ModelTask, costs: Any = None) -> Judge:
    return Judge(criteria(policy, task), policy.regression, costs)


def replayed(policy: Policy, task: ModelTask, *given: Any, costs: Any = None) -> dict[str, Metric]:
    """Return the metrics of a replay of labels, a candidate's answers and a champion's."""
    labels = np.asarray(given[0], float)
    sides = [Answered(*map(np.asarray, each)) for each in given[1:]]
    by = judge(policy, task, costs)
    priced = [by.priced(labels, side, np.zeros((len(labels), 1))) for side in sides]
    quality = replace(by.quality(labels, *priced), mature=len(labels))
    return {each.name: each for each in evidence.of_replay(policy, quality, task)}


def numbers(error: float, size: int = 400, seed: int = 0) -> tuple[Any, Any]:
    """Return a regression's predictions of labels 0, off by this much on average."""
    return np.random.default_rng(seed).exponential(error, size), np.empty(0)


def kinds(right: float, labels: Any, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(labels)) >= right
    return np.zeros((len(labels), 3)), (labels + wrong) % 3


# --- which metrics count ----------------------------------------------------------------------


def test_the_task_says_which_metrics_count() -> None:
    assert [each.name for each in criteria(POLICY, BINARY)] == ["recall", "precision"]
    assert [each.name for each in criteria(POLICY, KINDS)] == ["accuracy", "recall of c"]
    assert [each.name for each in criteria(POLICY, NUMBERS)] == ["absolute error"]
    assert [total(POLICY, task) for task in (BINARY, KINDS, NUMBERS)] == [7, 7, 5]
    costly = replace(POLICY, cost=1.0)
    assert [total(costly, task) for task in (BINARY, KINDS, NUMBERS)] == [9, 9, 7]
    # Without a unit the champion is the measure, and alone nobody can be measured.
    bare = Policy()
    assert [each.name for each in criteria(bare, NUMBERS)] == ["share of the error"]
    assert live_criteria(bare, NUMBERS) == ()
    assert total(bare, NUMBERS) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_recall": {"a": 1.0}},
        {"accuracy": 0.0},
        {"absolute_error": -1.0},
        {"absolute_error": 2.0, "error_cap": 2.0},
        {"cost": math.inf},
        {"cost_cap": -1.0},
    ],
)
def test_a_bound_that_nothing_can_keep_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Policy(**wrong)


# --- what is proved ---------------------------------------------------------------------------


def test_good_classes_are_proved_and_a_class_that_suffers_is_blamed() -> None:
    labels = np.arange(900) % 3
    found = replayed(POLICY, KINDS, labels, kinds(0.9, labels), kinds(0.9, labels, 1))
    assert evidence.promotes(found.values(), 0.05)
    answered, decided = kinds(0.97, labels)
    decided[labels == 2] = np.where(np.arange(300) % 2, 2, 0)
    found = replayed(POLICY, KINDS, labels, (answered, decided), kinds(0.95, labels, 1))
    assert found["recall of c"].log_against > LOUD
    assert not evidence.promotes(found.values(), 0.05)
    assert evidence.harm([*found.values()], total(POLICY, KINDS)) > LOUD


def test_an_error_under_its_bound_is_proved_and_one_over_it_blamed() -> None:
    labels = np.zeros(400)
    good = replayed(POLICY, NUMBERS, labels, numbers(1.2), numbers(1.2, seed=1))
    assert evidence.promotes(good.values(), 0.05)
    bad = replayed(POLICY, NUMBERS, labels, numbers(3.5), numbers(1.2, seed=1))
    assert evidence.harm([*bad.values()], total(POLICY, NUMBERS)) > LOUD
    assert not evidence.promotes(bad.values(), 0.05)


def test_within_the_bound_but_far_worse_than_the_champion_goes_back() -> None:
    labels = np.zeros(2_000)
    sides = numbers(1.6, 2_000), numbers(0.3, 2_000, seed=1)
    found = replayed(POLICY, NUMBERS, labels, *sides)
    assert found["absolute error"].log_against > LOUD


def test_without_a_unit_the_champion_is_the_measure() -> None:
    labels = np.zeros(400)
    for scale in (1e-9, 1.0, 1e9):
        sides = [(scale * numbers(1.0, seed=n)[0], np.empty(0)) for n in (0, 1)]
        found = replayed(Policy(), NUMBERS, labels, *sides)
        assert evidence.promotes(found.values(), 0.05)
        worse = (9 * sides[0][0], np.empty(0))
        assert (
            replayed(Policy(), NUMBERS, labels, worse, sides[1])["share of the error"].log_for < 0
        )
        harm = [*replayed(Policy(), NUMBERS, labels, worse, sides[1]).values()]
        assert evidence.harm(harm, total(Policy(), NUMBERS)) > LOUD


def test_the_cost_counts_for_any_task() -> None:
    def costs(labels: Any, _scores: Any, decisions: Any, _rows: Any) -> Any:
        return 5.0 * (labels != decisions)

    labels = np.arange(900) % 3
    policy = replace(POLICY, cost=1.0, accuracy=0.01, class_recall={})
    found = replayed(policy, KINDS, labels, kinds(0.9, labels), kinds(0.9, labels, 1), costs=costs)
    assert evidence.promotes(found.values(), 0.05)
    assert found["cost"].share * 10 == pytest.approx(0.5, abs=0.1)
    found = replayed(policy, KINDS, labels, kinds(0.6, labels), kinds(0.6, labels, 1), costs=costs)
    assert found["cost"].log_against > LOUD


def test_rows_that_failed_are_failures_alone() -> None:
    labels, failed = np.zeros(10), np.arange(10) < 4
    found = judge(POLICY, NUMBERS).quality(labels, Answered(*numbers(1.0, 10)), failed=failed)
    assert (found.failed, found.labelled, found.of("absolute error").n) == (4, 10, 6)


def test_live_labels_have_no_champion_beside_them() -> None:
    labels = np.zeros(600)
    by = Judge(live_criteria(POLICY, NUMBERS), POLICY.regression)
    for error, is_bad in ((1.0, False), (4.0, True)):
        found = by.quality(labels, Answered(*numbers(error, 600)))
        found = replace(found, mature=600)
        (metric,) = evidence.of_live(POLICY, found, NUMBERS)
        assert metric.name == "live absolute error"
        assert (metric.log_against > LOUD) is is_bad
        assert not metric.needed
        few = replace(found, mature=6_000)
        assert all(not each.n for each in evidence.of_live(POLICY, few, NUMBERS))


# --- words ------------------------------------------------------------------------------------


def test_a_mean_is_shown_in_its_unit() -> None:
    labels = np.zeros(4)
    sides = (np.array([1.0, 2.0, 1.0, 30.0]), np.empty(0)), numbers(1.0, 4)
    metric = replayed(POLICY, NUMBERS, labels, *sides)["absolute error"]
    assert metric.seen == "absolute error of 4 rows (3.5, bound at most 2)"
    assert counts([metric], 0.05) == "absolute-error=14/4 alpha=0.05"
    low, high = metric.interval(0.05)
    assert low <= metric.share <= high
    assert metric.shown(metric.bound) == "2"
    unseen = evidence.of_replay(POLICY, Quality(), NUMBERS)[0]
    assert unseen.seen == "absolute error not seen yet (bound at most 2)"


# --- the tests themselves ---------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.05, 0.95), st.data())
@settings(deadline=None, max_examples=60)
def test_sums_of_bets_do_not_depend_on_order_or_parts(
    losses: list[float], bound: float, data: st.DataObject
) -> None:
    values = np.array(losses)
    for side in ("<", ">"):
        whole = bounded_bets(values, bound, side)
        order = data.draw(st.permutations(range(len(values))))
        cut = data.draw(st.integers(0, len(values)))
        shuffled = values[list(order)]
        parts = [bounded_bets(part, bound, side) for part in (shuffled[:cut], shuffled[cut:])]
        assert whole == tuple(map(sum, zip(*parts, strict=True)))
        # Rounded down, each row by at most one unit of 2^-30.
        stakes = values - bound if side == ">" else bound - values
        shares = SHARES / (bound if side == ">" else 1 - bound)
        exact = np.log1p(np.outer(shares, stakes)).sum(axis=1)
        assert (np.array(whole) / 2**30 <= exact + 1e-9).all()
        assert float(log_sum(exact) - math.log(BETS)) == pytest.approx(log_bets(whole), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS_OF_LOSSES)
@pytest.mark.parametrize(("mean", "side"), [(0.1, "<"), (0.1, ">"), (0.67, "<"), (0.67, ">")])
def test_at_the_bound_the_evidence_rarely_ever_reaches_its_limit(
    mean: float, side: Side, kind: str
) -> None:
    # 5 % at most by theory; three standard errors of 400 runs above it.
    assert bounded_means.ever(kind, mean, side, 400, 600) <= 0.05 + 3 * 0.011


@pytest.mark.parametrize("kind", KINDS_OF_LOSSES)
def test_a_ratio_at_its_limit_rarely_ever_looks_worse(kind: str) -> None:
    assert bounded_means.ever_paired(kind, 0.1, 2.0, 400, 600) <= 0.05 + 3 * 0.011


def test_the_bets_need_no_more_rows_than_a_share_would() -> None:
    bets, share = bounded_means.rows_needed("near the mean", 0.15, 0.25, 40, 600)
    assert bets < share


def test_what_the_benchmark_looks_at_is_what_the_product_computes() -> None:
    rng = np.random.default_rng(1)
    mine, others = rng.random((2, 300))
    seen = bounded_means.evidence(*bounded_means.stakes(mine[None], 0.4, ">"))[0, -1]
    assert log_bets(bounded_bets(mine, 0.4, ">")) == pytest.approx(seen, abs=1e-5)
    seen = bounded_means.evidence((mine - 2 * others)[None], 2.0)[0, -1]
    assert log_bets(paired_bets(mine, others, 2.0)) == pytest.approx(seen, abs=1e-5)


def test_harm_is_a_mean_with_a_fixed_number_of_metrics() -> None:
    for task in (BINARY, KINDS, NUMBERS):
        among = total(POLICY, task)
        metric = replace(evidence.of_replay(POLICY, Quality(), task)[0], log_against=LOUD)
        assert evidence.harm([metric], among) == pytest.approx(math.log((20 + among - 1) / among))
