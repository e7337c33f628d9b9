"""Each public estimator of scikit-learn is registered and loaded, or refused with a reason.

`python -m tests.component.test_estimators --write` writes docs/estimators.md anew.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import FeatureAgglomeration
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder
from sklearn.svm import SVC, LinearSVC
from sklearn.utils import all_estimators

from mlops_kit.errors import KitError
from mlops_kit.models import artifacts, mlflow_model
from mlops_kit.models.outputs import outputs
from mlops_kit.tables.table import Column, Table

PAGE = Path(__file__).parents[2] / "docs" / "estimators.md"
COUNT = 120
RANDOM = np.random.default_rng(0)
NAMES = ["a", "b", "c"]
NUMBERS = tuple(Column(name, "float") for name in NAMES)
WORDS = Column("text", "str")
CATEGORY = Column("kind", "category", nullable=True, categories=("x", "y", "z"))
LABEL = Column("label", "str", categories=("ok", "fraud"))
BINARY = Table("numbers", (*NUMBERS, LABEL), "binary", "label", ("ok", "fraud"))
REGRESSION = Table("amounts", (*NUMBERS, Column("label", "float")), "regression", "label")
TEXT = Table("texts", (WORDS, LABEL), "binary", "label", ("ok", "fraud"))
MIXED = Table("mixed", (*NUMBERS, CATEGORY, LABEL), "binary", "label", ("ok", "fraud"))
ROWS = pd.DataFrame(np.abs(RANDOM.normal(size=(COUNT, 3))) + 0.01, columns=NAMES)
IS_POSITIVE = (ROWS["a"] + 0.1 * RANDOM.normal(size=COUNT)).to_numpy() > 0.7
LABELS = np.where(IS_POSITIVE, "fraud", "ok")
ROWS["text"] = ["good day" if each else "bad night" for each in IS_POSITIVE]
ROWS["kind"] = pd.Categorical(RANDOM.choice(["x", "y"], COUNT), categories=["x", "y", "z"])
ROWS.loc[::7, "kind"] = None
INDICES = IS_POSITIVE.astype(int)
TARGETS = (1 + ROWS["b"] * 2).to_numpy()
WITH_LABELS = ROWS.assign(label=LABELS)

# What has to be given, or makes it small.
GIVEN: dict[str, dict[str, Any]] = {
    "ClassifierChain": {"estimator": LogisticRegression()},
    "ColumnTransformer": {"transformers": [("all", "passthrough", NAMES)]},
    "FeatureHasher": {"input_type": "string"},
    "FeatureUnion": {"transformer_list": [("scale", StandardScaler())]},
    "FixedThresholdClassifier": {"estimator": LogisticRegression(), "pos_label": 1},
    "FrozenEstimator": {"estimator": LogisticRegression().fit(ROWS[NAMES], IS_POSITIVE)},
    "GaussianRandomProjection": {"n_components": 2},
    "GridSearchCV": {"estimator": LogisticRegression(), "param_grid": {"C": [1.0, 2.0]}},
    "HalvingGridSearchCV": {"estimator": LogisticRegression(), "param_grid": {"C": [1.0, 2.0]}},
    "HalvingRandomSearchCV": {
        "estimator": LogisticRegression(),
        "param_distributions": {"C": [1.0, 2.0]},
    },
    "Pipeline": {"steps": [("scale", StandardScaler()), ("model", LogisticRegression())]},
    "RandomizedSearchCV": {
        "estimator": LogisticRegression(),
        "param_distributions": {"C": [1.0, 2.0]},
        "n_iter": 2,
    },
    "SelectFromModel": {"estimator": LogisticRegression()},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "SparseCoder": {"dictionary": np.eye(3)},
    "SparseRandomProjection": {"n_components": 2},
    "SelectKBest": {"k": 2},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression()},
}
SMALL: dict[str, Any] = {"n_estimators": 5, "max_iter": 20, "n_components": 1}
KEEP_DEFAULT = ("OrthogonalMatchingPursuitCV", "SpectralBiclustering")
TEXTS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")
# Sums in another order: the layout of the arrays in memory is another once they were stored.
LAST_BITS = (
    *("IncrementalPCA", "KernelRidge", "LabelPropagation", "LabelSpreading", "TruncatedSVD"),
)


def required(name: str, cls: Any, is_regressor: bool) -> dict[str, Any]:
    """Return the arguments that an estimator is made with."""
    inner: Any = Ridge() if is_regressor else LogisticRegression()
    found = {}
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.name in ("estimator", "estimators") and parameter.default is parameter.empty:
            found[parameter.name] = (
                inner if parameter.name == "estimator" else [("one", inner), ("two", inner)]
            )
        elif parameter.name in SMALL and name not in KEEP_DEFAULT:
            found[parameter.name] = SMALL[parameter.name]
    if name == "VotingClassifier":
        found["voting"] = "soft"
    return {**found, **GIVEN.get(name, {})}


Case = tuple[Any, Table, Any]


def case(name: str, cls: Any, kind: str) -> Case:
    """Return an estimator in a model, its table and the labels; it isn't fitted yet."""
    made = cls(**required(name, cls, kind == "regressor"))
    if kind == "regressor":
        return made, REGRESSION, TARGETS
    if name in TEXTS:
        encode: Any = ColumnTransformer([("text", made, "text")])
        return make_pipeline(encode, LogisticRegression()), TEXT, LABELS
    if kind in ("classifier", "other") or hasattr(made, "predict_proba"):
        return made, BINARY, INDICES
    return make_pipeline(made, LogisticRegression()), BINARY, INDICES


