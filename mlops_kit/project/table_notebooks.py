"""The notebooks that a new model starts with, for the table and the task that it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_kit.tables.guessing import Guess


_PARAMETERS = "parameters"


def notebooks(guess: Guess, data: str, environment: str) -> dict[str, str]:
    """Return the notebooks of a guessed table as JSON, by the step that they are for."""
    found = {
        "validate_data": _validate(guess, data),
        "train": _train(guess, data),
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


def quoted(text: str) -> str:
    """Return text as Python spells it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _dataset(guess: Guess, data: str) -> str:
    return (
        f"dataset: str = {quoted(data)}  # a snapshot, or any source of rows\n"
        f"model: str = {quoted(guess.table.name)}  # the registered name, and its table's"
    )


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
table = workspace.table(model)
""",
        "about-table": "## What is declared?",
        "table": "table",
        "about-data": "## What is there?",
        "load": """
frame = datasets.sort_by_time(datasets.read(data, table), table)
datasets.summary(frame, table)
""",
        "about-contract": """
## Do the rows keep the contract?

Types, ranges, missing values, labels, duplicates, and no column that gives the label away.
""",
        "contract": f"""
contract = datasets.examine(frame, table, duplicates={tolerated:g})
contract
""",
        "insist": "contract.raise_if_failed()",
        "about-split": """
## How are they split?

A model learns from the first part, its scores are calibrated on the second, and it is judged on the third. No step learns from the last, which stands for later traffic.
""",
        "split": "datasets.split(frame, table)",
        "publish": "publish(dataset=datasets.save(frame, workspace.datasets))",
    }


_ESTIMATORS = {
    "binary": ("LogisticRegression", "HistGradientBoostingClassifier"),
    "multiclass": ("LogisticRegression", "HistGradientBoostingClassifier"),
    "regression": ("Ridge", "HistGradientBoostingRegressor"),
}
_COLUMNS = """
numbers = make_pipeline(
    SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
)
words = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=30, sparse_output=False)
columns = ColumnTransformer([("numbers", numbers, table.numbers), ("words", words, table.texts)])
columns
"""


_SEEN = {
    "about-columns": """
## How does it see the columns?

Missing numbers become the median, words a column each; a word that is rare or new is one of the rest.
""",
    "columns": _COLUMNS,
}


def _train(guess: Guess, data: str) -> dict[str, str]:
    table = guess.table
    baseline, candidate = _ESTIMATORS[table.task]
    is_classifier = table.task != "regression"
    settings = 'class_weight="balanced", max_iter=1000' if is_classifier else ""
    fit = "estimator = estimators[role].fit(table.inputs(split.train), table.labels(split.train))"
    boosting = f"{candidate}(learning_rate=0.05, max_iter=200, random_state=7)"
    # Boosting copes with missing numbers by itself, and is served faster alone.
    linear = (
        f"make_pipeline(columns, {baseline}({settings}))"
        if table.texts
        else f"""make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), {baseline}({settings})
    )"""
    )
    cells = {
        "title": f"""
# Which model should predict {table.label}?

A baseline that everybody understands and a candidate that should beat it. Either becomes a version in the registry, with the data, code and notebook that made it; neither serves anybody yet.
""",
        "parameters": f"""
from typing import Literal

{_dataset(guess, data)}
role: Literal["baseline", "candidate"] = "candidate"  # which of the two to train
""",
        "setup": _imports(guess, baseline, candidate),
        "about-data": "## What does it learn from?",
        "data": """
split = datasets.split(datasets.read(dataset, table), table)
split
""",
        **(_SEEN if table.texts else {}),
        "about-estimator": "## What is the model?\n\nPlain scikit-learn: change it here.",
        "estimator": f"""
estimators = {{
    "baseline": {linear},
    "candidate": {f"make_pipeline(columns, {boosting})" if table.texts else boosting},
}}
{fit}
estimator
""",
    }
    return cells | (_calibration(guess) if is_classifier else {}) | _registration(guess)


def _imports(guess: Guess, baseline: str, candidate: str) -> str:
    is_classifier = guess.table.task != "regression"
    kit = ["Workspace", "datasets", "publish", "training"]
    kit += ["curves", "figures"] if guess.table.task == "binary" else []
    lines = [
        *(["from sklearn.calibration import CalibratedClassifierCV"] if is_classifier else []),
        *(["from sklearn.compose import ColumnTransformer"] if guess.table.texts else []),
        f"from sklearn.ensemble import {candidate}",
        *(["from sklearn.frozen import FrozenEstimator"] if is_classifier else []),
        "from sklearn.impute import SimpleImputer",
        f"from sklearn.linear_model import {baseline}",
        "from sklearn.pipeline import make_pipeline",
        f"from sklearn.preprocessing import {'OneHotEncoder, ' * bool(guess.table.texts)}"
        "StandardScaler",
        "",
        f"from mlops_kit import {', '.join(sorted(kit, key=lambda each: (each.islower(), each)))}",
        "",
        "workspace = Workspace.open()",
        "table = workspace.table(model)",
    ]
    return "\n".join(lines)


def _calibration(guess: Guess) -> dict[str, str]:
    """Return the cells that make scores probabilities, and of two classes choose a threshold."""
    calibrate = """
