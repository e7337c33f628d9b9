"""Scores and decisions follow the table's classes, however the model's own are ordered.

- labels as they are, their indices, or a binary label's indices as booleans
- numbers, words, digits; the alphabetical order isn't the declared one
- a regression, and models without probabilities
- what can't be told apart, or belongs to another table, is refused
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier

from mlops_kit.models.outputs import check, decisions, outputs, threshold
from mlops_kit.tables.table import Column, Table, Task
from tests.failures import fails

NUMBERS = np.random.default_rng(0).normal(size=(200, 3))
INPUTS = pd.DataFrame(NUMBERS, columns=["a", "b", "c"])
IS_POSITIVE = NUMBERS[:, 0] + 0.2 * NUMBERS[:, 1] > 0.5


def table(*classes: Any, task: Task = "binary") -> Table:
    kind = "str" if classes and isinstance(classes[0], str) else "int"
    columns = [Column(name, "float") for name in INPUTS.columns]
    label = Column("label", "float" if task == "regression" else kind)  # type: ignore[arg-type]
    return Table("rows", (*columns, label), task, "label", classes)


def fitted(labels: Any) -> LogisticRegression:
    return LogisticRegression().fit(INPUTS, labels)


PAIRS = [(0, 1), (1, 2), (2, 1), (-1, 1), ("ok", "fraud"), ("no", "yes"), (False, True)]


@pytest.mark.parametrize("classes", PAIRS, ids=str)
@pytest.mark.parametrize("is_encoded", [False, True])
def test_the_score_is_the_probability_of_the_positive_class(
    classes: tuple[Any, Any], is_encoded: bool
) -> None:
    declared = table(*classes)
    labels = np.where(IS_POSITIVE, classes[1], classes[0])
    frame = INPUTS.assign(label=labels)
    model = fitted(declared.labels(frame) if is_encoded else labels)
    expected = fitted(IS_POSITIVE).predict_proba(INPUTS)[:, 1]
    scores = outputs(model, INPUTS, declared)
    assert scores.dtype == np.float64
    assert np.allclose(scores, expected, atol=1e-6)
    found = decisions(scores, declared)
    own = model.predict(INPUTS)
    own = own if is_encoded else declared.labels(INPUTS.assign(label=own))
    assert (found == own).all()
    assert (found == (expected >= 0.5)).all()
    assert decisions(np.array([0.2, 0.3]), declared, 0.3).tolist() == [0, 1]


def test_a_label_whose_indices_are_its_values_in_another_order_is_refused() -> None:
    declared = table(1, 0)
    with fails("table", [0, 1], "bool"):
        outputs(fitted(~IS_POSITIVE * 1), INPUTS, declared)
    labels = declared.labels(INPUTS.assign(label=~IS_POSITIVE * 1)).astype(bool)
    assert (labels == IS_POSITIVE).all()
    scores = outputs(fitted(labels), INPUTS, declared)
    assert scores[IS_POSITIVE].mean() > scores[~IS_POSITIVE].mean()


@pytest.mark.parametrize("is_encoded", [False, True])
def test_ten_digits_come_in_the_declared_order(is_encoded: bool) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    declared = table(*words, task="multiclass")
    indices = np.arange(200) % 10
    labels = np.array(words, dtype=object)[indices]
    model = DummyClassifier(strategy="stratified", random_state=0)
    model.fit(INPUTS, indices if is_encoded else labels)
    scores = outputs(model, INPUTS, declared)
    assert scores.shape == (200, 10)
    assert scores.sum(axis=1).tolist() == [1.0] * 200
    expected = model.predict_proba(INPUTS)
    order = list(model.classes_)
    for place, word in enumerate(words):
        own = expected[:, order.index(place if is_encoded else word)]
        assert (scores[:, place] == own).all()
    assert (decisions(scores, declared) == scores.argmax(axis=1)).all()


def test_the_first_of_equal_classes_is_decided_for() -> None:
    declared = table("b", "a", "c", task="multiclass")
    assert decisions(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]]), declared).tolist() == [0, 1]


def test_a_regression_predicts_and_decides_nothing() -> None:
    declared = table(task="regression")
    model = LinearRegression().fit(INPUTS, NUMBERS[:, [0]])
    scores = outputs(model, INPUTS, declared)
    assert scores.shape == (200,)
    assert np.allclose(scores, NUMBERS[:, 0])
    with fails("table", "regression"):
        decisions(scores, declared)
    for grouping in (KMeans(2), IsolationForest(n_estimators=2)):
        with fails("table", type(grouping).__name__):
            outputs(grouping.fit(INPUTS), INPUTS, declared)
    with fails("table", "LogisticRegression"):
        outputs(fitted(IS_POSITIVE), INPUTS, declared)


@pytest.mark.parametrize(
    ("labels", "declared"),
    [
        (NUMBERS[:, 0] > 0, table("no", "yes")),
        (np.arange(200) % 3, table("a", "b")),
        (np.arange(200) % 2, table("a", "b", "c", task="multiclass")),
        (np.array(["1", "2"])[np.arange(200) % 2], table(1, 2)),
        (np.array(["a", "b"])[np.arange(200) % 2], table("a", "B")),
    ],
    ids=["booleans", "three of two", "two of three", "text of numbers", "another case"],
)
def test_classes_of_another_table_are_refused(labels: Any, declared: Table) -> None:
    model = fitted(labels)
    if declared.classes == ("no", "yes"):  # the indices as booleans are a binary label's
        assert outputs(model, INPUTS, declared).shape == (200,)
        return
    with fails("table", "rows", model.classes_[0], declared.classes[0]):
        outputs(model, INPUTS, declared)


def test_a_model_without_probabilities_is_refused_with_what_has_them() -> None:
    declared = table(0, 1)
    model = RidgeClassifier().fit(INPUTS, IS_POSITIVE * 1)
    with fails("table", "RidgeClassifier", "CalibratedClassifierCV"):
        check(model, declared)
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), ensemble=False)
    check(calibrated.fit(INPUTS, IS_POSITIVE * 1), declared)
    with fails("table", "predict"):
        check(object(), declared)


def test_a_threshold_is_on_the_positive_class() -> None:
    declared = table("ok", "fraud")
    labels = np.where(IS_POSITIVE, "fraud", "ok")
    model = fitted(labels)
    assert threshold(model, declared) == 0.5
    options: dict[str, Any] = {"threshold": 0.2, "response_method": "predict_proba"}
    frozen = FrozenEstimator(model)
    of_ok = FixedThresholdClassifier(frozen, **options).fit(INPUTS, labels)
    with fails("table", "ok", "pos_label='fraud'"):
        threshold(of_ok, declared)
    of_fraud = FixedThresholdClassifier(frozen, pos_label="fraud", **options).fit(INPUTS, labels)
    assert threshold(of_fraud, declared) == 0.2
    scores = outputs(of_fraud, INPUTS, declared)
    assert ((of_fraud.predict(INPUTS) == "fraud") == (decisions(scores, declared, 0.2) == 1)).all()
