"""The command line: each command is a few lines over the workspace."""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path
from typing import Any

import click

from mlops_kit import __version__, errors
from mlops_kit.cli import argo, manifests, options, rollouts
from mlops_kit.cli.exit_codes import EXIT_CODES, Group, answer, code_of
from mlops_kit.cli.options import as_json, environment, model
from mlops_kit.cli.options import opened as _open
from mlops_kit.cli.options import where as _where


@click.group(cls=Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlops-kit")
@click.option("--project", type=click.Path(path_type=Path, file_okay=False), help="Its folder.")
@click.pass_context
def main(ctx: click.Context, project: Path | None) -> None:
    """Train, judge, promote and watch models by notebooks, on one laptop or on Argo."""
    ctx.obj = project
    # Else the interpreter looks at every object once more before it ends: a second after MLflow.
    atexit.register(gc.freeze)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@as_json
def new(folder: Path, as_json: bool) -> None:
    """Make a project with notebooks and a pipeline in FOLDER."""
    from mlops_kit.project import scaffold

    made = scaffold.create(folder)
    if as_json:
        answer({"project": str(folder), "files": made})
        return
    click.echo(f"Made {folder} with {len(made)} files. Next:\n  cd {folder}")
    click.echo("  mlops-kit run fraud-training")


@main.command()
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
    from mlops_kit.cli.run_summary import closing_lines, outcome
    from mlops_kit.project import releases

    workspace = _open(project)
    inputs = options.given(**values) | ({"force_gate": True} if force_gate else {})
    resumed = workspace.executions.last_unfinished(pipeline) if resume else None
    if resumed is not None and inputs:
        raise errors.ParameterError("--resume goes on with the inputs of before; leave out -p.")
    execution = workspace.run(
        workspace.pipeline(pipeline), inputs, cached=not fresh, resumed=resumed
    )
    result = outcome(workspace, execution)
    releases.keep_record(workspace, execution)
    if as_json:
        answer(result)
    else:
        click.echo("\n".join(closing_lines(workspace, result)))
    sys.exit(code_of(result["verdict"], (result["rollout"] or {}).get("verdict")))


@main.command()
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
    workspace = _open(project)
    whole = workspace.pipeline(pipeline)
    if pod is not None:
        from mlops_kit.argo.pod_run import PodInput

        given = PodInput(execution or whole.name, options.given(**values), dict(outputs))
        manifests.run_pod(workspace, whole, name, given, pod, progress)
        return
    chosen = whole.step(name)
    known = options.defaults(whole, chosen)
    done = workspace.run_step(chosen, known | options.given(**values), folder)
    found = {output: value.argument for output, value in done.items()}
    if as_json:
        answer(found)
    else:
        click.echo("\n".join(f"{output} = {value}" for output, value in found.items()))


@main.command()
@model
@environment
@as_json
@click.pass_obj
def status(project: Path | None, model: str | None, environment: str | None, as_json: bool) -> None:
    """Say what serves, whether Git and registry agree, and how executions ended."""
    from mlops_kit.project import releases

    workspace = _open(project)
    where = _where(workspace, model, environment)
    found = releases.status(workspace, *where)
    every = list(workspace.executions.all())
    if as_json:
        answer(
            {
                "model": where[0],
                "environment": where[1],
                "champion": found.champion,
                "revision": found.revision,
                "registry": found.alias,
                "agree": not found.differs,
                "executions": [
                    {
                        "name": each.name,
                        "state": each.seen_state,
                        "steps": {step: found.state for step, found in each.state.steps.items()},
                    }
                    for each in every[-5:]
                ],
            }
        )
        return
    click.echo(found.sentence)
    # Only a pipeline's newest execution can be resumed.
    newest = {each.state.pipeline: each.name for each in every}
    for each in reversed(every[-5:]):
        state = each.seen_state
        click.echo(f"  {each.name}  {state}")
        if each.failed_step:
            click.echo(f"    look: mlops-kit debug {each.name}/{each.failed_step}")
        if each.name in newest.values() and state in {"failed", "interrupted", "killed"}:
            click.echo(f"    go on: mlops-kit run {each.state.pipeline} --resume")


@main.command()
@model
@environment
@as_json
@click.pass_obj
def history(
    project: Path | None, model: str | None, environment: str | None, as_json: bool
) -> None:
    """Say who released what, when and why, from the commits alone."""
    from mlops_kit.project import releases

    workspace = _open(project)
    entries = releases.history(workspace, *_where(workspace, model, environment)).entries
    if as_json:
        answer([{**vars(entry), "when": entry.when.isoformat()} for entry in entries])
        return
    for entry in entries:
        what = f"{entry.action or 'by hand'} {entry.version}".strip()
        why = f'  "{entry.why}"' if entry.why else ""
        click.echo(
            f"{entry.when:%Y-%m-%d %H:%M:%S}  {entry.revision[:10]}  {what}  {entry.who}{why}"
        )


@main.command()
@click.argument("version", default="")
@model
@environment
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--force-gate", is_flag=True, help="Whatever the verdict; the commit says so.")
@click.option("--override", default="", help="Who lets a quarantined version through, and why.")
@as_json
@click.pass_obj
def promote(
    project: Path | None,
    /,
    version: str,
    model: str | None,
    environment: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Promote VERSION, by default the newest that was judged, if its verdict is pass."""
    from mlops_kit.project import releases

    workspace = _open(project)
    name, where = _where(workspace, model, environment)
    case = releases.case(workspace, name, version)
    _say(releases.promote(workspace, case, environment=where, **how), as_json)


@main.command()
@model
@environment
@click.option("--to", default=None, help="A former champion; by default the last good one.")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--override", default="", help="Who goes back to a quarantined version, and why.")
@as_json
@click.pass_obj
def rollback(
    project: Path | None,
    /,
    model: str | None,
    environment: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Restore the last good champion by a commit."""
    from mlops_kit.project import releases

    workspace = _open(project)
    name, where = _where(workspace, model, environment)
    _say(releases.rollback(workspace, name, where, **how), as_json)


@main.command()
@model
@environment
@as_json
@click.pass_obj
def repair(project: Path | None, model: str | None, environment: str | None, as_json: bool) -> None:
    """Let the registry's alias follow Git again."""
    from mlops_kit.project import releases

    workspace = _open(project)
    found = releases.repair(workspace, *_where(workspace, model, environment))
    if as_json:
        answer({"champion": found.champion, "registry": found.alias, "agree": not found.differs})
    else:
        click.echo(found.sentence)


@main.command()
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

    workspace = _open(project)
    name, _, step = what.partition("/")
    if workspace.executions.is_name(name):
        execution = workspace.executions.open(name)
        step = step or execution.failed_step
    else:
        execution, step = argo.failed_step(workspace, name, step, context)
    target = output or workspace.project / "notebooks" / f"debug-{name}-{step}.ipynb"
    cell = debugging.failing_notebook(execution, step, target, folder=workspace.project)
    if as_json:
        answer({"notebook": str(target), "cell": cell})
        return
    stops = f", which stops before cell {cell!r}" if cell else ""
    click.echo(f"Wrote {target}{stops}.\nOpen it: jupyter lab {target}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL: eval "$(mlops-kit completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "mlops-kit", "_MLOPS_KIT_COMPLETE").source())


def _say(promoted: Any, as_json: bool) -> None:
    now = promoted.release
    version = now.champion.version if now.champion else ""
    if as_json:
        answer({"revision": promoted.revision, "changed": promoted.changed, "champion": version})
        return
    did = "Committed" if promoted.changed else "Nothing to do; committed before"
    then = ""
    if now.candidate:
        then = f" v{now.candidate.version} waits at {now.weight} %: 'mlops-kit watch' goes on."
    serves = f"{now.model} v{version} serves {now.environment}."
    click.echo(f"{did}: {promoted.revision[:12]}. {serves}{then}")


for command in (
    *rollouts.COMMANDS,
    *manifests.COMMANDS,
    *argo.COMMANDS,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
