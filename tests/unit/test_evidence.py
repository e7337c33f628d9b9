from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.rollouts import evidence, relative_rates
from mlops_kit.rollouts.criteria import BINARY, total
from mlops_kit.rollouts.evidence import Burst, Bursts, Metric
from mlops_kit.rollouts.metrics import counts, times
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality
from mlops_kit.rollouts.sequential_tests import Side, interval, log_e, log_mean, log_paired
from tests.qualities import binary

POLICY = Policy(recall=0.85, precision=0.90, error_rate=0.05, slow_share=0.01, interval=60.0)
SIDES: tuple[Side, ...] = ("<", ">")


def exact(s: int, n: int, bound: Fraction, side: Side) -> float:
    """The uniform prior's evidence by integers alone: P(Beta > p) is a sum of binomials."""
    if side == "<":
        s, bound = n - s, 1 - bound
    p, q = bound, 1 - bound
    above = sum(math.comb(n + 1, k) * p**k * q ** (n + 1 - k) for k in range(s + 1))
    value = above / ((n + 1) * math.comb(n, s)) / (q * p**s * q ** (n - s))
    return math.log(value.numerator) - math.log(value.denominator)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("s", "n", "bound"),
    [
        (0, 0, Fraction(1, 20)),
        (3, 812, Fraction(1, 20)),
        (61, 812, Fraction(1, 20)),
        (812, 882, Fraction(17, 20)),
        (1, 1, Fraction(1, 1000)),
        # Here the incomplete beta function underflows on one side.
        (0, 1500, Fraction(1, 2)),
        (5, 1500, Fraction(9, 10)),
        (1490, 1500, Fraction(1, 100)),
        (20, 2500, Fraction(1, 4)),
        (30, 2500, Fraction(1, 4)),
        (20, 1900, Fraction(1, 4)),
    ],
)
def test_evidence_is_the_exact_value(s: int, n: int, bound: Fraction, side: Side) -> None:
    assert float(log_e(s, n, float(bound), side)) == pytest.approx(
        exact(s, n, bound, side), rel=1e-9, abs=1e-9
    )


def test_evidence_of_a_billion_events_is_the_approximation_of_laplace() -> None:
    n, s, bound = 10**9, 10**6 * 50 + 10**5, 0.05
    share = s / n
    divergence = share * math.log(share / bound) + (1 - share) * math.log((1 - share) / (1 - bound))
    width = math.log(2 * math.pi * share * (1 - share) / n) / 2
    laplace = n * divergence + width - math.log(1 - bound)
    assert float(log_e(s, n, bound, ">")) == pytest.approx(laplace, abs=1e-4)


@given(
    n=st.integers(0, 10**9),
    share=st.floats(0, 1),
    bound=st.floats(1e-6, 1 - 1e-6),
    side=st.sampled_from(SIDES),
)
@settings(deadline=None)
def test_evidence_is_a_number_whatever_the_counts(
    n: int, share: float, bound: float, side: Side
) -> None:
    assert np.isfinite(log_e(int(n * share), n, bound, side))


@given(n=st.integers(1, 10**6), share=st.floats(0, 1), bound=st.floats(0.001, 0.999))
@settings(deadline=None)
def test_the_same_counts_never_prove_both_sides(n: int, share: float, bound: float) -> None:
    s = int(n * share)
    both = log_e(s, n, bound, ">"), log_e(s, n, bound, "<")
    assert min(both) < math.log(20)


def test_evidence_of_one_more_event_is_fair_at_the_bound() -> None:
    # An e-process is a martingale there: the mean of what comes next is what is now.
    for s, n in [(0, 0), (3, 40), (40, 41), (7, 900)]:
        now = math.exp(float(log_e(s, n, 0.3, ">")))
        hit, miss = (math.exp(float(log_e(s + x, n + 1, 0.3, ">"))) for x in (1, 0))
        assert 0.3 * hit + 0.7 * miss == pytest.approx(now)


def test_evidence_at_the_bound_rarely_ever_reaches_its_limit() -> None:
    rng = np.random.default_rng(7)
    s = np.cumsum(rng.random((1000, 2000)) < 0.85, axis=1)
    ever = log_e(s, np.arange(1, 2001), 0.85, ">").max(axis=1) >= math.log(20)
    # 5 % at most by theory; three standard errors of 1,000 runs above it.
    assert ever.mean() <= 0.07


