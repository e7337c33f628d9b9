"""Show a notebook's or a pipeline's parameters as a form with a button that runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlops_kit import notebook_file
from mlops_kit.errors import KitError, ParameterError
from mlops_kit.jupyter import pipeline_run
from mlops_kit.jupyter.html import form as fields
from mlops_kit.pipelines import notebooks, validation, values
from mlops_kit.pipelines.definition import Step
from mlops_kit.pipelines.progress import Progress
from mlops_kit.project import local_runs
from mlops_kit.project.workspace import Workspace
from mlops_kit.reporting.markup import Html, joined

if TYPE_CHECKING:
    from mlops_kit.jupyter.pipeline_run import LivePipeline
    from mlops_kit.jupyter.widget import View
    from mlops_kit.pipelines.executions import Execution


class Form:
    """A notebook's parameters as a form; make it the last value of a cell to display it.

    Runs the notebook in the background, on its own kernel. `published` and `executed` are the last
    run's outputs and notebook.
    """

    def __init__(self, workspace: Workspace, notebook: str) -> None:
        """Use `form` instead; raises NotebookError."""
        name = notebooks.file_name(notebook)
        self.workspace = workspace
        self.step = Step(Path(name).stem.replace("_", "-"), name)
        self.parameters = notebooks.signature(workspace.project / "notebooks" / name)
        self.values: dict[str, Any] = {}
        self.published: dict[str, Any] = {}
        self.executed: Path | None = None
        self.fault = self.state = self.doing = ""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._shown = 0.0
        self._page: View | None = None

    def page(self) -> Html:
        """Return the form as HTML."""
        return fields.form(
            self.step.notebook.removesuffix(".ipynb"),
            self.parameters,
            self.values,
            fault=self.fault,
            state=self.state,
            doing=self.doing,
            published=self.published,
            notebook=str(self.executed or ""),
        )

    def act(self, name: str, given: Mapping[str, str]) -> None:
        """Run the notebook with the entered values, or show why they are invalid."""
        if name != "run":
            return
        with self._lock:
            if self.state == "running":
                return
            self.values = fields.entered(self.parameters, given)
            self.fault, self.published, self.executed = "", {}, None
            try:
                source = self.workspace.project / "notebooks" / self.step.notebook
                asked = notebooks.typed(source, _text_only(self.values))
            except ParameterError as error:
                self.fault, self.state = str(error), ""
            else:
                self.state, self.doing = "running", "Starting."
                self._over.clear()
                threading.Thread(target=self._run, args=[asked], name="mlops-kit form").start()
        self._show()

    def wait(self, seconds: float | None = None) -> dict[str, Any]:
        """Wait for the run and return its outputs; raises TimeoutError."""
        if not self._over.wait(seconds):
            raise TimeoutError(f"{self.step.notebook} is still running after {seconds:g} s")
        return self.published

    def _run(self, asked: Mapping[str, Any]) -> None:
        folder = self.workspace.settings.state_folder / "steps"
        target = folder / f"{self.step.name}-{uuid4().hex[:8]}"
        executed = target / self.step.notebook
        fault = ""
        try:
            local_runs.run_step(self.workspace, self.step, asked, target, self._observe)
        except KitError as error:
            fault = str(error)
        except Exception as error:  # nothing else would show an exception in a thread
            fault = f"{type(error).__name__}: {error}"
        with self._lock:
            self.state, self.doing, self.fault = "failed" if fault else "succeeded", "", fault
            if executed.exists():
                self.executed = executed
                self.published = values.published(notebook_file.cells(executed))
        self._over.set()
        self._show()

    def _observe(self, progress: Progress) -> None:
        if progress.cell:
            self.doing = f"Cell {progress.index + 1} of {progress.count}: {progress.cell}"
        now = time.monotonic()
        if now - self._shown > 0.5:
            self._shown = now
            self._show()

    def _show(self) -> None:
        if self._page is not None:
            self._page.show(self.page())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from mlops_kit.jupyter.widget import View

        self._page = self._page or View(self.page(), self.act)
        return self._page._repr_mimebundle_(**options)


class PipelineForm:
    """A pipeline's inputs as a form, with its steps while it runs; `live` is the last run."""

    def __init__(self, workspace: Workspace, pipeline: str) -> None:
        """Use `form` instead; raises ProjectError and NotebookError."""
        self.workspace = workspace
        self.live: LivePipeline[Execution] | None = None
        self._lock = threading.RLock()
        self._view: View | None = None
        self._choose(pipeline)

    def page(self) -> Html:
        """Return the form and the last run's steps as HTML."""
        is_running = self.live is not None and not self.live.view.is_over
        shown = fields.form(
            self.pipeline.name,
            self.parameters,
            self.values,
            fault=self.fault,
            others=self.known,
            about=self.pipeline.description,
            is_running=is_running,
        )
        return joined([shown, self.live.page() if self.live else None])

    def show(self, _markup: Html, document: str = "") -> None:
        """Show the run's progress."""
        if self._view is not None:
            self._view.show(self.page(), document)

    def act(self, name: str, given: Mapping[str, str]) -> None:
        """Run the pipeline with the entered values, or pass an event on to its view."""
        with self._lock:
            if name == "run":
                self._run(given)
            elif name == "pipeline":
                self._choose(given.get("value", ""))
            elif self.live is not None:
                self.live.act(name, given)
        self.show(Html(""), self.live.document if self.live else "")

    def _choose(self, name: str) -> None:
        pipelines = self.workspace.pipelines()
        self.known = tuple(pipelines)
        self.pipeline = pipelines.get(name) or self.workspace.pipeline(name)
        notebooks = self.workspace.project / "notebooks"
        self.parameters = validation.signature(notebooks, self.pipeline)
        self.values: dict[str, Any] = {}
        self.fault = ""

    def _run(self, given: Mapping[str, str]) -> None:
        if self.live is not None and not self.live.view.is_over:
            return
        self.values, self.fault = fields.entered(self.parameters, given), ""
        try:
            asked = _text_only(self.values)
            self.live = pipeline_run.run(self.pipeline.name, workspace=self.workspace, **asked)
        except KitError as error:
            self.fault = str(error)
        else:
            self.live.shown_by(self)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from mlops_kit.jupyter.widget import View

        self._view = self._view or View(self.page(), self.act)
        return self._view._repr_mimebundle_(**options)


def form(name: str, *, workspace: Workspace | None = None) -> Form | PipelineForm:
    """Return a form for one of the project's notebooks or pipelines, as in `form("train")`.

    Raises NotebookError for an unknown name.
    """
    place = workspace or Workspace.open()
    return PipelineForm(place, name) if name in place.pipelines() else Form(place, name)


def _text_only(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entered values as text, which the annotations convert; a bool stays a bool."""
    return {name: value if isinstance(value, bool) else str(value) for name, value in given.items()}
