"""The commands for workflows on a cluster: submit, logs, and parts of watch and debug."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mlops_kit.cli import options
from mlops_kit.cli.exit_codes import Command, code_of
from mlops_kit.cli.options import as_json, opened
from mlops_kit.cli.output import answer
from mlops_kit.errors import ClusterError, ProjectError

if TYPE_CHECKING:
    from mlops_kit.argo.submission import Cluster, Ending
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace

context = click.option(
    "--context",
    default="",
    help="The kubeconfig context. Defaults to ARGO_SERVER, or else the current context.",
)
# The verdict behind each rollout outcome; it decides the exit code.
_BY_OUTCOME = {"completed": "pass", "serving": "pass", "aborted": "fail", "rolled back": "fail"}


@click.command(cls=Command)
@click.argument("pipeline")
@options.options
@click.option("--revision", default="", help="The full commit SHA to run. Defaults to HEAD.")
@click.option("--force-gate", is_flag=True, help="Promote whatever the verdict; Git records it.")
@click.option("--fresh", is_flag=True, help="Ignore the cluster's cached outputs.")
@click.option("--watch", "watched", is_flag=True, help="Follow the workflow to its end.")
@context
@as_json
@click.pass_obj
def submit(
    project: Path | None,
    /,
    pipeline: str,
    revision: str,
    force_gate: bool,
    fresh: bool,
    watched: bool,
    context: str,
    as_json: bool,
    **values: Any,
) -> None:
    """Start PIPELINE on the cluster.

    The cluster must have its rendered template, and the settings must allow the context.
    """
    from mlops_kit.argo import submission
    from mlops_kit.project import argo

    workspace = opened(project)
    inputs = options.given(**values) | ({"force_gate": True} if force_gate else {})
    chosen = workspace.pipeline(pipeline)
    where = argo.cluster(workspace, context)
    click.echo(f"Context {where.context}, namespace {where.namespace}", err=True)
    argo.check_context(workspace, where)
    sha = argo.revision(workspace, revision)
    name = submission.submit(
        where, workspace.project / "notebooks", chosen, inputs, sha, fresh=fresh
    )
    if watched:
        follow(where, name, as_json)
    lines = (
        f"Submitted {name} at {sha[:12]}. Next:",
        f"  mlops-kit watch {name}",
        f"  mlops-kit logs {name} --follow",
    )
    answer(as_json, {"workflow": name, "revision": sha, "context": where.context}, lines)


def follow(where: Cluster, name: str, as_json: bool) -> NoReturn:
    """Show a workflow until it ends, then exit with the code of a run."""
    from mlops_kit.argo import submission
    from mlops_kit.cli import progress

    with progress.shown(name) as watch:
        ending = submission.follow(where, name, watch)
    steps = {node.name: node.state for node in ending.nodes}
    data = {"workflow": name, "phase": ending.phase, "steps": steps, **ending.values}
    answer(as_json, data, _lines(ending))
    if ending.phase != "Succeeded":
        sys.exit(1)
    outcome = ending.values.get("outcome")
    rollout = _BY_OUTCOME.get(outcome, "inconclusive") if outcome else None
    sys.exit(code_of(ending.values.get("verdict"), rollout))


def _lines(ending: Ending) -> list[str]:
    """Return how a workflow ended, its values, and how to debug what failed."""
    lines = [
        "",
        f"{ending.name}: {ending.phase}" + (f", {ending.message}" if ending.message else ""),
    ]
    lines += [f"  {name} = {value}" for name, value in ending.values.items()]
    for node in ending.failed:
        lines += [
            f"  {node.name}: {node.message}",
            f"    debug: mlops-kit debug {ending.name}/{node.name}",
            f"    logs: mlops-kit logs {ending.name}/{node.name}",
        ]
    return lines


@click.command(cls=Command)
@click.argument("what", metavar="WORKFLOW[/STEP]")
@click.option("--follow", "-f", is_flag=True, help="Keep printing until the workflow ends.")
@context
@click.pass_obj
def logs(project: Path | None, what: str, follow: bool, context: str) -> None:
    """Print the logs of a workflow's pods.

    Prefixes each line with its step.
    """
    from mlops_kit.argo import submission
    from mlops_kit.project import argo

    workspace = opened(project)
    name, _, task = what.partition("/")
    for line in submission.logs(argo.cluster(workspace, context), name, task, follow=follow):
        click.echo(line)


def failed_step(workspace: Workspace, name: str, step: str, context: str) -> tuple[Execution, str]:
    """Fetch a failed step of a workflow, and return it as if it had run here."""
    from mlops_kit.project import argo
    from mlops_kit.releases.checkout import code_revision

    try:
        where = argo.cluster(workspace, context)
    except ClusterError as error:
        raise ProjectError(
            f"No execution {name!r} here; 'mlops-kit status' lists them. "
            f"No cluster to look on either: {error}",
            code="project.no-execution",
        ) from error
    execution, found = argo.retrieve(workspace, where, name, step)
    ran, here = str(execution.state.inputs.get("revision", "")), code_revision(workspace.project)
    if ran and ran != here:
        click.echo(f"It ran at {ran[:12]}; you have {here[:18] or 'no commit'}.", err=True)
    return execution, found


COMMANDS = (submit, logs)
