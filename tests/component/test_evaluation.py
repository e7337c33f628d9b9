"""A candidate is judged by what the holdout proves, and by nothing else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlops_kit.errors import EvaluationError
from mlops_kit.examples.fraud import data
from mlops_kit.models import evaluation, latency, training
from mlops_kit.models.costs import Costs
from mlops_kit.models.evaluation import Evaluation
from mlops_kit.models.gates import Gate, GateRule, Rules
from mlops_kit.models.model_version import ModelVersion
from mlops_kit.tables import datasets
from mlops_kit.tables.table import Column, Table


def rules(**bounds: float) -> Rules:
    """Return rules on recall, precision, …; a name with `_difference` bounds the difference."""
    return replace(RULES, gates=tuple(rule(name, bound) for name, bound in bounds.items()))


def rule(name: str, bound: float) -> GateRule:
    metric = name.removesuffix("_difference").removesuffix("_slices")
    side = "at_most" if metric in ("cost", "calibration_error", "latency_ms") else "at_least"
    against: Any = "reference" if name.endswith("_difference") else ""
    part = "*" if name.endswith("_slices") else ""
    return GateRule(metric, **{side: bound}, against=against, slice=part)


BOUNDS = {
    "recall": 0.5,
    "precision": 0.4,
    "average_precision": 0.5,
    "calibration_error": 0.02,
    "latency_ms": 50.0,
    "recall_slices": 0.5,
    "recall_difference": -0.2,
    "precision_difference": -0.5,
    "average_precision_difference": -0.2,
    "cost_difference": 100.0,
}
RULES = Rules(resamples=100, minimum=20)
VERSION = ModelVersion("fraud", "2", "sha256:2", "models:/fraud/2", "run")
NAMES = {"candidate": "fraud v2", "reference": "fraud v1"}


@pytest.fixture(scope="module")
def split() -> datasets.Split:
    return datasets.split(data.generate(40_000, seed=7), data.TABLE)


def fitted(estimator: Any, split: datasets.Split, defect: Any = "none") -> Any:
    """Return a model as the notebook makes it."""
    train = data.inject_defect(split.train, defect)
    calibrate = data.inject_defect(split.calibrate, defect)
    model = estimator.fit(train[[*data.FEATURES]], train["Class"])
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid", ensemble=False)
    calibrated.fit(calibrate[[*data.FEATURES]], calibrate["Class"])
    threshold = training.choose_threshold(calibrated, calibrate, data.TABLE, costs=Costs())
    return training.with_threshold(calibrated, threshold.value, calibrate, data.TABLE)


def boosted() -> Any:
    return HistGradientBoostingClassifier(
        learning_rate=0.1, max_iter=75, max_leaf_nodes=15, l2_regularization=1.0, random_state=7
    )


@pytest.fixture(scope="module")
def good(split: datasets.Split) -> Any:
    return fitted(boosted(), split)


@pytest.fixture(scope="module")
def baseline(split: datasets.Split) -> Any:
    return fitted(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")), split
    )


def compared(candidate: Any, reference: Any, holdout: pd.DataFrame, **more: Any) -> Evaluation:
    given = {"table": data.TABLE, "names": NAMES, "costs": Costs(), "rules": RULES} | more
    return evaluation.compare(candidate, reference, holdout, **{"clock": steady(), **given})


def steady(milliseconds: float = 2.0) -> Any:
    """Return a clock by which each measured call takes so long."""
    moments: Iterator[float] = itertools.count(0.0, milliseconds / 1000)
    return lambda: next(moments)


@pytest.fixture(scope="module")
def usual(good: Any, baseline: Any, split: datasets.Split) -> Evaluation:
    return compared(good, baseline, split.holdout)


# Bounds that 48 frauds can prove.
LOOSE = rules(**BOUNDS)


def test_a_good_candidate_passes_every_gate(usual: Evaluation) -> None:
    verdict = evaluation.judge(usual, LOOSE)
    assert verdict.status == "pass", verdict.reasons
    assert verdict.sentence.startswith("fraud v2 passes all")
    assert usual.compared["recall"].candidate.low >= 0.5


def test_a_candidate_that_learned_from_spoiled_labels_fails(
    baseline: Any, split: datasets.Split
) -> None:
    spoiled = fitted(boosted(), split, "recall")
    found = compared(spoiled, baseline, split.holdout)
    verdict = evaluation.judge(found, LOOSE)
    assert verdict.status == "fail"
    assert any(reason.startswith("recall is") for reason in verdict.reasons)
    assert found.compared["recall"].difference.high < 0


def test_too_few_frauds_are_inconclusive(good: Any, baseline: Any, split: datasets.Split) -> None:
    frauds = split.holdout["Class"] == 1
    few = split.holdout[~frauds | (frauds.cumsum() <= 19)]
    found = compared(good, baseline, few)
    verdict = evaluation.judge(found, LOOSE)
    assert found.counts[1] == 19
    assert verdict.status == "inconclusive"
    assert "rests on 19 positives; at least 20 are needed" in verdict.reasons[0]


def test_as_many_frauds_as_are_asked_for_are_enough(usual: Evaluation) -> None:
    enough, one_more = (replace(LOOSE, minimum=usual.counts[1] + more) for more in (0, 1))
    assert evaluation.judge(usual, enough).status == "pass"
    assert evaluation.judge(usual, one_more).status == "inconclusive"


def test_a_model_against_itself_differs_by_nothing_and_passes(
    good: Any, split: datasets.Split
) -> None:
    found = compared(good, good, split.holdout)
    for metric, each in found.compared.items():
        difference = each.difference
        assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0), metric
    names = ("recall", "precision", "average_precision", "cost")
    strict = rules(**{f"{name}_difference": 0.0 for name in names})
    assert evaluation.judge(found, strict).status == "pass"


def test_the_numbers_are_those_of_scikit_learn(
    usual: Evaluation, good: Any, split: datasets.Split
) -> None:
    from sklearn import metrics

    labels, rows = split.holdout["Class"], split.holdout[[*data.FEATURES]]
    scores, decisions = good.predict_proba(rows)[:, 1], good.predict(rows)
    found = {name: each.candidate.value for name, each in usual.compared.items()}
    assert found["recall"] == pytest.approx(metrics.recall_score(labels, decisions))
    assert found["precision"] == pytest.approx(metrics.precision_score(labels, decisions))
    average = metrics.average_precision_score(labels, scores)
    assert found["average_precision"] == pytest.approx(average)
    missed = split.holdout["Amount"][(labels == 1) & (decisions == 0)] + Costs().false_negative
    alarms = Costs().false_positive * ((labels == 0) & (decisions == 1)).sum()
    assert found["cost"] == pytest.approx(1000 * (missed.sum() + alarms) / len(labels))


def test_every_interval_holds_its_value(usual: Evaluation) -> None:
    for metric, found in usual.compared.items():
        for each in (found.candidate, found.reference, found.difference):
            assert each.low <= each.value <= each.high, metric


def test_a_seed_makes_the_same_numbers_and_another_makes_others(
    usual: Evaluation, good: Any, baseline: Any, split: datasets.Split
) -> None:
    verdict = evaluation.judge(usual, LOOSE)
    again = compared(good, baseline, split.holdout).summary(verdict, VERSION)
    assert again == usual.summary(verdict, VERSION)
    other = compared(good, baseline, split.holdout, seed=1)
    changed, before = (each.compared["cost"].difference for each in (other, usual))
    assert changed != before
    assert changed.value == before.value


def test_every_fraud_lies_in_one_slice_of_amounts_and_one_of_hours(usual: Evaluation) -> None:
    for kind in ("amount", "hours"):
        parts = [part for part in usual.slices if part.name.startswith(kind)]
        assert sum(part.candidate.n for part in parts) == usual.counts[1]
        assert [part.candidate.n for part in parts] == [part.reference.n for part in parts]
    lows = [part.candidate.low for part in usual.slices if part.candidate.n]
    assert lows == sorted(lows), "worst first"


def test_the_recall_of_a_slice_is_that_of_its_rows(
    usual: Evaluation, good: Any, split: datasets.Split
) -> None:
    rows = split.holdout[split.holdout["Amount"].between(10, 100, inclusive="left")]
    frauds = rows[rows["Class"] == 1]
    (part,) = [part for part in usual.slices if part.name == "amount 10 to 100"]
    assert part.candidate.n == len(frauds)
    assert part.candidate.value == good.predict(frauds[[*data.FEATURES]]).mean()


def test_a_slice_that_nobody_catches_fails_the_verdict(
    good: Any, baseline: Any, split: datasets.Split
) -> None:
    class BlindToLarge:
        threshold, classes_ = good.threshold, good.classes_

        def predict_proba(self, frame: pd.DataFrame) -> Any:
            scores = good.predict_proba(frame)[:, 1] * (frame["Amount"] < 100)
            return np.column_stack([1 - scores, scores])

    found = compared(BlindToLarge(), baseline, split.holdout)
    blind = replace(LOOSE, slice_minimum=5)
    failing = [g.name for g in evaluation.judge(found, blind).gates if g.status == "fail"]
    assert "recall, amount 100 to 1e+03" in failing or "recall, amount 100 to 1000" in failing
    unjudged = evaluation.judge(found, replace(blind, slice_minimum=1000))
    assert not [gate for gate in unjudged.gates if gate.name.startswith("recall, ")]


def test_the_latency_is_the_clocks(good: Any, baseline: Any, split: datasets.Split) -> None:
    found = compared(good, baseline, split.holdout, clock=steady(3.0))
    estimate = found.latency["candidate"]
    assert (estimate.value, estimate.n) == (pytest.approx(3.0), latency.LATENCY_ROWS)
    assert latency_gate(found, 3.1).status == "pass"
    assert latency_gate(found, 2.9).status == "fail"


def test_one_slow_row_does_not_move_the_latency(good: Any, split: datasets.Split) -> None:
    moments = iter([0.0, 60.0] + [100 + 0.002 * tick for tick in range(1000)])
    rows = split.holdout[[*data.FEATURES]]
    found = latency.one_row_ms(good, rows, 0.95, lambda: next(moments))
    assert found.value == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0)


def latency_gate(found: Evaluation, bound: float) -> Gate:
    verdict = evaluation.judge(found, rules(latency_ms=bound))
    return next(gate for gate in verdict.gates if gate.name.startswith("latency"))


def test_what_is_published_is_json_without_nan(baseline: Any, split: datasets.Split) -> None:
    # Flags nothing: its precision and the difference of it have no value.
    nothing = DummyClassifier(strategy="prior").fit(
        split.train[[*data.FEATURES]], split.train["Class"]
    )
    quiet = training.with_threshold(nothing, 0.9, split.train, data.TABLE)
    found = compared(quiet, baseline, split.holdout)
    verdict = evaluation.judge(found, LOOSE)
    published = found.summary(verdict, VERSION).data()
    text = json.dumps(published, allow_nan=False)
    assert json.loads(text) == published
    assert evaluation.read(json.loads(text), "a test").data() == published
    scores = {row["metric"]: row for row in published["scores"]}
    assert scores["precision"]["candidate"]["value"] is None
    assert scores["precision"]["difference"]["value"] is None
    assert scores["recall"]["candidate"]["value"] == 0.0
    assert published["verdict"]["status"] == "fail"
    assert "can't be computed" in " ".join(published["verdict"]["reasons"])


CALLS = Table(
    "calls",
    (
        Column("calls", "float"),
        Column("months", "float"),
        Column("left", "int", categories=(0, 1)),
    ),
    "binary",
    "left",
    (0, 1),
)


def test_other_data_name_their_own_columns() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(2000, 2)), columns=["calls", "months"])
    rows["left"] = (rows["calls"] + rng.normal(size=2000) * 0.3 > 1.2).astype(int)
    model = LogisticRegression().fit(rows[["calls", "months"]], rows["left"])
    other = LogisticRegression(C=1e-3).fit(rows[["calls", "months"]], rows["left"])
    found = compared(model, other, rows, table=CALLS)
    assert found.rows == 2000
    assert found.counts[1] == rows["left"].sum()
    assert found.slices == ()
    missed = (rows["left"] == 1) & (model.predict(rows[["calls", "months"]]) == 0)
    alarms = (rows["left"] == 0) & (model.predict(rows[["calls", "months"]]) == 1)
    spent = 20.0 * missed.sum() + 5.0 * alarms.sum()
    assert found.compared["cost"].candidate.value == pytest.approx(1000 * spent / 2000)
    verdict = evaluation.judge(found, LOOSE)
    json.dumps(found.summary(verdict, VERSION).data(), allow_nan=False)


def test_what_a_notebook_shows_names_both_models(usual: Evaluation) -> None:
    shown = usual._repr_markdown_()
    assert "| fraud v1 | fraud v2 |" in shown
    assert all(title in shown for title, *_ in usual.scores.values())
    assert "amount 10 to 100" in usual.slice_table._repr_markdown_()
    assert "**PASS**" in evaluation.judge(usual, LOOSE)._repr_markdown_()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rows": "12"}, "rows"),
        ({"schema_version": 3}, "schema_version"),
        ({"candidate": None}, "candidate"),
        ({"extra": 1}, "extra"),
        ({"verdict": {"status": "PASS", "sentence": "", "reasons": [], "gates": []}}, "status"),
    ],
)
def test_an_evaluation_of_another_form_is_refused_by_the_field(
    usual: Evaluation, change: dict[str, Any], named: str
) -> None:
    published = usual.summary(evaluation.judge(usual, LOOSE), VERSION).data()
    with pytest.raises(EvaluationError, match=rf"of an execution .*{named}"):
        evaluation.read({**published, **change}, "an execution")
