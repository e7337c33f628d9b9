"""The commands for a cluster's manifests: render, lint, webhook and report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_kit.cli.exit_codes import Command
from mlops_kit.cli.options import as_json, opened
from mlops_kit.cli.output import answer, print_json
from mlops_kit.errors import ParameterError
from mlops_kit.files import write_whole

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace

_MANIFESTS = (".yaml", ".yml", ".json")


@click.command(cls=Command)
@click.option("--check", is_flag=True, help="Write nothing; exit with code 1 if Git is stale.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write to a folder instead of the GitOps repository.",
)
@as_json
@click.pass_obj
def render(project: Path | None, check: bool, output: Path | None, as_json: bool) -> None:
    """Render the pipelines as WorkflowTemplates.

    Commits them to the GitOps repository, or writes them to a folder with --output.
    """
    from mlops_kit.project import argo

    workspace = opened(project)
    files = argo.rendered(workspace)
    before = _stored(workspace, output)
    stale = sorted(path for path in {**files, **before} if files.get(path) != before.get(path))
    if not check and stale:
        _write(workspace, files, set(before) - set(files), output)
    where = output or workspace.settings.gitops_url
    lines = [
        f"{'stale' if check else 'written' if path in files else 'removed'}  {path}"
        for path in stale
    ]
    lines.append(f"{len(files)} files in {where}: " + ("stale" if check and stale else "current"))
    data = {"files": sorted(files), "stale": stale, "written": not check and bool(stale)}
    answer(as_json, data, lines)
    sys.exit(1 if check and stale else 0)


@click.command(cls=Command)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@as_json
@click.pass_obj
def lint(project: Path | None, paths: tuple[Path, ...], as_json: bool) -> None:
    """Find in YAML, offline, what a cluster would report too late.

    PATHS default to the GitOps repository. Exits with code 1 if it finds anything.
    """
    from mlops_kit import lint as linting

    files = _files(paths) if paths else _committed(opened(project), "", _MANIFESTS)
    findings = linting.lint(files)
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        click.echo("".join(f"{finding}\n" for finding in findings), nl=False)
        click.echo(f"{len(findings)} findings in {len(files)} files", err=True)
    sys.exit(1 if findings else 0)


def _files(paths: tuple[Path, ...]) -> dict[str, bytes]:
    """Return the manifests at and below the paths."""
    found: dict[str, bytes] = {}
    for path in paths:
        if path.is_file() and path.suffix not in _MANIFESTS:
            raise ParameterError(
                f"{str(path)!r} is no manifest: expected a name that ends in "
                f"{', '.join(_MANIFESTS)}, or a folder.",
                code="parameter.no-manifest",
            )
        inside = [each for each in path.rglob("*") if each.suffix in _MANIFESTS]
        for file in [path] if path.is_file() else sorted(inside):
            found[file.as_posix()] = file.read_bytes()
    return found


def _committed(
    workspace: Workspace, folder: str, ends: tuple[str, ...] = ("",)
) -> dict[str, bytes]:
    """Return the files in a folder of the GitOps repository's newest commit, by path."""
    snapshot = workspace.repository.snapshot()
    paths = [path for path in snapshot.list(folder) if path.endswith(ends)]
    return {path: snapshot.read(path) or b"" for path in paths}


@click.command(cls=Command)
@as_json
@click.pass_obj
def webhook(project: Path | None, as_json: bool) -> None:
    """Print how to start a pipeline on every push.

    Lists what to enter at GitHub or GitLab.
    """
    from mlops_kit.argo import events

    said = events.instructions(opened(project).settings.argo.namespace)
    answer(as_json, {"instructions": said.splitlines()}, [said])


@click.command(cls=Command)
@click.argument("workflow")
@click.argument("status")
@click.option("--failures", default="null", help="The failed nodes, as Argo's JSON.")
@as_json
def report(workflow: str, status: str, failures: str, as_json: bool) -> None:
    """Report how a workflow ended, for its onExit.

    Names the steps that failed and how to debug them.
    """
    failed = _failed(failures)
    lines = [f"{workflow}: {status}"]
    for node in failed:
        lines += [f"  {node['step']}: {node['message']}"]
        lines += [f"    debug: mlops-kit debug {workflow}/{node['step']}"]
    answer(as_json, {"workflow": workflow, "status": status, "failed": failed}, lines)


def _failed(failures: str) -> list[dict[str, str]]:
    """Return the failed steps; Argo passes JSON inside a JSON string, or null."""
    found: Any = failures
    try:
        for _ in range(2):
            found = json.loads(found) if isinstance(found, str) else found
    except ValueError:
        return [{"step": "?", "message": failures[:500]}]
    nodes = found if isinstance(found, list) else []
    return [
        {"step": str(n.get("displayName", "?")), "message": str(n.get("message", ""))}
        for n in nodes
        if isinstance(n, dict)
    ]


def _stored(workspace: Workspace, output: Path | None) -> dict[str, bytes]:
    """Return the files that were rendered before, by path."""
    from mlops_kit.argo.manifests import FOLDER

    if output is not None:
        found = [path for path in (output / FOLDER).rglob("*") if path.is_file()]
        return {path.relative_to(output).as_posix(): path.read_bytes() for path in found}
    return _committed(workspace, FOLDER)


def _write(
    workspace: Workspace, files: dict[str, bytes], gone: set[str], output: Path | None
) -> None:
    if output is not None:
        for path, content in files.items():
            write_whole(output / path, content)
        for path in gone:
            (output / path).unlink()
        return
    from mlops_kit.releases.repository import Proposal

    def propose(_snapshot: Any) -> Proposal:
        trailers = {"Mlops-Action": "render"}
        return Proposal("Render the pipelines", trailers, files, frozenset(gone))

    workspace.repository.commit(propose)


COMMANDS = (render, lint, report, webhook)
