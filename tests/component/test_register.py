"""A model is registered only if it can score every row that its table allows.

- tried on rows of its table: missing values, each category, one that nobody declared
- stored with the table and without a single row of it
- described to MLflow by its task
- the project's own types, by their names
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from mlops_kit.models import artifacts, probes
from mlops_kit.models.model_version import Description
from mlops_kit.models.outputs import outputs
from mlops_kit.models.registry import Registry
from mlops_kit.project import candidates
from mlops_kit.tables import trial_rows
from mlops_kit.tables.table import Column, Table
from tests.failures import fails

COUNT = 300
RANDOM = np.random.default_rng(0)
COLUMNS = (
    Column("age", "int", low=18, high=99),
    Column("spent", "float", nullable=True),
    Column("member", "bool"),
    Column("since", "datetime", nullable=True),
    Column("city", "str", nullable=True, categories=("Rome", "Oslo", "Lima")),
    Column("plan", "category", categories=("basic", "gold")),
    Column("id", "str"),
    Column("left", "str", categories=("yes", "no")),
)
TABLE = Table("churn", COLUMNS, "binary", "left", ("no", "yes"), entity="id")
PRICED = (COLUMNS[0], *COLUMNS[2:7], Column("spent", "float"))
PRICES = Table("prices", PRICED, "regression", "spent", ignored=("id",))
FRAME = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 99, COUNT),
        "spent": RANDOM.normal(1234, 500, COUNT),
        "member": RANDOM.random(COUNT) < 0.5,
        "since": pd.Timestamp("2024-03-07T11:13") + pd.to_timedelta(range(COUNT), unit="h"),
        "city": RANDOM.choice(["Rome", "Oslo"], COUNT),
        "plan": RANDOM.choice(["basic", "gold"], COUNT),
        "id": [f"customer-{number}-of-ours" for number in range(COUNT)],
        "left": RANDOM.choice(["yes", "no"], COUNT),
    }
)
FRAME.loc[::9, "city"] = None
TEXTS = ["city", "plan"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", artifacts=folder / "artifacts")


def pipeline(estimator: Any, unknown: str = "ignore", *, imputed: bool = True) -> Any:
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown=unknown, sparse_output=False), TEXTS),
        remainder="passthrough",
    )
    return make_pipeline(encode, *([SimpleImputer()] if imputed else []), estimator)


def fitted(model: Any, table: Table = TABLE) -> Any:
    label = FRAME[table.label]
    return model.fit(table.inputs(FRAME), label)


def register(registry: Registry, model: Any, table: Table = TABLE, name: str = "churn") -> Any:
    return registry.register(model, name, FRAME, Description(), table=table)


def test_a_model_comes_back_with_its_table_and_its_scores(registry: Registry) -> None:
    model = fitted(pipeline(LogisticRegression()))
    version = register(registry, model)
    loaded = registry.open(version, version.digest)
    assert loaded.table == TABLE
    inputs = TABLE.inputs(FRAME)
    found, expected = (outputs(each, inputs, TABLE) for each in (loaded.model, model))
    assert found.tobytes() == expected.tobytes()


def test_a_row_is_tried_for_each_thing_that_the_table_allows() -> None:
    inputs = probes.check_model(fitted(pipeline(LogisticRegression())), TABLE, FRAME)
    assert inputs["spent"].isna().sum() == 2
    assert inputs["since"].isna().sum() == 2
    assert {"Rome", "Oslo", "Lima", trial_rows.UNDECLARED} <= set(inputs["city"])
    assert {"basic", "gold"} == set(inputs["plan"].dropna())
    assert {18, 99} <= set(inputs["age"])


def test_a_model_of_another_declaration_is_not_judged(registry: Registry) -> None:
    version = register(registry, fitted(pipeline(LogisticRegression())))
    wider = (replace(COLUMNS[0], high=120), *COLUMNS[1:])
    same = replace(TABLE, columns=wider, slices=("plan",), amount="spent")
    assert registry.load(version, version.digest, same)
    changes = {
        "classes": replace(TABLE, classes=("yes", "no")),
        "'city'": replace(TABLE, columns=(*COLUMNS[:4], *COLUMNS[5:])),
        "'age'": replace(TABLE, columns=(replace(COLUMNS[0], kind="float"), *COLUMNS[1:])),
        "order": replace(TABLE, columns=COLUMNS[::-1]),
    }
    for fact, changed in changes.items():
        with fails("table.changed", str(version), fact):
            registry.load(version, version.digest, changed)


@pytest.mark.parametrize(
    ("model", "facts"),
    [
        (pipeline(LogisticRegression(), imputed=False), ["'spent'"]),
        (pipeline(LogisticRegression(), "error"), ["'Lima'", "'city'"]),
    ],
    ids=["missing values", "unknown categories"],
)
def test_a_model_that_fails_at_a_row_of_its_table_is_refused(
    registry: Registry, model: Any, facts: list[str]
) -> None:
    with fails("table", "churn", *facts):
        register(registry, fitted(model), name="refused")
    assert registry.versions("refused") == ()
    assert registry.artifacts
    assert not (registry.artifacts / "refused").exists()


def infinite(rows: Any) -> Any:
    return np.full(len(rows), np.inf)


class Infinite(LinearRegression):
    def predict(self, X: Any) -> Any:
        return infinite(X)


def test_a_score_that_is_no_number_is_refused(registry: Registry) -> None:
    model = Infinite().fit(np.zeros((2, 1)), [0, 1])
    with fails("table", "prices", "inf"):
        register(registry, model, PRICES, "refused")


@pytest.mark.parametrize(
    ("model", "table", "fact"),
    [
        (DummyClassifier(), PRICES, "DummyClassifier"),
        (make_pipeline(SimpleImputer(), LinearRegression()), TABLE, "predict_proba"),
    ],
    ids=["a classifier", "a regressor"],
)
def test_a_model_of_another_task_is_refused(
    registry: Registry, model: Any, table: Table, fact: str
) -> None:
    fitted_one = model.fit(FRAME[["age"]], FRAME["age"])
    with fails("table", table.name, fact):
        register(registry, fitted_one, table, "refused")


def test_a_threshold_on_the_other_class_is_refused(registry: Registry) -> None:
    inner = FrozenEstimator(fitted(pipeline(LogisticRegression())))
    model = fitted(FixedThresholdClassifier(inner, threshold=0.3, pos_label="no"))
    with fails("table", "churn", "pos_label='yes'"):
        register(registry, model, name="refused")


def test_no_row_of_the_table_is_in_the_artifact(registry: Registry, tmp_path: Path) -> None:
    version = register(registry, fitted(pipeline(HistGradientBoostingClassifier(max_iter=3))))
    files = artifacts.contents(registry.fetch(version, tmp_path))
    assert {"MLmodel", "table.json", "model.skops", "requirements.txt"} <= set(files)
    together = b"\n".join(files.values())
    assert b"customer-" not in together
    for name in ("spent", "since"):
        for value in FRAME[name].head(20):
            kept = [
                str(value),
                repr(value),
                f"{value:.6f}" if name == "spent" else value.isoformat(),
            ]
            assert not any(each.encode() in together for each in kept)
    for row in FRAME[["age", "spent"]].head(20).to_numpy(float):
        assert row.tobytes() not in together
    assert not any("example" in name for name in files)


def test_mlflow_is_told_what_the_table_says(registry: Registry, tmp_path: Path) -> None:
    version = register(registry, fitted(pipeline(LogisticRegression())))
    folder = registry.fetch(version, tmp_path)
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    kinds = {
        each["name"]: (each["type"], each["required"]) for each in json.loads(signature["inputs"])
    }
    assert kinds == {
        "age": ("long", True),
        "spent": ("double", False),
        "member": ("boolean", True),
        "since": ("double", False),
        "city": ("string", False),
        "plan": ("string", True),
    }
    (output,) = json.loads(signature["outputs"])
    assert output["tensor-spec"]["shape"] == [-1, 2]


def test_a_regression_with_a_booster_answers_through_mlflow(
    registry: Registry, tmp_path: Path
) -> None:
    import lightgbm

    rows = PRICES.inputs(FRAME)
    encode = make_column_transformer((OrdinalEncoder(), ["plan"]), remainder="drop")
    boosted = make_pipeline(encode, lightgbm.LGBMRegressor(n_estimators=3, verbose=-1))
    for model in (boosted, make_pipeline(encode, RandomForestRegressor(3))):
        model.fit(rows, FRAME["spent"])
        encode.named_transformers_["ordinalencoder"].handle_unknown = "use_encoded_value"
        version = register(registry, model, PRICES, "prices")
        folder = registry.fetch(version, tmp_path / version.version)
        (output,) = json.loads(
            yaml.safe_load((folder / "MLmodel").read_text())["signature"]["outputs"]
        )
        assert output["tensor-spec"]["shape"] == [-1]
    boosted_version = registry.version("prices", "1")
    served = mlflow.pyfunc.load_model(str(registry.fetch(boosted_version, tmp_path / "again")))
    assert served.unwrap_python_model is not None
    assert (served._model_impl.predict(rows) == boosted.predict(rows)).all()
    needed = (tmp_path / "again" / "model" / "requirements.txt").read_text()
    assert f"lightgbm=={lightgbm.__version__}" in needed


OWN = """
from pathlib import Path
from sklearn.base import BaseEstimator, TransformerMixin

