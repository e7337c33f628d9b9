"""The group of all commands."""

from __future__ import annotations

import atexit
import gc
from pathlib import Path

import click

from mlops_kit import __version__
from mlops_kit.cli import argo, labels, manifests, pipelines, projects, releases, rollouts, serving
from mlops_kit.cli.exit_codes import EXIT_CODES, Group


@click.group(cls=Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlops-kit")
@click.option(
    "--project", type=click.Path(path_type=Path, file_okay=False), help="The project's folder."
)
@click.pass_context
def main(ctx: click.Context, project: Path | None) -> None:
    """Train, judge, promote and roll out models from notebooks, on one laptop or on Argo."""
    ctx.obj = project
    # Skip the last garbage collection, which takes a second once MLflow is loaded.
    atexit.register(gc.freeze)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    Add this to the shell's startup file: eval "$(mlops-kit completion bash)".
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "mlops-kit", "_MLOPS_KIT_COMPLETE").source())


for room in (projects, pipelines, releases, rollouts, labels, serving, manifests, argo):
    for command in room.COMMANDS:
        main.add_command(command)