calibrated = CalibratedClassifierCV(FrozenEstimator(estimator), method="sigmoid", ensemble=False)
calibrated.fit(table.inputs(split.calibrate), table.labels(split.calibrate))
"""
    about = """
## Is a score of 0.2 right one time in five?

Calibrated on rows that the model wasn't fitted on.
"""
    if guess.table.task != "binary":
        return {"about-calibration": about, "calibrate": calibrate}
    return {
        "about-calibration": about,
        "calibrate": f"{calibrate}figures.explore(curves.scores(calibrated, split.calibrate, table))",
        "about-threshold": """
## From which score is it worth acting?

Acting in vain and not acting where it was needed have their costs: `[costs]` in `mlops-kit.toml`.
""",
        "threshold": """
threshold = training.choose_threshold(
    calibrated, split.calibrate, table, costs=workspace.settings.costs
)
threshold
""",
        "costs": "figures.explore(curves.costs(threshold))",
    }


def _registration(guess: Guess) -> dict[str, str]:
    fitted = {
        "binary": "training.with_threshold(calibrated, threshold.value, split.calibrate, table)",
        "multiclass": "calibrated",
        "regression": "estimator",
    }[guess.table.task]
    return {
        "about-register": """
## What goes into the registry?

The model with its table, the fingerprint of the data, the revision of the code and the digest of this notebook.
""",
        "register": f"""
fitted = {fitted}
version = training.register(
    workspace.registry,
    model,
    fitted,
    split.train,
    table,
    role=role,
    tags=workspace.lineage_tags("{{notebook}}"),
)
version
""",
        "publish": "publish(version=version.version)",
    }


def _evaluate(guess: Guess, data: str, environment: str) -> dict[str, str]:
    is_binary = guess.table.task == "binary"
    kit = ["Workspace", "datasets", "evaluation", "publish", "reports"]
    kit += ["curves", "figures"] if is_binary else []
    return {
        "title": """
# Is the candidate good enough to serve?

Both models score the same rows, which neither learned from. The candidate has to meet the bounds in `mlops-kit.toml`, and must not be worse than the champion, or than the baseline where there is no champion yet. Too few rows to tell is a verdict of its own.
""",
        "parameters": f"""
from typing import Literal

{_dataset(guess, data)}
candidate: str = ""  # version to judge; empty: the newest candidate
baseline: str = ""  # version to beat where there is no champion; empty: the newest baseline
environment: str = {quoted(environment)}  # whose champion has to be beaten
promotion: Literal["automatic", "manual"] = "automatic"  # manual: a person does, in the panel
force_gate: bool = False  # promote whatever the verdict; the commit says so
""",
        "setup": f"""
from mlops_kit import {", ".join(sorted(kit, key=lambda each: (each.islower(), each)))}

workspace = Workspace.open()
settings = workspace.settings
table = workspace.table(model)
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
split = datasets.split(datasets.read(dataset, table), table)
compared = evaluation.compare(
    workspace.registry.load(challenger, challenger.digest),
    workspace.registry.load(reference, reference.digest),
    split.holdout,
    table,
    names={"candidate": str(challenger), "reference": str(reference)},
    costs=settings.costs,
    rules=settings.gates,
    note=split.note,
)
compared
""",
        **(_CURVES if is_binary else {}),
        "about-verdict": """
## May it be promoted?

A gate passes only if its whole interval keeps the bound, and fails only if the whole interval breaks it.
""",
        "judge": """
verdict = evaluation.judge(compared, settings.gates)
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
    "about-curves": "## Where does the difference come from?\n\nThe reference is dashed.",
    "precision-recall": "figures.explore(curves.precision_recall(compared))",
    "calibration": "figures.explore(curves.calibration(compared))",
    "cost": "figures.explore(curves.cost_by_threshold(compared))",
    "about-slices": "## Does any slice fare badly?\n\nThe worst first.",
    "slices": "compared.slice_table",
}
