"""Run a project's pipelines and steps on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlops_kit.pipelines import step_outputs

if TYPE_CHECKING:
    from mlops_kit.argo.pod_plan import Pod
    from mlops_kit.argo.pod_run import PodInput
    from mlops_kit.pipelines.definition import Pipeline, Step
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.pipelines.local import Runner
    from mlops_kit.pipelines.progress import Observer
    from mlops_kit.pipelines.values import Value
    from mlops_kit.project.workspace import Workspace

# What no step's outputs depend on.
_NOT_CONTENT = {"workers", "keep_warm", "cold", "approver", "approver_header", "argo"}


def run(
    workspace: Workspace,
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    *,
    observer: Observer,
    cached: bool = True,
    resumed: Execution | None = None,
    began: Callable[[Execution], object] = lambda _execution: None,
    cancelled: threading.Event | None = None,
) -> Execution:
    """Run a pipeline here, or go on with an execution, and return how it ended.

    Raises what `Runner.run` raises.

    Args:
        workspace: the project.
        pipeline: the one to run.
        inputs: by name; of an execution that is resumed, its own count.
        observer: gets each change.
        cached: whether unchanged steps are taken from the cache.
        resumed: the execution to go on with.
        began: gets the execution before its first step.
        cancelled: once it is set, the run ends as by KeyboardInterrupt.
    """
    from mlops_kit.pipelines import validation

    # Before a kernel is started, so that a mistake is answered at once.
    given = resumed.state.inputs if resumed else inputs
    checked = validation.check(workspace.project / "notebooks", pipeline, given)
    _prepare_registry(workspace)
    with runner(workspace, observer, cached=cached, cancelled=cancelled) as local:
        if resumed is None:
            names = [step.name for step in pipeline.ordered]
            execution = workspace.executions.create(pipeline.name, checked, names)
        else:
            execution = resumed
            execution.acquire()
            execution.set_inputs(checked)
        try:
            began(execution)
            return local.run(pipeline, execution)
        finally:
            execution.release()


def run_step(
    workspace: Workspace,
    step: Step,
    given: Mapping[str, Any],
    folder: Path | None,
    observer: Observer,
) -> dict[str, Value]:
    """Run one step with its parameters, as a pod does, and return its outputs.

    Args:
        workspace: the project.
        step: the one to run.
        given: its notebook's parameters.
        folder: for its notebook and outputs; None for a new one in the state folder.
        observer: gets each change.
    """
    from mlops_kit.pipelines import notebooks

    notebooks.typed(workspace.project / "notebooks" / step.notebook, given)
    target = folder or workspace.settings.state_folder / "steps" / f"{step.name}-{uuid4().hex[:8]}"
    step_outputs.forget(target)
    with runner(workspace, observer, cached=False, alone=True) as local:
        outputs = local.run_step(step, given, target.resolve(), threads=local.cores)
        step_outputs.save(target.resolve(), outputs, "")
        return outputs


def run_pod(
    workspace: Workspace,
    pipeline: Pipeline,
    pod: Pod,
    given: PodInput,
    folder: Path,
    observer: Observer,
) -> Execution:
    """Run the steps of one pod, between the files of its folder, and return how it ended.

    Raises what `Runner.run` raises.

    Args:
        workspace: the project.
        pipeline: the one whose steps they are.
        pod: its plan.
        given: what it is given on its command line.
        folder: where Argo brings and fetches files.
        observer: gets each change.
    """
    from mlops_kit.argo import pod_run, transport
    from mlops_kit.pipelines import validation
    from mlops_kit.reporting.notebooks import html_page

    inputs = {key: transport.unpacked(value) for key, value in given.inputs.items()}
    checked = validation.check(workspace.project / "notebooks", pipeline, inputs)
    with runner(workspace, observer, cached=False, alone=len(pod.steps) == 1) as local:
        typed = replace(given, inputs=checked)
        return pod_run.run(local, pipeline, pod, typed, folder, html_page.save)


@contextmanager
def runner(
    workspace: Workspace,
    observer: Observer,
    *,
    cached: bool = True,
    alone: bool = False,
    cancelled: threading.Event | None = None,
) -> Iterator[Runner]:
    """Yield a runner, with the kernels that it needs for as long as it is used.

    Args:
        workspace: the project.
        observer: gets each change.
        cached: whether unchanged steps are taken from the cache.
        alone: whether it runs a single step, which then imports only what it needs.
        cancelled: once it is set, the run ends as by KeyboardInterrupt.
    """
    from mlops_kit.kernels.preload_key import PRELOAD
    from mlops_kit.kernels.zygote_client import Zygote

    settings = workspace.settings
    idle = settings.keep_warm or None
    modules = () if alone and idle is None else PRELOAD
    # First of all, so that it imports while this process does.
    zygote = None if settings.cold else Zygote.start(modules, idle=idle)
    from mlops_kit.kernels import provisioner
    from mlops_kit.pipelines.cache import Cache
    from mlops_kit.pipelines.local import Runner

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    salt = settings.model_dump_json(exclude=_NOT_CONTENT)
    cache = Cache(settings.state_folder / "cache", project=workspace.project, salt=salt)
    try:
        yield Runner(
            notebooks=workspace.project / "notebooks",
            kernel=lambda threads, folder: provisioner.manager(
                zygote=zygote, cwd=folder, project=workspace.project, threads=threads
            ),
            project=workspace.project,
            cache=cache if cached else None,
            observer=observer,
            workers=settings.workers or cores or 1,
            cores=cores or 1,
            cancelled=cancelled or threading.Event(),
        )
    finally:
        if zygote is not None:
            zygote.__exit__()


def _prepare_registry(workspace: Workspace) -> None:
    """Make a fresh store in the background, while the kernels' imports leave a core free."""
    registry = workspace.registry

    def prepare() -> None:
        # What goes wrong here goes wrong again, and is said, in the step that needs the store.
        with suppress(Exception):
            registry.prepare()

    if not registry.is_prepared():
        threading.Thread(target=prepare, daemon=True).start()
