"""A table of every kind of column, with rows, models and requests of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_kit.tables.table import Column, Table

COLUMNS = (
    Column("city", "str", categories=("Bern", "Genève", "Zürich")),
    Column("plan", "category", nullable=True, categories=("basic", "plus")),
    Column("note", "str", nullable=True),
    Column("visits", "int", low=0),
    Column("age", "int", nullable=True, low=0, high=120),
    Column("balance", "float", nullable=True),
    Column("rate", "float", low=0.0, high=1.0),
    Column("is_member", "bool"),
    Column("since", "datetime", nullable=True),
)
CLASSES = {"binary": ("stays", "leaves"), "multiclass": ("a", "b", "c"), "regression": ()}


def table(task: str = "binary", unseen: str = "keep", columns: Any = COLUMNS) -> Table:
    """Return the table; its label is text, or a number of a regression."""
    kind = "float" if task == "regression" else "str"
    label: Any = Column("label", kind)  # type: ignore[arg-type]
    return Table(
        "customers",
        (*columns, label),
        task,  # type: ignore[arg-type]
        "label",
        classes=CLASSES[task],
        unseen=unseen,  # type: ignore[arg-type]
    )


def rows(count: int, seed: int = 0, *, unknown: bool = False) -> list[list[Any]]:
    """Return rows as a client has them, with missing values, and unknown cities if asked for."""
    generator = np.random.default_rng(seed)

    def gaps(values: list[Any]) -> list[Any]:
        lost = generator.random(count) < 0.15
        return [None if gap else value for gap, value in zip(lost, values, strict=True)]

    cities = ["Bern", "Genève", "Zürich", *(["Chur"] if unknown else [])]
    day = generator.integers(1, 28, count)
    columns = [
        generator.choice(cities, count).tolist(),
        gaps(generator.choice(["basic", "plus"], count).tolist()),
        gaps(generator.choice(["new", "old", "naïve ☂"], count).tolist()),
        generator.integers(0, 50, count).tolist(),
        gaps(generator.integers(0, 100, count).tolist()),
        gaps(generator.normal(scale=1000, size=count).tolist()),
        generator.random(count).tolist(),
        (generator.random(count) < 0.5).tolist(),
        gaps([f"2023-0{1 + each % 9}-{each:02d}T10:00:00+00:00" for each in day.tolist()]),
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def frame(found: list[list[Any]], of: Table | None = None) -> Any:
    """Return rows as the table makes a model's inputs."""
    import pandas as pd

    of = of or table()
    columns = zip(*found, strict=True)
    named = dict(zip(of.feature_names, columns, strict=True))
    return of.inputs(
        pd.DataFrame({name: np.array(list(v), dtype=object) for name, v in named.items()})
    )


def labels(found: list[list[Any]], task: str, seed: int = 1) -> Any:
    """Return labels that depend on the rows."""
    generator = np.random.default_rng(seed)
    score = np.array([row[3] / 50 + 2 * row[6] + (row[0] == "Bern") for row in found])
    score = score + generator.normal(scale=0.3, size=len(found))
    if task == "regression":
        return score
    edges = np.quantile(score, [0.5] if task == "binary" else [0.3, 0.7])
    return np.array(CLASSES[task])[np.searchsorted(edges, score)]


def estimator(task: str = "binary", kind: str = "linear") -> Any:
    """Return a pipeline that takes the table's rows."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers = ["visits", "age", "balance", "rate", "is_member", "since"]
    texts = ["city", "plan", "note"]
    if kind == "linear":
        columns = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), texts),
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        )
        last: Any = Ridge() if task == "regression" else LogisticRegression(max_iter=500)
        return make_pipeline(columns, last)
    columns = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    if kind == "forest":
        last = make_pipeline(SimpleImputer(), RandomForestClassifier(20, random_state=0))
    elif task == "regression":
        last = HistGradientBoostingRegressor(max_iter=20, random_state=0)
    else:
        last = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    return make_pipeline(columns, last)


def fitted(task: str = "binary", kind: str = "linear", count: int = 600) -> Any:
    """Return a fitted pipeline."""
    found = rows(count)
    return estimator(task, kind).fit(frame(found, table(task)), labels(found, task))


_SENT = {"str": "BYTES", "category": "BYTES", "datetime": "BYTES", "bool": "BOOL", "int": "INT64"}


def tensors(found: list[list[Any]], **changed: Any) -> list[dict[str, Any]]:
    """Return rows as one tensor a column; `changed` gives a column other fields, None drops it."""
    made = []
    for place, column in enumerate(COLUMNS):
        own = changed.get(column.name, {})
        if own is not None:
            tensor = {
                "name": column.name,
                "datatype": _SENT.get(column.kind, "FP64"),
                "shape": [len(found)],
                "data": [row[place] for row in found],
            }
            made.append(tensor | own)
    return made
