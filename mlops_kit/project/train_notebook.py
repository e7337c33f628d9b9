"""The notebook that trains a model, for the columns and the task that its table has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_kit.tables.guessing import Guess

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


def train(guess: Guess, data: str) -> dict[str, str]:
    """Return the notebook's cells, by their ids."""
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

{dataset(guess, data)}
role: Literal["baseline", "candidate"] = "candidate"  # which of the two to train
""",
        "setup": _imports(guess, baseline, candidate),
        "about-data": "## What does it learn from?",
        "data": """
split = workspace.rows(dataset, model).split()
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
    kit = ["Workspace", "publish", "training"]
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

A false positive and a false negative have their costs: `[models.NAME.costs]` in `mlops-kit.toml`.
""",
        "threshold": """
costs = workspace.costs(model)
threshold = training.choose_threshold(calibrated, split.calibrate, table, costs=costs)
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


def quoted(text: str) -> str:
    """Return text as Python spells it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def dataset(guess: Guess, data: str) -> str:
    """Return the parameters that say which rows, and which model."""
    return (
        f"dataset: str = {quoted(data)}  # a snapshot, or any source of rows\n"
        f"model: str = {quoted(guess.table.name)}  # the registered name, and its table's"
    )
