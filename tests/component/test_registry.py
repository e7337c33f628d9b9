"""A model comes back as it was registered, bit for bit, or not at all."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlops_kit.errors import ModelNotFoundError, RegistryError, UntrustedModelError
from mlops_kit.examples.fraud import data
from mlops_kit.models import artifacts, training
from mlops_kit.models.model_version import Description, ModelVersion
from mlops_kit.models.registry import Registry

# Four processes with one import: forked before a store is opened, after all that is loaded late.
FIRST_USERS = """
import multiprocessing, sys
from pathlib import Path
import mlflow.sklearn, numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
from mlops_kit.models.model_version import Description
from mlops_kit.models.registry import Registry

uri, folder, count = sys.argv[1:]
rows = pd.DataFrame(np.eye(4), columns=list("abcd"))
model = LogisticRegression().fit(rows, [0, 1, 0, 1])
signature = mlflow.models.infer_signature(rows, rows["a"])
mlflow.sklearn.save_model(
    model, folder + "-first", serialization_format="skops", signature=signature,
    input_example=rows, pip_requirements=[],
)
fork = multiprocessing.get_context("fork")
together, made = fork.Barrier(int(count)), fork.Queue()

def register():
    together.wait()
    try:
        registry = Registry(uri, artifacts=Path(folder))
        made.put(registry.register(model, "fraud", rows, Description()).version)
    except BaseException as error:
        made.put(repr(error))
        raise

users = [fork.Process(target=register) for _ in range(int(count))]
for user in users:
    user.start()
print(*sorted(made.get(timeout=50) for _ in users), sep="|")
for user in users:
    user.join()
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", artifacts=folder / "artifacts")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return data.generate(6000, seed=3)


@pytest.fixture(scope="module")
def features(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[*data.FEATURES]]


def as_the_notebook_does(estimator: Any, frame: pd.DataFrame) -> Any:
    fitted = estimator.fit(frame[[*data.FEATURES]], frame["Class"])
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid", ensemble=False)
    calibrated.fit(frame[[*data.FEATURES]], frame["Class"])
    return training.with_threshold(calibrated, 0.2, frame, data.TABLE)


def linear() -> Any:
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(scaled, LogisticRegression(class_weight="balanced"))


def boosted() -> Any:
    return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, random_state=7)


@pytest.fixture(scope="module")
def small(features: pd.DataFrame, frame: pd.DataFrame) -> Any:
    return LogisticRegression(max_iter=500).fit(features, frame["Class"])


@pytest.fixture
def stored(registry: Registry, small: Any, features: pd.DataFrame) -> ModelVersion:
    return registry.register(small, "stored", features.head(3), Description())


def folder_of(registry: Registry, version: ModelVersion) -> Path:
    assert registry.artifacts
    return registry.artifacts / version.name / version.run_id / "artifacts" / "model"


@pytest.mark.parametrize("make", [linear, boosted])
def test_a_model_comes_back_bit_for_bit(
    registry: Registry, frame: pd.DataFrame, features: pd.DataFrame, make: Callable[[], Any]
) -> None:
    model = as_the_notebook_does(make(), frame)
    made = training.register(registry, "whole", model, frame, data.TABLE, role="candidate", tags={})
    loaded = registry.load(registry.version("whole", made.version), made.digest)
    scores = model.predict_proba(features)
    assert loaded.predict_proba(features).tobytes() == scores.tobytes()
    assert (loaded.predict(features) == model.predict(features)).all()
    assert loaded.threshold == 0.2


def test_the_digest_covers_every_file_of_the_artifact(
    registry: Registry, stored: ModelVersion
) -> None:
    contents = artifacts.contents(folder_of(registry, stored))
    assert {"MLmodel", "model.skops", "requirements.txt"} <= set(contents)
    assert artifacts.digest(contents) == stored.digest
    seen = {stored.digest}
    for name, content in contents.items():
        others = {each: other for each, other in contents.items() if each != name}
        flipped = bytes([content[0] ^ 1]) + content[1:]
        seen.add(artifacts.digest({**others, name: flipped}))
        seen.add(artifacts.digest({**others, f"{name}.old": content}))
        seen.add(artifacts.digest(others))
    assert len(seen) == 1 + 3 * len(contents)


