"""Models that don't fit their table, each wrong in one way: none gets past registration.

What a declaration says of classes, task, columns, types and missing values is held against the
fitted model, also where the model itself would give a score.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.svm import LinearSVC

from mlops_kit.models import mlflow_model
from mlops_kit.models.model_version import Description
from mlops_kit.models.registry import Registry
from mlops_kit.tables.table import Column, Table
from tests.failures import fails

COUNT = 120
RANDOM = np.random.default_rng(0)
COLUMNS = (
    Column("income", "float", nullable=True),
    Column("age", "int", low=18, high=99),
    Column("city", "str", categories=("Bern", "Oslo")),
    Column("member", "bool"),
)
NUMBERS = (Column("a", "float"), Column("b", "float"), Column("c", "float"))
FRAME = pd.DataFrame(
    {
        "income": RANDOM.normal(size=COUNT),
        "age": RANDOM.integers(18, 99, COUNT),
        "city": RANDOM.choice(["Bern", "Oslo"], COUNT),
        "member": RANDOM.random(COUNT) < 0.5,
        **{name: RANDOM.normal(size=COUNT) for name in "abc"},
    }
)
LABELS = ((FRAME["age"] > 50) ^ (FRAME["c"] > 1)).astype(int)


def table(classes: Any = (0, 1), task: Any = "binary", columns: Any = COLUMNS) -> Table:
    kind: Any = "str" if isinstance(classes[0], str) else "int"
    return Table("loans", (*columns, Column("paid", kind)), task, "paid", classes)


BINARY = table()
NUMERIC = table(columns=NUMBERS)
KINDS = table(("a", "b", "c"), "multiclass")
INPUTS, THREE = BINARY.inputs(FRAME), FRAME[["a", "b", "c"]]


def piped(estimator: Any, *, imputed: bool = True) -> Any:
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]),
        remainder="passthrough",
    )
    return make_pipeline(encode, *([SimpleImputer()] if imputed else []), estimator)


def fitted(model: Any = None, inputs: Any = INPUTS, labels: Any = LABELS) -> Any:
    return (model or piped(LogisticRegression(max_iter=1000))).fit(inputs, labels)


def coded() -> pd.DataFrame:
    return INPUTS.assign(city=RANDOM.integers(1, 3, COUNT))


def ordinal(**inputs: Any) -> Any:
    """Return trees behind an encoder that takes each unknown category for one more."""
    encode = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    )
    columns = make_column_transformer((encode, ["city"]), remainder="passthrough")
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=3))
    return fitted(model, INPUTS.assign(**inputs))


def boosted(columns: str) -> Any:
    import lightgbm

    inputs = THREE[[*columns]] if set(columns) <= set("abc") else THREE.set_axis([*columns], axis=1)
    return lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(inputs, LABELS)


def calibrated(model: Any) -> Any:
    return CalibratedClassifierCV(FrozenEstimator(model)).fit(THREE, LABELS)


class Early(BaseEstimator):
    """It knows its classes and has no probabilities."""

    classes_ = np.array([0, 1])


WRONG: dict[str, tuple[Callable[[], Any], Table, list[str]]] = {
    "labels -1 and 1": (
        lambda: fitted(labels=np.where(LABELS == 1, 1, -1)),
        BINARY,
        ["[-1, 1]", "[0, 1]"],
    ),
    "classes in another order": (fitted, table((1, 0)), ["[0, 1]"]),
    "indices of classes in another order": (
        lambda: fitted(labels=RANDOM.integers(0, 3, COUNT)),
        table((2, 1, 0), "multiclass"),
        ["[0, 1, 2]"],
    ),
    "a class less": (
        lambda: fitted(labels=np.where(LABELS == 1, "a", "b")),
        KINDS,
        ["['a', 'b']", "['a', 'b', 'c']"],
    ),
    "a class more": (lambda: fitted(labels=RANDOM.choice([*"abcd"], COUNT)), KINDS, ["'d'"]),
    "a regressor": (lambda: fitted(piped(LinearRegression())), BINARY, ["predict_proba"]),
    "no probabilities": (
        lambda: fitted(piped(LinearSVC())),
        BINARY,
        ["predict_proba", "CalibratedClassifierCV"],
    ),
    "no probabilities of its own": (Early, BINARY, ["Early", "predict_proba"]),
    "missing values": (
        lambda: fitted(piped(LogisticRegression(max_iter=1000), imputed=False)),
        BINARY,
        ["without 'income'"],
    ),
    "text where numbers were": (
        lambda: fitted(make_pipeline(SimpleImputer(), LogisticRegression()), coded()),
        BINARY,
        ["row 0"],
    ),
    "numbers where text is declared": (
        lambda: fitted(inputs=coded()),
        BINARY,
        ["[1, 2]", "'city'", "'Oslo'"],
    ),
    "numbers, behind an imputer": (
        lambda: ordinal(city=RANDOM.integers(1, 3, COUNT)),
        BINARY,
        ["[1, 2]", "'city'"],
    ),
    "other categories": (
        lambda: ordinal(city=RANDOM.choice(["BE", "OS"], COUNT)),
        BINARY,
        ["'BE'", "'Bern'"],
    ),
    "a column less": (
        lambda: fitted(LogisticRegression(), THREE[["a", "b"]].to_numpy()),
        NUMERIC,
        ["3 features", "2 features"],
    ),
    "a column more": (
        lambda: fitted(inputs=INPUTS.assign(extra=1.0)),
        BINARY,
        ["'extra'"],
    ),
    "columns in another order": (lambda: boosted("cba"), NUMERIC, ["['c', 'b', 'a']"]),
    "other columns": (lambda: boosted("zbc"), NUMERIC, ["['z']", "['a', 'b', 'c']"]),
    "another order, wrapped": (lambda: calibrated(boosted("cba")), NUMERIC, ["['c', 'b', 'a']"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_model_that_does_not_fit_its_table_is_refused(tmp_path: Path, kind: str) -> None:
    made, declared, facts = WRONG[kind]
    frame = FRAME.assign(paid=declared.classes[0])
    with fails("table", "loans", *facts):
        mlflow_model.save(made(), frame, tmp_path / "model", declared)
    assert not (tmp_path / "model").exists()


RIGHT: dict[str, tuple[Callable[[], Any], Table]] = {
    "by its labels": (fitted, BINARY),
    "by text": (lambda: fitted(labels=RANDOM.choice([*"cab"], COUNT)), KINDS),
    "by truth values": (lambda: fitted(labels=LABELS.astype(bool)), table((1, 0))),
    "without names": (lambda: fitted(LogisticRegression(), THREE.to_numpy()), NUMERIC),
    "a booster without names": (
        lambda: boosted("abc").fit(THREE.to_numpy(), LABELS),
        NUMERIC,
    ),
    "columns chosen by name": (
        lambda: fitted(
            make_pipeline(
                make_column_transformer(("passthrough", ["c", "a"])), LogisticRegression()
            ),
            THREE[["c", "a", "b"]],
        ),
        NUMERIC,
    ),
    "known categories": (ordinal, BINARY),
    "a code of a code": (
        lambda: fitted(
            make_pipeline(
                make_column_transformer(
                    (
                        make_pipeline(
                            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                        ),
                        ["city"],
                    )
                ),
                LogisticRegression(),
            )
        ),
        BINARY,
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_model_that_fits_its_table_is_taken(tmp_path: Path, kind: str) -> None:
    made, declared = RIGHT[kind]
    mlflow_model.save(made(), FRAME, tmp_path / "model", declared)
    assert (tmp_path / "model" / "table.json").exists()


def test_the_registry_keeps_nothing_of_a_wrong_model(
    tmp_path: Path, prepare_store: Callable[[Path], None]
) -> None:
    prepare_store(tmp_path)
    store = tmp_path / ".mlops-kit"
    registry = Registry(f"sqlite:///{store / 'mlflow.db'}", artifacts=store / "artifacts")
    with fails("table", "[-1, 1]"):
        registry.register(WRONG["labels -1 and 1"][0](), "loans", FRAME, Description(), BINARY)
    assert registry.versions("loans") == ()
    assert not (store / "artifacts").exists()
