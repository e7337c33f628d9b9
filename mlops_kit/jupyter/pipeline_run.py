"""Run a pipeline, or follow a workflow, in a live view that doesn't block its cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import ClusterError, KitError
from mlops_kit.jupyter.html import pipeline
from mlops_kit.jupyter.html.pipeline import PipelineView, StepView
from mlops_kit.jupyter.live_view import Live, Markdown, T
from mlops_kit.pipelines.executions import RUNNING
from mlops_kit.pipelines.progress import Progress
from mlops_kit.project.workspace import Workspace
from mlops_kit.reporting.markup import Html
from mlops_kit.reporting.notebooks import html_page

if TYPE_CHECKING:
    from mlops_kit.argo.submission import Ending
    from mlops_kit.pipelines.definition import Pipeline
    from mlops_kit.pipelines.executions import Execution


class LivePipeline(Live[T]):
    """A live view of a pipeline's steps; use `run` or `follow`."""

    view: PipelineView

    def __init__(self, view: PipelineView, work: Callable[[LivePipeline[T]], T]) -> None:
        """Start the work, passing it this view as its observer."""
        self._began: dict[str, float] = {}
        self._execution: Execution | None = None
        super().__init__(view.title, view, lambda: work(self))

    def page(self) -> Html:
        """Return the graph and the chosen step as HTML."""
        return pipeline.page(self.view)

    def record(self) -> Sequence[Any]:
        """Return a table of the steps."""
        return (Markdown(pipeline.as_markdown(self.view)),)

    def __call__(self, progress: Progress) -> None:
        """Show a step's progress."""
        with self._lock:
            if progress.told:
                self.view = replace(self.view, told=progress.told)
                return
            if progress.state == RUNNING:
                self._began.setdefault(progress.step, time.monotonic())
            began = self._began.get(progress.step)
            changed = replace(
                self._step(progress.step),
                state=progress.state,
                cell=progress.cell,
                index=progress.index,
                count=progress.count,
                seconds=None if began is None else time.monotonic() - began,
                reason=progress.detail,
            )
            every = [changed if s.name == progress.step else s for s in self.view.steps]
            if changed.name not in {step.name for step in self.view.steps}:
                every.append(changed)
            said = f"{progress.step} {progress.state}."
            self.view = replace(self.view, steps=tuple(every), sentence=said, told=())

    def act(self, name: str, given: Mapping[str, str]) -> None:
        """Cancel the run, or show one of its steps."""
        with self._lock:
            if name == "cancel":
                self.view = replace(self.view, sentence="Cancelling.")
            elif name == "choose":
                self._choose(given.get("step", ""))
        super().act(name, given)

    def began(self, execution: Execution) -> None:
        """Remember the execution."""
        self._execution = execution

    def _found(self) -> None:
        """Read errors, notebooks and reproduce commands from the execution's folder."""
        if (execution := self._execution) is None:
            return
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

    def _choose(self, name: str) -> None:
        self._found()
        self.view = replace(self.view, chosen=name)
        self.document = _page_of(self._step(name))

    def _say(self, state: str, sentence: str) -> None:
        self._found()
        failed = next((step for step in self.view.steps if step.error), None)
        if failed is not None:
            # Show the failure at once.
            sentence = f"{failed.name} failed."
            self._choose(failed.name)
        self.view = replace(self.view, state=state, sentence=sentence, told=())

    def _step(self, name: str) -> StepView:
        return next((s for s in self.view.steps if s.name == name), StepView(name, "waiting"))

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


def run(
    pipeline: str, *, workspace: Workspace | None = None, fresh: bool = False, **inputs: Any
) -> LivePipeline[Execution]:
    """Run a pipeline with its inputs and return its live view at once.

    Under papermill, return when it has ended. Raises ProjectError and ParameterError before
    anything starts.
    """
    from mlops_kit.pipelines import validation
    from mlops_kit.project import local_runs

    place = workspace or Workspace.open()
    chosen = place.pipeline(pipeline)
    validation.check(place.project / "notebooks", chosen, inputs)

    def work(live: LivePipeline[Execution]) -> Execution:
        return local_runs.run(
            place,
            chosen,
            inputs,
            observer=live,
            cached=not fresh,
            began=live.began,
            cancelled=live.cancelled,
        )

    live: LivePipeline[Execution] = LivePipeline(_view(chosen.name, chosen), work).attended()
    return live


def follow(
    workflow: str, *, context: str = "", workspace: Workspace | None = None
) -> LivePipeline[Ending]:
    """Follow a workflow on a cluster in the same view, through `context` or Argo's server.

    Read-only. Raises ClusterError for an unknown workflow.
    """
    from mlops_kit.argo import submission
    from mlops_kit.project import argo

    place = workspace or Workspace.open()
    where = argo.cluster(place, context)
    spec = where.workflow(workflow).get("spec", {})
    name = spec.get("workflowTemplateRef", {}).get("name", "")
    known = place.pipelines().get(name)
    # The steps of a fused pod can't be told apart from outside.
    shown = known if known is not None and known.pods == "step" else None

    def work(live: LivePipeline[Ending]) -> Ending:
        ending = submission.follow(where, workflow, live)
        if ending.phase != "Succeeded":
            raise ClusterError(f"{workflow} ended as {ending.phase}. {ending.message}".strip())
        return ending

    view = replace(_view(workflow, shown), can_cancel=False)
    live: LivePipeline[Ending] = LivePipeline(view, work).attended()
    return live


def _view(title: str, pipeline: Pipeline | None) -> PipelineView:
    found = (
        StepView(step.name, "waiting", tuple(each.name for each in step.needs))
        for step in (pipeline.ordered if pipeline else ())
    )
    return PipelineView(title, "Starting.", "running", tuple(found))


def _page_of(step: StepView) -> str:
    """Return a step's executed notebook as a page; empty without one."""
    if not step.notebook:
        return ""
    try:
        return html_page.whole(Path(step.notebook))
    except (KitError, OSError):  # for instance while it is being written
        return ""