def flip_a_byte(folder: Path, other: Path) -> None:
    content = bytearray((folder / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.skops").write_bytes(content)


def swap_the_model(folder: Path, other: Path) -> None:
    shutil.copyfile(other / "model.skops", folder / "model.skops")


def add_a_file(folder: Path, other: Path) -> None:
    (folder / "sitecustomize.py").write_text("raise SystemExit")


def cut_the_model(folder: Path, other: Path) -> None:
    content = (folder / "model.skops").read_bytes()
    (folder / "model.skops").write_bytes(content[: len(content) // 2])


def remove_the_model(folder: Path, other: Path) -> None:
    (folder / "model.skops").unlink()


@pytest.mark.parametrize(
    "tamper", [flip_a_byte, swap_the_model, add_a_file, cut_the_model, remove_the_model]
)
def test_an_artifact_that_changed_is_not_loaded(
    registry: Registry,
    stored: ModelVersion,
    features: pd.DataFrame,
    frame: pd.DataFrame,
    tamper: Callable[[Path, Path], None],
) -> None:
    model = LogisticRegression(C=0.01, max_iter=500).fit(features, frame["Class"])
    other = registry.register(model, "other", features.head(3), Description())
    tamper(folder_of(registry, stored), folder_of(registry, other))
    with pytest.raises(UntrustedModelError, match=f"expected {stored.digest}"):
        registry.load(stored, stored.digest)


def test_what_the_registry_says_of_a_digest_does_not_count(
    registry: Registry, stored: ModelVersion
) -> None:
    flip_a_byte(folder := folder_of(registry, stored), folder)
    forged = artifacts.digest(artifacts.contents(folder))
    registry.tag(stored, digest=forged)
    assert registry.version(stored.name, stored.version).digest == forged
    with pytest.raises(UntrustedModelError):
        registry.load(registry.version(stored.name, stored.version), stored.digest)


def test_an_artifact_that_is_gone_is_named(registry: Registry, stored: ModelVersion) -> None:
    shutil.rmtree(folder_of(registry, stored))
    with pytest.raises(RegistryError, match=f"no files of {stored}"):
        registry.load(stored, stored.digest)


def skops_file(schema: dict[str, Any] | str, **files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("schema.json", schema if type(schema) is str else json.dumps(schema))
        for name, inside in files.items():
            archive.writestr(name, inside)
    return content.getvalue()


class Marks:
    """Unpickling one writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_in_disguise_is_refused_and_not_run(tmp_path: Path) -> None:
    content = pickle.dumps(Marks(tmp_path / "marker"))
    with pytest.raises(UntrustedModelError, match="no sound skops file"):
        artifacts.load(content, "fraud v1")
    assert not (tmp_path / "marker").exists()
    pickle.loads(content)
    assert (tmp_path / "marker").exists(), "the pickle would have left its mark"


def test_a_type_off_the_list_is_refused_before_its_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    source = (
        f"open({str(marker)!r}, 'w')\nclass Model:\n    def __init__(self):\n        self.a = 1\n"
    )
    (tmp_path / "marking_model.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    content = skops.io.dumps(importlib.import_module("marking_model").Model())
    assert marker.exists(), "importing the module leaves its mark"
    marker.unlink()
    del sys.modules["marking_model"]
    with pytest.raises(UntrustedModelError, match=r"marking_model\.Model.*doesn't vouch"):
        artifacts.load(content, "fraud v1")
    assert not marker.exists()
    assert "marking_model" not in sys.modules


def test_a_call_that_a_file_asks_for_is_refused(tmp_path: Path) -> None:
    asked = FunctionTransformer(os.mkdir, kw_args={"path": str(tmp_path / "marker")})
    with pytest.raises(UntrustedModelError, match="doesn't vouch"):
        artifacts.load(skops.io.dumps(asked), "fraud v1")
    assert not (tmp_path / "marker").exists()


class Own(LogisticRegression):
    pass


def test_what_could_not_be_loaded_again_is_not_registered(
    registry: Registry, frame: pd.DataFrame, features: pd.DataFrame
) -> None:
    models = [
        make_pipeline(FunctionTransformer(abs_of), LogisticRegression(max_iter=500)),
        Own(max_iter=500),
    ]
    for model in models:
        fitted = model.fit(features, frame["Class"])
        with pytest.raises(UntrustedModelError, match="scikit-learn's own estimators"):
            registry.register(fitted, "refused", features.head(3), Description())
    assert registry.versions("refused") == ()
    assert registry.artifacts
    assert not (registry.artifacts / "refused").exists()


def abs_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.abs()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(small: Any) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.infolist()[0].file_size = artifacts.MAX_UNPACKED_BYTES + 1
    with pytest.raises(UntrustedModelError, match="unpacks to 2147483649 bytes"):
        artifacts.load(content.getvalue(), "fraud v1")


def test_a_file_that_hides_its_size_is_refused() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(50 * 2**20))
        archive.infolist()[0].file_size = 10
    with pytest.raises(UntrustedModelError, match="no sound skops file"):
        artifacts.load(content.getvalue(), "fraud v1")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        skops_file("{"),
        skops_file("[" * 100_000),
        skops_file({}),
        skops_file({"__class__": "LogisticRegression", "__module__": "sklearn.linear_model"}),
        skops_file({"__loader__": "ObjectNode", "__class__": 7, "__module__": None}),
    ],
    ids=["empty", "cut", "no JSON", "deep", "no schema", "half a schema", "wrong types"],
)
def test_a_broken_file_is_refused_whatever_breaks(content: bytes) -> None:
    with pytest.raises(UntrustedModelError, match="fraud v1"):
        artifacts.load(content, "fraud v1")


def test_an_artifact_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "model.skops").open("wb") as file:
        file.truncate(artifacts.MAX_ARTIFACT_BYTES + 1)
    with pytest.raises(UntrustedModelError, match="the limit is"):
        artifacts.contents(tmp_path)


def test_what_is_not_there_is_said(registry: Registry, stored: ModelVersion) -> None:
    with pytest.raises(ModelNotFoundError, match="no stored v99"):
        registry.version("stored", "99")
    with pytest.raises(ModelNotFoundError, match="no nothing v1"):
        registry.version("nothing", "1")
    with pytest.raises(ModelNotFoundError, match="no stored v99"):
        registry.set_alias("stored", "champion", "99")
    with pytest.raises(ModelNotFoundError, match="no stored v99"):
        registry.tag(dataclasses.replace(stored, version="99"), verdict="pass")
    assert registry.by_alias("nothing", "champion") is None
    assert registry.by_alias("stored", "nobody") is None
    assert registry.versions("nothing") == ()


@pytest.mark.parametrize("name", ["../outside", "a/b", "a:b", "fraud's", "", ".hidden", "a\nb"])
def test_a_name_that_cannot_be_a_folder_is_refused(
    registry: Registry, small: Any, features: pd.DataFrame, name: str
) -> None:
    with pytest.raises(RegistryError, match="expected letters"):
        registry.register(small, name, features.head(3), Description())
    with pytest.raises(RegistryError, match="expected letters"):
        registry.versions(name)


def test_versions_count_up_and_come_newest_first(
    registry: Registry, small: Any, features: pd.DataFrame
) -> None:
    for _ in range(11):
        registry.register(small, "counted", features.head(3), Description())
    assert [int(v.version) for v in registry.versions("counted")] == list(range(11, 0, -1))


def test_an_alias_moves(registry: Registry, stored: ModelVersion) -> None:
    registry.set_alias("stored", "champion", "1")
    registry.set_alias("stored", "champion", stored.version)
    assert registry.by_alias("stored", "champion") == registry.version("stored", stored.version)


def test_tags_are_the_versions_and_the_digest_is_none_of_them(
    registry: Registry, small: Any, features: pd.DataFrame
) -> None:
    described = Description(tags={"role": "baseline"}, metrics={"a": 1.0}, parameters={"b": "x"})
    made = registry.register(small, "tagged", features.head(3), described)
    registry.tag(made, verdict="fail")
    registry.tag(made, verdict="pass")
    found = registry.version("tagged", made.version)
    assert found.tags == {"role": "baseline", "verdict": "pass"}
    assert found.digest == made.digest
    assert found.digest.startswith("sha256:")


def test_two_dumps_of_a_model_are_two_digests_and_both_load(
    registry: Registry, small: Any, features: pd.DataFrame
) -> None:
    made = [registry.register(small, "twice", features.head(3), Description()) for _ in range(2)]
    for version in made:
        assert registry.load(version, version.digest).coef_.tobytes() == small.coef_.tobytes()


def test_a_fresh_store_stands_four_first_users_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}"
    words = [sys.executable, "-c", FIRST_USERS, uri, str(tmp_path / "artifacts"), "4"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "1|2|3|4", done.stderr
    registry = Registry(uri, artifacts=tmp_path / "artifacts")
    newest = registry.version("fraud", "4")
    assert registry.load(newest, newest.digest).n_features_in_ == 4


@pytest.mark.parametrize("broken", ["no database", "no folder"])
def test_a_store_that_cannot_be_used_is_said(tmp_path: Path, broken: str) -> None:
    (tmp_path / "file").write_text("this is no database" * 100)
    place = tmp_path / "file" if broken == "no database" else tmp_path / "file" / "mlflow.db"
    with pytest.raises(RegistryError, match="can't be used"):
        Registry(f"sqlite:///{place}").versions("fraud")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(
    registry: Registry, stored: ModelVersion, tmp_path: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    # A copy of a store that is prepared: a server on a fresh one migrates for seconds.
    shutil.copyfile(registry.tracking_uri.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    words = ["server", "--backend-store-uri", uri, "--port", str(port)]
    words += ["--artifacts-destination", str(tmp_path / "kept"), "--workers", "1"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            # Seven more processes, which no registry needs.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(port: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def test_a_tracking_server_works_and_a_dead_one_is_said_soon(
    server: subprocess.Popen[bytes],
    port: int,
    tmp_path: Path,
    small: Any,
    features: pd.DataFrame,
) -> None:
    assert answers(port, 40), (tmp_path / "log").read_text()
    registry = Registry(f"http://127.0.0.1:{port}")
    made = registry.register(small, "fraud", features.head(3), Description(tags={"role": "x"}))
    registry.set_alias("fraud", "champion", made.version)
    found = registry.by_alias("fraud", "champion")
    assert found
    assert found.tags["role"] == "x"
    loaded = registry.load(found, made.digest)
    assert (loaded.predict_proba(features) == small.predict_proba(features)).all()
    with pytest.raises(ModelNotFoundError):
        registry.version("fraud", "9")
    kept = next((tmp_path / "kept").rglob("model.skops"))
    flip_a_byte(kept.parent, kept.parent)
    with pytest.raises(UntrustedModelError):
        registry.load(found, made.digest)

    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    start = time.monotonic()
    with pytest.raises(RegistryError, match=str(port)):
        registry.versions("fraud")
    assert time.monotonic() - start < 10


def test_what_the_user_sets_for_mlflow_stays(port: int) -> None:
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    start = time.monotonic()
    with pytest.raises(RegistryError):
        Registry(f"http://127.0.0.1:{port}").versions("fraud")
    assert time.monotonic() - start < 2
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


def test_numbers_survive_as_they_are(registry: Registry, features: pd.DataFrame) -> None:
    labels = (np.arange(len(features)) % 2).astype("int64")
    model = LogisticRegression(max_iter=500).fit(features, labels)
    made = registry.register(model, "numbers", features.head(3), Description())
    loaded = registry.load(made, made.digest)
    assert loaded.coef_.tobytes() == model.coef_.tobytes()
    assert list(loaded.feature_names_in_) == list(data.FEATURES)


def test_a_store_that_was_moved_is_read_and_written_where_it_is(
    tmp_path: Path, small: Any, features: pd.DataFrame
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"

    def at(folder: Path) -> Registry:
        return Registry(f"sqlite:///{folder / 'mlflow.db'}", artifacts=folder / "artifacts")

    first = at(old).register(small, "moved", features.head(3), Description())
    old.rename(new)
    registry = at(new)
    for version in (first, registry.register(small, "moved", features.head(3), Description())):
        loaded = registry.load(registry.version("moved", version.version), version.digest)
        assert loaded.predict_proba(features).tobytes() == small.predict_proba(features).tobytes()
    assert not old.exists()
