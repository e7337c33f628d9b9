"""The commands around a rollout: serve, watch, traffic, plan and dora."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from mlops_kit.arguments import as_json, environment, model, opened, where
from mlops_kit.endings import Command, Stopped, answer


@click.command(cls=Command)
@click.argument("what", type=click.Choice(["stop"]), required=False)
@model
@environment
@click.option("--detach", is_flag=True, help="Serve in the background; return when it answers.")
@click.option("--attended", is_flag=True, hidden=True, help="End when standard input ends.")
@as_json
@click.pass_obj
def serve(
    project: Path | None,
    what: str | None,
    model: str | None,
    environment: str | None,
    detach: bool,
    attended: bool,
    as_json: bool,
) -> None:
    """Serve what Git says, over the V2 inference protocol, until Ctrl-C; `stop` ends it."""
    from mlops_kit import embedded

    workspace = opened(project)
    name, place = where(workspace, model, environment)
    if what == "stop" or detach:
        _manage(workspace, name, place, what, as_json)
        return
    platform = embedded.platform(workspace, name, place, lambda said: click.echo(said))
    stop = threading.Event()
    if attended:
        from mlops_kit.serving.platform import stop_at_end_of_input

        stop_at_end_of_input(stop)
    # Being stopped is how serving ends well.
    with suppress(KeyboardInterrupt, Stopped):
        platform.run(stop)


def _manage(workspace: Any, name: str, place: str, what: str | None, as_json: bool) -> None:
    from dataclasses import asdict

    from mlops_kit import embedded
    from mlops_kit.serving import platform

    folder = embedded.folder(workspace, place)
    if what == "stop":
        found = platform.stop(folder)
        said = f"Stopped process {found.pid}." if found else f"Nothing serves {place}."
    else:
        workspace.repository.head()
        found = platform.detach(embedded.serve_command(workspace, name, place), folder)
        said = found.sentence
    if as_json:
        answer(asdict(found) if found else None)
    else:
        click.echo(said)


COMMANDS = (serve,)
