"""Registered models: their runs, versions and aliases. The only module that imports mlflow."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import ModelNotFoundError, RegistryError, UntrustedModelError

if TYPE_CHECKING:
    import pandas as pd

CHAMPION = "champion"
# Types beyond scikit-learn's public ones that the kit itself vouches for. It is never widened by
# what a model says of itself: that would let the model decide what may be loaded.
TRUSTED_TYPES = frozenset(
    {
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    }
)
# A model's file is a ZIP: bounds in bytes on what is read and on what it unpacks to.
LARGEST_ARTIFACT = 512 * 2**20
LARGEST_UNPACKED = 2 * 2**30

_MODEL_FILE = "model.skops"
_TAG = "mlops_kit."


@dataclass(frozen=True)
class Description:
    """What is kept beside a model: metrics and parameters of its run, tags of its version."""

    run_name: str = "train"
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; `digest` is `sha256:<hex>` over the whole artifact."""

    name: str
    version: str
    digest: str
    uri: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    def _repr_markdown_(self) -> str:
        rows = {"version": str(self), "digest": self.digest, "run": self.run_id, **self.tags}
        lines = [f"| {name} | `{value}` |" for name, value in rows.items() if value]
        return "\n".join(["| | |", "|---|---|", *lines])


class Registry:
    """An MLflow tracking server or store, with its registry."""

    def __init__(self, tracking_uri: str, *, artifacts: Path | None = None) -> None:
        """`artifacts` is where a store in SQLite keeps files; a server has a place of its own."""
        self.tracking_uri = tracking_uri
        self.artifacts = artifacts

    def prepare(self) -> None:
        """Initialise a store in SQLite, once, however many ask for it at a time.

        A fresh store migrates for seconds, and breaks under two first users.
        """
        if not self.tracking_uri.startswith("sqlite:///"):
            return
        from filelock import FileLock

        file = Path(self.tracking_uri.removeprefix("sqlite:///"))
        ready = file.with_name(f"{file.name}.ready")
        if ready.exists() and file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f"{file.name}.lock")):
            if not (ready.exists() and file.exists()):
                self._open().search_experiments(max_results=1)
                ready.touch()

    def register(
        self, model: Any, name: str, sample: pd.DataFrame, description: Description
    ) -> ModelVersion:
        """Store a fitted model, dumped once, as a new version of a name.

        `sample` is a few rows of features: the input example, and with the predictions the
        signature. Raises UntrustedModelError for a model that couldn't be loaded again.
        """
        with self._client() as client, tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            _save(model, sample, folder)
            digest = artifact_digest(_contents(folder))
            run = client.create_run(self._experiment(client, name), run_name=description.run_name)
            run_id = run.info.run_id
            _log(client, run_id, description)
            client.log_artifacts(run_id, str(folder), "model")
            _create_if_absent(lambda: client.create_registered_model(name))
            tags = {**description.tags, "digest": digest}
            created = client.create_model_version(
                name,
                source=f"{run.info.artifact_uri}/model",
                run_id=run_id,
                tags={f"{_TAG}{tag}": value for tag, value in tags.items()},
            )
            client.set_terminated(run_id)
            return _version(created)

    def version(self, name: str, version: str) -> ModelVersion:
        """Return a registered version.

        Raises ModelNotFoundError.
        """
        with self._client(f"{name} v{version}") as client:
            return _version(client.get_model_version(name, str(version)))

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Return all versions of a name, newest first."""
        with self._client() as client:
            found = client.search_model_versions(f"name = '{name}'")
            return tuple(sorted(map(_version, found), key=lambda v: -int(v.version)))

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias points to, or None."""
        try:
            with self._client(name) as client:
                version = client.get_registered_model(name).aliases.get(alias)
        except ModelNotFoundError:
            return None
        return self.version(name, version) if version else None

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version.

        Raises ModelNotFoundError.
        """
        with self._client(f"{name} v{version}") as client:
            client.set_registered_model_alias(name, alias, str(version))

    def tag(self, version: ModelVersion, **tags: str) -> None:
        """Set tags of a version."""
        with self._client(str(version)) as client:
            for name, value in tags.items():
                client.set_model_version_tag(version.name, version.version, _TAG + name, value)

    def load(self, version: ModelVersion, digest: str) -> Any:
        """Return the fitted model, if its artifact has this digest and only trusted types.

        Raises UntrustedModelError; nothing of the artifact is run or imported before the checks.
        """
        with self._client(str(version)) as client, tempfile.TemporaryDirectory() as scratch:
            source = client.download_artifacts(version.run_id, "model", scratch)
            contents = _contents(Path(source))
        found = artifact_digest(contents)
        if found != digest:
            raise UntrustedModelError(
                f"The artifact of {version} has the digest {found}; expected {digest}. "
                "It isn't the one that was registered, and is not loaded."
            )
        return load_skops(contents.get(_MODEL_FILE, b""), str(version))

    def _experiment(self, client: Any, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is None:
            location = (self.artifacts / name).as_uri() if self.artifacts else None
            _create_if_absent(lambda: client.create_experiment(name, artifact_location=location))
            found = client.get_experiment_by_name(name)
        return str(found.experiment_id)

    def _open(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow.tracking import MlflowClient

        # MLflow's own chatter would land in the executed notebooks; its import sets the levels.
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        return MlflowClient(self.tracking_uri)

    @contextmanager
    def _client(self, what: str = "") -> Iterator[Any]:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        self.prepare()
        try:
            yield self._open()
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" and what:
                raise ModelNotFoundError(
                    f"The registry at {self.tracking_uri!r} has no {what}."
                ) from error
            raise RegistryError(f"MLflow at {self.tracking_uri!r}: {error}") from error
        except RequestException as error:
            raise RegistryError(
                f"MLflow at {self.tracking_uri!r} doesn't answer: {error}"
            ) from error


def load_skops(content: bytes, what: str) -> Any:
    """Return the model in a skops file, if every type in it is on the kit's own allow-list.

    Raises UntrustedModelError.
    """
    import skops.io

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > LARGEST_UNPACKED:
            raise UntrustedModelError(
                f"The model of {what} unpacks to {unpacked} bytes; the limit is {LARGEST_UNPACKED}."
            )
        untrusted = set(skops.io.get_untrusted_types(data=content)) - TRUSTED_TYPES
        if untrusted:
            raise UntrustedModelError(
                f"The model of {what} holds {sorted(untrusted)}, which the kit doesn't vouch for; "
                "expected scikit-learn's own estimators (mlops_kit.models.registry.TRUSTED_TYPES)."
            )
        return skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
    except UntrustedModelError:
        raise
    except Exception as error:  # a tampered file may break anywhere in the reader
        raise UntrustedModelError(
            f"The model of {what} is no sound skops file: {error!r}."
        ) from error


def artifact_digest(contents: Mapping[str, bytes]) -> str:
    """Return `sha256:<hex>` over names and contents of all files of an artifact."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return f"sha256:{hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()}"


