"""Registered models: their runs, versions and aliases. The only module that imports mlflow."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit import files, lock
from mlops_kit.errors import ModelNotFoundError, RegistryError
from mlops_kit.models import artifacts, mlflow_model, trusted_code
from mlops_kit.models.artifacts import Loaded
from mlops_kit.models.model_version import (
    PREFIX,
    Description,
    ModelVersion,
    from_stored,
    version_tags,
)
from mlops_kit.tables import comparison

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

CHAMPION = "champion"
_SQLITE = "sqlite:///"
# MLflow's own defaults ask a dead server again for minutes; what the user has set stays.
_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Registry:
    """An MLflow tracking server or store, with its registry."""

    def __init__(
        self, tracking_uri: str, *, artifacts: Path | None = None, trusted: Collection[str] = ()
    ) -> None:
        """Nothing is opened yet.

        `artifacts` is where a store in SQLite keeps files; a server has a place of its own.
        `trusted` are the names of the project's own types that models may hold.
        """
        self.tracking_uri = tracking_uri
        self.artifacts = artifacts
        self.trusted = tuple(trusted)

    def prepare(self) -> None:
        """Initialise a store in SQLite, once, however many ask for it at a time.

        A fresh store migrates for seconds, and breaks under two first users. It gets its name when
        it is whole, so that a kill leaves none rather than half of one.
        """
        if self.is_prepared():
            return
        file = self._file
        file.parent.mkdir(parents=True, exist_ok=True)
        with lock.hold(file.with_name(f"{file.name}.lock"), math.inf):
            if self.is_prepared():
                return
            making_file = nullcontext(file) if file.exists() else files.whole(file)
            with lock.migration, making_file as making:
                self._open(f"{_SQLITE}{making}").search_experiments(max_results=1)
            self._ready.touch()

    def is_prepared(self) -> bool:
        """Whether the store needs no preparation: a server, or a file that has had it."""
        if not self.tracking_uri.startswith(_SQLITE):
            return True
        return self._ready.exists() and self._file.exists()

    @property
    def _file(self) -> Path:
        return Path(self.tracking_uri.removeprefix(_SQLITE))

    @property
    def _ready(self) -> Path:
        return self._file.with_name(f"{self._file.name}.ready")

    def register(
        self,
        model: Any,
        name: str,
        frame: pd.DataFrame,
        description: Description,
        table: Table | None = None,
    ) -> ModelVersion:
        """Store a fitted model, dumped once, as a new version of a name.

        Nothing is stored before the model has scored rows of its table and given the same scores
        once it was read back. Raises TableError for a model that doesn't fit the table,
        UntrustedModelError for one that couldn't be loaded again, and RegistryError for a name
        that can't be a folder's, or other scores.

        Args:
            model: the fitted estimator.
            name: the registered model's.
            frame: rows of the table, or of features where there is none; none is kept.
            description: of the run and the version.
            table: the model's declaration, which is stored beside it.
        """
        _check_name(name)
        with tempfile.TemporaryDirectory() as scratch, self._client() as client:
            folder = Path(scratch) / "model"
            mlflow_model.save(model, frame, folder, table, self.trusted)
            kept = artifacts.contents(folder)
            run = client.create_run(self._experiment(client, name), run_name=description.run_name)
            run_id = run.info.run_id
            _log(client, run_id, description)
            client.log_artifacts(run_id, str(folder), "model")
            _create_if_absent(lambda: client.create_registered_model(name))
            own = trusted_code.digests(artifacts.own_code(kept, name))
            tags = version_tags(description, artifacts.digest(kept), own)
            created = client.create_model_version(
                name,
                source=f"{run.info.artifact_uri}/model",
                run_id=run_id,
                tags=tags,
            )
            client.set_terminated(run_id)
            return from_stored(created)

    def version(self, name: str, version: str) -> ModelVersion:
        """Return a registered version.

        Raises ModelNotFoundError.
        """
        with self._client(f"{name} v{version}") as client:
            return from_stored(client.get_model_version(name, str(version)))

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Return all versions of a name, newest first."""
        _check_name(name)
        with self._client() as client:
            found = client.search_model_versions(f"name = '{name}'")
            return tuple(sorted(map(from_stored, found), key=lambda v: -int(v.version)))

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
                client.set_model_version_tag(version.name, version.version, PREFIX + name, value)

    def load(self, version: ModelVersion, digest: str, table: Table | None = None) -> Any:
        """Return the fitted model, if its artifact has this digest and only trusted types.

        Raises UntrustedModelError, and TableError for a model whose own table answers otherwise
        than `table`; nothing of the artifact is run or imported before the checks of trust.
        """
        loaded = self.open(version, digest)
        if table is not None and loaded.table is not None:
            comparison.check(table, loaded.table, str(version))
        return loaded.model

    def open(self, version: ModelVersion, digest: str) -> Loaded:
        """Return the fitted model with its table; as `load`."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = self.fetch(version, Path(scratch))
            return artifacts.read(folder, digest, str(version), self.trusted)

    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        """Copy the files of a version to a folder, unchecked, and return where they are in it.

        Raises ModelNotFoundError.
        """
        here = self.artifacts and self.artifacts / version.name / version.run_id / "artifacts/model"
        if here and here.is_dir():
            return Path(shutil.copytree(here, folder / "model"))
        with self._client(f"files of {version}") as client:
            return Path(client.download_artifacts(version.run_id, "model", str(folder)))

    def _experiment(self, client: Any, name: str) -> str:
        location = (self.artifacts / name).as_uri() if self.artifacts else None
        found = client.get_experiment_by_name(name)
        if found is not None and location and found.artifact_location != location:
            # The project was moved: its next runs must not make the old folder anew.
            name = f"{name} in {self.artifacts}"
            found = client.get_experiment_by_name(name)
        if found is None:
            _create_if_absent(lambda: client.create_experiment(name, artifact_location=location))
            found = client.get_experiment_by_name(name)
        return str(found.experiment_id)

    def _open(self, uri: str = "") -> Any:
        for name, value in _MLFLOW.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        # MLflow's own chatter would land in the executed notebooks; its import sets the levels.
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        return MlflowClient(uri or self.tracking_uri)

    @contextmanager
    def _client(self, what: str = "") -> Iterator[Any]:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self.prepare()
            yield self._open()
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" and what:
                raise ModelNotFoundError(
                    f"The registry at {self.tracking_uri!r} has no {what}."
                ) from error
            raise RegistryError(f"MLflow at {self.tracking_uri!r}: {error}") from error
        except (OSError, SQLAlchemyError) as error:
            raise RegistryError(
                f"MLflow at {self.tracking_uri!r} can't be used: {error}. Expected a server that "
                "answers, or an SQLite file of MLflow's in a folder that can be written."
            ) from error


def _check_name(name: str) -> None:
    # It also stands in a filter of MLflow's, and names a folder of the artifacts.
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"The model's name is {name!r:.80}; expected letters, digits, '.', '_' and '-', "
            "as in 'churn'."
        )


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
