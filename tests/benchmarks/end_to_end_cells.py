"""The cells of the end-to-end table: rows of each kind of input, and the estimators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("binary", "multiclass", "regression")
INPUTS = ("numbers", "mixed", "dates", "text", "booleans")
_PROBLEMS = {"bad": 1.0, "late": 0.6, "broken": 0.8, "ok": -0.4, "good": -0.8, "fine": -0.6}
_CITIES = ("Bern", "Genève", "Zürich", "Chur, Alt")


@dataclass(frozen=True)
class Estimator:
    """What a user writes: an import, and a model of a classifier and a regressor.

    `{model}` in `around` is the model; without text columns `alone` is used.
    """

    imports: tuple[str, str]
    models: tuple[str, str]
    around: str = "make_pipeline(columns, {model})"
    alone: str = "{model}"

    def source(self, task: str, *, has_text: bool) -> tuple[str, str]:
        """Return the line to import it, and the expression."""
        which = int(task == "regression")
        around = self.around if has_text else self.alone
        return self.imports[which], around.format(model=self.models[which])


def _of(module: str, classifier: str, regressor: str, settings: str, **named: str) -> Estimator:
    names = (classifier, regressor)
    imports = tuple(f"from {module} import {name}" for name in names)
    return Estimator(imports, tuple(f"{name}({settings})" for name in names), **named)  # type: ignore[arg-type]


_IMPUTED = 'make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), {model})'
_TEXT = (
    'make_pipeline(ColumnTransformer([("text", TfidfVectorizer(), table.texts[0]), '
    '("numbers", numbers, table.numbers)]), {model})'
)
_LINEAR = ("LogisticRegression(max_iter=500)", "Ridge()")
_TREES = "n_estimators=20, random_state=7"
ESTIMATORS = {
    "linear": Estimator(("", ""), _LINEAR, alone=_IMPUTED),
    "forest": _of("sklearn.ensemble", "RandomForestClassifier", "RandomForestRegressor", _TREES),
    "hist": _of(
        "sklearn.ensemble",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
        "max_iter=20, random_state=7",
    ),
    "lightgbm": _of("lightgbm", "LGBMClassifier", "LGBMRegressor", f"{_TREES}, verbose=-1"),
    "xgboost": _of("xgboost", "XGBClassifier", "XGBRegressor", _TREES),
    "catboost": _of(
        "catboost",
        "CatBoostClassifier",
        "CatBoostRegressor",
        "iterations=20, random_seed=7, verbose=0, allow_writing_files=False",
    ),
    "tfidf": Estimator(
        ("from sklearn.feature_extraction.text import TfidfVectorizer",) * 2, _LINEAR, around=_TEXT
    ),
}


@dataclass(frozen=True)
class Cell:
    """One cell: a task, an estimator, and the kind of input."""

    task: str
    estimator: str
    input: str

    @property
    def words(self) -> tuple[str, str, str]:
        """What chooses it."""
        return self.task, self.estimator, self.input

    @property
    def suffix(self) -> str:
        """The kind of file that its rows are in; each input comes as both."""
        turn = TASKS.index(self.task) + INPUTS.index(self.input)
        return ("csv", "parquet", "csv.gz")[turn % 3]

    @property
    def reason(self) -> str:
        """Why it is empty, if there is nothing to run."""
        if self.estimator == "tfidf" and self.input not in ("text", "mixed"):
            return "no text column"
        return ""


def cells(*, whole: bool) -> Iterator[Cell]:
    """Yield all cells that can be run, or so many that each pair with the task is there."""
    for turn, task in enumerate(TASKS):
        for place, estimator in enumerate(ESTIMATORS):
            chosen = INPUTS[(place + 2 * turn) % len(INPUTS)]
            for kind in INPUTS if whole else ("text" if estimator == "tfidf" else chosen,):
                cell = Cell(task, estimator, kind)
                if not cell.reason:
                    yield cell


def rows(task: str, kind: str, count: int = 1_200, seed: int = 7) -> pd.DataFrame:
    """Return rows with a label that depends on them."""
    import pandas as pd

    random = np.random.default_rng(seed)
    found = {"size": random.normal(size=count).round(6), "weight": random.gamma(2.0, size=count)}
    score = 1.5 * found["size"] + found["weight"]
    more, effect = _COLUMNS[kind](random, count)
    score = score + effect + random.normal(scale=0.4, size=count)
    return pd.DataFrame({**found, **more, "label": _labels(task, score)})


def _labels(task: str, score: Any) -> Any:
    if task == "regression":
        return score
    low, high = (1.2, 2.6) if task == "multiclass" else (1.8, np.inf)
    names = np.array(["low", "middle", "high"] if task == "multiclass" else ["no", "yes"])
    return names[(score > low).astype(int) + (score > high)]


def _numbers(random: Any, count: int) -> Any:
    visits, rate = random.integers(0, 40, count), random.random(count)
    return {"visits": visits, "rate": np.where(rate < 0.1, np.nan, rate)}, visits / 40


def _mixed(random: Any, count: int) -> Any:
    city = random.choice(_CITIES, count)
    plan = np.where(random.random(count) < 0.15, None, random.choice(["basic", "plus"], count))
    age = np.where(random.random(count) < 0.1, np.nan, random.integers(18, 90, count))
    return {"city": city, "plan": plan, "age": age}, 0.7 * (city == "Bern") + (plan == "plus")


def _dates(random: Any, count: int) -> Any:
    born = np.datetime64("1950-01-01") + random.integers(0, 20_000, count).astype("timedelta64[D]")
    sent = np.datetime64("2026-01-01", "s") + np.arange(count) * np.timedelta64(600, "s")
    since = (born - np.datetime64("1950-01-01")).astype(float)
    return {"sent_at": sent, "born": born.astype("datetime64[s]")}, since / 20_000


def _text(random: Any, count: int) -> Any:
    chosen = random.choice([*_PROBLEMS], (count, 3))
    note = [f"{' '.join(words)}, n° {n}" for n, words in enumerate(chosen)]
    return {"note": note}, np.vectorize(_PROBLEMS.get)(chosen).sum(axis=1)


def _booleans(random: Any, count: int) -> Any:
    flags = random.random((3, count)) < 0.4
    names = ("is_new", "is_paid", "is_fragile")
    return dict(zip(names, flags, strict=True)), flags[0] + 0.5 * flags[1]


_COLUMNS: dict[str, Any] = {
    "numbers": _numbers,
    "mixed": _mixed,
    "dates": _dates,
    "text": _text,
    "booleans": _booleans,
}
