"""Reads a CatBoost model from standard input and uses it, in a process that may crash.

Run by `booster_files` as a module. The trees are exported as JSON, in which their sizes are
checked, and rows of all kinds are scored.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_ROWS = 64
_MAX_MEMORY = 16 * 2**30


def main() -> None:
    """Exit with 0 only for a model that could be read, checked and used."""
    import resource

    import catboost

    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    model = catboost.CatBoost()
    model.load_model(blob=sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        exported = json.loads(file.read_text())
    _check(exported)
    categorical = set(model.get_cat_feature_indices())
    width = len(model.feature_names_)
    rows: list[list[Any]] = []
    generator = np.random.default_rng(0)
    for number in range(_ROWS):
        scale = 10.0 ** (number % 8 - 3)
        rows.append([*(generator.normal(size=width) * scale)])
        for column in range(width):
            if column in categorical:
                rows[-1][column] = f"category {number}"
            elif generator.random() < 0.1:
                rows[-1][column] = float("nan")
    model.predict(rows, prediction_type="RawFormulaVal")


def _check(exported: dict[str, Any]) -> None:
    outputs = len(exported["scale_and_bias"][1]) or 1
    for tree in exported.get("oblivious_trees", []):
        if len(tree["leaf_values"]) != outputs * 2 ** len(tree["splits"] or []):
            raise ValueError("a tree has no value for each leaf")


if __name__ == "__main__":
    main()
