"""Check that the kit's scores are each library's own, bit for bit, on many rows; print a table.

    python -m tests.benchmarks.serving --equality [--rows N]

A tenth of all values is missing, a tenth of all categories was never seen, and two thirds of the
numbers are a model's own thresholds or their neighbours. A booster goes through its native file
first, as in an artifact, and is compared with the estimator that was fitted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.tables.table import Column, Table

FITTED, CHUNK, SINGLE = 6_000, 25_000, 10_000
WORDS = tuple(f"category {number}" for number in range(8))
UNSEEN = "a category that nobody saw"
SHARE = 0.1
NUMBERS = tuple(f"number_{number}" for number in range(10))
TEXTS = tuple(f"text_{number}" for number in range(6))
TREES = 40
TASKS = {"binary": (0, 1), "multiclass": (0, 1, 2), "regression": ()}


@dataclass(frozen=True)
class Case:
    """A model to check: `kind` is what its columns of text are, "" for numbers alone."""

    title: str
    make: Callable[[], Any]
    kind: str = ""
    task: str = "binary"

    def table(self) -> Table:
        """Return the declaration of its rows."""
        kind: Any = self.kind or "float"
        texts = [Column(name, kind, True, categories=WORDS) for name in TEXTS if self.kind]
        numbers = [Column(name, "float", True) for name in NUMBERS]
        label = Column("label", "float" if self.task == "regression" else "int")
        task: Any = self.task
        return Table("t", (*texts, *numbers, label), task, "label", classes=TASKS[self.task])


@dataclass(frozen=True)
class Checked:
    """What a case showed: how many of the rows, and of those alone, got other bits."""

    title: str
    way: str
    rows: int
    missing: int
    unseen: int
    differing: int
    single: int
    single_differing: int
    seconds: float


def main(rows: int) -> int:
    """Check each case; 1 if a bit differs."""
    found = []
    for case in _cases():
        found.append(check(case, rows))
        print(_row(found[-1]), flush=True)
    print(f"\n{markdown(found)}")
    return int(any(each.differing or each.single_differing for each in found))


def check(case: Case, count: int) -> Checked:
    """Fit a model, and compare the kit's scores of so many rows with the library's."""
    from mlops_kit.models import boosters
    from mlops_kit.serving import fast_ways
    from mlops_kit.serving.fast_scores import fast_scores
    from mlops_kit.serving.library_scores import frame, library_scores
    from mlops_kit.serving.signature import Signature

    start, generator = time.monotonic(), np.random.default_rng(0)
    table = case.table()
    signature = Signature(tuple(table.feature_names), table)
    (fitted,) = _rows(table, FITTED, FITTED, generator, {})
    model = case.make().fit(frame(signature, fitted), _labels(fitted, case.task))
    stored, files = boosters.take_out(model)
    boosters.put_back(stored, files, case.title)
    # In this order, as the library's may take the features' names from the model.
    fast = fast_scores(stored, library_scores(stored, signature), signature)
    theirs = library_scores(model, signature)
    edges: Mapping[int, Any] = {}
    if fast:
        edges = fast_ways.way(stored, signature, None if case.task == "multiclass" else 1).edges
    ours = fast.few if fast else library_scores(stored, signature)
    most = fast.most if fast else CHUNK
    differing = single = single_differing = missing = unseen = 0
    for part in _rows(table, count, CHUNK, generator, edges):
        expected = theirs(part)
        got = np.concatenate([ours(part[at : at + most]) for at in range(0, len(part), most)])
        differing += _differing(got, expected)
        if fast and single < SINGLE:
            alone = min(SINGLE, len(part))
            got = np.concatenate([ours(part[at : at + 1]) for at in range(alone)])
            single, single_differing = (
                single + alone,
                single_differing + _differing(got, expected[:alone]),
            )
        missing += int((part != part).sum()) + int((part == None).sum())  # noqa: E711
        unseen += int((part == UNSEEN).sum()) if case.kind else 0
    way = f"compiled up to {fast.most} rows" if fast else "the library's own, from its file"
    taken = time.monotonic() - start
    return Checked(
        case.title, way, count, missing, unseen, differing, single, single_differing, taken
    )


def _differing(got: Any, expected: Any) -> int:
    same = got.view(np.int64) == np.ascontiguousarray(expected).view(np.int64)
    return int((~same.reshape(len(got), -1).all(axis=1)).sum())


def _rows(
    table: Table, count: int, chunk: int, generator: Any, edges: Mapping[int, Any]
) -> Iterator[Any]:
    """Yield rows as a request's become, `chunk` at a time."""
    choices = np.array([*WORDS, UNSEEN], dtype=object)
    shares = [(1 - SHARE) / len(WORDS)] * len(WORDS) + [SHARE]
    has_text = any(not column.is_number for column in table.features)
    for start in range(0, count, chunk):
        size = min(chunk, count - start)
        columns = []
        for place, column in enumerate(table.features):
            gaps = generator.random(size) < SHARE
            if column.is_number:
                values = _numbers(size, generator, edges.get(place))
                values[gaps] = np.nan
            else:
                values = generator.choice(choices, size, p=shares)
                values[gaps] = None
            columns.append(values.astype(object) if has_text else values)
            if has_text and column.is_number:
                columns[-1][gaps] = None
        yield np.column_stack(columns)