def _contents(folder: Path) -> dict[str, bytes]:
    """Return all files of an artifact, read once, so that what is checked is what is loaded."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST_ARTIFACT:
        raise UntrustedModelError(
            f"The artifact has {size} bytes; the limit is {LARGEST_ARTIFACT} bytes."
        )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _save(model: Any, sample: pd.DataFrame, folder: Path) -> None:
    import mlflow.sklearn
    import sklearn
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    scores = model.predict_proba(sample)[:, 1]
    try:
        mlflow.sklearn.save_model(
            model,
            str(folder),
            serialization_format="skops",
            skops_trusted_types=sorted(TRUSTED_TYPES),
            signature=infer_signature(sample, scores),
            input_example=sample,
            pyfunc_predict_fn="predict_proba",
            # Given, because working them out starts a process and takes seconds.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}", "skops"],
        )
    except MlflowException as error:
        raise UntrustedModelError(
            f"The model can't be stored so that it loads without running code: {error} "
            "Expected scikit-learn's own estimators."
        ) from error


def _log(client: Any, run_id: str, description: Description) -> None:
    for name, value in description.metrics.items():
        client.log_metric(run_id, name, float(value))
    for name, value in description.parameters.items():
        client.log_param(run_id, name, str(value)[:6000])


def _create_if_absent(create: Callable[[], Any]) -> None:
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(stored: Any) -> ModelVersion:
    tags = {name.removeprefix(_TAG): value for name, value in stored.tags.items()}
    return ModelVersion(
        name=stored.name,
        version=str(stored.version),
        digest=tags.pop("digest", ""),
        uri=f"models:/{stored.name}/{stored.version}",
        run_id=stored.run_id or "",
        tags=tags,
    )
