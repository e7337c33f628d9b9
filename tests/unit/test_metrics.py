"""Metrics have scikit-learn's values, also on weighted rows, and costs those of the settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from mlops_kit.models import costs as costing
from mlops_kit.models.costs import Costs
from mlops_kit.models.metric_sums import Judged
from mlops_kit.models.metrics import SHOWN, metric
from mlops_kit.tables.table import Column, Table, Task
from tests.failures import fails

CLASSES = {"binary": ("no", "yes"), "multiclass": ("cat", "dog", "emu"), "regression": ()}


def table(task: Task) -> Table:
    kind: Any = "float" if task == "regression" else "str"
    columns = (Column("x", "float"), Column("worth", "float"), Column("y", kind))
    return Table("pets", columns, task, "y", CLASSES[task], amount="worth")


def judged(task: Task, rows: int = 400, seed: int = 0, ties: bool = False) -> Judged:
    rng = np.random.default_rng(seed)
    spent = rng.random(rows)
    if task == "regression":
        labels = rng.normal(100, 20, rows)
        return Judged(labels, labels + rng.normal(1, 5, rows), np.empty(0, np.int64), spent)
    count = len(CLASSES[task])
    labels = rng.integers(count, size=rows)
    scores = rng.dirichlet(np.ones(count), rows) + 0.5 * np.eye(count)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    if task == "multiclass":
        return Judged(labels, scores, scores.argmax(axis=1), spent)
    positive = scores[:, 1].round(1) if ties else scores[:, 1]
    return Judged(labels, positive, (positive >= 0.4).astype(np.int64), spent)


def value(name: str, task: Task, found: Judged, weights: Any = None) -> float:
    weights = np.ones(len(found.labels)) if weights is None else weights
    weighed = metric(name, table(task)).prepare(found, len(CLASSES[task]))
    return float(weighed(weights[:, np.newaxis])[0])


BINARY: dict[str, Any] = {
    "recall": lambda j, w: sklearn_metrics.recall_score(j.labels, j.decisions, sample_weight=w),
    "precision": lambda j, w: sklearn_metrics.precision_score(
        j.labels, j.decisions, sample_weight=w
    ),
    "f1": lambda j, w: sklearn_metrics.f1_score(j.labels, j.decisions, sample_weight=w),
    "specificity": lambda j, w: sklearn_metrics.recall_score(
        j.labels, j.decisions, pos_label=0, sample_weight=w
    ),
    "average_precision": lambda j, w: sklearn_metrics.average_precision_score(
        j.labels, j.scores, sample_weight=w
    ),
    "roc_auc": lambda j, w: sklearn_metrics.roc_auc_score(j.labels, j.scores, sample_weight=w),
    "log_loss": lambda j, w: sklearn_metrics.log_loss(j.labels, j.scores, sample_weight=w),
    "brier_score": lambda j, w: sklearn_metrics.brier_score_loss(
        j.labels, j.scores, sample_weight=w
    ),
    "accuracy": lambda j, w: sklearn_metrics.accuracy_score(j.labels, j.decisions, sample_weight=w),
    "balanced_accuracy": lambda j, w: sklearn_metrics.balanced_accuracy_score(
        j.labels, j.decisions, sample_weight=w
    ),
}
MULTICLASS: dict[str, Any] = {
    "accuracy": BINARY["accuracy"],
    "balanced_accuracy": BINARY["balanced_accuracy"],
    "macro_f1": lambda j, w: sklearn_metrics.f1_score(
        j.labels, j.decisions, average="macro", sample_weight=w
    ),
    "log_loss": BINARY["log_loss"],
    "recall:dog": lambda j, w: sklearn_metrics.recall_score(
        j.labels, j.decisions, labels=[1], average=None, sample_weight=w
    )[0],
    "precision:emu": lambda j, w: sklearn_metrics.precision_score(
        j.labels, j.decisions, labels=[2], average=None, sample_weight=w
    )[0],
}
REGRESSION: dict[str, Any] = {
    "mean_absolute_error": lambda j, w: sklearn_metrics.mean_absolute_error(
        j.labels, j.scores, sample_weight=w
    ),
    "root_mean_squared_error": lambda j, w: sklearn_metrics.root_mean_squared_error(
        j.labels, j.scores, sample_weight=w
    ),
    "mean_absolute_percentage_error": lambda j, w: sklearn_metrics.mean_absolute_percentage_error(
        j.labels, j.scores, sample_weight=w
    ),
    "r2": lambda j, w: sklearn_metrics.r2_score(j.labels, j.scores, sample_weight=w),
    "median_absolute_error": lambda j, w: float(
        np.median(np.repeat(np.abs(j.labels - j.scores), w))
    ),
}
CASES = [
    (task, name, theirs)
    for task, group in (
        ("binary", BINARY),
        ("multiclass", MULTICLASS),
        ("regression", REGRESSION),
    )
    for name, theirs in group.items()
]


@pytest.mark.parametrize(("task", "name", "theirs"), CASES)
@pytest.mark.parametrize("ties", [False, True])
def test_a_metric_is_scikit_learns_on_plain_and_on_weighted_rows(
    task: Task, name: str, theirs: Any, ties: bool
) -> None:
    found = judged(task, seed=3, ties=ties)
    for weights in (np.ones(400, dtype=int), np.random.default_rng(1).integers(0, 3, 400)):
        ours = value(name, task, found, weights)
        assert ours == pytest.approx(theirs(found, weights), rel=1e-9)


@pytest.mark.parametrize("task", [*CLASSES])
def test_weights_mean_repeated_rows(task: Task) -> None:
    found = judged(task, 300, 5)
    weights = np.random.default_rng(1).integers(0, 3, 300)
    again = found.at(np.repeat(np.arange(300), weights))
    for name in SHOWN[task]:
        if name != "calibration_error":  # its bins are those of the rows that are there
            assert value(name, task, found, weights) == pytest.approx(value(name, task, again))


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, name, _ in CASES])
def test_a_share_counts_what_the_metric_does(task: Task, name: str) -> None:
    found = judged(task, seed=9)
    counted = metric(name, table(task)).share(found)
    if counted is not None:
        assert counted[0] / counted[1] == pytest.approx(value(name, task, found))


def test_which_metrics_are_shares_is_known() -> None:
    shares = {
        name for task, name, _ in CASES if metric(name, table(task)).share(judged(task)) is not None
    }
    assert shares == {
        *("recall", "precision", "specificity", "accuracy", "recall:dog", "precision:emu")
    }


def test_a_metric_of_a_class_rests_on_its_rows() -> None:
    found = judged("multiclass")
    assert metric("recall:dog", table("multiclass")).support(found).sum() == (
        (found.labels == 1).sum()
    )
    assert metric("accuracy", table("multiclass")).support(found).all()
    assert metric("recall", table("binary")).support(judged("binary")).sum() < 400


@pytest.mark.parametrize(
    ("task", "name", "fact"),
    [
        ("binary", "recal", "'recall'"),
        ("binary", "r2", "'pets'"),
        ("regression", "recall", "'recall'"),
        ("multiclass", "recall:cow", "'cow'"),
        ("binary", "no_such_module:metric", "no_such_module"),
        ("binary", "math:no_such_function", "no_such_function"),
    ],
)
def test_an_unknown_metric_is_refused_with_what_there_is(task: Task, name: str, fact: str) -> None:
    with fails("evaluation", fact):
        metric(name, table(task))


def own(labels: Any, scores: Any, rows: pd.DataFrame) -> float:
    return float((labels * rows["worth"]).sum())


def test_a_metric_of_ones_own_sees_each_row_as_often_as_its_weight() -> None:
    found, frame = judged("binary", 3), pd.DataFrame({"worth": [1.0, 10.0, 100.0]})
    labelled = Judged(np.array([1, 1, 0]), found.scores, found.decisions, found.spent)
    ours = metric(f"{__name__}:own", table("binary"))
    weighed = ours.prepare(labelled, 2, frame)
    assert weighed(np.array([[1, 0], [2, 0], [1, 1]])).tolist() == [21.0, 0.0]


FRAME = pd.DataFrame({"x": 0.0, "worth": [10.0, 100.0, 5.0], "y": ["yes", "yes", "no"]})


def spent(task: Task, costs: Costs, labels: list[Any], decided: list[int]) -> list[float]:
    frame = FRAME.assign(y=labels)
    scores = np.zeros(3)
    found: list[float] = costing.by_row(
        costs, table(task), frame, scores, np.array(decided)
    ).tolist()
    return found


def test_a_false_negative_costs_its_fee_and_amount_a_false_positive_its_review() -> None:
    costs = Costs(false_positive=5.0, false_negative=20.0)
    assert spent("binary", costs, ["yes", "yes", "no"], [1, 0, 1]) == [0.0, 120.0, 5.0]
    half = Costs(false_positive=5.0, false_negative=20.0, amount=0.5)
    assert spent("binary", half, ["yes", "yes", "no"], [0, 0, 0]) == [25.0, 70.0, 0.0]


def test_a_matrix_has_a_row_a_true_class() -> None:
    matrix = ((0.0, 1.0, 2.0), (3.0, 0.0, 4.0), (5.0, 6.0, 0.0))
    found = spent("multiclass", Costs(matrix=matrix), ["cat", "dog", "emu"], [2, 0, 2])
    assert found == [2.0, 3.0, 0.0]
    assert spent("multiclass", Costs(), ["cat", "dog", "emu"], [0, 0, 0]) == [0.0, 1.0, 1.0]
    with fails("evaluation", "2 x 2", "3 classes"):
        spent("multiclass", Costs(matrix=((0, 1), (1, 0))), ["cat", "dog", "emu"], [0, 0, 0])


def test_a_regression_pays_by_unit_on_either_side() -> None:
    costs = Costs(under=2.0, over=1.0)
    frame = FRAME.assign(y=[1.0, -3.0, 0.0])
    found = costing.by_row(costs, table("regression"), frame, np.zeros(3), np.empty(0))
    assert found.tolist() == [2.0, 3.0, 0.0]


def dear(labels: Any, scores: Any, decisions: Any, rows: pd.DataFrame) -> Any:
    return rows["worth"] * 2


def test_costs_can_be_a_function_of_ones_own() -> None:
    costs = Costs(function=f"{__name__}:dear")
    assert spent("binary", costs, ["yes", "no", "no"], [1, 1, 1]) == [20.0, 200.0, 10.0]
    with fails("evaluation", "nowhere:dear"):
        spent("binary", Costs(function="nowhere:dear"), ["yes", "no", "no"], [1, 1, 1])
    with fails("evaluation", "3 rows"):
        spent("binary", Costs(function=f"{__name__}:short"), ["yes", "no", "no"], [1, 1, 1])


def short(*_given: Any) -> Any:
    return [1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_positive": -1.0},
        {"matrix": ((0, -1), (0, 0))},
        {"matrix": ((0, 1),)},
        {"function": "module"},
        {"over": -1.0},
    ],
)
def test_costs_that_pay_for_errors_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Costs(**wrong)
