"""Run a pipeline or a single step on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_kit.errors import StepError
from mlops_kit.pipelines import executions, notebooks, values
from mlops_kit.pipelines.cache import Cache
from mlops_kit.pipelines.definition import NOTEBOOK, Pipeline, Step
from mlops_kit.pipelines.executions import Execution
from mlops_kit.pipelines.progress import Observer, Progress
from mlops_kit.pipelines.values import Value
from mlops_kit.pipelines.walk import Walk

# Creates a notebook's kernel manager, given its number of threads and its working directory.
KernelFactory = Callable[[int, Path], Any]


@dataclass(frozen=True)
class Runner:
    """Runs a project's notebooks as steps.

    Each kernel starts in its notebook's folder. `workers` limits how many notebooks run at once.
    Without a `cache`, every step runs. With `project`, an execution keeps the digests of the code
    and files that each step could read there. Setting `cancelled` ends a run like Ctrl-C.
    """

    notebooks: Path
    kernel: KernelFactory
    cache: Cache | None = None
    observer: Observer = lambda _progress: None
    workers: int = 2
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    clock: Callable[[], float] = time.monotonic
    project: Path | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(
        self,
        pipeline: Pipeline,
        execution: Execution,
        *,
        elsewhere: Mapping[Step, Mapping[str, Value]] | None = None,
        steps: Sequence[Step] | None = None,
    ) -> Execution:
        """Run the steps that an execution still lacks, in parallel where they allow it.

        A failed step lets the running ones end, then its error is raised; KeyboardInterrupt stops
        them. In both cases, the execution's folder records the progress.

        Args:
            pipeline: the pipeline to run.
            execution: records the progress; its driver is this process.
            elsewhere: the outputs of steps that ran in other pods; empty for a skipped step.
            steps: run only these.
        """
        chosen = pipeline.ordered if steps is None else steps
        return Walk(self, chosen, execution, elsewhere or {}).run()

    def run_step(
        self, step: Step, given: Mapping[str, Any], folder: Path, *, threads: int = 1
    ) -> dict[str, Value]:
        """Run one step with its retries, and return its outputs.

        Raises the StepError of the last attempt.
        """
        self.observer(Progress(step.name, executions.RUNNING))
        try:
            outputs = self.attempts(step, given, folder, threads, lambda _: None, lambda _: None)
        except StepError as error:
            self.observer(Progress(step.name, executions.FAILED, detail=error.reason))
            raise
        self.observer(Progress(step.name, executions.SUCCEEDED))
        return outputs

    def attempts(
        self,
        step: Step,
        given: Mapping[str, Any],
        folder: Path,
        threads: int,
        on_attempt: Callable[[int], None],
        on_kernel: Callable[[Any], None],
    ) -> dict[str, Value]:
        """Run one step until an attempt succeeds, and return its outputs.

        Raises the StepError of the last attempt.

        Args:
            step: the step to run.
            given: the notebook's parameters.
            folder: where the executed notebook and files go.
            threads: how many threads numerical libraries may use.
            on_attempt: receives each attempt's number, from 1.
            on_kernel: receives each attempt's kernel manager.
        """
        source = self.notebooks / step.notebook
        job = notebooks.Job(source, folder, given, step.outputs, step.timeout)

        def on_cell(index: int, count: int, cell: str) -> None:
            self.observer(Progress(step.name, executions.RUNNING, cell, index, count))

        def on_told(lines: tuple[str, ...]) -> None:
            self.observer(Progress(step.name, executions.RUNNING, told=lines))

        for attempt in range(1, step.retries + 2):
            on_attempt(attempt)
            try:
                with self.kernel(threads, source.parent) as manager:
                    on_kernel(manager)
                    outputs = notebooks.execute(
                        job, manager, on_cell=on_cell, on_told=on_told, clock=self.clock
                    )
                break
            except StepError as error:
                if attempt > step.retries:
                    raise
                detail = f"attempt {attempt} of {step.retries + 1} failed: {error.reason}"
                self.observer(Progress(step.name, executions.RUNNING, detail=detail))
        return {**outputs, NOTEBOOK: values.keep_file(job.executed, job.executed)}
