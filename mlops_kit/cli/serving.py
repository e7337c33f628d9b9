"""The commands that run until they are stopped: serve, traffic, panel."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_kit.cli.exit_codes import Command, Stopped
from mlops_kit.cli.options import as_json, environment, model, opened, where
from mlops_kit.cli.output import answer
from mlops_kit.errors import ParameterError, ProjectError

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace


@click.command(cls=Command)
@click.argument("what", type=click.Choice(["stop"]), required=False)
@model
@environment
@click.option("--detach", is_flag=True, help="Serve in the background; return once it answers.")
@click.option("--attended", is_flag=True, hidden=True, help="Stop when standard input ends.")
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
    """Serve the released model over the V2 inference protocol.

    Follows Git until Ctrl-C or 'mlops-kit serve stop'.
    """
    from mlops_kit.project import local_server

    workspace = opened(project)
    name, place = where(workspace, model, environment)
    if what == "stop" or detach:
        _manage(workspace, name, place, what, as_json)
        return
    # The process that starts an attended server has already fetched its models.
    platform = local_server.platform(workspace, name, place, click.echo, warm=not attended)
    stop = threading.Event()
    if attended:
        from mlops_kit.serving.parent import stop_at_end_of_input

        stop_at_end_of_input(stop, platform.ending)
    # Stopping is the normal end.
    with suppress(KeyboardInterrupt, Stopped):
        platform.run(stop)


def _manage(workspace: Workspace, name: str, place: str, what: str | None, as_json: bool) -> None:
    from dataclasses import asdict

    from mlops_kit.project import local_server
    from mlops_kit.serving import daemon

    folder = local_server.folder(workspace, place)
    if what == "stop":
        found = daemon.stop(folder)
        said = f"Stopped process {found.pid}." if found else f"Nothing serves {place}."
    else:
        _ = workspace.repository  # creates it, as `local_server.ensure_running` does
        found = daemon.detach(local_server.serve_command(workspace, name, place), folder)
        said = found.sentence
    answer(as_json, asdict(found) if found else None, [said])


@click.command(cls=Command)
@click.option("--data", default="generated", help="'generated', or a file of the model's table.")
@click.option("--rate", default=100.0, show_default=True, help="Requests per second.")
@click.option("--seconds", default=60.0, show_default=True, help="How long to send.")
@click.option("--label-delay", default=5.0, show_default=True, help="Seconds until labels arrive.")
@click.option("--seed", default=7, show_default=True, help="Another seed sends other data.")
@model
@environment
@as_json
@click.pass_obj
def traffic(
    project: Path | None,
    data: str,
    rate: float,
    seconds: float,
    label_delay: float,
    seed: int,
    model: str | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """Send simulated customers' requests to the local server.

    They are rows of the model's table; of a file the latest part, which training leaves alone.
    Their labels follow later.
    """
    from dataclasses import asdict
    from functools import partial

    from mlops_kit.errors import ServingError
    from mlops_kit.examples import customers
    from mlops_kit.project import local_server
    from mlops_kit.serving import daemon

    workspace = opened(project)
    name, place = where(workspace, model, environment)
    try:
        read = partial(workspace.rows, model=name)
        pace = {"rate": rate, "label_delay": label_delay}
        table = workspace.table(name)
        sending = customers.of("simulated", data, table, read=read, seed=seed, **pace)
        assert sending is not None
        sending = sending.within(seconds)
    except ValueError as error:
        raise ParameterError(f"{error}.", code="parameter.traffic") from error
    found = daemon.running(local_server.folder(workspace, place))
    if found is None:
        said = f"Nothing serves {place} here. Start a server: mlops-kit serve --detach."
        raise ServingError(said, code="serving.not-running")
    observations = local_server.observations(workspace, name)
    with sending.traffic(found.url, name, observations) as running:
        sent = running.wait()
    answer(as_json, asdict(sent), [str(sent)])


@click.command(cls=Command)
@click.option("--port", default=8866, show_default=True, help="The port on this machine.")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@click.pass_obj
def panel(project: Path | None, port: int, no_browser: bool) -> None:
    """Serve the promotion panel as a web page until Ctrl-C.

    Anyone with the address acts under your name: it contains a token, and works on this machine
    only. With `approver_header` in mlops-kit.toml, a proxy in front of it names the user.
    """
    import importlib.util
    import subprocess

    from mlops_kit.jupyter.launcher import page_command

    if importlib.util.find_spec("voila") is None:
        raise ProjectError(
            "Voilà isn't installed. Run: pip install 'mlops-kit[lab]'.",
            code="project.no-voila",
        )
    workspace = opened(project)
    more = ["--no-browser"] if no_browser else []
    # Ctrl-C reaches both processes, and is the normal end.
    with suppress(KeyboardInterrupt, Stopped):
        command = page_command(workspace, "panel", port, *more)
        sys.exit(subprocess.call(command, cwd=workspace.project))


COMMANDS = (serve, traffic, panel)