def kinds() -> Iterator[tuple[str, str, Any]]:
    """Yield name, kind and class of each public estimator."""
    named = {
        kind: {name for name, _ in all_estimators(type_filter=kind)}
        for kind in ("classifier", "regressor", "transformer")
    }
    for name, cls in all_estimators():
        yield name, next((kind for kind in named if name in named[kind]), "other"), cls


def more() -> dict[str, Callable[[], Case]]:
    """Return models beside the single estimators."""
    import catboost
    import lightgbm
    import xgboost

    by_type = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        remainder="passthrough",
    )
    encoded = make_column_transformer((TargetEncoder(), ["kind"]), remainder="passthrough")
    quiet: dict[str, Any] = {"verbose": 0, "allow_writing_files": False}
    return {
        "HistGradientBoostingClassifier(categorical_features='from_dtype')": lambda: (
            HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5),
            MIXED,
            LABELS,
        ),
        "make_column_selector": lambda: (
            make_pipeline(by_type, LogisticRegression()),
            MIXED,
            LABELS,
        ),
        "TargetEncoder, on categories": lambda: (
            make_pipeline(encoded, LogisticRegression()),
            MIXED,
            LABELS,
        ),
        "KNeighborsClassifier(algorithm='brute')": lambda: (
            KNeighborsClassifier(algorithm="brute"),
            BINARY,
            LABELS,
        ),
        "CalibratedClassifierCV(LinearSVC())": lambda: (
            CalibratedClassifierCV(LinearSVC()),
            BINARY,
            LABELS,
        ),
        "CalibratedClassifierCV(SVC(), ensemble=False)": lambda: (
            CalibratedClassifierCV(SVC(), ensemble=False),
            BINARY,
            LABELS,
        ),
        "FunctionTransformer(numpy.log1p)": lambda: (
            make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
            BINARY,
            LABELS,
        ),
        "FunctionTransformer, of the project's own function": lambda: (
            make_pipeline(FunctionTransformer(own), LogisticRegression()),
            BINARY,
            LABELS,
        ),
        "LGBMClassifier": lambda: (
            lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),
            MIXED,
            LABELS,
        ),
        "LGBMRegressor": lambda: (
            lightgbm.LGBMRegressor(n_estimators=5, verbose=-1),
            REGRESSION,
            TARGETS,
        ),
        "XGBClassifier": lambda: (
            xgboost.XGBClassifier(n_estimators=5, enable_categorical=True),
            MIXED,
            INDICES,
        ),
        "XGBRegressor": lambda: (xgboost.XGBRegressor(n_estimators=5), REGRESSION, TARGETS),
        "XGBClassifier(booster='gblinear')": lambda: (
            xgboost.XGBClassifier(booster="gblinear", n_estimators=5),
            BINARY,
            INDICES,
        ),
        "CatBoostClassifier": lambda: (
            catboost.CatBoostClassifier(iterations=5, **quiet),
            BINARY,
            LABELS,
        ),
        "CatBoostRegressor": lambda: (
            catboost.CatBoostRegressor(iterations=5, **quiet),
            REGRESSION,
            TARGETS,
        ),
        "FeatureAgglomeration(pooling_func=numpy.median)": lambda: (
            make_pipeline(FeatureAgglomeration(pooling_func=np.median), LogisticRegression()),
            BINARY,
            LABELS,
        ),
    }


