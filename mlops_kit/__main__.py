"""The command line: each command is a few lines over the workspace."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mlops_kit import __version__, errors

if TYPE_CHECKING:
    from mlops_kit.workspace import Workspace

EXIT_CODES = """\b
Exit codes:
  0    done; of a run: the verdict is pass, or there was none to give
  1    a fault, said in a sentence
  2    a wrong option, parameter or input
  3    the verdict is fail: nothing was promoted
  4    the verdict is inconclusive: nothing was promoted
  124  a step ran past its time-out
  130  stopped by Ctrl-C
  137  a kernel was killed, often for want of memory
"""
_BY_VERDICT = {"pass": 0, "fail": 3, "inconclusive": 4}

parameters = click.option(
    "-p",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="A parameter; its type is the notebook's own.",
)
raw = click.option(
    "-r",
    "raw_pairs",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="The same, as papermill spells it.",
)
file = click.option(
    "-f",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Parameters from a YAML file.",
)
text = click.option("-y", "texts", multiple=True, metavar="YAML", help="Parameters as YAML text.")
as_json = click.option("--json", "as_json", is_flag=True, help="Answer with JSON on stdout.")
environment = click.option(
    "--environment", "-e", default=None, help="By default that of the settings."
)
model = click.option("--model", "-m", default=None, help="By default that of the settings.")


def given(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add papermill's ways to give parameters."""
    for option in (text, file, raw, parameters):
        command = option(command)
    return command


class Kit(click.Group):
    """A group that says a fault in a sentence, and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except errors.KitError as error:
            _fail(error, wants_json=bool(ctx.params.get("as_json")) or "--json" in sys.argv)
        except KeyboardInterrupt:
            click.echo("Stopped. 'mlops-kit status' says how far it came.", err=True)
            sys.exit(130)


@click.group(cls=Kit, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlops-kit")
@click.option("--project", type=click.Path(path_type=Path, file_okay=False), help="Its folder.")
@click.pass_context
def main(ctx: click.Context, project: Path | None) -> None:
    """Train, judge, promote and watch models by notebooks, on one laptop or on Argo."""
    ctx.obj = project


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@as_json
def new(folder: Path, as_json: bool) -> None:
    """Make a project with notebooks and a pipeline in FOLDER."""
    from mlops_kit import projects

    made = projects.create(folder)
    if as_json:
        _answer({"project": str(folder), "files": made})
        return
    click.echo(f"Made {folder} with {len(made)} files. Next:\n  cd {folder}")
    click.echo("  mlops-kit run fraud-training")


@main.command()
@click.argument("pipeline")
@given
@click.option("--fresh", is_flag=True, help="Run every step, also where the cache has it.")
@click.option(
    "--resume", is_flag=True, help="Go on with the newest execution that didn't end well."
)
@as_json
@click.pass_obj
def run(
    project: Path | None, /, pipeline: str, fresh: bool, resume: bool, as_json: bool, **values: Any
) -> None:
    """Run PIPELINE here, and promote what its verdict lets pass."""
    from mlops_kit.closing import closing_lines, outcome

    workspace = _open(project)
    inputs = _given(**values)
    resumed = workspace.executions.last_unfinished(pipeline) if resume else None
    if resumed is not None and inputs:
        raise errors.ParameterError("--resume goes on with the inputs of before; leave out -p.")
    execution = workspace.run(
        workspace.pipeline(pipeline), inputs, cached=not fresh, resumed=resumed
    )
    result = outcome(workspace, execution)
    if as_json:
        _answer(result)
    else:
        click.echo("\n".join(closing_lines(workspace, result)))
    sys.exit(_BY_VERDICT.get(str(result["verdict"]), 0))


@main.command()
@click.argument("pipeline")
@click.argument("name", metavar="STEP")
@given
@click.option(
    "--folder", type=click.Path(path_type=Path), help="For notebook and outputs; else a new one."
)
@as_json
@click.pass_obj
def step(
    project: Path | None,
    /,
    pipeline: str,
    name: str,
    folder: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Run one STEP of PIPELINE, as a pod does; prints its outputs."""
    workspace = _open(project)
    chosen = workspace.pipeline(pipeline).step(name)
    outputs = workspace.run_step(chosen, _given(**values), folder)
    found = {output: value.argument for output, value in outputs.items()}
    if as_json:
        _answer(found)
    else:
        click.echo("\n".join(f"{output} = {value}" for output, value in found.items()))


