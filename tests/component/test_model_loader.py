"""An artifact becomes a predictor only if it is the one that Git names, and scores as it did."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlops_kit.errors import ServingError, UntrustedModelError
from mlops_kit.models import artifacts
from mlops_kit.models.artifacts import MODEL_FILE
from mlops_kit.serving import model_loader, probes
from tests import mixed, served
from tests.failures import fails
from tests.served import FEATURES


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return served.models()


def loaded(folder: Path, model: Any, **more: Any) -> Any:
    return model_loader.load(folder, served.write_artifact(folder, model, "3", **more))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["fast", "linear", "slow"])
def test_a_predictor_decides_as_the_model_itself_and_warns_of_no_names(
    tmp_path: Path, models: dict[str, Any], name: str
) -> None:
    model = models[name]
    found = loaded(tmp_path / "artifact", model)
    assert (found.version, found.is_fast, found.threshold) == ("3", name != "slow", 0.3)
    assert found.signature.features == FEATURES
    frame, _ = served.table(300, seed=4)
    for count in (1, 300):
        scores, decisions = found.predict(frame.head(count).to_numpy())
        assert scores.tobytes() == model.predict_proba(frame.head(count))[:, 1].tobytes()
        assert decisions.tolist() == model.predict(frame.head(count)).tolist()


def test_a_score_at_the_threshold_is_flagged_as_scikit_learn_does(tmp_path: Path) -> None:
    frame, labels = served.table(200)
    inner = LogisticRegression().fit(frame, labels)
    score = float(inner.predict_proba(frame)[7, 1])
    model = FixedThresholdClassifier(inner, threshold=score).fit(frame, labels)
    found = loaded(tmp_path / "artifact", model)
    threshold = found.score(frame.to_numpy())[7]
    at = dataclasses.replace(found, threshold=float(threshold))
    assert at.predict(frame.to_numpy()[7:8])[1].tolist() == [1]
    above = dataclasses.replace(found, threshold=float(np.nextafter(threshold, 1)))
    assert above.predict(frame.to_numpy()[7:8])[1].tolist() == [0]


def test_a_model_that_chooses_columns_by_name_gets_them(tmp_path: Path) -> None:
    frame, labels = served.table(200)
    columns = make_column_transformer((StandardScaler(), ["V0", "V2"]), remainder="drop")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, labels)
    found = loaded(tmp_path / "artifact", model)
    expected = model.predict_proba(frame)[:, 1]
    assert found.predict(frame.to_numpy())[0].tobytes() == expected.tobytes()
    assert found.threshold == 0.5


def test_a_model_that_refuses_missing_values_still_does(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    found = loaded(tmp_path / "artifact", models["slow"])
    with pytest.raises(ValueError, match="NaN"):
        found.predict(np.full((1, len(FEATURES)), np.nan))


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / MODEL_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / MODEL_FILE).write_bytes(content)


def another_signature(folder: Path) -> None:
    inputs = json.dumps([{"name": name} for name in reversed(FEATURES)])
    (folder / "MLmodel").write_text(json.dumps({"signature": {"inputs": inputs}}))


def another_file(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import os; os._exit(1)")


def one_file_less(folder: Path) -> None:
    (folder / "MLmodel").unlink()


@pytest.mark.parametrize("tamper", [flip_a_byte, another_signature, another_file, one_file_less])
def test_an_artifact_that_was_touched_is_not_loaded(
    tmp_path: Path, models: dict[str, Any], tamper: Any
) -> None:
    folder = tmp_path / "artifact"
    named = served.write_artifact(folder, models["fast"], "3")
    tamper(folder)
    with pytest.raises(UntrustedModelError, match="digest"):
        model_loader.load(folder, named)


def test_a_digest_that_names_a_broken_file_helps_nobody(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    folder = tmp_path / "artifact"
    named = served.write_artifact(folder, models["fast"], "3")
    with zipfile.ZipFile(folder / MODEL_FILE) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    entries["schema.json"] = entries["schema.json"].replace(b"TreePredictor", b"TreeDestroyer")
    with zipfile.ZipFile(folder / MODEL_FILE, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    named = dataclasses.replace(named, digest=artifacts.digest(artifacts.contents(folder)))
    with pytest.raises(UntrustedModelError, match="TreeDestroyer"):
        model_loader.load(folder, named)


def test_what_cannot_be_served_says_why(tmp_path: Path) -> None:
    frame, labels = served.table(200)
    fits = LogisticRegression().fit(frame, labels)
    with pytest.raises(ServingError, match="row of 3"):
        loaded(tmp_path / "width", fits, features=FEATURES[:3])
    with pytest.raises(ServingError, match="signature"):
        loaded(tmp_path / "names", fits, features=())
    three = LogisticRegression().fit(frame, np.arange(len(frame)) % 3)
    with pytest.raises(ServingError, match="expected two"):
        loaded(tmp_path / "classes", three)
    other = FixedThresholdClassifier(fits, pos_label=0).fit(frame, labels)
    with pytest.raises(ServingError, match="class 0"):
        loaded(tmp_path / "label", other)


@pytest.mark.parametrize("kind", ["linear", "trees"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_model_with_its_table_is_served_by_task_bit_for_bit(
    tmp_path: Path, task: str, kind: str
) -> None:
    table = mixed.table(task)
    model = mixed.fitted(task, kind)
    named = served.write_artifact(tmp_path / "artifact", model, "3", declared=table)
    found = model_loader.load(tmp_path / "artifact", named)
    assert found.signature.task == task
    sent = mixed.rows(200, seed=7, unknown=True)
    frame = mixed.frame(sent, table)
    rows = probes.as_rows(sent, found.signature)
    scores, decisions = found.predict(rows)
    if task == "regression":
        assert scores.tobytes() == model.predict(frame).astype(float).tobytes()
        assert len(decisions) == 0
        return
    # scikit-learn's classes are in alphabetical order, the table's in its own.
    order = [model.classes_.tolist().index(each) for each in table.classes]
    expected = model.predict_proba(frame)[:, order]
    expected = expected[:, 1] if task == "binary" else expected
    assert scores.tobytes() == np.ascontiguousarray(expected).tobytes()
    # A model's own predict takes the first of equals by its own order; there are none here.
    assert [table.classes[each] for each in decisions] == model.predict(frame).tolist()
    singles = [found.predict(rows[place : place + 1])[0] for place in range(20)]
    alone = [mixed.frame([row], table) for row in sent[:20]]
    theirs = [model.predict_proba(each)[:, order] for each in alone]
    for mine, one in zip(singles, theirs, strict=True):
        assert (
            mine.tobytes() == np.ascontiguousarray(one[:, 1] if task == "binary" else one).tobytes()
        )


def test_a_model_that_fails_at_what_its_table_allows_says_where(tmp_path: Path) -> None:
    table = mixed.table()
    sent = mixed.rows(300)
    columns = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["rate"]))
    model = make_pipeline(columns, LogisticRegression())
    model.fit(mixed.frame(sent), mixed.labels(sent, "binary"))
    named = served.write_artifact(tmp_path / "unknown", model, "3", declared=table)
    with fails("serving", "city", "nobody declared"):
        model_loader.load(tmp_path / "unknown", named)
    closed = dataclasses.replace(table, unseen="refuse")
    named = served.write_artifact(tmp_path / "closed", model, "3", declared=closed)
    assert model_loader.load(tmp_path / "closed", named).signature.table == closed
    columns = make_column_transformer((StandardScaler(), ["rate", "age"]))
    model = make_pipeline(columns, LogisticRegression())
    complete = [row for row in sent if row[4] is not None]
    model.fit(mixed.frame(complete), mixed.labels(complete, "binary"))
    named = served.write_artifact(tmp_path / "gaps", model, "3", declared=table)
    with fails("serving", "age"):
        model_loader.load(tmp_path / "gaps", named)
    (tmp_path / "gaps" / "table.json").write_text('{"schema_version": 7}')
    named = dataclasses.replace(
        named, digest=artifacts.digest(artifacts.contents(tmp_path / "gaps"))
    )
    with fails("registry.untrusted", "table.json"):
        model_loader.load(tmp_path / "gaps", named)


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost"])
def test_a_booster_in_its_own_format_is_served_fast(tmp_path: Path, name: str) -> None:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    table, sent = mixed.table(), mixed.rows(300)
    made = {
        "LightGBM": lightgbm.LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1),
        "XGBoost": xgboost.XGBClassifier(n_estimators=10, n_jobs=1),
    }[name]
    labels = (mixed.labels(sent, "binary") == table.positive).astype(int)
    columns = mixed.estimator("binary", "trees")[0]
    model = make_pipeline(columns, made).fit(mixed.frame(sent), labels)
    named = served.write_artifact(tmp_path / "artifact", model, "3", declared=table)
    found = model_loader.load(tmp_path / "artifact", named)
    assert found.is_fast
    rows = probes.as_rows(sent[:30], found.signature)
    expected = model.predict_proba(mixed.frame(sent[:30]))[:, 1].astype(float)
    assert found.predict(rows)[0].tobytes() == expected.tobytes()
