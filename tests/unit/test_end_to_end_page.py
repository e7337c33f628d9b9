"""The page of what was run end to end has each cell, and a reason for each that didn't pass."""

from __future__ import annotations

import re

from tests.benchmarks import end_to_end
from tests.benchmarks.end_to_end_cells import cells


def test_each_estimator_and_each_input_was_run_with_each_task() -> None:
    said = end_to_end.listed()
    assert {*cells(whole=False)} <= said.keys() <= {*cells(whole=True)}
    for name, each in said.items():
        assert re.match(r"PASS \((csv|csv\.gz|parquet)\)$|[a-z-]+\.[a-z-]+: ", each), (name, each)
    pairs = {(each.task, each.input) for each in said}
    assert pairs == {(each.task, each.input) for each in cells(whole=True)}
