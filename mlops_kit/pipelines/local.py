"""Run a pipeline, or one step of it, on this machine."""

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

# Makes the kernel manager of one notebook, with so many threads for numerics.
KernelFactory = Callable[[int], Any]


@dataclass(frozen=True)
class Runner:
    """Runs steps from a folder of notebooks on kernels that it is given.

    `workers` is how many notebooks run at once. `cache=None` runs every step. Once `cancelled` is
    set, a run ends as by KeyboardInterrupt.
    """

    notebooks: Path
    kernel: KernelFactory
    cache: Cache | None = None
    observer: Observer = lambda _progress: None
    workers: int = 2
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    clock: Callable[[], float] = time.monotonic
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(
        self,
        pipeline: Pipeline,
        execution: Execution,
        *,
        elsewhere: Mapping[Step, Mapping[str, Value]] | None = None,
        steps: Sequence[Step] | None = None,
    ) -> Execution:
        """Run what the execution still lacks, side by side where the steps allow it.

        Only `steps` run, if they are given; those that they read from ran `elsewhere`, with their
        outputs, or were skipped there without any. Raises the first step's failure, after the
        steps that were running have ended; KeyboardInterrupt stops them. Either way the
        execution's folder says how far it came.
        """
        chosen = pipeline.ordered if steps is None else steps
        return Walk(self, chosen, execution, elsewhere or {}).run()

    def run_step(
        self, step: Step, given: Mapping[str, Any], folder: Path, *, threads: int = 1
    ) -> dict[str, Value]:
        """Run one step, with its retries, and return its outputs.

        Raises the last attempt's StepError.
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
        """Run one step until an attempt ends well, and return its outputs.

        Raises the last attempt's StepError.

        Args:
            step: the one to run.
            given: its notebook's parameters.
            folder: for its notebook and files.
            threads: for its numerics.
            on_attempt: gets the number of each attempt, from 1.
            on_kernel: gets each attempt's kernel manager.
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
                with self.kernel(threads) as manager:
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
