"""The commands that make a project, and add a model to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.cli.exit_codes import Command
from mlops_kit.cli.options import as_json, opened
from mlops_kit.cli.output import answer
from mlops_kit.errors import ParameterError

if TYPE_CHECKING:
    from mlops_kit.project.scaffold import Made
    from mlops_kit.tables.roles import Roles

_ROLES = (
    click.option("--target", default="", metavar="COLUMN", help="What is predicted."),
    click.option("--time", default="", metavar="COLUMN", help="What orders the rows."),
    click.option("--positive", default="", metavar="VALUE", help="The label to be found."),
    click.option("--entity", default="", metavar="COLUMN", help="Who a row is of: a customer."),
    click.option("--amount", default="", metavar="COLUMN", help="What a row is worth."),
    click.option(
        "--task",
        type=click.Choice(["binary", "multiclass", "regression"]),
        help="By default as the label says.",
    ),
    click.option(
        "--day-first/--month-first",
        default=None,
        help="How 03/04/2026 is read, where it is unclear.",
    ),
)
_SOURCE = "A file (CSV, Parquet, .gz, .zip), a folder of parts, a URL, or SQL as URL#TABLE."


def _roles(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_ROLES):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("name", metavar="FOLDER|NAME")
@click.option("--from", "source", default="", metavar="SOURCE", help=_SOURCE)
@click.option("--folder", type=click.Path(path_type=Path), help="With --from; else that of NAME.")
@_roles
@as_json
def new(name: str, source: str, folder: Path | None, as_json: bool, **roles: Any) -> None:
    """Create a project with notebooks and a pipeline in FOLDER.

    With --from it is a project for the rows of SOURCE, whose model is called NAME: it looks at
    the columns, says what it takes each for, and writes table, notebooks, pipeline and gates.
    """
    from mlops_kit.project import scaffold

    if source:
        place = folder or Path(name)
        made = scaffold.create_for(place, Path(name).name, source, _known(roles))
        _say(as_json, made, f"  cd {place}")
        return
    given = [f"--{option}" for option, value in roles.items() if value not in ("", None)]
    if given or folder is not None:
        raise ParameterError(f"{given or '--folder'} are for the rows of a source; add --from.")
    files = scaffold.create(Path(name))
    lines = (
        f"Created {name} with {len(files)} files. Next:",
        f"  cd {name}",
        "  mlops-kit run fraud-training",
    )
    answer(as_json, {"project": name, "files": files}, lines)


@click.command(cls=Command)
@click.argument("model")
@click.option("--from", "source", required=True, metavar="SOURCE", help=_SOURCE)
@_roles
@as_json
@click.pass_obj
def add(project: Path | None, /, model: str, source: str, as_json: bool, **roles: Any) -> None:
    """Add MODEL to the project here, for the rows of SOURCE."""
    from mlops_kit.project import scaffold

    made = scaffold.add(opened(project).project, model, source, _known(roles))
    _say(as_json, made)


def _known(given: dict[str, Any]) -> Roles:
    from mlops_kit.tables.roles import Roles

    return Roles(label=given.pop("target"), **given)


def _say(as_json: bool, made: Made, *first: str) -> None:
    """Print each guess, the files, and what to run next."""
    if made.guess is None:
        return
    name = made.guess.table.name
    table = f"workflows/tables/{name.replace('-', '_')}.py"
    lines = [
        f"Looked at {made.guess.rows:,} rows:",
        *(f"  {line}" for line in made.guess.lines),
        f"Wrote {len(made.files)} files. Change in {table} what is guessed wrong. Next:",
        *first,
        f"  mlops-kit run {made.pipeline}",
    ]
    data = {
        "project": str(made.folder),
        "files": list(made.files),
        "pipeline": made.pipeline,
        "table": made.guess.table.to_json(),
        "reasons": made.guess.reasons,
        "notes": list(made.guess.notes),
    }
    answer(as_json, data, lines)


COMMANDS = (new, add)
