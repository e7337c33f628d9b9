"""The fast scores are scikit-learn's, bit for bit, or there are none."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits

from mlops_kit.serving.fast_scores import fast_scores
from mlops_kit.serving.fast_trees import MAX_LEAVES, QuickScorer
from mlops_kit.serving.fast_walk import LevelWalk

FEATURES = 5


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models take longest where their threads wait for each other."""
    with threadpool_limits(1):
        yield


def rows(count: int, seed: int = 0, missing: float = 0.05) -> Any:
    generator = np.random.default_rng(seed)
    made = np.round(generator.normal(size=(count, FEATURES)), 2)
    made[generator.random(made.shape) < missing] = np.nan
    return made


def flags(rows: Any) -> Any:
    noise = np.random.default_rng(1).normal(size=len(rows))
    return (np.nansum(rows[:, :3], axis=1) + noise > 1).astype(int)


def boosted(leaves: int = 31, **given: Any) -> Any:
    made = rows(3000)
    settings = {"max_iter": 15, "max_leaf_nodes": leaves, "random_state": 0, **given}
    return HistGradientBoostingClassifier(**settings).fit(made, flags(made))


def calibrated(method: str, leaves: int = 31) -> Any:
    made = rows(500, seed=2)
    model = CalibratedClassifierCV(FrozenEstimator(boosted(leaves)), method=method, ensemble=False)
    return model.fit(made, flags(made))


def with_threshold(model: Any) -> Any:
    made = rows(200, seed=3)
    fixed = FixedThresholdClassifier(FrozenEstimator(model), threshold=0.3)
    return fixed.fit(made, flags(made))


MODELS = {
    "as the kit registers it": lambda: with_threshold(calibrated("sigmoid")),
    "isotonic": lambda: with_threshold(calibrated("isotonic")),
    "bare": boosted,
    "few leaves": lambda: boosted(4),
    "64 leaves": lambda: boosted(MAX_LEAVES, min_samples_leaf=3),
    "too many leaves for masks": lambda: with_threshold(calibrated("sigmoid", leaves=150)),
    "nothing learnt": lambda: boosted(min_samples_leaf=3000),
}


@functools.cache
def made(name: str) -> tuple[Any, Any]:
    model = MODELS[name]()
    return model, fast_scores(model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("count", [1, 2, 20, 21, 300])
def test_the_scores_are_those_of_scikit_learn_bit_for_bit(name: str, count: int) -> None:
    model, scores = made(name)
    assert scores is not None
    for seed in range(4):
        asked = rows(count, seed=10 + seed, missing=0.2)
        assert scores(asked).tobytes() == model.predict_proba(asked)[:, 1].tobytes()


@settings(max_examples=150, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.just(FEATURES)), elements=st.floats()))
def test_any_float_gets_the_same_score(asked: Any) -> None:
    model, scores = made("as the kit registers it")
    assert scores(asked).tobytes() == model.predict_proba(asked)[:, 1].tobytes()


def test_masks_and_walk_agree_at_the_thresholds_themselves() -> None:
    model = boosted(60, min_samples_leaf=3)
    trees = [each[0].nodes for each in model._predictors]
    thresholds = np.concatenate([nodes["num_threshold"] for nodes in trees])
    generator = np.random.default_rng(4)
    asked = generator.choice(thresholds, (500, FEATURES))
    by_mask, by_walk = QuickScorer(trees, 0.25, FEATURES), LevelWalk(trees, 0.25)
    assert by_mask.sums(asked).tobytes() == by_walk.sums(asked).tobytes()


def test_masks_refuse_trees_that_have_no_bit_for_each_leaf() -> None:
    trees = [each[0].nodes for each in boosted(100, min_samples_leaf=3)._predictors]
    with pytest.raises(ValueError, match="leaves"):
        QuickScorer(trees, 0.0, FEATURES)


def test_other_models_have_none() -> None:
    made = rows(300, missing=0.0)
    labels = flags(made)
    few = HistGradientBoostingClassifier(max_iter=3)
    others = [
        make_pipeline(MinMaxScaler(), LogisticRegression()).fit(made, labels),
        GradientBoostingClassifier(n_estimators=3, init=LogisticRegression()).fit(made, labels),
        clone(few).fit(made, np.arange(len(made)) % 3),
        CalibratedClassifierCV(few, ensemble=True, cv=3).fit(made, labels),
    ]
    assert [fast_scores(model) for model in others] == [None] * len(others)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_numbers_that_are_categories_are_too(missing: float) -> None:
    made = rows(800, missing=missing)
    made[:, 0] = np.round(np.abs(made[:, 0]) * 4)
    model = HistGradientBoostingClassifier(max_iter=8, categorical_features=[0], random_state=0)
    model.fit(made, (made[:, 0] % 3 == 0) ^ flags(made))
    scores = fast_scores(model)
    assert scores is not None
    asked = rows(300, seed=9, missing=0.2)
    asked[:200, 0] = np.arange(200) / 2 - 3
    for part in (asked, asked[:1], asked[9:10]):
        assert scores(part).tobytes() == model.predict_proba(part)[:, 1].tobytes()


def test_a_linear_pipeline_is_scored_bit_for_bit_also_where_values_are_missing() -> None:
    made = rows(300, missing=0.1)
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
    calibrated = CalibratedClassifierCV(model, ensemble=False, cv=3).fit(made, flags(made))
    scores = fast_scores(calibrated)
    assert scores is not None
    for part in (made, made[:7], made[4:5]):
        assert scores(part).tobytes() == calibrated.predict_proba(part)[:, 1].tobytes()


def test_a_linear_model_that_refuses_a_missing_value_goes_on_refusing_it() -> None:
    made = rows(300, missing=0.0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(made, flags(made))
    scores = fast_scores(CalibratedClassifierCV(model, ensemble=False, cv=3).fit(made, flags(made)))
    assert scores is not None
    with pytest.raises(ValueError, match="NaN"):
        scores(np.full((1, made.shape[1]), np.nan))


def test_a_model_that_scores_otherwise_than_its_trees_say_has_none() -> None:
    model = boosted()
    assert fast_scores(model) is not None
    model._baseline_prediction = np.float32(model._baseline_prediction)
    assert fast_scores(model) is None


def test_trees_that_are_kept_in_another_way_have_none() -> None:
    model = boosted()
    model._predictors = [[object()]]
    assert fast_scores(model) is None
