"""Rows of a declared table where there is no traffic: as declared, and fit for its model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from mlops_kit.tables import contract, simulated, splits
from tests.failures import fails
from tests.unit.test_contract import TASKS, frame, table

__all__ = ["frame"]


@pytest.mark.parametrize("task", TASKS)
def test_rows_drawn_from_a_declaration_keep_it(task: str) -> None:
    declared = table(task)
    made = simulated.rows(declared, 2_000)
    found = contract.examine(made, declared)
    assert {rule.name for rule in found.rules if rule.status != "pass"} <= {"future"}, found.reasons
    assert len(declared.inputs(made)) == len(declared.labels(made)) == 2_000
    assert made["city"].isna().mean() == pytest.approx(0.05, abs=0.02)
    assert simulated.rows(declared, 2_000, missing=0.0)["city"].notna().all()


def test_the_same_seed_gives_the_same_rows() -> None:
    first, again = (simulated.rows(table(), 50, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert not simulated.rows(table(), 50, seed=4).equals(first)


@pytest.mark.parametrize("count", [10, 1_000])
def test_rows_of_data_are_those_that_no_model_learned_from(frame: pd.DataFrame, count: int) -> None:
    kept = splits.split(frame, table()).replay
    made = simulated.rows(table(), count, data=frame)
    pd.testing.assert_frame_equal(made[:10], kept[:10])
    assert len(made) == count
    assert set(made["price"]) <= set(kept["price"])
    assert made["price"].value_counts().max() <= -(-count // len(kept))


@pytest.mark.parametrize("given", [{"count": 0}, {"count": 5, "missing": 1.0}], ids=str)
def test_what_cannot_be_made_is_refused(given: dict[str, Any]) -> None:
    with fails("parameter", *given.values()):
        simulated.rows(table(), **given)
