"""What a command line gives: the options that many commands share, and parameters for notebooks.

Parameters are spelled as papermill does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.errors import ParameterError

if TYPE_CHECKING:
    from mlops_kit.pipelines.definition import Pipeline, Step
    from mlops_kit.project.workspace import Workspace

as_json = click.option("--json", "as_json", is_flag=True, help="Answer with JSON on stdout.")
environment = click.option(
    "--environment", "-e", default=None, help="By default that of the settings."
)
model = click.option("--model", "-m", default=None, help="By default that of the settings.")
_OPTIONS = (
    click.option(
        "-p",
        "pairs",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="A parameter, as in '-p rows 1000'; its type is the notebook's own.",
    ),
    click.option(
        "-r",
        "raw_pairs",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="The same, as papermill spells it; wins over -p.",
    ),
    click.option(
        "-f",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Parameters from a YAML file; -y, -p and -r win over it.",
    ),
    click.option("-y", "texts", multiple=True, metavar="YAML", help="Parameters as YAML text."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add papermill's ways to give parameters to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def opened(project: Path | None) -> Workspace:
    """Return the workspace of a project, by default of the one around this folder."""
    from mlops_kit.project.workspace import Workspace

    return Workspace.open(project)


def where(workspace: Workspace, model: str | None, environment: str | None) -> tuple[str, str]:
    """Return the model and the environment that are meant: the given ones, or the settings'."""
    return model or workspace.settings.model, environment or workspace.settings.environment


def given(
    pairs: Sequence[tuple[str, str]],
    raw_pairs: Sequence[tuple[str, str]],
    files: Sequence[Path],
    texts: Sequence[str],
) -> dict[str, Any]:
    """Return the parameters in papermill's order: files, YAML, -p, -r; all scalars as text.

    YAML's own guesses would turn 1.10 into 1.1; here the notebook's annotations decide. Raises
    ParameterError.
    """
    found: dict[str, Any] = {}
    for path in files:
        try:
            found |= _mapping(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            said = f"{str(path)!r} can't be read: {error}."
            raise ParameterError(said, code="parameter.unreadable") from error
    for text in texts:
        found |= _mapping(text, "-y")
    for name, value in (*pairs, *raw_pairs):
        if "=" in name:
            start, _, rest = name.partition("=")
            said = f"{name!r} is no name; write '-p {start} {rest}', with a space."
            raise ParameterError(said, code="parameter.no-name")
        found[name] = value
    return found


def defaults(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    """Return what the definition gives a step that runs alone: constants and inputs' defaults."""
    from mlops_kit.pipelines.definition import EXECUTION, Input

    found: dict[str, Any] = {}
    for name, argument in step.parameters.items():
        if isinstance(argument, Input) and argument.name != EXECUTION:
            found[name] = pipeline.inputs[argument.name]
        elif isinstance(argument, (str, int, float, bool)):
            found[name] = argument
    return found


def _mapping(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        loaded = yaml.load(text, Loader=yaml.BaseLoader)
    # Beside its own errors PyYAML lets through those of deep nesting and of names that are lists.
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        said = f"{where} is no YAML: {str(error)[:500]}."
        raise ParameterError(said, code="parameter.no-yaml") from error
    if not isinstance(loaded, Mapping):
        said = f"{where} is {str(loaded)[:60]!r}; expected 'name: value' lines."
        raise ParameterError(said, code="parameter.no-mapping")
    return {str(name): value for name, value in loaded.items()}
