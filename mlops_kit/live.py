"""Run a pipeline from a notebook cell, or follow a workflow, by a view that returns at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mlops_kit.errors import ClusterError, KitError, ProjectError
from mlops_kit.pipelines.executions import RUNNING
from mlops_kit.pipelines.progress import Progress
from mlops_kit.settings import has_frontend
from mlops_kit.views import steps
from mlops_kit.views.steps import PipelineView, StepView
from mlops_kit.workspace import Workspace

if TYPE_CHECKING:
    from mlops_kit.pipelines.definition import Pipeline
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.submitting import Ending
    from mlops_kit.views.widget import View

# A page that changes more often than this says no more to a person.
_EVERY = 0.5


T = TypeVar("T")


class Live(Generic[T]):
    """A pipeline that runs in the background, and shows itself as the last value of a cell.

    `wait` returns how it ended, `cancel` ends it; when it is over, a table is left that needs no
    kernel.
    """

    def __init__(self, view: PipelineView, work: Callable[[Live[T]], T]) -> None:
        """Use `run` or `follow`; `work` gets this as its observer."""
        self.view = view
        self.cancelled = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()
        self._page: View | None = None
        self._handle: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=[work], name="mlops-kit run")
        self._thread.start()
        threading.Thread(target=self._refresh, daemon=True, name="mlops-kit view").start()

    def __call__(self, progress: Progress) -> None:
        """Take in what a step does."""
        with self._lock:
            if progress.told:
                self.view = replace(self.view, told=progress.told)
                return
            began = self._began.setdefault(progress.step, time.monotonic())
            changed = replace(
                self._step(progress.step),
                state=progress.state,
                cell=progress.cell,
                index=progress.index,
                count=progress.count,
                seconds=time.monotonic() - began if progress.state != "skipped" else None,
                reason=progress.detail,
            )
            every = [changed if s.name == progress.step else s for s in self.view.steps]
            if changed.name not in {step.name for step in self.view.steps}:
                every.append(changed)
            said = f"{progress.step} {progress.state}."
            self.view = replace(self.view, steps=tuple(every), sentence=said, told=())

    def wait(self, seconds: float | None = None) -> T:
        """Return how it ended once it is over; raises what the run raised, or TimeoutError."""
        if not self._over.wait(seconds):
            raise TimeoutError(f"{self.view.title} still runs after {seconds:g} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """End it: running cells are killed, and what had ended is kept for a resume."""
        self.cancelled.set()

    def act(self, name: str, given: Mapping[str, str]) -> None:
        """Do what a person did on the page."""
        if name == "cancel":
            self.cancel()
            with self._lock:
                self.view = replace(self.view, sentence="It is being cancelled.")
        elif name == "choose":
            with self._lock:
                self.view = replace(self.view, chosen=given.get("step", ""))
        self._show()

    def _work(self, work: Callable[[Live[T]], T]) -> None:
        state, said = "succeeded", "It has run to its end."
        try:
            self._result = work(self)
        except KeyboardInterrupt:
            state, said = "stopped", "It was cancelled."
            self._error = ProjectError(f"{self.view.title} was cancelled.")
        except KitError as error:
            state, said = "failed", "It failed."
            self._error = error
        except BaseException as error:
            state, said = "failed", f"It failed: {type(error).__name__}: {error}"
            self._error = error
        finally:
            with self._lock:
                self.view = replace(self.view, state=state, sentence=said, told=())
            self._over.set()

    def found(self, execution: Execution) -> None:
        """Take in what an execution's folder says: errors, notebooks, the way to reproduce."""
        with self._lock:
            told = []
            for step in self.view.steps:
                state = execution.state.steps.get(step.name)
                paths = sorted(execution.step_folder(step.name).glob("*.ipynb"))
                error = state.error if state else None
                told.append(
                    replace(
                        step,
                        error=error,
                        notebook=str(paths[0]) if paths else "",
                        reproduce=f"mlops-kit debug {execution.name}/{step.name}" if error else "",
                    )
                )
            self.view = replace(self.view, steps=tuple(told))

    def _step(self, name: str) -> StepView:
        return next((s for s in self.view.steps if s.name == name), StepView(name, "waiting"))

    def _refresh(self) -> None:
        shown = None
        while not self._over.wait(_EVERY):
            self._tick()
            if self.view != shown:
                shown = self.view
                self._show()
        self._show()
        if self._handle is not None:
            self._freeze()

    def _tick(self) -> None:
        now = time.monotonic()
        with self._lock:
            every = (
                replace(s, seconds=now - self._began[s.name])
                if s.state == RUNNING and s.name in self._began
                else s
                for s in self.view.steps
            )
            self.view = replace(self.view, steps=tuple(every))

    def _show(self) -> None:
        if self._page is not None:
            self._page.show(steps.page(self.view))

    def _freeze(self) -> None:
        """Add a table that is still there when the kernel isn't."""
        from IPython.display import Markdown

        self._handle.update(Markdown(steps.as_markdown(self.view)))

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if has_frontend():
            from mlops_kit.views.widget import View

            self._page = self._page or View(steps.page(self.view), self.act)
            display(self._page)
            text = Markdown("")
            self._handle = display(text, display_id=True)
            if self._over.is_set():
                self._freeze()
            return
        self._over.wait()
        display(Markdown(steps.as_markdown(self.view)))
        if self._error is not None:
            raise self._error


def run(
    pipeline: str, *, workspace: Workspace | None = None, fresh: bool = False, **inputs: Any
) -> Live[Execution]:
    """Run a pipeline with its inputs, and return at once with its view.

    Under papermill, where nobody looks, showing it waits for its end. Raises ProjectError and
    ParameterError before anything starts.
    """
    from mlops_kit.pipelines import checking

    place = workspace or Workspace.open()
    chosen = place.pipeline(pipeline)
    checking.check(place.project / "notebooks", chosen, inputs)

    def work(live: Live[Execution]) -> Execution:
        own: list[Execution] = []
        try:
            return place.run(
                chosen,
                inputs,
                observer=live,
                cached=not fresh,
                began=own.append,
                cancelled=live.cancelled,
            )
        finally:
            for execution in own:
                live.found(execution)

    return Live(_view(chosen.name, chosen), work)


def follow(workflow: str, *, context: str = "", workspace: Workspace | None = None) -> Live[Ending]:
    """Follow a workflow on a cluster in the same view, by a context or by Argo's server.

    Nothing is changed there. Raises ClusterError for a workflow that isn't there.
    """
    from mlops_kit import submitting

    place = workspace or Workspace.open()
    where = submitting.cluster(place, context)
    spec = where.workflow(workflow).get("spec", {})
    name = spec.get("workflowTemplateRef", {}).get("name", "")
    known = place.pipelines().get(name)
    # In one pod there are no steps to be seen from outside.
    shown = known if known is not None and known.pods == "step" else None

    def work(live: Live[Ending]) -> Ending:
        ending = submitting.follow(where, workflow, live)
        if ending.phase != "Succeeded":
            raise ClusterError(f"{workflow} ended as {ending.phase}. {ending.message}".strip())
        return ending

    return Live(replace(_view(workflow, shown), can_cancel=False), work)


def _view(title: str, pipeline: Pipeline | None) -> PipelineView:
    found = (
        StepView(step.name, "waiting", tuple(each.name for each in step.needs))
        for step in (pipeline.ordered if pipeline else ())
    )
    return PipelineView(title, "It starts.", "running", tuple(found))
