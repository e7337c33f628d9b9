"""Transactions for simulated customers, as `examples.customers` sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_kit.examples.fraud import data

if TYPE_CHECKING:
    import pandas as pd

# Yesterday's transactions, and those that come while the rollout is watched.
_ROWS = {"before": 24_000, "live": 60_000}
# The feature that an upstream service leaves out today, in this share of the transactions.
MISSING, MISSING_SHARE = "V28", 0.12


def generated(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return yesterday's and today's transactions, and how today's load differs.

    They are new ones by another seed than any that a model is trained on. One of eight of today
    lacks a feature, which no earlier one does.
    """
    before = data.generate(_ROWS["before"], seed=seed + 1_000)
    live = data.generate(_ROWS["live"], seed=seed + 2_000)
    place = data.FEATURES.index(MISSING)
    return before, live, {"missing": MISSING_SHARE, "missing_feature": place}
