"""The commands that run pipelines and steps locally: new, run, step, debug."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.cli import argo, options
from mlops_kit.cli.exit_codes import Command, code_of
from mlops_kit.cli.options import as_json, opened
from mlops_kit.cli.output import answer
from mlops_kit.errors import KitError, ParameterError, StepError

if TYPE_CHECKING:
    from mlops_kit.argo.pod_run import PodInput
    from mlops_kit.pipelines.definition import Pipeline
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace

# The highest exit code of a failed step in a pod: Argo reads 137 as a lost pod.
_MAX_POD_EXIT_CODE = 124


@click.command(cls=Command)
@click.argument("pipeline")
@options.options
@click.option("--fresh", is_flag=True, help="Run every step, even if it is cached.")
@click.option("--resume", is_flag=True, help="Continue the newest execution that didn't finish.")
@click.option("--force-gate", is_flag=True, help="Promote whatever the verdict; Git records it.")
@as_json
@click.pass_obj
def run(
    project: Path | None,
    /,
    pipeline: str,
    fresh: bool,
    resume: bool,
    force_gate: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Run PIPELINE, promote its candidate and watch the rollout.

    Promotes only if the verdict is pass, or with --force-gate.
    """
    from mlops_kit.cli import progress
    from mlops_kit.cli.run_summary import closing_lines, outcome
    from mlops_kit.project import local_runs, releases

    workspace = opened(project)
    inputs = options.given(**values) | ({"force_gate": True} if force_gate else {})
    resumed = workspace.executions.last_unfinished(pipeline) if resume else None
    if resumed is not None and inputs:
        said = "--resume reuses the inputs of the execution it continues; leave out -p."
        raise ParameterError(said, code="parameter.resumed")
    chosen = workspace.pipeline(pipeline)
    with progress.shown(chosen.name, chosen.ordered) as observer:
        execution = local_runs.run(
            workspace, chosen, inputs, observer=observer, cached=not fresh, resumed=resumed
        )
    result = outcome(workspace, execution)
    releases.keep_record(workspace, execution)
    answer(as_json, result, closing_lines(workspace, result))
    sys.exit(code_of(result["verdict"], (result["rollout"] or {}).get("verdict")))


@click.command(cls=Command)
@click.argument("pipeline")
@click.argument("name", metavar="STEP")
@options.options
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where to write the notebook and its outputs. Defaults to a new folder.",
)
@click.option("--pod", type=click.Path(path_type=Path), help="Run as a pod does, in this folder.")
@click.option("--execution", default="", help="With --pod: the workflow's name.")
@click.option(
    "--progress",
    type=click.Path(path_type=Path),
    envvar="ARGO_PROGRESS_FILE",
    help="With --pod: the file that Argo reads progress from.",
)
@click.option(
    "-o",
    "outputs",
    nargs=2,
    multiple=True,
    metavar="STEP.OUTPUT VALUE",
    help="With --pod: an output of another pod.",
)
@as_json
@click.pass_obj
def step(
    project: Path | None,
    /,
    pipeline: str,
    name: str,
    folder: Path | None,
    pod: Path | None,
    execution: str,
    progress: Path | None,
    outputs: tuple[tuple[str, str], ...],
    as_json: bool,
    **values: Any,
) -> None:
    """Run one STEP of PIPELINE and print its outputs.

    -p sets the notebook's parameters; the pipeline's values are the defaults. With --pod, run one
    or several steps as a pod does: -p sets the pipeline's inputs, other pods' outputs come from -o
    and from files, and the step's own outputs go where Argo reads them.
    """
    workspace = opened(project)
    whole = workspace.pipeline(pipeline)
    if pod is not None:
        from mlops_kit.argo.pod_run import PodInput

        given = PodInput(execution or whole.name, options.given(**values), dict(outputs))
        _run_pod(workspace, whole, name, given, pod, progress)
        return
    from mlops_kit.cli.progress import shown
    from mlops_kit.project import local_runs

    chosen = whole.step(name)
    known = options.defaults(whole, chosen)
    with shown(chosen.name, (chosen,)) as observer:
        done = local_runs.run_step(
            workspace, chosen, known | options.given(**values), folder, observer
        )
    found = {output: value.argument for output, value in done.items()}
    answer(as_json, found, (f"{output} = {value}" for output, value in found.items()))


def _run_pod(
    workspace: Workspace,
    pipeline: Pipeline,
    name: str,
    given: PodInput,
    folder: Path,
    progress: Path | None,
) -> None:
    """Run a pod's steps, and write progress to the file that Argo reads, if any."""
    from mlops_kit.argo import pod_plan
    from mlops_kit.argo.pod_run import ArgoProgressFile, both
    from mlops_kit.cli.progress import shown
    from mlops_kit.project import local_runs

    pod = pod_plan.named(pod_plan.plan(pipeline), name)
    try:
        with shown(name, pod.steps) as lines:
            observer = both(lines, ArgoProgressFile(progress)) if progress else lines
            local_runs.run_pod(workspace, pipeline, pod, given, folder, observer)
    except StepError as error:
        # Argo would restart a lost pod.
        error.exit_code = min(error.exit_code, _MAX_POD_EXIT_CODE)
        raise


@click.command(cls=Command)
@click.argument("what", metavar="EXECUTION[/STEP]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where to write the notebook."
)
@argo.context
@as_json
@click.pass_obj
def debug(
    project: Path | None, what: str, output: Path | None, context: str, as_json: bool
) -> None:
    """Write a notebook that stops just before the failing cell.

    STEP defaults to the step that failed. EXECUTION ran here, or is a workflow on the cluster,
    whose files are fetched first.
    """
    from mlops_kit.pipelines import debugging

    workspace = opened(project)
    name, _, step = what.partition("/")
    if workspace.executions.is_name(name):
        execution = workspace.executions.open(name)
        step = step or execution.failed_step
    else:
        execution, step = argo.failed_step(workspace, name, step, context)
    target = output or workspace.project / "notebooks" / f"debug-{name}-{step}.ipynb"
    folder = (workspace.project / "notebooks" / _notebook(workspace, execution, step)).parent
    cell = debugging.failing_notebook(
        execution, step, target, folder=folder, project=workspace.project
    )
    stops = f", which stops before cell {cell!r}" if cell else ""
    lines = (f"Wrote {target}{stops}.", f"Open it: jupyter lab {target}")
    answer(as_json, {"notebook": str(target), "cell": cell}, lines)


def _notebook(workspace: Workspace, execution: Execution, step: str) -> str:
    """Return a step's notebook as its pipeline names it now; nothing if it no longer does."""
    try:
        return workspace.pipeline(execution.state.pipeline).step(step).notebook
    except KitError:
        return ""


COMMANDS = (run, step, debug)
