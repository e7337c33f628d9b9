"""What is measured inside a process of its own; prints its seconds as JSON on the last line."""

from __future__ import annotations

import argparse
import base64
import json
import os
import runpy
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

KEEP_WARM = 300.0
PIPELINE = "fraud-training"


def main() -> None:
    """Do what the first argument names, in the folder of a project."""
    options = argparse.ArgumentParser()
    options.add_argument("what", choices=sorted(WHAT))
    options.add_argument("project", type=Path)
    options.add_argument("more", nargs="*")
    given = options.parse_args()
    os.chdir(given.project)
    print(json.dumps(WHAT[given.what](given.project, *given.more)))


def papermill_api(project: Path) -> float:
    """Run all steps by papermill's API in this process, a cold kernel each."""
    start = time.monotonic()
    import papermill

    def execute(source: Path, target: Path, given: Mapping[str, Any]) -> None:
        papermill.execute_notebook(source, target, given, kernel_name="python3", progress_bar=False)

    _walk(project, execute)
    return time.monotonic() - start


def nbclient_api(project: Path) -> float:
    """Run all steps by nbclient in this process, a cold kernel each."""
    start = time.monotonic()
    import nbformat
    from nbclient import NotebookClient

    def execute(source: Path, target: Path, given: Mapping[str, Any]) -> None:
        notebook = nbformat.read(source, as_version=4)
        lines = "\n".join(f"{name} = {value!r}" for name, value in given.items())
        tags = [cell.metadata.get("tags", ()) for cell in notebook.cells]
        place = next(index for index, each in enumerate(tags) if "parameters" in each)
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
        NotebookClient(notebook, kernel_name="python3").execute()
        nbformat.write(notebook, target)

    _walk(project, execute)
    return time.monotonic() - start


def ploomber_api(project: Path) -> float:
    """Run all steps by ploomber-engine in this process: no kernels, and no isolation."""
    start = time.monotonic()
    _walk(project, _ploomber)
    return time.monotonic() - start


def ploomber_step(project: Path, source: str, target: str, given: str) -> float:
    """Run one step by ploomber-engine."""
    start = time.monotonic()
    _ploomber(Path(source), Path(target), json.loads(given))
    return time.monotonic() - start


def script_warm(project: Path, other: str) -> dict[str, float]:
    """Run the plain script twice, the second time measured: its sum and its critical path."""
    names = runpy.run_path(str(project / "pipeline.py"))
    names["main"]()
    os.chdir(other)
    taken = names["main"]()
    shorter = min(taken["train-baseline"], taken["train-candidate"])
    return {**taken, "sum": sum(taken.values()), "critical": sum(taken.values()) - shorter}


def steps_only(project: Path, other: str) -> float:
    """Run the pipeline twice from one process, the second time measured."""
    from mlops_kit import Workspace
    from mlops_kit.project import local_runs

    for folder in (project, Path(other)):
        os.chdir(folder)
        workspace = Workspace.open(folder)
        pipeline = workspace.pipeline(PIPELINE)
        start = time.monotonic()
        local_runs.run(workspace, pipeline, {}, observer=lambda _: None, cached=False)
    return time.monotonic() - start


def trivial_papermill(project: Path, repeats: str) -> float:
    """Return the median seconds of a notebook of one cell by papermill's API."""
    import papermill

    def execute() -> None:
        papermill.execute_notebook(
            project / "trivial.ipynb",
            project / "executed.ipynb",
            kernel_name="python3",
            progress_bar=False,
        )

    return _median(execute, int(repeats))


def trivial_warm(project: Path, repeats: str) -> float:
    """Return the same by the kit, on a warm kernel each."""
    from mlops_kit.kernels import provisioner
    from mlops_kit.pipelines import notebooks

    job = notebooks.Job(project / "trivial.ipynb", project / "executed")
    with provisioner.Zygote.start(idle=KEEP_WARM) as zygote:
        zygote.wait()

        def execute() -> None:
            with provisioner.manager(zygote=zygote, cwd=project) as manager:
                notebooks.execute(job, manager)

        return _median(execute, int(repeats))


def warm_up(project: Path) -> int:
    """Start the zygote that the commands share, and return its process once it is ready."""
    from mlops_kit.kernels.zygote_client import Zygote

    return Zygote.start(idle=KEEP_WARM).wait()[0]


def cool_down(project: Path) -> int:
    """Stop that zygote."""
    from mlops_kit.kernels.zygote_client import Zygote

    Zygote.start(idle=KEEP_WARM).stop()
    return 0


def _walk(project: Path, execute: Callable[[Path, Path, Mapping[str, Any]], None]) -> None:
    from mlops_kit import Workspace
    from tests.benchmarks.walk import walk

    walk(Workspace.open(project).pipeline(PIPELINE), project, execute)


def _ploomber(source: Path, target: Path, given: Mapping[str, Any]) -> None:
    from IPython.core import interactiveshell as ipython
    from IPython.core.formatters import DisplayFormatter
    from ploomber_engine import execute_notebook  # only in ploomber-engine's own environment

    class Encoding(DisplayFormatter):
        """Gives pictures as text, as a kernel does; without, ploomber-engine fails on bytes."""

        def format(self, *arguments: Any, **named: Any) -> Any:
            data, metadata = super().format(*arguments, **named)
            text = {
                kind: base64.b64encode(value).decode() if isinstance(value, bytes) else value
                for kind, value in data.items()
            }
            return text, metadata

    ipython.DisplayFormatter = Encoding
    execute_notebook(source, target, parameters=dict(given), progress_bar=False)


def _median(execute: Callable[[], None], repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):
        start = time.monotonic()
        execute()
        taken.append(time.monotonic() - start)
    return statistics.median(taken[1:])  # the first one also imports


WHAT: dict[str, Callable[..., Any]] = {
    "cool-down": cool_down,
    "nbclient": nbclient_api,
    "papermill": papermill_api,
    "ploomber": ploomber_api,
    "ploomber-step": ploomber_step,
    "script-warm": script_warm,
    "steps": steps_only,
    "trivial-papermill": trivial_papermill,
    "trivial-warm": trivial_warm,
    "warm-up": warm_up,
}

if __name__ == "__main__":
    main()
    sys.stdout.flush()
