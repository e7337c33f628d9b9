"""What an evaluation carries for its charts is what the rows say, for each task."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from mlops_kit.models import error_curves, intervals, slice_confusions
from mlops_kit.models.class_curves import MOST, ClassCurves
from mlops_kit.models.comparison import Comparison
from mlops_kit.models.error_curves import ErrorCurves
from mlops_kit.models.metric_sums import Judged
from tests import judged as made

FEW = made.classified(("a", "b", "c"))
MANY = made.classified([f"class {i:02}" for i in range(35)], rows=3_000)
MONEY = made.predicted()


def classes_of(comparison: Comparison) -> ClassCurves:
    found = ClassCurves.found(made.curves(comparison))
    assert found is not None
    return found


def errors_of(comparison: Comparison) -> ErrorCurves:
    found = ErrorCurves.found(made.curves(comparison))
    assert found is not None
    return found


@pytest.mark.parametrize("role", ["candidate", "reference"])
def test_a_confusion_matrix_counts_the_rows(role: str) -> None:
    judged = FEW.judged[role]
    counted = Counter(zip(judged.labels.tolist(), judged.decisions.tolist(), strict=True))
    matrix = getattr(classes_of(FEW).confusion, role)
    assert {(i, j): matrix[i][j] for i in range(3) for j in range(3) if matrix[i][j]} == counted


def test_the_recall_of_a_class_is_that_of_its_gate() -> None:
    recalls = classes_of(FEW).recalls
    gates = FEW.of(f"recall:{each.name}" for each in recalls)
    for each in recalls:
        gate = gates[f"recall:{each.name}"]
        assert (each.candidate.value, each.candidate.low) == (
            gate.candidate.value,
            gate.candidate.low,
        )
        assert each.difference.value == pytest.approx(
            (each.candidate.value or 0) - (each.reference.value or 0)
        )
        assert each.difference.high == gate.difference.high
    assert [each.candidate.low for each in recalls] == sorted(r.candidate.low or 0 for r in recalls)


def test_many_classes_become_those_of_the_most_errors_and_the_others() -> None:
    judged, found = MANY.judged["candidate"], classes_of(MANY)
    wrong = judged.labels != judged.decisions
    errors = Counter(judged.labels[wrong].tolist()) + Counter(judged.decisions[wrong].tolist())
    least = sorted(errors.values(), reverse=True)[MOST - 2]
    kept = [MANY.table.classes.index(name) for name in found.classes[:-1]]
    assert kept == sorted(kept)
    assert len(kept) == MOST - 1
    assert all(errors[each] >= least for each in kept)
    assert (found.classes[-1], found.others) == ("16 others", 16)
    matrix = np.array(found.confusion.candidate)
    assert matrix.shape == (MOST, MOST)
    assert matrix.sum() == len(judged.labels)
    assert matrix[0].sum() == (judged.labels == kept[0]).sum()
    assert matrix[-1, :-1].sum() == sum(
        label not in kept and decided in kept
        for label, decided in zip(judged.labels, judged.decisions, strict=True)
    )


def test_the_most_frequent_errors_are_of_all_classes() -> None:
    judged, first = MANY.judged["candidate"], classes_of(MANY).confused[0]
    wrong = judged.labels != judged.decisions
    pairs = zip(judged.labels[wrong].tolist(), judged.decisions[wrong].tolist(), strict=True)
    assert first.candidate == max(Counter(pairs).values())
    assert first.truth != first.predicted


def test_classes_of_few_rows_come_last() -> None:
    rows = [each.candidate.n for each in classes_of(MANY).recalls]
    is_few = [count < MANY.rules.slice_minimum for count in rows]
    assert any(is_few)
    assert is_few == sorted(is_few)


@pytest.mark.parametrize("role", ["candidate", "reference"])
def test_the_quantiles_are_those_of_the_absolute_errors(role: str) -> None:
    judged, found = MONEY.judged[role], errors_of(MONEY)
    expected = np.quantile(np.abs(judged.scores - judged.labels), found.quantiles)
    model = getattr(found, role)
    assert [each.value for each in model.absolute] == pytest.approx(expected, rel=1e-4)
    assert all(each.low <= each.value <= each.high for each in model.absolute)


def test_errors_by_size_are_of_every_row_once_and_smallest_first() -> None:
    size = errors_of(MONEY).candidate.by_size
    judged = MONEY.judged["candidate"]
    assert size.at == sorted(size.at)
    assert [each.n for each in size.error] == [60] * 10
    bias = sum((each.value or 0) * each.n for each in size.bias) / 600
    assert bias == pytest.approx((judged.scores - judged.labels).mean(), rel=1e-3)
    assert (size.error[-1].value or 0) > 3 * (size.error[0].value or 0)


def test_equal_predictions_are_one_group() -> None:
    labels = np.arange(100.0)
    flat = Judged(labels, np.full(100, 50.0), made.NONE, labels)
    found = error_curves.of({"candidate": flat, "reference": flat}, 0.95)
    assert found.candidate.by_size.at == [50.0]
    assert found.candidate.by_size.bias[0].value == pytest.approx(0.5)


def test_a_single_row_has_no_interval_of_its_mean() -> None:
    one = Judged(np.array([3.0]), np.array([5.0]), made.NONE, np.zeros(1))
    found = error_curves.of({"candidate": one, "reference": one}, 0.95)
    (bias,) = found.candidate.by_size.bias
    assert (bias.value, bias.low, bias.high) == (2.0, None, None)


def test_a_mean_has_students_interval() -> None:
    # Student's own sleep data (Biometrika 6, 1908): hours gained by the second drug.
    gained = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = intervals.mean(gained)
    assert found.value == pytest.approx(2.33)
    assert (found.low, found.high) == (
        pytest.approx(0.898, abs=1e-3),
        pytest.approx(3.762, abs=1e-3),
    )


def test_the_confusion_of_a_slice_counts_its_rows() -> None:
    comparison = made.classified(("no", "yes"))
    found = slice_confusions.read(made.curves(comparison))
    assert [each.name for each in found] == [f"city {city}" for city in made.CITIES]
    for each, city in zip(found, made.CITIES, strict=True):
        mask = (comparison.holdout["city"] == city).to_numpy()
        judged = comparison.judged["candidate"].at(mask)
        counts = each.candidate
        assert counts.true_positives + counts.false_negatives == judged.labels.sum()
        assert counts.true_positives + counts.false_positives == judged.decisions.sum()
        assert sum(counts.model_dump().values()) == mask.sum()


@pytest.mark.parametrize("comparison", [FEW, MANY, MONEY, made.classified(("no", "yes"))])
def test_what_travels_is_json_and_small(comparison: Comparison) -> None:
    found = made.curves(comparison)
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert len(text) < 30_000


def test_data_of_another_form_are_not_read() -> None:
    assert ClassCurves.found(made.curves(MONEY)) is None
    assert ErrorCurves.found(made.curves(FEW)) is None
    assert ClassCurves.found({"models": {"candidate": {"confusion": [[1]]}}}) is None
    assert slice_confusions.read({}) == []
