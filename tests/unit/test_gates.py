"""A gate passes on proof, fails on proof, and otherwise says that it can't tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.formatting import number
from mlops_kit.models.gates import Estimate, Gate, GateRule, Rules, Verdict

numbers = st.floats(0, 1)


def gate(value, low, high, bound=0.7, side="at_least", n=100, **more):
    return Gate("recall", Estimate(value, low, high, n), bound, side, 50, "positives", **more)


@pytest.mark.parametrize(
    ("low", "high", "side", "status"),
    [
        (0.71, 0.9, "at_least", "pass"),
        (0.70, 0.9, "at_least", "pass"),
        (0.60, 0.9, "at_least", "inconclusive"),
        (0.10, 0.69, "at_least", "fail"),
        (0.10, 0.69, "at_most", "pass"),
        (0.60, 0.9, "at_most", "inconclusive"),
        (0.71, 0.9, "at_most", "fail"),
    ],
)
def test_the_whole_interval_decides(low, high, side, status):
    assert gate((low + high) / 2, low, high, side=side).status == status


def test_too_few_rows_are_inconclusive_however_good_they_look():
    found = gate(1.0, 0.99, 1.0, n=49)
    assert found.status == "inconclusive"
    assert "rests on 49 positives; at least 50" in found.reason


def test_what_cannot_be_computed_is_inconclusive():
    assert gate(float("nan"), 0.0, 1.0).status == "inconclusive"


def test_a_tolerant_gate_fails_only_on_proof():
    assert gate(0.75, 0.5, 0.9, tolerant=True).status == "pass"
    assert gate(0.5, 0.4, 0.6, tolerant=True).status == "fail"


def test_one_failing_gate_fails_the_verdict_and_is_the_reason():
    verdict = Verdict((gate(0.9, 0.8, 1.0), gate(0.5, 0.4, 0.6)), "fraud v2", "fraud v1")
    assert verdict.status == "fail"
    assert verdict.sentence == "fraud v2 may not be promoted: 1 of 2 gates fail."
    assert len(verdict.reasons) == 1
    assert "0.4 to 0.6" in verdict.reasons[0]


def test_an_inconclusive_gate_outweighs_passing_ones():
    assert Verdict((gate(0.9, 0.8, 1.0), gate(0.7, 0.6, 0.8))).status == "inconclusive"


def test_a_verdict_without_gates_cannot_pass():
    assert Verdict(()).status == "inconclusive"


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=6))
def test_a_verdict_passes_only_if_every_gate_does(triples):
    gates = tuple(gate(value, *sorted((low, high))) for value, low, high in triples)
    verdict = Verdict(gates)
    assert (verdict.status == "pass") == (bool(gates) and all(g.status == "pass" for g in gates))


@given(numbers, numbers, numbers, st.integers(0, 200))
def test_more_of_the_interval_below_the_bound_never_helps(value, low, high, n):
    low, high = sorted((low, high))
    order = {"fail": 0, "inconclusive": 1, "pass": 2}
    better = gate(value, low, high, n=n)
    worse = gate(value, low / 2, high / 2, n=n)
    assert order[worse.status] <= order[better.status]


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"resamples": 1}, {"minimum": 0}])
def test_rules_that_make_intervals_meaningless_are_refused(wrong):
    with pytest.raises(ValueError, match="expected|must be"):
        Rules(**wrong)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (0.0, "0"), (1234.5, "1,234"), (float("nan"), "–"), (float("inf"), "–")],
)
def test_numbers_are_shown_in_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize("bounds", [{}, {"at_least": 0.1, "at_most": 0.2}])
def test_a_gate_needs_one_bound(bounds):
    with pytest.raises(ValueError, match="recall"):
        GateRule("recall", **bounds)
