"""Run a pipeline's steps in order: start what can start, and record how each ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import KitError, StepError
from mlops_kit.pipelines import executions, notebooks, sources
from mlops_kit.pipelines.cache import bring_over
from mlops_kit.pipelines.definition import (
    EXECUTION,
    NOTEBOOK,
    Argument,
    Input,
    Output,
    Step,
    as_text,
    outputs_in,
)
from mlops_kit.pipelines.executions import Execution
from mlops_kit.pipelines.progress import Progress
from mlops_kit.pipelines.sources import Sources
from mlops_kit.pipelines.values import Value

if TYPE_CHECKING:
    from mlops_kit.pipelines.local import Runner


class Walk:
    """One run of a pipeline's steps; lives as long as `Runner.run`."""

    def __init__(
        self,
        runner: Runner,
        steps: Sequence[Step],
        execution: Execution,
        elsewhere: Mapping[Step, Mapping[str, Value]],
    ) -> None:
        """`elsewhere` holds outputs of steps that ran in other pods; empty for a skipped one."""
        self.runner = runner
        self.steps = steps
        self.execution = execution
        self.published: dict[Output, Any] = {}
        self.states: dict[str, str] = {}
        self.running: dict[Future[tuple[str, dict[str, Value]]], Step] = {}
        self.kernels: dict[str, Any] = {}
        self.failure: KitError | None = None
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        for step, outputs in elsewhere.items():
            self._take_in(step, outputs)
            self.states[step.name] = executions.SUCCEEDED if outputs else executions.SKIPPED

    def run(self) -> Execution:
        """Run the steps and return the execution; raises the first failure."""
        self.execution.set_state(executions.RUNNING)
        try:
            with ThreadPoolExecutor(self.runner.workers, "step") as pool:
                try:
                    while self._start_what_can(pool) or self.running:
                        self._collect()
                except BaseException:
                    self._stop()
                    raise
        except BaseException:
            self._end(executions.INTERRUPTED)
            raise
        self._end(executions.FAILED if self.failure else executions.SUCCEEDED)
        if self.failure:
            raise self.failure
        return self.execution

    def _start_what_can(self, pool: ThreadPoolExecutor) -> bool:
        """Start or skip every step whose needs have ended; True if there was one."""
        ready: list[Step] = []
        changed = False
        for step in self.steps:
            if step.name in self.states or self.failure:
                continue
            needed = [self.states.get(each.name) for each in step.needs]
            if any(state in (None, executions.RUNNING) for state in needed):
                continue
            changed = True
            if not self._is_settled(step):
                ready.append(step)
        for step in ready:
            share = self.runner.cores // min(self.runner.workers, len(ready) + len(self.running))
            self._start(step, max(1, share), pool)
        return changed

    def _is_settled(self, step: Step) -> bool:
        """Return whether the step needn't run: it already did, or is skipped."""
        before = self.execution.state.steps.get(step.name)
        if before and before.state in executions.DONE:
            outputs = self.execution.outputs(step.name)
            if outputs is not None:
                self._finish(step, outputs, before.state, "ran before the resume")
                return True
        reason = self._reason_to_skip(step)
        if reason:
            self._set(step, executions.SKIPPED, reason=reason)
            return True
        return False

    def _reason_to_skip(self, step: Step) -> str:
        for needed in step.needs:
            if self.states[needed.name] == executions.SKIPPED:
                return f"{needed.name} was skipped"
        if step.when is not None:
            value = self.published.get(step.when.output)
            if not step.when.holds(value):
                shown = "absent" if value is None else as_text(value)
                return f"{step.when.output.name} is {shown}, not {step.when.equals}"
        return ""

    def _start(self, step: Step, threads: int, pool: ThreadPoolExecutor) -> None:
        self._set(step, executions.RUNNING, started=executions.now(), ended="", error=None)
        self.running[pool.submit(self._work, step, threads)] = step

    def _work(self, step: Step, threads: int) -> tuple[str, dict[str, Value]]:
        """Run one step in a worker thread, or take it from the cache."""
        given = {name: self._value(argument) for name, argument in step.parameters.items()}
        source = self.runner.notebooks / step.notebook
        folder = self.execution.step_folder(step.name)
        cache, key = self.runner.cache, ""
        given = notebooks.typed(source, given)
        read = self._sources(step, source, given)
        if cache is not None and step.cache:
            key = cache.key(step, source, given)
            found = cache.find(key)
            if found is not None:
                outputs = bring_over(*found, folder)
                read.save(folder)
                self.execution.save_outputs(step.name, outputs, key)
                return executions.CACHED, outputs
        read.save(folder)
        outputs = self.runner.attempts(
            step,
            given,
            folder,
            threads,
            lambda attempt: self._record(step, attempts=attempt),
            lambda manager: self._watch(step, manager),
        )
        self.execution.save_outputs(step.name, outputs, key)
        if cache is not None and key:
            cache.store(key, folder)
        return executions.SUCCEEDED, outputs

    def _sources(self, step: Step, notebook: Path, given: Mapping[str, Any]) -> Sources:
        """Return what the step could read, without other steps' outputs."""
        if self.runner.project is None:
            return Sources()
        own = {
            name: value
            for name, value in given.items()
            if not any(outputs_in(step.parameters[name]))
        }
        return sources.of(notebook, self.runner.project, own)

    def _watch(self, step: Step, manager: Any) -> None:
        with self.lock:
            self.kernels[step.name] = manager
        if self.stopped.is_set():
            raise KitError("The execution is stopping.")

    def _value(self, argument: Argument) -> Any:
        match argument:
            case Input(name=name) if name == EXECUTION:
                return self.execution.name
            case Input(name=name):
                return self.execution.state.inputs[name]
            case Output():
                return self.published[argument]
            case list() | tuple():
                return [self.published[output] for output in argument]
        return argument

    def _collect(self) -> None:
        """Wait for a step to end, and record its outputs or its failure."""
        if not self.running:
            return
        done: set[Future[tuple[str, dict[str, Value]]]] = set()
        while not done:
            done, _ = wait(self.running, timeout=0.2, return_when=FIRST_COMPLETED)
            if self.runner.cancelled.is_set():
                raise KeyboardInterrupt
        for future in done:
            step = self.running.pop(future)
            try:
                state, outputs = future.result()
            except KitError as error:
                self._fail(step, error)
            else:
                self._finish(step, outputs, state, "")

    def _finish(self, step: Step, outputs: Mapping[str, Value], state: str, detail: str) -> None:
        self._take_in(step, outputs)
        self._set(step, state, reason=detail, ended=executions.now())

    def _take_in(self, step: Step, outputs: Mapping[str, Value]) -> None:
        for name, value in outputs.items():
            if name == NOTEBOOK or name in step.outputs:
                self.published[step.output(name)] = value.argument

    def _fail(self, step: Step, error: KitError) -> None:
        if isinstance(error, StepError):
            error.reproduce = f"mlops-kit debug {self.execution.name}/{step.name}"
        facts: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        reason = str(error)
        if isinstance(error, StepError):
            reason = error.reason
            facts |= {"cell": error.cell, "line": error.line, "reason": error.reason}
        self._set(step, executions.FAILED, ended=executions.now(), error=facts, reason=reason)
        self.failure = self.failure or error

    def _stop(self) -> None:
        """Kill the running kernels, so that their threads end."""
        self.stopped.set()
        left = set(self.running)
        while left:
            with self.lock:
                kernels = list(self.kernels.values())
            for manager in kernels:
                manager.kill()
            # Repeat, in case a kernel was just starting.
            left = wait(left, timeout=0.2).not_done
        for step in self.running.values():
            self._set(step, executions.INTERRUPTED, ended=executions.now())

    def _end(self, state: str) -> None:
        for step in self.steps:
            if step.name not in self.states:
                self._set(step, executions.NOT_RUN)
        self.execution.set_state(state)

    def _set(self, step: Step, state: str, **facts: Any) -> None:
        with self.lock:
            self.states[step.name] = state
        self._record(step, state=state, **facts)
        self.runner.observer(Progress(step.name, state, detail=str(facts.get("reason", ""))))

    def _record(self, step: Step, **facts: Any) -> None:
        with self.lock:
            self.execution.set_step(step.name, **facts)