class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        return self

    def transform(self, rows):
        return rows[["age"]] * 2

    def __sklearn_is_fitted__(self):
        return True

def halved(rows):
    return rows[["age"]] / 2
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "own_steps.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_steps", raising=False)
    return importlib.import_module("own_steps")


@pytest.mark.parametrize("kind", ["Doubled", "halved"])
def test_a_type_of_the_project_needs_its_name_in_the_settings(
    registry: Registry, own: ModuleType, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = own.Doubled() if kind == "Doubled" else FunctionTransformer(own.halved)
    model = fitted(make_pipeline(step, LogisticRegression()))
    name = f"own_steps.{kind}"
    with fails("registry.untrusted", name, "[models.NAME] trusted"):
        register(registry, model, name="own")
    project = Registry(registry.tracking_uri, artifacts=registry.artifacts, trusted=[name, "a.b"])
    version = register(project, model, name="own")
    monkeypatch.delitem(sys.modules, "own_steps")
    loaded = project.open(version, version.digest)
    (digest,) = version.trusted.values()
    kept = json.loads(loaded.contents["trusted.json"])
    assert list(kept) == list(version.trusted) == [name]
    assert list(kept[name]) == ["own_steps"]
    assert registry.version("own", version.version) == version
    assert candidates.served(version).trusted == {name: digest}
    inputs = TABLE.inputs(FRAME)
    assert loaded.model.predict_proba(inputs).tobytes() == model.predict_proba(inputs).tobytes()
    monkeypatch.delitem(sys.modules, "own_steps")
    with fails("registry.untrusted", name, "[models.NAME] trusted"):
        registry.open(version, version.digest)
    assert "own_steps" not in sys.modules
    # Named by the settings alone, the artifact doesn't say that it holds it.
    files = {each: inside for each, inside in loaded.contents.items() if each != "trusted.json"}
    with fails("registry.untrusted", name):
        artifacts.open_contents(files, "v1", [name])
    assert "own_steps" not in sys.modules
