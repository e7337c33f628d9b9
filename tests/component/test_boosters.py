"""Boosters of other libraries are stored as data, and come back bit for bit.

- alone, in a pipeline, frozen, calibrated, with a threshold
- missing values and categories that no training row had
- a file that was tampered with is refused before its library reads it
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlops_kit.models import artifacts, booster_files
from tests.failures import fails

COUNT = 600
RANDOM = np.random.default_rng(0)
TEXTS = RANDOM.choice(["x", "y", "z"], COUNT)
ROWS = pd.DataFrame({"a": RANDOM.normal(size=COUNT), "b": RANDOM.normal(size=COUNT)})
ROWS["c"] = pd.Categorical(TEXTS, categories=["x", "y", "z", "w"])
LABELS = (ROWS["b"] + 0.3 * RANDOM.normal(size=COUNT) > 0).to_numpy().astype(int)
ROWS.loc[::7, "a"] = np.nan
NUMBERS = ROWS[["a", "b"]]
WORDS = np.where(LABELS == 1, "fraud", "ok")
THREE = RANDOM.integers(0, 3, COUNT)
# Also a category that no row had, and none.
OTHERS = ROWS.assign(c=pd.Categorical(["w", None] * (COUNT // 2), categories=["x", "y", "z", "w"]))
AS_TEXT = ROWS.assign(c=TEXTS.astype(object))


def lgbm(**more: Any) -> Any:
    return lightgbm.LGBMClassifier(n_estimators=20, num_leaves=7, verbose=-1, **more)


def xgb(**more: Any) -> Any:
    return xgboost.XGBClassifier(n_estimators=20, max_depth=3, **more)


def cat(**more: Any) -> Any:
    quiet: dict[str, Any] = {"verbose": 0, "allow_writing_files": False}
    return catboost.CatBoostClassifier(iterations=20, depth=3, **quiet, **more)


def in_pipeline(booster: Any) -> Any:
    encode = (OneHotEncoder(handle_unknown="ignore"), ["c"])
    return make_pipeline(make_column_transformer(encode, remainder="passthrough"), booster)


def with_threshold(booster: Any, positive: Any) -> Any:
    frozen = FrozenEstimator(booster)
    return FixedThresholdClassifier(frozen, threshold=0.2, pos_label=positive)


def calibrated(booster: Any) -> Any:
    return CalibratedClassifierCV(booster, ensemble=False, method="isotonic")


def dumped(model: Any, folder: Path) -> dict[str, bytes]:
    artifacts.dump(model, folder)
    return artifacts.contents(folder)


MODELS: dict[str, Callable[[], tuple[Any, pd.DataFrame]]] = {
    "lightgbm": lambda: (lgbm().fit(ROWS, WORDS), OTHERS),
    "lightgbm, classes": lambda: (lgbm().fit(ROWS, THREE), OTHERS),
    "lightgbm, forest": lambda: (
        lgbm(boosting_type="rf", subsample=0.5, subsample_freq=1).fit(NUMBERS, THREE),
        NUMBERS,
    ),
    "lightgbm, in a pipeline": lambda: (in_pipeline(lgbm()).fit(ROWS, WORDS), OTHERS),
    "lightgbm, threshold": lambda: (
        with_threshold(lgbm().fit(ROWS, WORDS), "fraud").fit(ROWS, WORDS),
        OTHERS,
    ),
    "lightgbm, calibrated": lambda: (calibrated(lgbm()).fit(ROWS, WORDS), OTHERS),
    "lightgbm, a regression": lambda: (
        lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, objective="poisson").fit(ROWS, THREE),
        OTHERS,
    ),
    "xgboost": lambda: (xgb(enable_categorical=True).fit(ROWS, LABELS), ROWS),
    "xgboost, numbers": lambda: (xgb().fit(NUMBERS, LABELS), NUMBERS),
    "xgboost, classes": lambda: (xgb(booster="dart").fit(NUMBERS, THREE), NUMBERS),
    "xgboost, another missing value": lambda: (
        xgb(missing=-1.0).fit(NUMBERS.fillna(-1), LABELS),
        NUMBERS.fillna(-1),
    ),
    "xgboost, in a pipeline": lambda: (in_pipeline(xgb()).fit(ROWS, LABELS), OTHERS),
    "xgboost, calibrated": lambda: (calibrated(xgb()).fit(NUMBERS, THREE), NUMBERS),
    "xgboost, early": lambda: (
        xgb(early_stopping_rounds=2).fit(
            NUMBERS, LABELS, eval_set=[(NUMBERS, LABELS[::-1])], verbose=False
        ),
        NUMBERS,
    ),
    "xgboost, a regression": lambda: (
        xgboost.XGBRegressor(n_estimators=20).fit(NUMBERS, ROWS["b"]),
        NUMBERS,
    ),
    "catboost": lambda: (cat(cat_features=["c"]).fit(AS_TEXT, WORDS), AS_TEXT),
    "catboost, frozen as in a new project": lambda: (
        with_threshold(
            calibrated(FrozenEstimator(cat().fit(NUMBERS, LABELS))).fit(NUMBERS, LABELS), 1
        ).fit(NUMBERS, LABELS),
        NUMBERS,
    ),
    "catboost, classes": lambda: (cat(grow_policy="Lossguide").fit(NUMBERS, THREE), NUMBERS),
    "a vote of two": lambda: (
        VotingClassifier([("one", lgbm()), ("two", xgb())], voting="soft").fit(NUMBERS, LABELS),
        NUMBERS,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_booster_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model, rows = MODELS[name]()
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    before = getattr(model, method)(rows)
    files = dumped(model, tmp_path)
    loaded = artifacts.open_contents(files, "v1").model
    for part in (rows, rows[:1]):
        expected, found = getattr(model, method)(part), getattr(loaded, method)(part)
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()
    assert (np.ravel(loaded.predict(rows)) == np.ravel(model.predict(rows))).all()
    assert getattr(model, method)(rows).tobytes() == before.tobytes(), "the model was changed"
    assert any(each.startswith("booster-0.") for each in files)
    assert b"pickle" not in files["model.skops"]


def test_a_library_of_another_kind_reads_the_files(tmp_path: Path) -> None:
    files = dumped(lgbm().fit(ROWS, WORDS), tmp_path)
    theirs = lightgbm.Booster(model_str=files["booster-0.txt"].decode())
    assert theirs.num_trees() == 20


def test_a_booster_that_predicts_by_a_function_is_refused(tmp_path: Path) -> None:
    def objective(labels: Any, scores: Any) -> Any:
        return scores - labels, np.ones_like(scores)

    model = lgbm(objective=objective).fit(NUMBERS, LABELS)
    with fails("registry.untrusted", "LGBMClassifier", "objective"):
        artifacts.dump(model, tmp_path)


LIGHTGBM_EDITS: dict[str, tuple[str, str]] = {
    "a feature outside": (r"split_feature=\d+", "split_feature=99"),
    "a negative feature": (r"split_feature=\d+", "split_feature=-3"),
    "a child outside": (r"left_child=-?\d+", "left_child=900"),
    "a leaf outside": (r"right_child=-?\d+", "right_child=-900"),
    "a cycle": (r"left_child=-?\d+", "left_child=0"),
    "more leaves": (r"num_leaves=\d+", "num_leaves=900"),
    "fewer leaves": (r"num_leaves=\d+", "num_leaves=2"),
    "a negative number of leaves": (r"num_leaves=\d+", "num_leaves=-1"),
    "a value that is no number": (r"leaf_value=\S+", "leaf_value=x"),
    "too few values": (r"leaf_value=\S+ ", "leaf_value="),
    "more classes": (r"num_class=1", "num_class=3"),
    "more trees an iteration": (r"num_tree_per_iteration=1", "num_tree_per_iteration=3"),
    "an objective of more classes": (
        r"objective=binary sigmoid:1",
        "objective=multiclass num_class:9",
    ),
    "more features": (r"max_feature_idx=2", "max_feature_idx=2000000000"),
    "a linear tree": (r"is_linear=0", "is_linear=1"),
    "a field twice": (r"num_leaves=(\d+)", r"num_leaves=\1\nnum_leaves=4"),
    "more categories": (r"num_cat=\d+", "num_cat=7"),
    "categories outside": (r"cat_boundaries=0 \d+", "cat_boundaries=0 9000"),
    "a tree of another number": (r"Tree=1", "Tree=7"),
    "an unknown field": (r"shrinkage=", "path=/etc/passwd\nshrinkage="),
    "cut": (r"(?s)\nTree=3.*", ""),
    "another start": (r"^tree", "three"),
}


@pytest.fixture(scope="module")
def text() -> str:
    model = lgbm(min_data_per_group=1, cat_smooth=0.1).fit(ROWS[["c", "a", "b"]], TEXTS == "x")
    return str(model.booster_.model_to_string())


@pytest.mark.parametrize("name", LIGHTGBM_EDITS)
def test_an_edited_file_of_lightgbm_is_refused(name: str, text: str) -> None:
    booster_files.lightgbm_text(text.encode())
    edited, count = re.subn(*LIGHTGBM_EDITS[name], text, count=1)
    assert count == 1
    with pytest.raises((ValueError, KeyError)):
        booster_files.lightgbm_text(edited.encode())


def test_where_the_trees_begin_is_not_believed(text: str) -> None:
    edited = re.sub(r"tree_sizes=.*", "tree_sizes=1 2 900000000", text)
    assert booster_files.lightgbm_text(edited.encode()) == booster_files.lightgbm_text(
        text.encode()
    )
    assert "tree_sizes" not in booster_files.lightgbm_text(text.encode())


def tree_of(data: Any) -> Any:
    return data["learner"]["gradient_booster"]["model"]["trees"][0]


def model_of(data: Any) -> Any:
    return data["learner"]["gradient_booster"]["model"]


XGBOOST_EDITS: dict[str, Callable[[Any], Any]] = {
    "a feature outside": lambda d: tree_of(d)["split_indices"].__setitem__(0, 99),
    "a negative feature": lambda d: tree_of(d)["split_indices"].__setitem__(0, -1),
    "a child outside": lambda d: tree_of(d)["left_children"].__setitem__(0, 9_000),
    "a cycle": lambda d: tree_of(d)["right_children"].__setitem__(0, 0),
    "one child for two": lambda d: tree_of(d)["right_children"].__setitem__(
        0, tree_of(d)["left_children"][0]
    ),
    "another parent": lambda d: tree_of(d)["parents"].__setitem__(-1, 0),
    "a parent outside": lambda d: tree_of(d)["parents"].__setitem__(-1, -1),
    "a parent of the root": lambda d: tree_of(d)["parents"].__setitem__(0, 1),
    "the id of another tree": lambda d: tree_of(d).update(id=1),
    "a negative length of vectors": lambda d: tree_of(d)["tree_param"].update(
        size_leaf_vector="-2147483648"
    ),
    "no node left": lambda d: tree_of(d)["tree_param"].update(num_deleted="900"),
    "a value less": lambda d: tree_of(d)["split_conditions"].pop(),
    "more nodes": lambda d: tree_of(d)["tree_param"].update(num_nodes="900"),
    "vectors in leaves": lambda d: tree_of(d)["tree_param"].update(size_leaf_vector="7"),
    "a group outside": lambda d: model_of(d)["tree_info"].__setitem__(0, 7),
    "iterations outside": lambda d: model_of(d)["iteration_indptr"].__setitem__(-1, 900),
    "more trees": lambda d: model_of(d)["gbtree_model_param"].update(num_trees="900"),
    "fewer features": lambda d: d["learner"]["learner_model_param"].update(num_feature="1"),
    "another booster": lambda d: d["learner"]["gradient_booster"].update(name="gblinear"),
    "a large category": lambda d: tree_of(d)["categories"].append(2**40),
    "a category for nobody": lambda d: tree_of(d)["categories_nodes"].append(0),
    "categories outside": lambda d: model_of(d)["cats"]["sorted_idx"].__setitem__(0, 900),
    "no trees": lambda d: model_of(d).pop("trees"),
}


@pytest.mark.parametrize("name", XGBOOST_EDITS)
def test_an_edited_file_of_xgboost_is_refused(name: str) -> None:
    model = xgb(enable_categorical=True).fit(ROWS, LABELS)
    data = json.loads(bytes(model.get_booster().save_raw("json")))
    booster_files.xgboost_json(json.dumps(data).encode())
    XGBOOST_EDITS[name](data)
    with pytest.raises((ValueError, KeyError, IndexError)):
        booster_files.xgboost_json(json.dumps(data).encode())


def test_a_name_that_is_there_twice_is_refused() -> None:
    content = bytes(xgb().fit(NUMBERS, LABELS).get_booster().save_raw("json"))
    twice = content.replace(b'"tree_info"', b'"tree_info":[9],"tree_info"', 1)
    with pytest.raises(ValueError, match="twice"):
        booster_files.xgboost_json(twice)


def test_a_broken_file_of_catboost_ends_a_process_of_its_own(tmp_path: Path) -> None:
    files = dumped(cat().fit(NUMBERS, LABELS), tmp_path)
    content = files["booster-0.cbm"]
    for broken in (b"", b"pickle", content[: len(content) // 2], content[:300] + bytes(9_000)):
        with fails("registry.untrusted", "booster-0.cbm", "v1"):
            artifacts.open_contents({**files, "booster-0.cbm": broken}, "v1")


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_files_that_do_not_belong_together_are_refused(library: str, tmp_path: Path) -> None:
    make: Any = lgbm if library == "lightgbm" else xgb
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    of_two = dumped(make().fit(NUMBERS, LABELS), tmp_path / "two")
    of_one = dumped(make().fit(NUMBERS[["b"]], LABELS), tmp_path / "one")
    (name,) = (each for each in of_two if each.startswith("booster-"))
    for files in ({**of_two, name: of_one[name]}, {"model.skops": of_two["model.skops"]}):
        with fails("registry.untrusted", name):
            artifacts.open_contents(files, "v1")


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    artifacts.dump(lgbm().fit(NUMBERS, LABELS), tmp_path)
    script = (
        "import sys; sys.modules['lightgbm'] = None\n"
        "from pathlib import Path\nfrom mlops_kit.models import artifacts\n"
        "artifacts.open_contents(artifacts.contents(Path(sys.argv[1])), 'v1')"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "UntrustedModelError" in done.stderr
    assert "mlops-kit[lightgbm]" in done.stderr
