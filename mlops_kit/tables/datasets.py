"""Read the rows of a table, check them, cut them and keep them: the one module to import for it."""

from __future__ import annotations

from mlops_kit.tables.contract import check, examine
from mlops_kit.tables.loading import Rows, load
from mlops_kit.tables.reading import read
from mlops_kit.tables.rules import Contract, Rule
from mlops_kit.tables.snapshots import fingerprint, save
from mlops_kit.tables.splits import Split, sort_by_time, split
from mlops_kit.tables.summaries import Summary, summary

__all__ = [
    "Contract",
    "Rows",
    "Rule",
    "Split",
    "Summary",
    "check",
    "examine",
    "fingerprint",
    "load",
    "read",
    "save",
    "sort_by_time",
    "split",
    "summary",
]
