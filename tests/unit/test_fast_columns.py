"""One row of a mixed table is scored without a frame, bit for bit as the library does, or not.

We test these aspects: encoders, imputers and scalers before linear models and trees; unknown
categories and missing values by the table's word; either class as the positive one; several
classes; regressions; what isn't known here; what a library refuses; boosters in their own formats;
categories that trees take as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from mlops_kit.models import boosters as boosters_kept
from mlops_kit.serving import fast_columns, fast_ensembles, fast_nodes, probes
from mlops_kit.serving.fast_scores import FastScores, fast_scores
from mlops_kit.serving.fast_trees import QuickScorer
from mlops_kit.serving.fast_walk import LevelWalk
from mlops_kit.serving.library_scores import frame, library_scores
from mlops_kit.serving.signature import Signature
from mlops_kit.tables.table import Column, Table
from tests import mixed

TEXTS, NUMBERS = ["city", "plan", "note"], ["visits", "age", "balance", "rate", "since"]
FOUND = mixed.rows(250)
FILL = make_pipeline(SimpleImputer(), StandardScaler())
ONE_HOT = OneHotEncoder(handle_unknown="ignore")
CODES = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
CONSTANT = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), clone(ONE_HOT))
LINEAR, TREES = LogisticRegression(max_iter=300), HistGradientBoostingClassifier(max_iter=8)
CHANGES = {
    "codes and all the rest": make_column_transformer((CODES, TEXTS), remainder="passthrough"),
    "one-hot, dense": make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS), (FILL, NUMBERS)
    ),
    "one-hot, sparse": make_column_transformer(
        (ONE_HOT, TEXTS), (FILL, NUMBERS), sparse_threshold=1.0
    ),
    "filled text": make_column_transformer((CONSTANT, TEXTS), (FILL, NUMBERS)),
    "rare words as one": make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2), ["city", "note"]),
        (OneHotEncoder(handle_unknown="ignore", max_categories=2), ["plan", "visits"]),
        (FILL, NUMBERS),
        sparse_threshold=0.0,
    ),
    "one left out": make_column_transformer(
        (OneHotEncoder(drop="first", handle_unknown="ignore"), ["city", "visits"]),
        (SimpleImputer(strategy="median"), ["age"]),
        ("drop", ["note"]),
    ),
    "truths and ranges": make_column_transformer(
        (make_pipeline(SimpleImputer(), MinMaxScaler()), ["rate", "is_member", "balance"]),
        (OneHotEncoder(handle_unknown="ignore"), ["is_member", "plan"]),
    ),
    "half a scaler": make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler(with_mean=False)), NUMBERS)
    ),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def compiled(model: Any, table: Table) -> tuple[FastScores | None, Any, Signature]:
    signature = Signature(tuple(table.feature_names), table)
    slow = library_scores(model, signature)
    return fast_scores(model, slow, signature), slow, signature


def assert_same(model: Any, table: Table, count: int = 25) -> FastScores:
    found, slow, signature = compiled(model, table)
    assert found is not None
    rows = probes.as_rows(mixed.rows(count, seed=8, unknown=table.unseen != "refuse"), signature)
    for at in range(count):
        assert found.few(rows[at : at + 1]).tobytes() == slow(rows[at : at + 1]).tobytes()
    if found.most > 1:
        assert found.few(rows).tobytes() == slow(rows).tobytes()
    assert found(rows).tobytes() == slow(rows).tobytes()
    return found


@pytest.mark.parametrize("last", [LINEAR, TREES], ids=["linear", "trees"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_row_is_scored_as_the_library_scores_it(name: str, last: Any) -> None:
    table = mixed.table()
    columns = clone(CHANGES[name])
    inputs, labels = mixed.frame(FOUND, table), mixed.labels(FOUND, "binary")
    width = columns.fit(inputs).sparse_output_
    if last is TREES and width:
        columns.set_params(sparse_threshold=0.0)
    if last is LINEAR and name == "codes and all the rest":
        columns = make_pipeline(columns, SimpleImputer(), StandardScaler())
    model = make_pipeline(columns, clone(last)).fit(inputs, labels)
    assert_same(model, table)


@pytest.mark.parametrize("positive", ["stays", "leaves"])
@pytest.mark.parametrize(
    "last",
    [
        TREES,
        LINEAR,
        RandomForestClassifier(10, random_state=0),
        RandomForestClassifier(10, max_depth=4, random_state=0),
        DecisionTreeClassifier(max_depth=6, random_state=0),
    ],
    ids=["boosted", "linear", "forest", "small forest", "tree"],
)
def test_either_class_may_be_the_positive_one(positive: str, last: Any) -> None:
    other = {"stays": "leaves", "leaves": "stays"}[positive]
    made = mixed.table()
    table = Table("t", made.columns, "binary", "label", classes=(other, positive))
    columns = clone(CHANGES["codes and all the rest"])
    model = make_pipeline(columns, SimpleImputer(), clone(last))
    model.fit(mixed.frame(FOUND, table), mixed.labels(FOUND, "binary"))
    assert_same(model, table)
    frozen = FrozenEstimator(model)
    for method in ("sigmoid", "isotonic"):
        calibrated = CalibratedClassifierCV(frozen, method=method, ensemble=False)
        calibrated.fit(mixed.frame(FOUND, table), mixed.labels(FOUND, "binary"))
        fixed = FixedThresholdClassifier(
            FrozenEstimator(calibrated), threshold=0.3, pos_label=positive
        ).fit(mixed.frame(FOUND, table), mixed.labels(FOUND, "binary"))
        assert_same(fixed, table, 8)


@pytest.mark.parametrize("last", [Ridge(), ExtraTreesRegressor(5, random_state=0)])
def test_a_regression_is_scored_too(last: Any) -> None:
    table = mixed.table("regression")
    columns = make_column_transformer((ONE_HOT, TEXTS), (FILL, NUMBERS))
    model = make_pipeline(columns, clone(last))
    assert_same(model.fit(mixed.frame(FOUND, table), mixed.labels(FOUND, "regression")), table)


@pytest.mark.parametrize("unseen", ["keep", "missing", "refuse"])
def test_an_unknown_category_is_what_the_table_makes_of_it(unseen: str) -> None:
    table = mixed.table(unseen=unseen)
    columns = clone(CHANGES["codes and all the rest"])
    model = make_pipeline(columns, clone(TREES))
    model.fit(mixed.frame(FOUND, table), mixed.labels(FOUND, "binary"))
    found = assert_same(model, table)
    signature = Signature(tuple(table.feature_names), table)
    unknown = probes.as_rows([["Chur", *FOUND[0][1:]]], signature)
    if unseen == "refuse":
        with pytest.raises(ValueError, match="Chur"):
            found.few(unknown)


def test_what_a_compiled_transformer_gives_is_what_the_transformer_gives() -> None:
    table = mixed.table()
    signature = Signature(tuple(table.feature_names), table)
    rows = probes.random_rows(signature, 300, np.random.default_rng(3))
    for columns in CHANGES.values():
        fitted = clone(columns).fit(mixed.frame(FOUND, table))
        expected = fitted.transform(frame(signature, rows))
        expected = expected.toarray() if fitted.sparse_output_ else np.asarray(expected)
        found = fast_columns.of_transformer(fitted, signature)
        by_row = [found.matrix(rows[at : at + 1]) for at in range(len(rows))]
        for made in (found.matrix(rows), np.concatenate(by_row)):
            assert made.tobytes() == np.ascontiguousarray(expected, np.float64).tobytes()


def test_what_is_not_known_is_left_to_the_library() -> None:
    table = mixed.table()
    inputs, labels = mixed.frame(FOUND, table), mixed.labels(FOUND, "binary")
    for columns in (
        make_column_transformer((clone(CODES).set_params(max_categories=2), ["city"])),
        make_column_transformer((KBinsDiscretizer(3), ["rate"]), (ONE_HOT, TEXTS)),
        make_column_transformer((SimpleImputer(add_indicator=True), NUMBERS)),
    ):
        model = make_pipeline(columns, clone(LINEAR)).fit(inputs, labels)
        assert compiled(model, table)[0] is None


def test_rows_of_numbers_by_a_table_are_fast_and_whole_numbers_stay_whole() -> None:
    columns = (
        Column("a", "float", nullable=True, low=-3.0, high=3.0),
        Column("b", "int", low=0, high=9),
        Column("c", "bool"),
        Column("label", "int"),
    )
    table = Table("numbers", columns, "binary", "label", classes=(0, 1))
    signature = Signature(("a", "b", "c"), table)
    rows = probes.random_rows(signature, 500, np.random.default_rng(0))
    labels = (np.nan_to_num(rows[:, 0]) + rows[:, 1] / 9 > 0.5).astype(int)
    for last in (TREES, make_pipeline(SimpleImputer(), clone(LINEAR))):
        model = clone(last).fit(frame(signature, rows), labels)
        slow = library_scores(model, signature)
        found = fast_scores(model, slow, signature)
        assert found is not None
        for at in range(40):
            assert found(rows[at : at + 1]).tobytes() == slow(rows[at : at + 1]).tobytes()


def test_a_number_that_a_library_refuses_is_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 4))
    model = RandomForestClassifier(5, random_state=0).fit(rows, rows[:, 0] > 0)
    found = fast_scores(model)
    assert found is not None
    gap = rows[:1].copy()
    gap[0, 2] = np.nan
    for row in (rows[:1], gap):
        assert found(row).tobytes() == model.predict_proba(row)[:, 1].tobytes()
    gap[0, 2] = 1e300  # more than float32 holds
    with pytest.raises(ValueError, match="float32"):
        found(gap)


def test_a_forest_that_parts_missing_values_from_all_others_is_fast() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 2))
    rows[::3, 0] = np.nan
    model = RandomForestClassifier(3, max_features=None, random_state=0)
    model.fit(rows, np.isnan(rows[:, 0]))
    assert any(np.isinf(tree.tree_.threshold).any() for tree in model.estimators_)
    found = fast_scores(model)
    assert found is not None
    assert found(rows[:20]).tobytes() == model.predict_proba(rows[:20])[:, 1].tobytes()


def data(count: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, 8)) * 10.0 ** generator.integers(-2, 4, 8)
    rows[:, 3] = np.round(rows[:, 3])
    rows[generator.random(rows.shape) < 0.08] = np.nan
    rows[:5, :] = [[0.0], [-0.0], [1e-36], [-1e-36], [np.nan]]
    return rows


def boosters() -> dict[str, Any]:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    plain = {"verbose": -1, "n_jobs": 1}
    return {
        "LightGBM": lightgbm.LGBMClassifier(n_estimators=30, **plain),
        "LightGBM without gaps": lightgbm.LGBMClassifier(
            n_estimators=5, use_missing=False, **plain
        ),
        "LightGBM, many leaves": lightgbm.LGBMClassifier(n_estimators=5, num_leaves=90, **plain),
        "LightGBM, absolute error": lightgbm.LGBMRegressor(n_estimators=9, objective="l1", **plain),
        "XGBoost": xgboost.XGBClassifier(n_estimators=30, n_jobs=1),
        "XGBoost, another base": xgboost.XGBClassifier(n_estimators=5, base_score=0.3, n_jobs=1),
        "XGBoost, regression": xgboost.XGBRegressor(n_estimators=20, n_jobs=1),
    }


NAMES = (
    *("LightGBM", "LightGBM without gaps", "LightGBM, many leaves", "LightGBM, absolute error"),
    *("XGBoost", "XGBoost, another base", "XGBoost, regression"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_booster_is_scored_as_its_library_does(name: str) -> None:
    model = boosters()[name]
    rows = data(2000, 0)
    sums = np.nan_to_num(rows[:, :3]).sum(axis=1)
    is_classifier = hasattr(model, "predict_proba")
    model.fit(rows, sums > 0 if is_classifier else sums)
    found = fast_ensembles.ensemble(model)
    tried = data(20_000, 1)
    generator = np.random.default_rng(2)
    for place, edges in fast_nodes.edges(found).items():
        at = generator.random(len(tried)) < 0.3
        tried[at, place] = generator.choice(edges, int(at.sum()))
    expected = model.predict_proba(tried)[:, 1] if is_classifier else model.predict(tried)
    given = tried.astype(np.float32) if found.is_single else tried
    ways: list[Any] = [LevelWalk(found.trees, found.baseline, found.dtype)]
    if name != "LightGBM, many leaves":
        ways.append(QuickScorer(found.trees, found.baseline, found.features, found.dtype))
    for way in ways:
        scores = found.finish(way.sums(given))
        assert scores.tobytes() == expected.astype(np.float64).tobytes()
        alone = [found.finish(way.sums(given[at : at + 1]))[0] for at in range(200)]
        assert np.array(alone).tobytes() == scores[:200].tobytes()


@pytest.mark.parametrize("name", ["LightGBM", "LightGBM, many leaves", "XGBoost"])
def test_a_booster_alone_is_fast(name: str) -> None:
    rows = data(1000, 0)
    model = boosters()[name].fit(rows, np.nan_to_num(rows[:, :3]).sum(axis=1) > 0)
    found = fast_scores(model)
    assert found is not None
    tried = data(50, 3)
    expected = model.predict_proba(tried)[:, 1].astype(np.float64)
    assert found(tried).tobytes() == expected.tobytes()
    assert b"".join(found(tried[at : at + 1]).tobytes() for at in range(50)) == expected.tobytes()


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost"])
def test_a_booster_behind_columns_is_fast_and_either_class_may_be_positive(name: str) -> None:
    table = mixed.table()
    columns = clone(CHANGES["codes and all the rest"])
    labels = (mixed.labels(FOUND, "binary") == "leaves").astype(int)
    model = make_pipeline(columns, boosters()[name])
    model.fit(mixed.frame(FOUND, table), labels)
    assert_same(model, table)
    turned = make_pipeline(clone(columns), boosters()[name])
    turned.fit(mixed.frame(FOUND, table), 1 - labels)
    other = Table("t", table.columns, "binary", "label", classes=("leaves", "stays"))
    assert_same(turned, other)


def test_what_a_booster_has_beyond_plain_trees_is_left_to_it() -> None:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    rows = np.nan_to_num(data(400, 0))
    labels = (rows[:, 0] > 0).astype(int)
    for model in (
        lightgbm.LGBMClassifier(n_estimators=3, boosting_type="rf", bagging_freq=1,
                                bagging_fraction=0.5, verbose=-1),
        lightgbm.LGBMClassifier(n_estimators=3, linear_tree=True, verbose=-1),
        lightgbm.LGBMClassifier(n_estimators=3, zero_as_missing=True, verbose=-1),
        xgboost.XGBClassifier(n_estimators=3, booster="dart"),
        xgboost.XGBClassifier(n_estimators=3, booster="gblinear"),
        xgboost.XGBClassifier(n_estimators=3, missing=0.0),
        xgboost.XGBRegressor(n_estimators=3, objective="reg:logistic"),
    ):  # fmt: skip
        model.fit(rows, labels)
        with pytest.raises((ValueError, KeyError)):
            fast_ensembles.ensemble(model)


SEVERAL = {
    "boosted": (TREES, "one-hot, dense"),
    "gradient boosting": (GradientBoostingClassifier(n_estimators=4), "one-hot, dense"),
    "small forest": (RandomForestClassifier(5, max_depth=4, random_state=0), "one-hot, sparse"),
    "forest": (RandomForestClassifier(5, random_state=0), "one-hot, sparse"),
    "linear": (LINEAR, "one-hot, sparse"),
    "linear, dense": (LINEAR, "one-hot, dense"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_classes_are_scored_in_the_tables_order(name: str) -> None:
    made = mixed.table("multiclass")
    table = Table("t", made.columns, "multiclass", "label", classes=("c", "a", "b"))
    last, columns = SEVERAL[name]
    model = make_pipeline(clone(CHANGES[columns]), clone(last))
    if name == "boosted":
        model = CalibratedClassifierCV(model, method="isotonic", ensemble=False, cv=2)
    assert_same(model.fit(mixed.frame(FOUND, table), mixed.labels(FOUND, "multiclass")), table, 10)


@pytest.mark.parametrize("name", ["LightGBM", "LightGBM, each class", "XGBoost"])
def test_a_booster_of_several_classes_is_scored_as_its_library_does(name: str) -> None:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    objective = "multiclassova" if "each" in name else "multiclass"
    plain = {"n_estimators": 4, "n_jobs": 1}
    model = lightgbm.LGBMClassifier(objective=objective, verbose=-1, **plain)
    if name == "XGBoost":
        model = xgboost.XGBClassifier(**plain)
    table = mixed.table("multiclass")
    labels = np.searchsorted(table.classes, mixed.labels(FOUND, "multiclass"))
    model = make_pipeline(clone(CHANGES["codes and all the rest"]), model)
    assert_same(model.fit(mixed.frame(FOUND, table), labels), table)


@pytest.mark.parametrize("library", ["LightGBM", "XGBoost", "scikit-learn"])
def test_a_regression_on_logarithms_is_scored_too(library: str) -> None:
    table = mixed.table("regression")
    model: Any = HistGradientBoostingRegressor(max_iter=5, loss="poisson")
    if library == "LightGBM":
        lightgbm = pytest.importorskip("lightgbm")
        model = lightgbm.LGBMRegressor(n_estimators=5, objective="gamma", verbose=-1, n_jobs=1)
    if library == "XGBoost":
        xgboost = pytest.importorskip("xgboost")
        model = xgboost.XGBRegressor(n_estimators=5, objective="count:poisson", n_jobs=1)
    model = make_pipeline(clone(CHANGES["codes and all the rest"]), model)
    labels = np.abs(mixed.labels(FOUND, "regression")) + 0.1
    assert_same(model.fit(mixed.frame(FOUND, table), labels), table)


def own_categories(library: str, task: str) -> Any:
    """Return a model that takes a frame's categories as they are."""
    kind = "Regressor" if task == "regression" else "Classifier"
    if library == "scikit-learn":
        made = {"Regressor": HistGradientBoostingRegressor}.get(kind, type(TREES))
        return made(max_iter=5, min_samples_leaf=4, random_state=0)
    plain = {"n_estimators": 5, "n_jobs": 1, "max_cat_to_onehot": 1}
    if library == "XGBoost":
        xgboost = pytest.importorskip("xgboost")
        return getattr(xgboost, f"XGB{kind}")(enable_categorical=True, **plain)
    lightgbm = pytest.importorskip("lightgbm")
    small = {"min_data_per_group": 2, "cat_smooth": 0, "min_child_samples": 4, "verbose": -1}
    return getattr(lightgbm, f"LGBM{kind}")(**plain, **small)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("library", ["LightGBM", "XGBoost", "scikit-learn"])
