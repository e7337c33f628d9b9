"""One project with everything that its settings name: what notebooks and commands start from."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DefinitionError, KitError, ModelNotFoundError, ProjectError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines import executions as execution_folders
from mlops_kit.pipelines.definition import Pipeline
from mlops_kit.project.scaffold import template
from mlops_kit.project.settings import Model, Settings
from mlops_kit.tables.table import Table

if TYPE_CHECKING:
    from mlops_kit.models.costs import Costs
    from mlops_kit.models.gates import Rules
    from mlops_kit.models.model_version import ModelVersion
    from mlops_kit.models.registry import Registry
    from mlops_kit.pipelines.executions import Executions
    from mlops_kit.releases.release import Release
    from mlops_kit.releases.repository import GitOpsRepository
    from mlops_kit.rollouts.policy import Policy
    from mlops_kit.tables.loading import Rows


class Workspace:
    """A project's notebooks, pipelines, registry, GitOps repository and executions."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened yet."""
        self.settings = settings

    @classmethod
    def open(cls, project: Path | str | None = None) -> Workspace:
        """Return the workspace of a folder, by default of the project around this one.

        From here on this process can import the project's modules, as a step can: metrics, costs
        and types of its own. Raises SettingsError.
        """
        workspace = cls(Settings.load(Path(project) if project else None))
        own = str(workspace.project)
        if own not in sys.path:
            sys.path.insert(sys.path.index("") + 1 if "" in sys.path else len(sys.path), own)
        return workspace

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.settings.project

    @property
    def datasets(self) -> Path:
        """Where snapshots of data are kept."""
        return self.settings.state_folder / "datasets"

    def policy(self, model: str) -> Policy:
        """Return what a model's rollout must prove, and its pace; shown as a table."""
        return self.settings.policy(model)

    @cached_property
    def registry(self) -> Registry:
        """The model registry."""
        from mlops_kit.models.registry import Registry

        embedded = not self.settings.tracking_uri
        artifacts = self.settings.state_folder / "artifacts" if embedded else None
        trusted = self.settings.trusted_names
        return Registry(self.settings.registry_uri, artifacts=artifacts, trusted=trusted)

    @cached_property
    def repository(self) -> GitOpsRepository:
        """The GitOps repository; the embedded one is made when it is first asked for."""
        from mlops_kit.releases import seed
        from mlops_kit.releases.repository import GitOpsRepository

        gitops = self.settings.gitops
        repository = GitOpsRepository(
            self.settings.gitops_url,
            self.settings.state_folder / "gitops-cache.git",
            branch=gitops.branch,
            author=f"{gitops.author_name} <{gitops.author_email}>",
            timeout=gitops.timeout,
        )
        if not gitops.url:
            folder = self._seed()
            repository.create(folder)
            seed.add_environments(repository, folder)
        return repository

    @cached_property
    def executions(self) -> Executions:
        """The executions of this project."""
        return execution_folders.Executions(self.settings.state_folder / "executions")

    def pipelines(self) -> dict[str, Pipeline]:
        """Return the pipelines that the files in workflows/ define, by name.

        Raises DefinitionError for a file that can't be imported.
        """
        found: dict[str, Pipeline] = {}
        for path in sorted((self.project / "workflows").glob("*.py")):
            for pipeline in _pipelines_of(path):
                found[pipeline.name] = pipeline
        return found

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline by its name.

        Raises ProjectError with the nearest name.
        """
        known = self.pipelines()
        if name not in known:
            where = str(self.project / "workflows")
            raise ProjectError(
                f"There is no pipeline {name!r} in {where!r}; it has {sorted(known)}."
                + (did_you_mean(name, known) or " 'mlops-kit new FOLDER' makes a project with one.")
            )
        return known[name]

    def tables(self) -> dict[str, Table]:
        """Return the tables that the files in workflows/tables/ declare, by name.

        Raises DefinitionError for a file that can't be imported, and TableError.
        """
        found: dict[str, Table] = {}
        for path in sorted((self.project / "workflows" / "tables").glob("*.py")):
            for value in defined_in(path):
                if isinstance(value, Table):
                    found[value.name] = value
        return found

    def table(self, model: str) -> Table:
        """Return the table of a model.

        Raises ProjectError with the nearest name.
        """
        known = self.tables()
        if model not in known:
            where = str(self.project / "workflows" / "tables")
            raise ProjectError(
                f"No file in {where!r} declares the table of {model!r}; they declare "
                f"{sorted(known)}." + did_you_mean(model, known)
            )
        return known[model]

    @property
    def default_model(self) -> str:
        """The model that the settings name, or the only one with a table.

        Raises ProjectError where there are none or several.
        """
        known = [self.settings.model] if self.settings.model else sorted(self.tables())
        if len(known) != 1:
            raise ProjectError(
                f"Which model? Expected --model, or 'model' in mlops-kit.toml: one of {known}."
            )
        return known[0]

    def rows(self, source: str, model: str) -> Rows:
        """Return the rows of a source that a model learns from, and tell how far reading has come.

        A source with more rows than `[models.NAME] sample` is read whole, and sampled. Raises
        DataError as `datasets.load` does.
        """
        from mlops_kit.project.row_progress import RowProgress
        from mlops_kit.tables import loading

        progress = RowProgress()
        table, sample = self.table(model), self._model(model).sample
        found = loading.load(source, table, sample=sample, progress=progress)
        progress.end(found.note)
        return found

    def rules(self, model: str) -> Rules:
        """Return the gates of a model; raises ProjectError for one without a table."""
        return self._model(model).rules(self.table(model).task)

    def costs(self, model: str) -> Costs:
        """Return what a model's errors cost."""
        return self._model(model).costs

    def _model(self, model: str) -> Model:
        return self.settings.models.get(model, Model())

    def model_version(self, model: str, version: str = "", *, role: str = "") -> ModelVersion:
        """Return a registered version; without a version, the newest, or the newest of a role.

        Raises ModelNotFoundError.
        """
        if version:
            return self.registry.version(model, version)
        for found in self.registry.versions(model):
            if not role or found.tags.get("role") == role:
                return found
        raise ModelNotFoundError(
            f"The registry has no version of {model!r}"
            + (f" with the role {role!r}" if role else "")
            + "; run the notebook 'train' first."
        )

    def reference(self, model: str, environment: str, otherwise: str = "") -> ModelVersion:
        """Return the version that a candidate has to beat: the champion, or else the given one.

        Git says who is champion; its digest there is the one that counts.
        """
        champion = self.release(model, environment).champion
        if champion is None:
            return self.model_version(model, otherwise, role="baseline")
        found = self.registry.version(model, champion.version)
        if found.digest != champion.digest:
            raise ModelNotFoundError(
                f"Git says that {environment} serves {model} {champion.version} with the digest "
                f"{champion.digest}; the registry has {found.digest or 'none'} for that version."
            )
        return found

    def release(self, model: str, environment: str) -> Release:
        """Return what an environment should serve.

        Raises ReleaseError, GitOpsError.
        """
        from mlops_kit.releases import promotion

        return promotion.current(self.repository, model, environment)

    def lineage_tags(self, notebook: str, **tags: str) -> dict[str, str]:
        """Return what a version made by a notebook carries as tags: code, notebook, yours."""
        from mlops_kit.pipelines.sources import source_digest
        from mlops_kit.releases.checkout import code_revision

        digest = source_digest(self.project / "notebooks" / notebook)
        code = code_revision(self.project) or "not in Git"
        return {"code": code, "notebook": f"{notebook} sha256:{digest}", **tags}

    def _seed(self) -> Path:
        own = self.project / "workflows" / "gitops"
        return own if own.is_dir() else template() / "workflows" / "gitops"


def defined_in(path: Path) -> Sequence[Any]:
    """Import one file of workflows/ and return the values in it."""
    try:
        return list(runpy.run_path(str(path)).values())
    except KitError:
        raise
    except Exception as error:  # a user's file may raise anything
        raise DefinitionError(f"{str(path)!r} can't be imported: {error!r}.") from error


def _pipelines_of(path: Path) -> Sequence[Pipeline]:
    return [value for value in defined_in(path) if isinstance(value, Pipeline)]
