"""Simulated customers send what no model was trained on, each transaction once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_kit import data
from mlops_kit.errors import DataError, ParameterError
from mlops_kit.examples.fraud import customers


def rows(frame: object) -> set[tuple[float, ...]]:
    return set(map(tuple, frame[["Time", "V1", "V2", "Amount"]].to_numpy()))  # type: ignore[index]


def test_live_traffic_needs_no_customers() -> None:
    assert customers.of("live", "generated") is None


def test_generated_customers_are_others_than_the_training_data_and_than_each_other() -> None:
    sent = customers.of("simulated", "generated", seed=7)
    assert sent is not None
    before, live, trained = rows(sent.before), rows(sent.live), rows(data.generate(120_000, seed=7))
    assert not before & live
    assert not (before | live) & trained
    assert sent.before["Class"].sum() >= 100


def test_a_data_set_s_latest_part_is_sent_and_nothing_that_a_model_learned_from(
    tmp_path: Path,
) -> None:
    saved = data.save(data.generate(20_000, seed=3), tmp_path)
    split = data.split(data.load(saved))
    sent = customers.of("simulated", str(saved))
    assert sent is not None
    before, live = rows(sent.before), rows(sent.live)
    assert before | live == rows(split.replay)
    assert not before & live
    assert len(before) > len(live)


def test_the_live_ones_are_sent_once_each_and_stop_in_time() -> None:
    sent = customers.of("simulated", "generated", rate=50.0, label_delay=2.0)
    assert sent is not None
    assert (sent.load.count, sent.load.rate, sent.load.label_delay) == (len(sent.live), 50.0, 2.0)
    assert sent.within(3.0).load.seconds == 3.0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_sends_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="rate is"):
        customers.of("simulated", "generated", rate=rate)


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        customers.of("simulated", str(tmp_path / "absent.csv"))