def test_categories_that_trees_take_as_they_are_are_scored_so(library: str, task: str) -> None:
    notes = ("new", "old", "naïve ☂", "never seen")
    columns = [
        Column(each.name, "category", True, categories=each.categories or notes)
        if each.name in TEXTS
        else each
        for each in mixed.COLUMNS
    ]
    table = mixed.table(task, columns=columns)
    labels = mixed.labels(FOUND, task)
    if task != "regression":
        labels = np.array([table.classes.index(each) for each in labels])
    model = own_categories(library, task).fit(mixed.frame(FOUND, table), labels)
    if library != "scikit-learn":
        model, files = boosters_kept.take_out(model)
        boosters_kept.put_back(model, files, "the model")
    assert_same(model, table, 10)
    trees = fast_ensembles.ensemble(model, 1 if task == "binary" else None)
    assert trees.sets
    generator = np.random.default_rng(0)
    codes = generator.choice([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 99.0, np.nan], (200, trees.features))
    given = (trees.trees, trees.baseline)
    more = (trees.dtype, trees.groups, trees.sets)
    by_mask = QuickScorer(*given, trees.features, *more).sums(codes)
    for asked, expected in ((codes, by_mask), (codes[:1], by_mask[:1])):
        assert LevelWalk(*given, *more).sums(asked).tobytes() == expected.tobytes()


def test_whole_numbers_that_are_categories_to_lightgbm_are_cut_to_their_code() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = np.nan_to_num(data(400, 0))
    codes = np.abs(rows[:, :3]).round() % 70
    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, min_child_samples=2, n_jobs=1)
    model.fit(codes, codes[:, 0] % 2, categorical_feature=[0])
    found = fast_scores(model)
    assert found is not None
    odd = [-1.0, -0.5, 0.5, 3.999, 69.0, 69.5, 70.0, 1e3, 2.0**31, 2.0**33, 1e300, np.nan, np.inf]
    tried = np.concatenate([codes[: len(odd)], codes[:200]])
    tried[: len(odd), 0] = odd
    assert found(tried).tobytes() == model.predict_proba(tried)[:, 1].tobytes()
    alone = b"".join(found(tried[at : at + 1]).tobytes() for at in range(40))
    assert alone == found(tried[:40]).tobytes()
