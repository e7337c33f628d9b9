"""The commands for a rollout: watch and plan."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlops_kit.cli import argo
from mlops_kit.cli.argo import context
from mlops_kit.cli.exit_codes import Command, code_of
from mlops_kit.cli.options import as_json, environment, model, opened, where
from mlops_kit.cli.output import answer
from mlops_kit.errors import ParameterError


@click.command(cls=Command)
@click.argument("workflow", default="")
@model
@environment
@click.option("--once", is_flag=True, help="Look and act once, then exit.")
@context
@as_json
@click.pass_obj
def watch(
    project: Path | None,
    workflow: str,
    model: str | None,
    environment: str | None,
    once: bool,
    context: str,
    as_json: bool,
) -> None:
    """Follow a rollout and decide its steps until it ends.

    Any number of watchers may run at once, and be killed: each step happens once. With WORKFLOW,
    show a workflow on the cluster instead, and exit with the code of a run.
    """
    from mlops_kit.cli.run_summary import rollout_lines
    from mlops_kit.project import rollouts
    from mlops_kit.project.argo import cluster

    workspace = opened(project)
    if workflow:
        argo.follow(cluster(workspace, context), workflow, as_json)
    seen = rollouts.watch(
        workspace,
        *where(workspace, model, environment),
        show=(lambda _lines: None) if as_json else (lambda lines: click.echo("\n".join(lines))),
        looks=1 if once else None,
    )
    answer(as_json, seen.summary(), ["", *rollout_lines(seen.summary())])
    sys.exit(0 if once else code_of(None, seen.verdict))


@click.command(cls=Command)
@click.option("--rate", required=True, type=float, help="Requests per second.")
@click.option("--positive-rate", default=0.005, show_default=True, help="Share of positives.")
@click.option(
    "--label-delay",
    default=None,
    type=float,
    help="Seconds until labels arrive. Defaults to the settings'.",
)
@click.option("--history", default=0, show_default=True, help="Labelled requests already logged.")
@model
@as_json
@click.pass_obj
def plan(
    project: Path | None,
    rate: float,
    positive_rate: float,
    label_delay: float | None,
    history: int,
    model: str | None,
    as_json: bool,
) -> None:
    """Estimate what a rollout can detect, and how soon.

    Also lists what it can't detect at this traffic.
    """
    from dataclasses import asdict

    from mlops_kit.project.rollouts import model_task
    from mlops_kit.rollouts import power_analysis

    workspace = opened(project)
    name = model or workspace.default_model
    policy, task = workspace.policy(name), model_task(workspace, name)
    delay = policy.maturity if label_delay is None else label_delay
    if not delay >= 0:
        said = f"label_delay is {delay:g}; expected 0 or more seconds."
        raise ParameterError(said, code="parameter.plan")
    try:
        found = power_analysis.plan(
            policy,
            rate=rate,
            positive_rate=positive_rate,
            label_delay=delay,
            history=history,
            task=task,
        )
    except ValueError as error:
        raise ParameterError(f"{error}.", code="parameter.plan") from error
    answer(as_json, [asdict(row) for row in found.rows], found.lines)


COMMANDS = (watch, plan)
