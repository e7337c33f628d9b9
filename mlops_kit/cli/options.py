"""Options that commands share, and parameters for notebooks in papermill's spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.errors import ParameterError

if TYPE_CHECKING:
    from mlops_kit.pipelines.definition import Pipeline, Step
    from mlops_kit.project.workspace import Workspace

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
environment = click.option(
    "--environment", "-e", default=None, help="Defaults to the settings' environment."
)
model = click.option("--model", "-m", default=None, help="Defaults to the settings' model.")
_OPTIONS = (
    click.option(
        "-p",
        "pairs",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="Set a parameter, as in '-p rows 1000'. The notebook declares its type.",
    ),
    click.option(
        "-r",
        "raw_pairs",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="Same as -p, as in papermill; overrides -p.",
    ),
    click.option(
        "-f",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read parameters from a YAML file; -y, -p and -r override it.",
    ),
    click.option("-y", "texts", multiple=True, metavar="YAML", help="Set parameters as YAML text."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add papermill's parameter options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def opened(project: Path | None) -> Workspace:
    """Open the workspace of a project; by default, of the one around this folder."""
    from mlops_kit.project.workspace import Workspace

    return Workspace.open(project)


def where(workspace: Workspace, model: str | None, environment: str | None) -> tuple[str, str]:
    """Return the given model and environment, or the settings'."""
    return model or workspace.default_model, environment or workspace.settings.environment


def given(
    pairs: Sequence[tuple[str, str]],
    raw_pairs: Sequence[tuple[str, str]],
    files: Sequence[Path],
    texts: Sequence[str],
) -> dict[str, Any]:
    """Merge parameters in papermill's order: files, YAML, -p, -r.

    Scalars stay text, because YAML would turn 1.10 into 1.1; the notebook's annotations decide
    their types. Raises ParameterError.
    """
    found: dict[str, Any] = {}
    for path in files:
        try:
            found |= _mapping(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            said = f"Can't read {str(path)!r}: {error}."
            raise ParameterError(said, code="parameter.unreadable") from error
    for text in texts:
        found |= _mapping(text, "-y")
    for name, value in (*pairs, *raw_pairs):
        if "=" in name:
            start, _, rest = name.partition("=")
            said = f"{name!r} isn't a parameter name. Use a space: '-p {start} {rest}'."
            raise ParameterError(said, code="parameter.no-name")
        found[name] = value
    return found


def defaults(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    """Return a step's parameters when it runs alone: constants and the inputs' defaults."""
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
    # PyYAML also raises other errors, for deep nesting and for keys that are lists.
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        said = f"{where} isn't valid YAML: {str(error)[:500]}."
        raise ParameterError(said, code="parameter.no-yaml") from error
    if not isinstance(loaded, Mapping):
        said = f"{where} is {str(loaded)[:60]!r}; expected 'name: value' lines."
        raise ParameterError(said, code="parameter.no-mapping")
    return {str(name): value for name, value in loaded.items()}
