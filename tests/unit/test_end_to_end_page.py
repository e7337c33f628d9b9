"""The page of what was run end to end has each cell, and a reason for each that didn't pass."""

from __future__ import annotations

import re

from tests.benchmarks import end_to_end
from tests.benchmarks.end_to_end_cells import cells


def test_each_cell_was_run_and_says_what_came_of_it() -> None:
    said = end_to_end.listed()
    assert said.keys() == {*cells(whole=True)}
    for name, each in said.items():
        assert re.match(r"PASS \((csv|csv\.gz|parquet)\)$|[a-z-]+\.[a-z-]+: ", each), (name, each)
