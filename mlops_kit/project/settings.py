"""A project's settings. The only module that reads the process environment.

`MLOPS_KIT_*` overrides `mlops-kit.toml`, which overrides the defaults below. MLFLOW_TRACKING_URI
and ARGO_* keep their usual meaning.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from mlops_kit.errors import SettingsError
from mlops_kit.formatting import violations
from mlops_kit.models.costs import Costs
from mlops_kit.models.gates import DEFAULT_GATES, GateRule, Rules
from mlops_kit.prediction_log.label import State
from mlops_kit.project.bounds import Bounds, over
from mlops_kit.project.setting_names import of_environment, refuse_unknown
from mlops_kit.project_folder import FILE, absolute_uri, find_project
from mlops_kit.rollouts.policy import Policy
from mlops_kit.serving.options import Serving
from mlops_kit.tables.table import Task

_PREFIX = "MLOPS_KIT_"
_OF_ARGO = ("server", "token", "secure", "insecure_skip_verify")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GitOps(_Section):
    """The repository that says what each environment serves."""

    url: str = Field("", description="its URL; empty: a bare one in the state folder")
    branch: str = "main"
    author_name: str = "mlops-kit"
    author_email: str = "mlops-kit@localhost"
    timeout: float = Field(60.0, gt=0, description="seconds for one call of git")


class Argo(_Section):
    """Where and how pipelines run on a cluster."""

    namespace: str = Field("argowf", description="where workflows run")
    image: str = Field(
        "registry.example/mlops-kit/step@sha256:" + "0" * 64,
        description="the step's image, by digest",
    )
    repository: str = Field(
        "https://git.example/team/project.git", description="the project's own repository"
    )
    secret: str = Field("", description="the Secret with its user and password; empty: public")
    revision: str = Field("", description="the full SHA that runs by default; empty: none")
    service_account: str = "mlops-runner"
    environment_from: tuple[str, ...] = Field(
        ("mlops-kit",), description="Secrets whose entries are the steps' environment"
    )
    cpu: str = "2"
    memory: str = "4Gi"
    branch: str = Field("main", description="the branch whose pushes start a pipeline")
    deadline: int = Field(14_400, gt=0, description="seconds that a whole workflow may take")
    contexts: tuple[str, ...] = Field(
        (), description="the kubeconfig contexts, or Argo servers, that may be written to"
    )
    server: str = Field("", description="Argo's server, host:port; empty: the kubeconfig counts")
    token: SecretStr = Field(SecretStr(""), description="for Argo's server; not for the file")
    secure: bool = Field(True, description="whether Argo's server speaks https")
    insecure_skip_verify: bool = Field(False, description="believe any certificate of it")


class Labels(_Section):
    """Where labels are read from, by a watcher at each look or 'mlops-kit label'."""

    folder: str = Field("", description="of CSV, JSON lines or Parquet files; empty: none")
    sql: str = Field("", description="SQLAlchemy's URL of a database; empty: none")
    table: str = Field("labels", description="the table in that database")
    order: str = Field("time", description="its column that only grows, by which it is read on")
    model: str = Field("", description="whose labels these are; empty: the settings' model")
    state: State = Field("final", description="of a label that gives none")


class Model(_Section):
    """How one model is judged and rolled out, and what its errors cost."""

    gates: tuple[GateRule, ...] = Field((), description="empty: those of the task")
    minimum: int = Field(50, ge=1, description="rows of a class below which nothing can be told")
    slice_minimum: int = Field(20, ge=1, description="the same of a slice, which isn't judged")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    resamples: int = Field(500, ge=100, description="of the bootstrap")
    costs: Costs = Costs()
    rollout: Bounds = Field(Bounds(), description="what differs from [rollout] for this model")
    sample: int = Field(
        0, ge=0, description="rows to learn from where a table has more; 0: all, or it is refused"
    )
    trusted: tuple[str, ...] = Field(
        (), description="the project's own types and functions that it may hold, by full names"
    )

    def rules(self, task: Task) -> Rules:
        """Return the gates, by default those of the task, and how sure they must be."""
        gates = self.gates or DEFAULT_GATES[task]
        sure = (self.minimum, self.slice_minimum, self.confidence, self.resamples)
        return Rules(gates, *sure)


class Settings(BaseSettings):
    """All settings of one project; made once, at the top, and handed down."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    project: Path = Path()
    state: Path = Field(Path(".mlops-kit"), description="where everything local is kept")
    model: str = Field("", description="the default model; empty: the only declared table's")
    environment: str = "prod"
    approver: str = Field("", description="who promotes; empty: the user of this machine")
    approver_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]*$",
        description="by which a proxy says who looks at a page; who isn't named there only looks",
    )
    approvals: int = Field(1, ge=1, description="how many people have to approve a promotion")
    tracking_uri: str = Field("", description="MLflow's; empty: SQLite in the state folder")
    strategy: Literal["direct", "canary"] = Field(
        "canary", description="direct: one commit replaces the champion; canary: by weights"
    )
    workers: int = Field(0, ge=0, description="notebooks at once; 0: as many as cores")
    keep_warm: float = Field(0.0, ge=0, description="seconds that warm kernels outlive a command")
    cold: bool = Field(False, description="start each kernel afresh")
    observations_uri: str = Field("", description="SQLAlchemy's; empty: SQLite in the state folder")
    gitops: GitOps = GitOps()
    argo: Argo = Argo()
    labels: Labels = Labels()
    models: dict[str, Model] = Field({}, description="by the registered name")
    trusted: tuple[str, ...] = Field(
        (), description="what any model may hold; [models] trusted, a list, is the same"
    )
    rollout: Policy = Policy()
    serving: Serving = Serving()

    @classmethod
    def load(cls, project: Path | None = None) -> Settings:
        """Return the settings of a project: the given folder, or the one around this one.

        Raises SettingsError for an unknown name, a wrong type or a broken file.
        """
        folder = (project or find_project(Path.cwd())).resolve()
        written = _read_file(folder / FILE)
        refuse_unknown(written, cls, FILE)
        refuse_unknown(of_environment(os.environ, _PREFIX), cls, "the environment")
        tracking_uri = os.environ.get("MLFLOW_TRACKING_URI")
        if tracking_uri:
            written["tracking_uri"] = tracking_uri
        found = {name: os.environ.get(f"ARGO_{name.upper()}") for name in _OF_ARGO}
        section = written.get("argo", {})
        if any(found.values()) and isinstance(section, Mapping):
            written["argo"] = {**section, **{k: v for k, v in found.items() if v}}
        try:
            settings = cls(**{**written, "project": folder})
        except ValidationError as error:
            raise SettingsError(_explained(error, folder)) from error
        except UnreadableError as error:
            raise SettingsError(
                f"{error} Expected one setting a variable, as in {_PREFIX}ROLLOUT__RECALL=0.8."
            ) from error
        for model in settings.models:
            settings.policy(model)
        return settings

    @model_validator(mode="before")
    @classmethod
    def _read_trusted(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Take the list `[models] trusted` from among the models by name."""
        models = given.get("models")
        if not isinstance(models, Mapping) or not isinstance(models.get("trusted"), list):
            return given
        named = {name: model for name, model in models.items() if name != "trusted"}
        return {
            **given,
            "models": named,
            "trusted": [*given.get("trusted", ()), *models["trusted"]],
        }

    @property
    def trusted_names(self) -> tuple[str, ...]:
        """The project's own types and functions that its models may hold."""
        return (*self.trusted, *(name for each in self.models.values() for name in each.trusted))

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: Any, **named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which `load` gives as arguments."""
        return named["env_settings"], named["init_settings"]

    def policy(self, model: str) -> Policy:
        """Return what a model's rollout must prove: [rollout], and over it the model's own.

        Raises SettingsError where the two contradict each other.
        """
        own = self.models[model].rollout if model in self.models else Bounds()
        return over(self.rollout, own, model)

    @property
    def state_folder(self) -> Path:
        """The state folder as an absolute path."""
        return (self.project / self.state).resolve()

    @property
    def registry_uri(self) -> str:
        """MLflow's tracking URI, the embedded store's by default."""
        uri = self.tracking_uri
        if uri.startswith("sqlite:"):  # MLflow has names, such as databricks, that look like paths
            return absolute_uri(uri, self.project)
        return uri or f"sqlite:///{self.state_folder / 'mlflow.db'}"

    @property
    def gitops_url(self) -> str:
        """The GitOps repository's URL, the embedded one's path by default."""
        return absolute_uri(self.gitops.url, self.project) or str(self.state_folder / "gitops.git")

    @property
    def gitops_page(self) -> str:
        """The GitOps repository's page on its host, without credentials; empty without one."""
        parts = urlsplit(self.gitops.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return ""
        port = f":{parts.port}" if parts.port else ""
        path = parts.path.removesuffix("/").removesuffix(".git")
        return f"{parts.scheme}://{parts.hostname}{port}{path}"

    @property
    def observations_url(self) -> str:
        """The store of predictions and labels, the embedded one by default."""
        return (
            absolute_uri(self.observations_uri, self.project)
            or f"sqlite:///{self.state_folder / 'observations.db'}"
        )

    @property
    def approved_by(self) -> str:
        """Who promotes, as the commit names them; empty on a page that nobody is known to see."""
        if self.approver_header and _is_page():
            return os.environ.get(f"HTTP_{self.approver_header.upper().replace('-', '_')}", "")
        if self.approver:
            return self.approver
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            return f"user {os.getuid()}"


def has_frontend() -> bool:
    """Tell whether a person looks on: Jupyter and Voilà say so to their kernels, papermill not."""
    return _is_page() or "JPY_SESSION_NAME" in os.environ


def _is_page() -> bool:
    """Tell whether this kernel is behind one of Voilà's pages."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"{str(path)!r} can't be read: {error}.", code="settings.unreadable"
        ) from error


def _explained(error: ValidationError, folder: Path) -> str:
    return (
        f"Settings of {str(folder)!r} are wrong: {violations(error.errors())}. "
        f"They come from {FILE} and {_PREFIX}* variables."
    )