def _numbers(size: int, generator: Any, edges: Any) -> Any:
    found = generator.normal(size=size)
    if edges is None or not len(edges):
        return found
    taken = generator.choice(edges, size)
    beside = np.nextafter(taken, generator.choice([-np.inf, np.inf], size))
    kind = generator.integers(3, size=size)
    return np.select([kind == 0, kind == 1], [taken, beside], found)


def _labels(rows: Any, task: str) -> Any:
    numbers = np.nan_to_num(rows[:, -len(NUMBERS) :].astype(np.float64))
    score = numbers[:, :4].sum(axis=1) + 2 * (rows[:, 0] == WORDS[0]) + (rows[:, 0] == WORDS[3])
    if task == "regression":
        return score
    return np.digitize(score, np.quantile(score, [0.5] if task == "binary" else [0.3, 0.7]))


def _cases() -> list[Case]:
    import catboost
    import lightgbm
    import xgboost
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    def mixed(last: Any, *, is_sparse: bool = False) -> Any:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=is_sparse)
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        parts = ((encoder, list(TEXTS)), (numbers, list(NUMBERS)))
        return make_pipeline(make_column_transformer(*parts), last)

    def coded(last: Any) -> Any:
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        columns = make_column_transformer((encoder, list(TEXTS)), remainder="passthrough")
        return make_pipeline(columns, last)

    light = {"n_estimators": TREES, "n_jobs": 1, "verbose": -1}
    extreme = {"n_estimators": TREES, "n_jobs": 1, "max_depth": 5}
    cat = {"iterations": TREES, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
    boosting = HistGradientBoostingClassifier(max_iter=TREES, random_state=0)
    forest = RandomForestClassifier(TREES, max_depth=6, max_leaf_nodes=60, random_state=0)
    categories = {"enable_categorical": True, "max_cat_to_onehot": 4}
    return [
        Case("LightGBM", lambda: lightgbm.LGBMClassifier(**light)),
        Case("LightGBM, 3 classes", lambda: lightgbm.LGBMClassifier(**light), task="multiclass"),
        Case("LightGBM, own categories", lambda: lightgbm.LGBMClassifier(**light), "category"),
        Case("XGBoost", lambda: xgboost.XGBClassifier(**extreme)),
        Case("XGBoost, 3 classes", lambda: xgboost.XGBClassifier(**extreme), task="multiclass"),
        Case(
            "XGBoost, own categories",
            lambda: xgboost.XGBClassifier(**extreme, **categories),
            "category",
        ),
        Case("CatBoost", lambda: catboost.CatBoostClassifier(**cat)),
        Case(
            "ColumnTransformer, logistic regression",
            lambda: mixed(LogisticRegression(max_iter=300), is_sparse=True),
            "str",
        ),
        Case("ColumnTransformer, HistGradientBoosting", lambda: mixed(boosting), "str"),
        Case("ColumnTransformer, RandomForest", lambda: coded(forest), "str"),
        Case("HistGradientBoosting, own categories", lambda: boosting, "category"),
    ]


def markdown(found: list[Checked]) -> str:
    """Return the table."""
    head = "| model | scored | rows | missing values | unseen categories | rows that differ |"
    return "\n".join([f"{head} alone, differ | s |", "|---|---|" + "---:|" * 6, *map(_row, found)])


def _row(each: Checked) -> str:
    alone = f"{each.single:,}, {each.single_differing:,}" if each.single else "–"
    return (
        f"| {each.title} | {each.way} | {each.rows:,} | {each.missing:,} | {each.unseen:,} "
        f"| {each.differing:,} | {alone} | {each.seconds:.0f} |"
    )
