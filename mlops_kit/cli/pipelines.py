"""The commands that run pipelines and steps here: new, run, step, debug."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.cli import argo, options
from mlops_kit.cli.exit_codes import Command, code_of
from mlops_kit.cli.options import as_json, opened
from mlops_kit.cli.output import answer
from mlops_kit.errors import ParameterError, StepError

if TYPE_CHECKING:
    from mlops_kit.argo.pod_run import PodInput
    from mlops_kit.pipelines.definition import Pipeline
    from mlops_kit.project.workspace import Workspace

# The highest exit code of a step's fault in a pod: Argo takes 137 for a lost pod.
_MAX_POD_EXIT_CODE = 124


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@as_json
def new(folder: Path, as_json: bool) -> None:
    """Make a project with notebooks and a pipeline in FOLDER."""
    from mlops_kit.project import scaffold

    made = scaffold.create(folder)
    lines = (
        f"Made {folder} with {len(made)} files. Next:",
        f"  cd {folder}",
        "  mlops-kit run fraud-training",
    )
    answer(as_json, {"project": str(folder), "files": made}, lines)


@click.command(cls=Command)
@click.argument("pipeline")
@options.options
@click.option("--fresh", is_flag=True, help="Run every step, also where the cache has it.")
@click.option(
    "--resume", is_flag=True, help="Go on with the newest execution that didn't end well."
)
@click.option("--force-gate", is_flag=True, help="Promote whatever the verdict; recorded in Git.")
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
    """Run PIPELINE here, promote what its verdict lets pass, and watch its rollout."""
    from mlops_kit.cli import progress
    from mlops_kit.cli.run_summary import closing_lines, outcome
    from mlops_kit.project import local_runs, releases

    workspace = opened(project)
    inputs = options.given(**values) | ({"force_gate": True} if force_gate else {})
    resumed = workspace.executions.last_unfinished(pipeline) if resume else None
    if resumed is not None and inputs:
        said = "--resume goes on with the inputs of before; leave out -p."
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
    "--folder", type=click.Path(path_type=Path), help="For notebook and outputs; else a new one."
)
@click.option("--pod", type=click.Path(path_type=Path), help="As a pod: its folder.")
@click.option("--execution", default="", help="As a pod: the workflow's name.")
@click.option(
    "--progress",
    type=click.Path(path_type=Path),
    envvar="ARGO_PROGRESS_FILE",
    help="As a pod: the file in which Argo looks how far it is.",
)
@click.option(
    "-o",
    "outputs",
    nargs=2,
    multiple=True,
    metavar="STEP.OUTPUT VALUE",
    help="As a pod: what another pod published.",
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

    -p gives its notebook's parameters; what the pipeline gives them are the defaults. With --pod
    it runs as in a pod, of a step or of several: -p gives the pipeline's inputs, outputs of other
    pods come by -o and as files, and its own are written where Argo takes them from.
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
    """Run what a pod runs, its progress in the file that Argo reads, if it wants it."""
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
        # Argo would run a lost pod again.
        error.exit_code = min(error.exit_code, _MAX_POD_EXIT_CODE)
        raise


@click.command(cls=Command)
@click.argument("what", metavar="EXECUTION[/STEP]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it.")
@argo.context
@as_json
@click.pass_obj
def debug(
    project: Path | None, what: str, output: Path | None, context: str, as_json: bool
) -> None:
    """Make a notebook of a failed step that stops right before the failing cell.

    EXECUTION is one that ran here, or a workflow on the cluster, whose files are brought here.
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
    cell = debugging.failing_notebook(execution, step, target, folder=workspace.project)
    stops = f", which stops before cell {cell!r}" if cell else ""
    lines = (f"Wrote {target}{stops}.", f"Open it: jupyter lab {target}")
    answer(as_json, {"notebook": str(target), "cell": cell}, lines)


COMMANDS = (new, run, step, debug)
