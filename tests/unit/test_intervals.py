"""Intervals: exact ones against known values, the bootstrap against scikit-learn and theory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score, recall_score

from mlops_kit.models.gates import Costs
from mlops_kit.models.intervals import Judged, Metrics, bootstrap, costs_by_row, quantile, share


def test_an_exact_interval_has_the_published_values():
    # Clopper-Pearson for 8 of 10 and 0 of 10, from R's binom.test.
    assert share(8, 10).low == pytest.approx(0.4439045, abs=1e-6)
    assert share(8, 10).high == pytest.approx(0.9747893, abs=1e-6)
    assert (share(0, 10).low, share(0, 10).high) == pytest.approx((0.0, 0.3084971), abs=1e-6)


def test_nothing_seen_tells_nothing():
    found = share(0, 0)
    assert np.isnan(found.value)
    assert (found.low, found.high, found.n) == (0.0, 1.0, 0)


def test_an_exact_interval_covers_the_truth_at_least_as_often_as_it_says():
    rng = np.random.default_rng(3)
    drawn = rng.binomial(60, 0.9, 2000)
    covered = [share(int(s), 60).low <= 0.9 <= share(int(s), 60).high for s in drawn]
    assert np.mean(covered) >= 0.95


def test_the_interval_of_a_median_covers_it():
    rng = np.random.default_rng(4)
    found = [quantile(rng.exponential(1.0, 120), 0.5) for _ in range(400)]
    assert np.mean([e.low <= np.log(2) <= e.high for e in found]) >= 0.94


def holdout(n=3000, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.03).astype(int)
    scores = np.clip(rng.beta(1, 20, n) + labels * rng.random(n), 0, 1)
    scores = np.round(scores, 1) if ties else scores
    return labels, Judged(scores, scores >= 0.3), costs_by_row(rng.random(n) * 100, Costs())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_unweighted_metrics_are_those_of_scikit_learn(seed, ties):
    labels, judged, costs = holdout(400, seed, ties)
    if labels.sum() == 0 or judged.decisions.sum() == 0:
        return
    found = Metrics(labels, judged, costs).weighed(np.ones((len(labels), 1)))
    assert found["recall"][0] == pytest.approx(recall_score(labels, judged.decisions))
    assert found["precision"][0] == pytest.approx(precision_score(labels, judged.decisions))
    expected = average_precision_score(labels, judged.scores)
    assert found["average_precision"][0] == pytest.approx(expected)


def test_weights_mean_repeated_rows():
    labels, judged, costs = holdout(300, 5)
    weights = np.random.default_rng(1).integers(0, 3, len(labels))
    repeated = np.repeat(np.arange(len(labels)), weights)
    again = Judged(judged.scores[repeated], judged.decisions[repeated])
    found = Metrics(labels, judged, costs).weighed(weights[:, None].astype(float))
    same = Metrics(labels[repeated], again, costs[:, repeated]).weighed(np.ones((len(repeated), 1)))
    for metric in ("recall", "precision", "average_precision", "cost"):
        assert found[metric][0] == pytest.approx(same[metric][0]), metric


def test_cost_counts_missed_frauds_by_amount_and_false_alarms_by_review():
    labels = np.array([1, 1, 0, 0])
    judged = Judged(np.array([0.9, 0.1, 0.9, 0.1]), np.array([True, False, True, False]))
    costs = costs_by_row(np.array([10.0, 100.0, 5.0, 5.0]), Costs(review=5.0, missed_fee=20.0))
    found = Metrics(labels, judged, costs).weighed(np.ones((4, 1)))
    assert found["cost"][0] == pytest.approx(1000 * (120.0 + 5.0) / 4)


def test_the_same_model_twice_differs_by_exactly_nothing():
    labels, judged, costs = holdout()
    _, differences = bootstrap(
        labels, {"a": judged, "b": judged}, costs, resamples=200, seed=1, confidence=0.95
    )
    assert all((e.value, e.low, e.high) == (0, 0, 0) for e in differences.values())


def test_a_paired_interval_is_narrower_than_the_models_own():
    labels, judged, costs = holdout(seed=2)
    jittered = np.clip(judged.scores + np.random.default_rng(1).normal(0, 0.01, len(labels)), 0, 1)
    other = Judged(jittered, jittered >= 0.3)
    estimates, differences = bootstrap(
        labels, {"a": judged, "b": other}, costs, resamples=300, seed=1, confidence=0.95
    )
    own, paired = estimates["a"]["average_precision"], differences["average_precision"]
    assert paired.high - paired.low < (own.high - own.low) / 2


def test_bootstrap_intervals_cover_the_true_recall():
    covered = 0
    for seed in range(60):
        labels, judged, costs = holdout(2000, seed)
        estimates, _ = bootstrap(
            labels, {"a": judged}, costs, resamples=200, seed=seed, confidence=0.95
        )
        truth = 0.7476  # of holdout's own distribution, from 10 million rows
        covered += estimates["a"]["recall"].low <= truth <= estimates["a"]["recall"].high
    assert covered >= 50


def test_the_same_seed_gives_the_same_interval():
    labels, judged, costs = holdout()
    once, again = (
        bootstrap(labels, {"a": judged}, costs, resamples=100, seed=9, confidence=0.9)[0]
        for _ in range(2)
    )
    assert once == again
