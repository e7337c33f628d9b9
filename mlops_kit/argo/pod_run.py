"""Run a pod's steps locally, between the files that Argo brings and collects.

In the pod's folder, `in/<step>/<output>/` holds other pods' published files. `out/` receives this
pod's outputs: short values in `parameters/<output>`, the rest in `artifacts/<output>/`, and each
executed notebook as a page in `pages/<step>.html/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_kit.argo import transport
from mlops_kit.argo.pod_plan import Pod
from mlops_kit.errors import KitError, ParameterError
from mlops_kit.pipelines import step_outputs, values
from mlops_kit.pipelines.definition import NOTEBOOK, Output, Pipeline, Step
from mlops_kit.pipelines.executions import Execution, State, now
from mlops_kit.pipelines.local import Runner
from mlops_kit.pipelines.progress import Observer, Progress
from mlops_kit.pipelines.values import Value

# Argo's default for an output that was never written. No condition can equal it.
ABSENT = "-absent-"
# The suffix of a parameter with a file's digest; no output's name has a dash.
DIGEST = "-sha-256"
# The workflow parameter that is part of all cache keys.
CACHE = "cache-key"


@dataclass(frozen=True)
class PodInput:
    """What a pod gets on its command line.

    `execution` is the workflow's name, `inputs` are the pipeline's, and `texts` holds the
    parameters that other pods published, by `step.output`.
    """

    execution: str
    inputs: Mapping[str, Any]
    texts: Mapping[str, str]


class ArgoProgressFile:
    """Reports a pod's progress in the form that Argo accepts: two integers."""

    def __init__(self, file: Path) -> None:
        """`file` is the one named by ARGO_PROGRESS_FILE."""
        self._file = file
        self._steps: dict[str, tuple[int, int]] = {}

    def __call__(self, progress: Progress) -> None:
        """Write the numbers of finished and of known cells, over all steps so far."""
        if not progress.count:
            return
        self._steps[progress.step] = (progress.index, progress.count)
        done, total = (sum(column) for column in zip(*self._steps.values(), strict=True))
        # Argo's sidecar crashes on any other form. A full disk mustn't fail the step.
        with suppress(OSError):
            self._file.write_text(f"{min(done, total)}/{total}")


def both(first: Observer, second: Observer) -> Observer:
    """Return an observer that calls both."""

    def tell(progress: Progress) -> None:
        first(progress)
        second(progress)

    return tell


def run(
    runner: Runner,
    pipeline: Pipeline,
    pod: Pod,
    given: PodInput,
    folder: Path,
    page: Callable[[Path, Path], None],
) -> Execution:
    """Run a pod's steps, and write their outputs where Argo collects them.

    Raises ParameterError, and the error of a failed step, after writing the outputs of the steps
    that had ended.

    Args:
        runner: runs the steps.
        pipeline: the pipeline that they belong to.
        pod: its plan.
        given: the values from its command line.
        folder: the pod's folder.
        page: writes an executed notebook's page into a folder.
    """
    elsewhere = {
        step: _published(pod, step, given.texts, folder)
        for step in dict.fromkeys(output.step for output in pod.reads)
    }
    state = State(given.execution, pipeline.name, dict(given.inputs), started=now())
    own = Execution(folder / "run", state)
    own.folder.mkdir(parents=True, exist_ok=True)
    # Argo may start a pod twice: remove old outputs.
    shutil.rmtree(folder / "out", ignore_errors=True)
    for step in pod.steps:
        step_outputs.forget(own.step_folder(step.name))
    own.acquire()
    try:
        return runner.run(pipeline, own, elsewhere=elsewhere, steps=pod.steps)
    finally:
        own.release()
        for step in pod.steps:
            _write(pod, step, own, folder / "out")
            notebook = own.step_folder(step.name) / Path(step.notebook).name
            # A failing page mustn't fail the step.
            with suppress(OSError, KitError):
                if notebook.exists():
                    page(notebook, folder / "out" / "pages" / f"{step.name}.html")


def _published(pod: Pod, step: Step, texts: Mapping[str, str], folder: Path) -> dict[str, Value]:
    """Return what another pod's step published; empty if it was skipped.

    Puts files into that step's folder, as in a local run.
    """
    found: dict[str, Value] = {}
    for output in pod.reads:
        if output.step is not step:
            continue
        if transport.is_file(output):
            place = folder / "in" / step.name / output.name
            if not place.exists():
                return {}
            found[output.name] = transport.read(output, place, folder / "run" / step.name)
        elif (text := texts.get(f"{step.name}.{output.name}", ABSENT)) == ABSENT:
            return {}
        else:
            found[output.name] = transport.parsed(output, text)
    return found


def _write(pod: Pod, step: Step, execution: Execution, folder: Path) -> None:
    """Write a step's outputs; of a failed step, only the executed notebook."""
    outputs = execution.outputs(step.name) or {}
    notebook = execution.step_folder(step.name) / Path(step.notebook).name
    if not outputs and notebook.exists():
        outputs = {NOTEBOOK: Value(file=notebook)}
    for name, value in outputs.items():
        output = step.output(name)
        exported = pod.exported(output)
        parameters = folder / "parameters"
        parameters.mkdir(parents=True, exist_ok=True)
        if transport.is_file(output):
            file = transport.written(name, value, folder / "artifacts" / exported)
            (parameters / f"{exported}{DIGEST}").write_text(values.file_digest(file))
        else:
            (parameters / exported).write_text(transport.packed(_plain(output, value)))


def _plain(output: Output, value: Value) -> Any:
    if value.file is not None:
        raise ParameterError(
            f"{output!r} is too long for a parameter; publish it as a list, a dict or a file."
        )
    return value.data
