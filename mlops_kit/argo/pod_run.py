"""What runs in a pod: a local run of its steps, between files that Argo brings and fetches.

Under a pod's folder `in/<step>/<output>/` holds what other pods published as files, and `out/`
what this one does: `parameters/<output>` for each short value, `artifacts/<output>/` for the rest,
and `pages/<step>.html/`, each executed notebook for a browser.
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

# What Argo puts in the place of an output that was never written. No condition can equal it.
ABSENT = "-absent-"
# What the digest of a file is called, behind that file's name; no output's name has a dash.
DIGEST = "-sha-256"
# What a workflow's parameter is called that its cache's keys hold.
CACHE = "cache-key"


@dataclass(frozen=True)
class PodInput:
    """What a pod is given on its command line.

    `execution` is the workflow's name; `inputs` are the pipeline's; `texts` what other pods
    published as parameters, by `step.output`.
    """

    execution: str
    inputs: Mapping[str, Any]
    texts: Mapping[str, str]


class ArgoProgressFile:
    """Says how far a pod is, in the one form that Argo takes: two whole numbers."""

    def __init__(self, file: Path) -> None:
        """`file` is the one that Argo names."""
        self._file = file
        self._steps: dict[str, tuple[int, int]] = {}

    def __call__(self, progress: Progress) -> None:
        """Write cells done and cells known, over all steps so far."""
        if not progress.count:
            return
        self._steps[progress.step] = (progress.index, progress.count)
        done, total = (sum(column) for column in zip(*self._steps.values(), strict=True))
        # Argo's own container ends with a fault at any other form; a full disk is no reason to.
        with suppress(OSError):
            self._file.write_text(f"{min(done, total)}/{total}")


def both(first: Observer, second: Observer) -> Observer:
    """Return an observer that tells two."""

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
    """Run a pod's steps, and write their outputs where Argo takes them from.

    `page` writes an executed notebook's page into a folder. Raises ParameterError, and what a
    failed step raises; what had ended by then is written all the same.
    """
    elsewhere = {
        step: _published(pod, step, given.texts, folder)
        for step in dict.fromkeys(output.step for output in pod.reads)
    }
    state = State(given.execution, pipeline.name, dict(given.inputs), started=now())
    own = Execution(folder / "run", state)
    own.folder.mkdir(parents=True, exist_ok=True)
    # A pod may be started twice: nothing of before may pass for an output.
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
            # A page is for reading; a step that ran is not to fail for it.
            with suppress(OSError, KitError):
                if notebook.exists():
                    page(notebook, folder / "out" / "pages" / f"{step.name}.html")


def _published(pod: Pod, step: Step, texts: Mapping[str, str], folder: Path) -> dict[str, Value]:
    """Return what a step of another pod published; nothing where it was skipped.

    Files come to lie as in a local run, where a step's folder tells whose they are.
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
    """Write a step's outputs; of a failed one the executed notebook alone."""
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
            f"{output!r} is over the limit of a parameter; publish it as a list, a dict or a file."
        )
    return value.data
