"""The benchmark's small setting: which way each rule goes, from fixed seeds."""

from __future__ import annotations

import pytest

from mlops_kit.rollouts.policy import Policy
from tests.benchmarks.rollouts import drawn, share
from tests.benchmarks.simulation import POLICY, SCENARIOS, Scenario

RUNS = 6


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_the_kit_promotes_the_good_and_never_the_bad(scenario: Scenario) -> None:
    cell = drawn("mlops-kit", scenario, 100.0, RUNS)
    assert share(cell, "promoted" if scenario.is_good else "rolled back") == 1.0


def test_a_recall_regression_exposes_no_request() -> None:
    cell = drawn("mlops-kit", SCENARIOS[1], 100.0, RUNS)
    assert SCENARIOS[1].key == "b"
    assert all(outcome.exposed == 0 for outcome in cell)


def test_good_models_are_promoted_in_minutes() -> None:
    cell = drawn("mlops-kit", SCENARIOS[0], 100.0, RUNS)
    assert all(6 <= outcome.minutes <= 9 for outcome in cell)


def test_the_same_seeds_draw_the_same() -> None:
    first, second = (drawn("mlops-kit", SCENARIOS[2], 100.0, 3) for _ in "12")
    assert first == second


def test_flaggers_rule_is_constant_when_labels_are_late() -> None:
    for scenario in SCENARIOS[:3]:
        late = drawn("Flagger, labels late", scenario, 100.0, RUNS)
        assert share(late, "rolled back") == 1.0
    patched = drawn("Flagger, missing passes", SCENARIOS[1], 100.0, RUNS)
    assert share(patched, "promoted") == 1.0


def test_bursts_are_discounted() -> None:
    identical = next(each for each in SCENARIOS if each.key == "e")
    burst = {"variation": 1.0, "horizon": 86_400.0}
    blind = drawn("mlops-kit", identical, 1000.0, RUNS, bursts=False, **burst)
    careful = drawn("mlops-kit", identical, 1000.0, RUNS, bursts=True, **burst)
    assert share(blind, "rolled back") > share(careful, "rolled back") == 0.0


def test_the_simulations_policy_is_the_clusters_pace() -> None:
    assert (POLICY.interval, POLICY.steps) == (60.0, Policy().steps)
