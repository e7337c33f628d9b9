"""Intervals: exact ones against known values, the bootstrap against theory."""

import numpy as np
import pytest

from mlops_kit.models.intervals import bootstrap, quantile, share
from mlops_kit.models.metric_sums import Judged, prepared


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


def holdout(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.03).astype(int)
    return labels, np.clip(rng.beta(1, 20, n) + labels * rng.random(n), 0, 1)


def metrics(labels, scores):
    judged = Judged(labels, scores, (scores >= 0.3).astype(int), np.zeros(len(labels)))
    names = ("recall", "precision", "average_precision")
    return {name: prepared(name, 1, judged, 2) for name in names}


def bootstrapped(models, rows, resamples=200, seed=1, confidence=0.95):
    return bootstrap(models, rows, resamples=resamples, seed=seed, confidence=confidence)


def test_the_same_model_twice_differs_by_exactly_nothing():
    labels, scores = holdout()
    found = metrics(labels, scores)
    _, differences = bootstrapped({"a": found, "b": found}, len(labels))
    assert all((e.value, e.low, e.high) == (0, 0, 0) for e in differences.values())


def test_a_paired_interval_is_narrower_than_the_models_own():
    labels, scores = holdout(seed=2)
    jittered = np.clip(scores + np.random.default_rng(1).normal(0, 0.01, len(labels)), 0, 1)
    models = {"a": metrics(labels, scores), "b": metrics(labels, jittered)}
    estimates, differences = bootstrapped(models, len(labels), resamples=300)
    own, paired = estimates["a"]["average_precision"], differences["average_precision"]
    assert paired.high - paired.low < (own.high - own.low) / 2


def test_bootstrap_intervals_cover_the_true_recall():
    covered = 0
    for seed in range(60):
        labels, scores = holdout(2000, seed)
        estimates, _ = bootstrapped({"a": metrics(labels, scores)}, len(labels), seed=seed)
        truth = 0.7476  # of holdout's own distribution, from 10 million rows
        covered += estimates["a"]["recall"].low <= truth <= estimates["a"]["recall"].high
    assert covered >= 50


def test_the_same_seed_gives_the_same_interval():
    labels, scores = holdout()
    once, again = (
        bootstrapped({"a": metrics(labels, scores)}, len(labels), 100, 9, 0.9)[0] for _ in range(2)
    )
    assert once == again
