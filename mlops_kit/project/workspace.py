"""One project with everything that its settings name: what notebooks and commands start from."""

from __future__ import annotations

import os
import runpy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlops_kit.errors import DefinitionError, KitError, ModelNotFoundError, ProjectError
from mlops_kit.pipelines import executions as execution_folders
from mlops_kit.pipelines.definition import Pipeline, did_you_mean
from mlops_kit.project.settings import Settings

if TYPE_CHECKING:
    from mlops_kit.argo.pod_run import PodInput
    from mlops_kit.models.registry import ModelVersion, Registry
    from mlops_kit.pipelines.definition import Step
    from mlops_kit.pipelines.executions import Execution, Executions
    from mlops_kit.pipelines.local import Runner
    from mlops_kit.pipelines.progress import Observer
    from mlops_kit.pipelines.values import Value
    from mlops_kit.releases.release import Release
    from mlops_kit.releases.repository import GitOpsRepository
    from mlops_kit.rollouts.policy import Policy


# What no step's outputs depend on.
_NOT_CONTENT = {"workers", "keep_warm", "cold", "approver", "approver_header", "argo"}


class Workspace:
    """A project's notebooks, pipelines, registry, GitOps repository and executions."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened yet."""
        self.settings = settings

    @classmethod
    def open(cls, project: Path | str | None = None) -> Workspace:
        """Return the workspace of a folder, by default of the project around this one.

        Raises SettingsError.
        """
        return cls(Settings.load(Path(project) if project else None))

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.settings.project

    @property
    def datasets(self) -> Path:
        """Where snapshots of data are kept."""
        return self.settings.state_folder / "datasets"

    @property
    def policy(self) -> Policy:
        """What a rollout must prove, and its pace; shown as a table."""
        return self.settings.rollout

    @cached_property
    def registry(self) -> Registry:
        """The model registry."""
        from mlops_kit.models.registry import Registry

        embedded = not self.settings.tracking_uri
        artifacts = self.settings.state_folder / "artifacts" if embedded else None
        return Registry(self.settings.registry_uri, artifacts=artifacts)

    @cached_property
    def repository(self) -> GitOpsRepository:
        """The GitOps repository; the embedded one is made when it is first asked for."""
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
            repository.create(self._seed())
            self._add_environments(repository)
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

    def rendered(self) -> dict[str, bytes]:
        """Return the files that let Argo run this project's pipelines, by path.

        Raises DefinitionError.
        """
        from mlops_kit.argo.manifests import rendered
        from mlops_kit.argo.templates import Place

        argo = self.settings.argo
        place = Place(**argo.model_dump(include={*Place.__dataclass_fields__}))
        return rendered(
            self.pipelines().values(),
            place,
            branch=argo.branch,
            bot=self.settings.gitops.author_email,
            own=self._own_templates(),
        )

    def run(
        self,
        pipeline: Pipeline,
        inputs: Mapping[str, Any],
        *,
        observer: Observer | None = None,
        cached: bool = True,
        resumed: Execution | None = None,
        began: Callable[[Execution], object] = lambda _execution: None,
        cancelled: threading.Event | None = None,
    ) -> Execution:
        """Run a pipeline here, or go on with an execution, and return how it ended.

        `observer` gets each change; by default they are shown as lines or, on a terminal, a tree.
        `began` gets the execution before its first step. Once `cancelled` is set it ends as by
        KeyboardInterrupt. Raises what `Runner.run` raises.
        """
        from mlops_kit.cli import progress
        from mlops_kit.pipelines import validation

        # Before a kernel is started, so that a mistake is answered at once.
        given = resumed.state.inputs if resumed else inputs
        checked = validation.check(self.project / "notebooks", pipeline, given)
        self._prepare_registry()
        with (
            progress.shown(pipeline, observer) as watch,
            self.runner(watch, cached=cached, cancelled=cancelled) as runner,
        ):
            if resumed is None:
                names = [step.name for step in pipeline.ordered]
                execution = self.executions.create(pipeline.name, checked, names)
            else:
                execution = resumed
                execution.acquire()
                execution.set_inputs(checked)
            try:
                began(execution)
                return runner.run(pipeline, execution)
            finally:
                execution.release()

    def run_step(
        self,
        step: Step,
        given: Mapping[str, Any],
        folder: Path | None = None,
        observer: Observer | None = None,
    ) -> dict[str, Value]:
        """Run one step with its parameters, as a pod does, and return its outputs."""
        from mlops_kit.cli import progress
        from mlops_kit.pipelines import notebooks

        notebooks.typed(self.project / "notebooks" / step.notebook, given)
        target = folder or self.settings.state_folder / "steps" / f"{step.name}-{uuid4().hex[:8]}"
        alone = _alone(step.name, (step,))
        execution_folders.forget_outputs(target)
        with (
            progress.shown(alone, observer) as watch,
            self.runner(watch, cached=False, alone=True) as runner,
        ):
            outputs = runner.run_step(step, given, target.resolve(), threads=runner.cores)
            execution_folders.save_outputs(target.resolve(), outputs, "")
            return outputs

    def run_pod(
        self,
        pipeline: Pipeline,
        name: str,
        given: PodInput,
        folder: Path,
        observer: Observer | None = None,
    ) -> Execution:
        """Run the steps of one pod, between the files of its folder, and return how it ended.

        Raises what `Runner.run` raises, and DefinitionError for a pod that the pipeline lacks.
        """
        from mlops_kit.argo import pod_plan, pod_run, transport
        from mlops_kit.cli import progress
        from mlops_kit.pipelines import validation
        from mlops_kit.reporting.notebooks import html_page

        chosen = pod_plan.named(pod_plan.plan(pipeline), name)
        inputs = {key: transport.unpacked(value) for key, value in given.inputs.items()}
        checked = validation.check(self.project / "notebooks", pipeline, inputs)
        alone = _alone(name, chosen.steps)
        with (
            progress.shown(alone) as shown,
            self.runner(
                pod_run.both(shown, observer), cached=False, alone=len(chosen.steps) == 1
            ) as runner,
        ):
            typed = replace(given, inputs=checked)
            return pod_run.run(runner, pipeline, chosen, typed, folder, html_page.save)

    @contextmanager
    def runner(
        self,
        observer: Observer,
        *,
        cached: bool = True,
        alone: bool = False,
        cancelled: threading.Event | None = None,
    ) -> Iterator[Runner]:
        """Yield a runner, with the kernels that it needs for as long as it is used.

        `alone` says that it will run one step: nothing is imported that this doesn't ask for.
        """
        from mlops_kit.kernels.preload_key import PRELOAD
        from mlops_kit.kernels.zygote_client import Zygote

        settings = self.settings
        idle = settings.keep_warm or None
        modules = () if alone and idle is None else PRELOAD
        # First of all, so that it imports while this process does.
        zygote = None if settings.cold else Zygote.start(modules, idle=idle)
        from mlops_kit.kernels import provisioner
        from mlops_kit.pipelines.cache import Cache
        from mlops_kit.pipelines.local import Runner

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        salt = settings.model_dump_json(exclude=_NOT_CONTENT)
        cache = Cache(settings.state_folder / "cache", project=self.project, salt=salt)
        try:
            yield Runner(
                notebooks=self.project / "notebooks",
                kernel=lambda threads: provisioner.manager(
                    zygote=zygote, cwd=self.project, threads=threads
                ),
                cache=cache if cached else None,
                observer=observer,
                workers=settings.workers or cores or 1,
                cores=cores or 1,
                cancelled=cancelled or threading.Event(),
            )
        finally:
            if zygote is not None:
                zygote.__exit__()

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

    def papers(self, notebook: str, **tags: str) -> dict[str, str]:
        """Return what a version made by a notebook carries as tags: code, notebook, yours."""
        from mlops_kit.pipelines.cache import source_digest
        from mlops_kit.releases.repository import code_revision

        digest = source_digest(self.project / "notebooks" / notebook)
        code = code_revision(self.project) or "not in Git"
        return {"code": code, "notebook": f"{notebook} sha256:{digest}", **tags}

    def _own_templates(self) -> dict[str, Any]:
        """Return the objects of Hera's that stand in workflows/, by their names."""
        found = {}
        for path in sorted((self.project / "workflows").glob("*.py")):
            for value in _defined_in(path):
                if type(value).__module__.startswith("hera.") and hasattr(value, "build"):
                    found[str(value.name)] = value
        return found

    def _add_environments(self, repository: GitOpsRepository) -> None:
        """Add the environments that the project's seed has got since the repository was made."""
        from mlops_kit.releases.repository import Proposal
        from mlops_kit.releases.snapshot import Snapshot

        seed = self._seed()
        found = {p.relative_to(seed).as_posix(): p for p in seed.glob("envs/*/*") if p.is_file()}
        if found.keys() <= set(repository.list("envs")):
            return

        def propose(snapshot: Snapshot) -> Proposal | None:
            known = {path.split("/")[1] for path in snapshot.list("envs")}
            new = {path: p.read_bytes() for path, p in found.items() if p.parent.name not in known}
            names = ", ".join(sorted({path.split("/")[1] for path in new}))
            trailers = {"Mlops-Action": "create"}
            return Proposal(f"Add {names}", trailers, new) if new else None

        repository.commit(propose)

    def _prepare_registry(self) -> None:
        """Make a fresh store in the background, while the kernels' imports leave a core free."""
        registry = self.registry

        def prepare() -> None:
            # What goes wrong here goes wrong again, and is said, in the step that needs the store.
            with suppress(Exception):
                registry.prepare()

        if not registry.is_prepared():
            threading.Thread(target=prepare, daemon=True).start()

    def _seed(self) -> Path:
        own = self.project / "workflows" / "gitops"
        return own if own.is_dir() else template() / "workflows" / "gitops"


def template() -> Path:
    """Return the folder that a new project is made from: in the wheel, or the repository's own."""
    packed = Path(__file__).parents[1] / "template"
    return packed if packed.is_dir() else Path(__file__).parents[2]


def _alone(name: str, steps: Sequence[Step]) -> Pipeline:
    """Return a pipeline of these steps alone, to be shown while they run."""
    return Pipeline(name, tuple(replace(step, parameters={}, when=None) for step in steps))


def _defined_in(path: Path) -> Sequence[Any]:
    """Import one file of workflows/ and return the values in it."""
    try:
        return list(runpy.run_path(str(path)).values())
    except KitError:
        raise
    except Exception as error:  # a user's file may raise anything
        raise DefinitionError(f"{str(path)!r} can't be imported: {error!r}.") from error


def _pipelines_of(path: Path) -> Sequence[Pipeline]:
    return [value for value in _defined_in(path) if isinstance(value, Pipeline)]
