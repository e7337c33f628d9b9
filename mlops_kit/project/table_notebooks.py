"""The notebooks that a new model starts with, for the table and the task that it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_kit.tables.guessing import Guess


from mlops_kit.project.train_notebook import dataset, quoted, train

_PARAMETERS = "parameters"


def notebooks(guess: Guess, data: str, environment: str) -> dict[str, str]:
    """Return the notebooks of a guessed table as JSON, by the step that they are for."""
    found = {
        "validate_data": _validate(guess, data),
        "train": train(guess, data),
        "evaluate": _evaluate(guess, data, environment),
    }
    return {name: as_json(cells) for name, cells in found.items()}


def as_json(cells: Mapping[str, str]) -> str:
    """Return a notebook: a cell an entry, by its id; `title` and `about-…` are Markdown."""
    made: list[dict[str, Any]] = []
    for name, text in cells.items():
        lines = text.strip().splitlines(keepends=True)
        if name == "title" or name.startswith("about-"):
            made.append({"cell_type": "markdown", "id": name, "metadata": {}, "source": lines})
            continue
        tags = {"tags": [_PARAMETERS]} if name == _PARAMETERS else {}
        made.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": name,
                "metadata": tags,
                "outputs": [],
                "source": lines,
            }
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": made,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _validate(guess: Guess, data: str) -> dict[str, str]:
    name = guess.table.name
    tolerated = max(0.01, round(guess.duplicates * 1.5 + 0.005, 2))
    return {
        "title": f"""
# Can {name} be learned from these rows?

Bad data make a bad model that looks like a good one. This notebook reads the rows, holds them against the table's declaration in `workflows/tables`, and keeps a snapshot that the next steps share. Rows that break the contract end the run here, with the reasons.
""",
        "parameters": f"""
data: str = {quoted(data)}  # a file, a folder, a URL, or SQL
model: str = {quoted(name)}  # the registered name, and its table's
""",
        "setup": """
from mlops_kit import Workspace, datasets, publish

workspace = Workspace.open()
""",
        "about-table": "## What is declared?",
        "table": "workspace.table(model)",
        "about-data": "## What is there?",
        "load": """
rows = workspace.rows(data, model)
rows.summary()
""",
        "about-contract": """
## Do the rows keep the contract?

Types, ranges, missing values, labels, duplicates, and no column that gives the label away.
""",
        "contract": f"""
contract = rows.examine(duplicates={tolerated:g})
contract
""",
        "insist": "contract.raise_if_failed()",
        "about-split": """
## How are they split?

A model learns from the first part, its scores are calibrated on the second, and it is judged on the third. No step learns from the last, which stands for later traffic.
""",
        "split": "rows.split()",
        "publish": "publish(dataset=datasets.save(rows.frame, workspace.datasets))",
    }


def _evaluate(guess: Guess, data: str, environment: str) -> dict[str, str]:
    kit = ["Workspace", "curves", "evaluation", "figures", "publish", "reports"]
    return {
        "title": """
# Is the candidate good enough to serve?

Both models score the same rows, which neither learned from. The candidate has to meet the bounds in `mlops-kit.toml`, and must not be worse than the champion, or than the baseline where there is no champion yet. Too few rows to tell is a verdict of its own.
""",
        "parameters": f"""
from typing import Literal

{dataset(guess, data)}
candidate: str = ""  # version to judge; empty: the newest candidate
baseline: str = ""  # version to beat where there is no champion; empty: the newest baseline
environment: str = {quoted(environment)}  # whose champion has to be beaten
promotion: Literal["automatic", "manual"] = "automatic"  # manual: a person does, in the panel
force_gate: bool = False  # promote whatever the verdict; the commit says so
""",
        "setup": f"""
from mlops_kit import {", ".join(sorted(kit, key=lambda each: (each.islower(), each)))}

workspace = Workspace.open()
table, rules = workspace.table(model), workspace.rules(model)
""",
        "about-models": "## Who meets whom?",
        "models": """
challenger = workspace.model_version(model, candidate, role="candidate")
reference = workspace.reference(model, environment, otherwise=baseline)
reports.versions(candidate=challenger, reference=reference)
""",
        "about-compare": """
## Which is better on the same rows?

In brackets the 95 % interval. The difference is paired, row by row, so it is sharper than its two parts.
""",
        "compare": """
split = workspace.rows(dataset, model).split()
compared = evaluation.compare(
    workspace.registry.load(challenger, challenger.digest, table),
    workspace.registry.load(reference, reference.digest),
    split.holdout,
    table,
    names={"candidate": str(challenger), "reference": str(reference)},
    costs=workspace.costs(model),
    rules=rules,
    note=split.note,
)
compared
""",
        **_CURVES[guess.table.task],
        "about-slices": "## Does any slice fare badly?\n\nThe worst first.",
        "slices": "compared.slice_table",
        **(_BY_SLICE if guess.table.task == "binary" else {}),
        "about-verdict": """
## May it be promoted?

A gate passes only if its whole interval keeps the bound, and fails only if the whole interval breaks it.
""",
        "judge": """
verdict = evaluation.judge(compared, rules)
workspace.registry.tag(challenger, verdict=verdict.status)
summary = compared.summary(verdict, challenger, reference)
verdict
""",
        "publish": """
publish(
    verdict=verdict.status,
    decision=verdict.decision(force_gate, by_person=promotion == "manual"),
    evaluation=summary.data(),
)
""",
    }


_CURVES = {
    "binary": {
        "about-curves": "## Where does the difference come from?\n\nThe reference is dashed.",
        "precision-recall": "figures.explore(curves.precision_recall(compared))",
        "calibration": "figures.explore(curves.calibration(compared))",
        "cost": "figures.explore(curves.cost_by_threshold(compared))",
    },
    "multiclass": {
        "about-curves": """
## Which classes does it take for which?

The recall of each class, worst first, then what the candidate takes each class for.
""",
        "recall-table": "reports.recalls(compared)",
        "recalls": "figures.explore(curves.recalls(compared))",
        "confusion": "figures.explore(curves.confusion(compared))",
    },
    "regression": {
        "about-curves": """
## How large are the errors, and where?

By share of the rows, and by the size of the prediction. The reference is dashed.
""",
        "error-quantiles": "figures.explore(curves.error_quantiles(compared))",
        "error-by-size": "figures.explore(curves.error_by_size(compared))",
        "bias-by-size": "figures.explore(curves.bias_by_size(compared))",
    },
}
_BY_SLICE = {"confusion-by-slice": "reports.confusion_by_slice(compared)"}