def own(rows: Any) -> Any:
    return rows


def outcome(name: str, made: Callable[[], Case]) -> str:
    """Return "works", or why not; whether it was fitted, stored, loaded and is the same."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore")
        model, table, labels = made()
        inputs = table.inputs(ROWS)
        try:
            if not isinstance(model, FrozenEstimator):
                model.fit(inputs, labels)
        except Exception as error:
            return f"no table fits it: {_first(error)}"
        try:
            mlflow_model.save(model, ROWS, Path(scratch) / "model", table)
        except KitError as error:
            return f"refused: {_reason(str(error))}"
        files = artifacts.contents(Path(scratch) / "model")
        loaded = artifacts.open_contents(files, name).model
        expected, found = (outputs(each, inputs, table) for each in (model, loaded))
        if expected.tobytes() == found.tobytes():
            return "works"
        assert name in LAST_BITS, name
        assert np.allclose(expected, found, rtol=1e-12, atol=1e-15)
        return "works"


def _first(error: Exception) -> str:
    return re.split(r"[.\n]\s|\n", str(error))[0][:110].strip().rstrip(".")


def _reason(sentence: str) -> str:
    """Return what a refusal says, without whose model it is."""
    found = re.sub(r"^The (model of|model) (the table '\w+'|the \w+|\w+) ", "", sentence)
    found = re.sub(r"'[\w.]*\bown'", "'steps.own'", found)
    found = re.sub(r"(fails at .*?): .*", r"\1", found.replace("\n", " "))
    return found.strip().rstrip(".").replace("|", "\\|")[:400]


TABLE_ROW = re.compile(r"\| `(.+?)` \| (\w+) \| (.+) \|")
VERSION = re.compile(r"scikit-learn (\d+\.\d+)")


def cases() -> dict[str, tuple[str, Callable[[], Case]]]:
    """Return kind and maker of all that is tried, by name."""
    found: dict[str, tuple[str, Callable[[], Case]]] = {}
    for name, kind, cls in kinds():
        found[name] = kind, lambda name=name, cls=cls, kind=kind: case(name, cls, kind)
    found.update({name: ("model", made) for name, made in more().items()})
    return found


def page() -> str:
    """Return docs/estimators.md."""
    lines = [
        "# Estimators",
        "",
        "What happens to each of scikit-learn's public estimators, and to some models made of "
        "them, when it is registered: it is fitted on a small table, stored, loaded without "
        "running code, tried on rows of its table, and its scores are compared bit for bit. "
        "A transformer is tried as a step before a logistic regression. What is refused is "
        "refused at registration, with this sentence.",
        "",
        f"Made with scikit-learn {_minor()} by `python -m tests.component.test_estimators "
        "--write`; a test checks it. Estimators of neighbours, kernels and "
        "support vectors hold rows that they were fitted on: that is their model.",
        "",
        "| estimator | kind | outcome |",
        "|---|---|---|",
    ]
    for name, (kind, made) in cases().items():
        lines.append(f"| `{name}` | {kind} | {outcome(name, made)} |")
    return "\n".join(lines) + "\n"


def _minor() -> str:
    return ".".join(sklearn.__version__.split(".")[:2])


def listed() -> dict[str, str]:
    found = (TABLE_ROW.fullmatch(line) for line in PAGE.read_text().splitlines())
    return {each[1]: each[3] for each in found if each}


def is_same_version() -> bool:
    version = VERSION.search(PAGE.read_text())
    return version is not None and version[1] == _minor()


@pytest.mark.parametrize("part", range(4))
def test_what_happens_to_each_estimator_is_what_the_page_says(part: int) -> None:
    said = listed()
    names = [*cases()]
    if is_same_version():
        assert [*said] == names
    known = [name for name in names[part::4] if name in said]
    assert known
    # Another scikit-learn's words may differ, not whether it works.
    whole = slice(None) if is_same_version() else slice(5)
    found = {name: outcome(name, cases()[name][1])[whole] for name in known}
    assert found == {name: said[name][whole] for name in known}


def test_most_work_and_each_refusal_says_what_does() -> None:
    said = listed()
    assert sum(each == "works" for each in said.values()) > 120
    for name, each in said.items():
        assert each.startswith(("works", "refused: ", "no table fits it: ")), name
        if each.startswith("refused: "):
            assert re.search("xpected|algorithm=|does without", each), (name, each)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    else:
        print(page(), end="")