@pytest.mark.parametrize(("s", "n", "bound"), [(-1, 3, 0.5), (4, 3, 0.5), (1, 3, 1.0), (1, 3, 0.0)])
def test_counts_that_cannot_be_are_refused(s: int, n: int, bound: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= s <= n"):
        log_e(s, n, bound, ">")


def test_an_interval_ends_where_the_evidence_reaches_its_limit() -> None:
    low, high = interval(812, 882, 0.05)
    assert float(log_e(812, 882, low, ">")) == pytest.approx(math.log(20), abs=0.01)
    assert float(log_e(812, 882, high, "<")) == pytest.approx(math.log(20), abs=0.01)
    assert interval(0, 0, 0.05) == (0.0, 1.0)
    assert interval(0, 88, 0.05)[0] == 0.0


def test_a_paired_test_asks_who_fails_more_on_the_same_rows() -> None:
    assert float(log_paired(0, 0, 0, 2.0)) == pytest.approx(0.0)
    assert float(log_paired(60, 5, 20, 2.0)) > math.log(20)
    # Exactly twice as many misses, and many rows that both fail: nothing is proved.
    assert float(log_paired(300, 0, 300, 2.0)) < 0
    assert float(log_paired(0, 60, 20, 2.0)) < 0


def test_a_paired_bet_is_fair_under_its_null() -> None:
    worse, better, both = 9, 4, 6
    now = math.exp(float(log_paired(worse, better, both, 2.0)))
    more = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    after = [math.exp(float(log_paired(worse + w, better + b, both + x, 2.0))) for w, b, x in more]
    # The first fails in 0.6 of the rows and the second in 0.3: exactly twice as often.
    chances = (0.5, 0.2, 0.1)
    mean = sum(chance * value for chance, value in zip(chances, after, strict=True))
    assert mean + 0.2 * now == pytest.approx(now)


def test_a_mean_of_evidence_does_not_overflow() -> None:
    assert float(log_mean([1e6, 0.0])) == pytest.approx(1e6 - math.log(2))


def block(weight: int, minute: int, candidate: Arm, champion: Arm) -> Block:
    return Block(weight, 60.0 * minute, candidate, champion)


def ramp(errors: float, slow: float, champion_errors: float = 0.01) -> list[Block]:
    return [
        block(
            weight,
            minute,
            Arm(60 * weight, int(60 * weight * errors), int(60 * weight * slow)),
            Arm(
                60 * (100 - weight),
                int(60 * (100 - weight) * champion_errors),
                int(60 * (100 - weight) * 0.004),
            ),
        )
        for minute, weight in enumerate((10, 20, 30, 40, 50))
    ]


def harm(metrics: Sequence[Metric], among: int = total(POLICY, BINARY)) -> float:
    return evidence.harm(metrics, among)


def named(metrics: tuple[Metric, ...]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def test_a_good_canary_is_proved_and_a_bad_one_is_blamed() -> None:
    good = evidence.of_canary(POLICY, ramp(0.01, 0.004), Bursts())
    assert evidence.promotes(good, 0.05)
    assert harm(good) < 0
    errors = evidence.of_canary(POLICY, ramp(0.08, 0.004), Bursts())
    assert not evidence.promotes(errors, 0.05)
    assert harm(errors) > math.log(20)
    assert harm(evidence.of_canary(POLICY, ramp(0.01, 0.03), Bursts())) > math.log(20)


def test_an_outage_of_both_versions_is_not_the_candidates_fault() -> None:
    blocks = ramp(0.30, 0.004, champion_errors=0.30)
    metrics = evidence.of_canary(POLICY, blocks, Bursts())
    assert harm(metrics) < 0
    assert not evidence.promotes(metrics, 0.05)
    assert evidence.fail_together(POLICY, blocks) == ("errors",)
    assert evidence.fail_together(POLICY, ramp(0.30, 0.004)) == ()
    assert evidence.fail_together(POLICY, []) == ()


def test_a_candidate_within_its_bound_goes_back_if_it_is_over_twice_as_bad() -> None:
    metrics = evidence.of_canary(POLICY, ramp(0.04, 0.004, champion_errors=0.01), Bursts())
    assert harm(metrics) > math.log(20)


def test_a_candidate_with_all_traffic_is_held_to_its_bound_alone() -> None:
    blocks = [block(100, minute, Arm(600, 90, 0), Arm()) for minute in range(3)]
    assert harm(evidence.of_canary(POLICY, blocks, Bursts())) > math.log(20)


def test_busy_clients_beyond_the_weight_are_not_blamed_on_the_candidate() -> None:
    # 10 % of the clients bring 20 % of the requests, and of the errors.
    blocks = [block(10, 0, Arm(20_000, 1200, 0), Arm(80_000, 4800, 0))]
    assert named(evidence.of_canary(POLICY, blocks, Bursts()))["errors"].log_against < 0


@given(st.permutations(list(range(6))), st.floats(0, 2))
@settings(deadline=None, max_examples=30)
def test_the_order_of_blocks_does_not_matter(order: list[int], variation: float) -> None:
    blocks = [*ramp(0.03, 0.007), block(0, 9, Arm(), Arm(600, 6, 1))]
    bursts = Bursts(Burst(variation, 0.01), Burst(variation, 0.004))
    shuffled = [blocks[i] for i in order]
    assert evidence.of_canary(POLICY, shuffled, bursts) == evidence.of_canary(
        POLICY, blocks, bursts
    )


def test_blocks_of_a_restart_count_as_if_there_had_been_none() -> None:
    whole = [block(10, 0, Arm(600, 6, 2), Arm(5400, 54, 20))]
    halves = [block(10, 0, Arm(300, 2, 1), Arm(2700, 27, 10))]
    halves.append(block(10, 1, Arm(300, 4, 1), Arm(2700, 27, 10)))
    assert evidence.of_canary(POLICY, whole, Bursts()) == evidence.of_canary(
        POLICY, halves, Bursts()
    )


def test_bursts_make_events_count_for_less() -> None:
    quiet = named(evidence.of_canary(POLICY, ramp(0.08, 0.004), Bursts()))["errors"]
    stormy = named(evidence.of_canary(POLICY, ramp(0.08, 0.004), Bursts(Burst(1.0, 0.01))))[
        "errors"
    ]
    assert stormy.counted[1] < quiet.counted[1] == quiet.n
    assert 0 < stormy.log_against < quiet.log_against
    assert "counted as" in stormy.seen
    assert "counted as" not in quiet.seen


def test_bursts_are_estimated_from_a_champions_blocks() -> None:
    rng = np.random.default_rng(3)
    size = (1 - 0.01) / 0.01 - 1
    rates = rng.beta(0.01 * size, 0.99 * size, 4000)
    stormy = [Arm(6000, int(rng.binomial(6000, rate)), 0) for rate in rates]
    assert evidence.bursts(stormy).errors.variation == pytest.approx(1.0, rel=0.1)
    calm = [Arm(6000, int(rng.binomial(6000, 0.01)), 60) for _ in range(4000)]
    assert evidence.bursts(calm).errors.variation < 0.01
    assert evidence.bursts(calm).errors.rate == pytest.approx(0.01, rel=0.01)
    assert evidence.bursts(calm).slow == Burst(0.0, 0.01)
    assert evidence.bursts([]) == Bursts()
    assert evidence.bursts([Arm(5, 1, 0)]).errors == Burst(0.0, 0.2)


def test_a_replay_proves_recall_precision_and_failures() -> None:
    rows = {"mature": 20_000, "labelled": 19_500}
    quality = binary(882, 812, 850, 20, 30, **rows, failed=3)
    metrics = named(evidence.of_replay(POLICY, quality))
    assert set(metrics) == {"recall", "precision", "failures"}
    assert evidence.promotes(metrics.values(), 0.05)
    broken = replace(quality, failed=2000)
    assert harm(evidence.of_replay(POLICY, broken)) > math.log(20)
    missing = binary(882, 640, 680, 190, 0, **rows, failed=3)
    assert harm(evidence.of_replay(POLICY, missing)) > math.log(20)


def test_a_replay_without_labels_says_nothing() -> None:
    metrics = evidence.of_replay(POLICY, Quality())
    assert [metric.log_for for metric in metrics] == [0.0] * 3
    assert harm(metrics) == pytest.approx(0.0)


def test_too_few_labels_of_live_answers_say_nothing() -> None:
    few = binary(100, 10, 10, mature=10_000, labelled=5000)
    assert all(metric.n == 0 for metric in evidence.of_live(POLICY, few))
    enough = replace(few, labelled=9500)
    assert harm(evidence.of_live(POLICY, enough), 2) > math.log(20)


def test_one_metric_alone_must_speak_seven_times_as_loud() -> None:
    metric = evidence.of_replay(POLICY, Quality())[0]
    loud = replace(metric, log_against=math.log(140))
    assert harm([loud]) == pytest.approx(math.log(146 / 7))


def test_qualities_add() -> None:
    both = binary(1, 2, 3, 4, 5, mature=6, labelled=7, failed=8) + binary(
        1, 1, 1, 1, 1, mature=1, labelled=1, failed=1
    )
    assert both == binary(2, 3, 4, 5, 6, mature=7, labelled=8, failed=9)
    assert Quality.from_json(both.to_json()) == both
    assert Quality.from_json({"frauds": 1, "caught": 1}) is None


def test_a_broken_split_is_told_from_a_small_one() -> None:
    assert not relative_rates.is_split_broken(110, 1000, 10)
    assert not relative_rates.is_split_broken(0, 20, 10)
    assert relative_rates.is_split_broken(200, 1000, 10)
    assert relative_rates.is_split_broken(0, 1000, 10)
    assert not relative_rates.is_split_broken(1000, 1000, 100)
    assert not relative_rates.is_split_broken(0, 0, 50)


def test_evidence_in_words_names_counts_bound_and_what_is_needed() -> None:
    metrics = evidence.of_canary(POLICY, ramp(0.01, 0.004), Bursts())
    assert metrics[0].sentence(0.05) == (
        "errors 90 of 9,000 (1.0 %, bound at most 5.0 %, champion 1.0 %): "
        "evidence over 1,000,000x, needs 20x, proved"
    )
    unseen = evidence.of_replay(POLICY, Quality())[0]
    assert "recall not seen yet" in unseen.sentence(0.05)
    assert "not yet proved" in unseen.sentence(0.05)
    assert counts(metrics, 0.05) == "errors=90/9000 slow=34/9000 alpha=0.05"
    assert [times(math.log(x)) for x in (0.5, 2.34, 240.4)] == ["below 1x", "2.3x", "240x"]