@main.command()
@model
@environment
@as_json
@click.pass_obj
def status(project: Path | None, model: str | None, environment: str | None, as_json: bool) -> None:
    """Say what serves, whether Git and registry agree, and how executions ended."""
    from mlops_kit import releasing

    workspace = _open(project)
    where = _where(workspace, model, environment)
    found = releasing.status(workspace, *where)
    last = list(workspace.executions.all())[-5:]
    if as_json:
        _answer(
            {
                "model": where[0],
                "environment": where[1],
                "champion": found.champion,
                "revision": found.revision,
                "registry": found.alias,
                "agree": not found.differs,
                "executions": [{"name": each.name, "state": each.seen_state} for each in last],
            }
        )
        return
    click.echo(found.sentence)
    for each in reversed(last):
        click.echo(f"  {each.name}  {each.seen_state}")
        if each.seen_state in {"failed", "interrupted", "killed"}:
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
    from mlops_kit import releasing

    workspace = _open(project)
    entries = releasing.history(workspace, *_where(workspace, model, environment)).entries
    if as_json:
        _answer([{**vars(entry), "when": entry.when.isoformat()} for entry in entries])
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
@as_json
@click.pass_obj
def promote(
    project: Path | None,
    version: str,
    model: str | None,
    environment: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Promote VERSION, by default the newest that was judged, if its verdict is pass."""
    from mlops_kit import releasing

    workspace = _open(project)
    name, where = _where(workspace, model, environment)
    case = releasing.case(workspace, name, version)
    _say(releasing.promote(workspace, case, environment=where, reason=reason), as_json)


@main.command()
@model
@environment
@click.option("--to", default=None, help="A former champion; by default the last good one.")
@click.option("--reason", required=True, help="Why, for the record.")
@as_json
@click.pass_obj
def rollback(
    project: Path | None,
    model: str | None,
    environment: str | None,
    to: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Restore the last good champion by a commit."""
    from mlops_kit import releasing

    workspace = _open(project)
    name, where = _where(workspace, model, environment)
    _say(releasing.rollback(workspace, name, where, reason=reason, to=to), as_json)


@main.command()
@model
@environment
@as_json
@click.pass_obj
def repair(project: Path | None, model: str | None, environment: str | None, as_json: bool) -> None:
    """Let the registry's alias follow Git again."""
    from mlops_kit import releasing

    workspace = _open(project)
    found = releasing.repair(workspace, *_where(workspace, model, environment))
    if as_json:
        _answer({"champion": found.champion, "registry": found.alias, "agree": not found.differs})
    else:
        click.echo(found.sentence)


@main.command()
@click.argument("what", metavar="EXECUTION/STEP")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it.")
@as_json
@click.pass_obj
def debug(project: Path | None, what: str, output: Path | None, as_json: bool) -> None:
    """Open a failed step as a notebook that stops right before the failing cell."""
    from mlops_kit.pipelines import debugging

    workspace = _open(project)
    name, _, step = what.partition("/")
    execution = workspace.executions.open(name)
    if not step:
        step = next((s for s, each in execution.state.steps.items() if each.error), "")
    target = output or workspace.project / "notebooks" / f"debug-{name}-{step}.ipynb"
    cell = debugging.failing_notebook(execution, step, target)
    if as_json:
        _answer({"notebook": str(target), "cell": cell})
        return
    click.echo(f"Wrote {target}" + (f", which stops before cell {cell!r}." if cell else "."))
    click.echo(f"Open it: jupyter lab {target}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL: eval "$(mlops-kit completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "mlops-kit", "_MLOPS_KIT_COMPLETE").source())


def _open(project: Path | None) -> Workspace:
    from mlops_kit.workspace import Workspace

    return Workspace.open(project)


def _where(workspace: Workspace, model: str | None, environment: str | None) -> tuple[str, str]:
    return model or workspace.settings.model, environment or workspace.settings.environment


def _given(
    pairs: Sequence[tuple[str, str]],
    raw_pairs: Sequence[tuple[str, str]],
    files: Sequence[Path],
    texts: Sequence[str],
) -> dict[str, Any]:
    """Return the parameters in papermill's order: files, YAML, -p, -r; all scalars as text.

    YAML's own guesses would turn 1.10 into 1.1; here the notebook's annotations decide.
    """
    found: dict[str, Any] = {}
    for path in files:
        try:
            found |= _mapping(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise errors.ParameterError(f"{str(path)!r} can't be read: {error}.") from error
    for text in texts:
        found |= _mapping(text, "-y")
    return found | dict(pairs) | dict(raw_pairs)


def _mapping(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        loaded = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise errors.ParameterError(f"{where} is no YAML: {error}.") from error
    if not isinstance(loaded, Mapping):
        raise errors.ParameterError(
            f"{where} is {str(loaded)[:60]!r}; expected 'name: value' lines."
        )
    return {str(name): value for name, value in loaded.items()}


def _say(promoted: Any, as_json: bool) -> None:
    champion = promoted.release.champion
    version = champion.version if champion else ""
    if as_json:
        _answer({"revision": promoted.revision, "changed": promoted.changed, "champion": version})
        return
    name, where = promoted.release.model, promoted.release.environment
    did = "Committed" if promoted.changed else "Nothing to do; committed before"
    click.echo(f"{did}: {promoted.revision[:12]}. {name} v{version} serves {where}.")


def _answer(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, default=str))


def _fail(error: errors.KitError, *, wants_json: bool) -> NoReturn:
    if wants_json:
        _answer(
            {"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        )
    else:
        click.echo(f"{type(error).__name__}: {error}", err=True)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
