"""The commands for releases: status, history, promote, rollback, repair, dora."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.cli import options
from mlops_kit.cli.exit_codes import Command
from mlops_kit.cli.options import as_json, environment, model, opened
from mlops_kit.cli.output import answer
from mlops_kit.errors import ParameterError

if TYPE_CHECKING:
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.releases.ledger import Entry
    from mlops_kit.releases.promotion import Promotion


@click.command(cls=Command)
@model
@environment
@as_json
@click.pass_obj
def status(project: Path | None, model: str | None, environment: str | None, as_json: bool) -> None:
    """Show what serves and how executions ended.

    Also shows whether Git and the registry agree.
    """
    from mlops_kit.project import releases

    workspace = opened(project)
    where = options.where(workspace, model, environment)
    found = releases.status(workspace, *where)
    every = list(workspace.executions.all())
    data = {
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
    answer(as_json, data, [found.sentence, *_execution_lines(every)])


def _execution_lines(every: Sequence[Execution]) -> Iterator[str]:
    """Yield how the newest executions ended, and how to debug or resume them."""
    # Only a pipeline's newest execution can be resumed.
    newest = {each.state.pipeline: each.name for each in every}
    for each in reversed(every[-5:]):
        state = each.seen_state
        yield f"  {each.name}  {state}"
        if each.failed_step:
            yield f"    debug: mlops-kit debug {each.name}/{each.failed_step}"
        if each.name in newest.values() and state in {"failed", "interrupted", "killed"}:
            yield f"    resume: mlops-kit run {each.state.pipeline} --resume"


@click.command(cls=Command)
@model
@environment
@as_json
@click.pass_obj
def history(
    project: Path | None, model: str | None, environment: str | None, as_json: bool
) -> None:
    """Show who released what, when and why, from the commits alone."""
    from mlops_kit.project import releases

    workspace = opened(project)
    entries = releases.history(workspace, *options.where(workspace, model, environment)).entries
    data = [{**vars(entry), "when": entry.when.isoformat()} for entry in entries]
    answer(as_json, data, map(_history_line, entries))


def _history_line(entry: Entry) -> str:
    what = f"{entry.action or 'by hand'} {entry.version}".strip()
    why = f'  "{entry.why}"' if entry.why else ""
    return f"{entry.when:%Y-%m-%d %H:%M:%S}  {entry.revision[:10]}  {what}  {entry.who}{why}"


@click.command(cls=Command)
@click.argument("version", default="")
@model
@environment
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--force-gate", is_flag=True, help="Promote whatever the verdict; Git records it.")
@click.option("--override", default="", help="Who allows a quarantined version, and why.")
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
    """Promote VERSION if its verdict is pass.

    VERSION defaults to the newest one that was judged.
    """
    from mlops_kit.project import candidates, releases

    workspace = opened(project)
    name, where = options.where(workspace, model, environment)
    judged = candidates.find(workspace, name, version)
    _say(releases.promote(workspace, judged, environment=where, **how), as_json)


@click.command(cls=Command)
@model
@environment
@click.option("--to", default=None, help="The champion to restore. Defaults to the last good one.")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--override", default="", help="Who allows a quarantined version, and why.")
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
    """Restore the last good champion with a commit."""
    from mlops_kit.project import releases

    workspace = opened(project)
    name, where = options.where(workspace, model, environment)
    _say(releases.rollback(workspace, name, where, **how), as_json)


@click.command(cls=Command)
@model
@environment
@as_json
@click.pass_obj
def repair(project: Path | None, model: str | None, environment: str | None, as_json: bool) -> None:
    """Set the registry's alias to the champion in Git."""
    from mlops_kit.project import releases

    workspace = opened(project)
    found = releases.repair(workspace, *options.where(workspace, model, environment))
    data = {"champion": found.champion, "registry": found.alias, "agree": not found.differs}
    answer(as_json, data, [found.sentence])


@click.command(cls=Command)
@model
@environment
@click.option(
    "--days", type=float, default=None, help="Count only the last DAYS days.", metavar="DAYS"
)
@as_json
@click.pass_obj
def dora(
    project: Path | None,
    model: str | None,
    environment: str | None,
    days: float | None,
    as_json: bool,
) -> None:
    """Print the four DORA keys, from the commits alone."""
    from dataclasses import asdict

    from mlops_kit.project import releases
    from mlops_kit.releases import dora

    workspace = opened(project)
    entries = releases.history(workspace, *options.where(workspace, model, environment)).entries
    try:
        found = dora.keys(entries, window=days)
    except ValueError as error:
        raise ParameterError(str(error), code="parameter.days") from error
    answer(as_json, [asdict(keys) for keys in found.keys], found.lines)


def _say(promoted: Promotion, as_json: bool) -> None:
    now = promoted.release
    version = now.champion.version if now.champion else ""
    did = "Committed" if promoted.changed else "Nothing to do: already committed as"
    then = ""
    if now.candidate:
        waits = f"v{now.candidate.version} waits at {now.weight} %"
        then = f" {waits}; continue with 'mlops-kit watch'."
    serves = f"{now.model} v{version} serves {now.environment}."
    data = {"revision": promoted.revision, "changed": promoted.changed, "champion": version}
    answer(as_json, data, [f"{did} {promoted.revision[:12]}. {serves}{then}"])


COMMANDS = (status, history, promote, rollback, repair, dora)
