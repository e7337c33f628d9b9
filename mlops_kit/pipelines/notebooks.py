"""Execute a notebook with typed parameters, and report how it really ended."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlops_kit import errors, files, notebook_file, project_folder
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines import parameters, values
from mlops_kit.pipelines.values import Value

CellObserver = Callable[[int, int, str], None]
ToldObserver = Callable[[tuple[str, ...]], None]
# nbclient's tag for a cell that may raise. Papermill's final check ignores it.
MAY_RAISE = "raises-exception"
_LINE = re.compile(r"Cell In\s?\[\d+\], line (\d+)")
# A path at the end of Python's own message.
_PATH = re.compile(r": '([^'\n]{1,4000})'$")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Job:
    """A notebook to execute, with its parameters and declared outputs.

    `timeout` is in seconds. `folder` receives the executed notebook and the published files.
    """

    notebook: Path
    folder: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, type] = field(default_factory=dict)
    timeout: float = 3600.0

    @property
    def executed(self) -> Path:
        """Where the executed notebook is saved, even if it fails."""
        return self.folder / self.notebook.name


def file_name(notebook: str) -> str:
    """Return a notebook's file name, given with or without its suffix."""
    return notebook if notebook.endswith(".ipynb") else f"{notebook}.ipynb"


def signature(path: Path) -> tuple[parameters.Parameter, ...]:
    """Return the parameters that a notebook declares. Reads the file once until it changes.

    Raises NotebookError.
    """
    try:
        found = path.stat()
    except OSError:
        notebook_file.cells(path)  # raises an error that names the file
        raise
    return _signature(path, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=256)
def _signature(path: Path, _state: tuple[int, int, int]) -> tuple[parameters.Parameter, ...]:
    content = notebook_file.content(path)
    notebook_file.check_language(content, path)
    return parameters.signature(content["cells"], notebook=path.name)


def typed(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to the types that the notebook's annotations name.

    Raises ParameterError.
    """
    return parameters.typed(signature(path), given, notebook=path.name)


def execute(
    job: Job,
    kernel_manager: Any,
    *,
    on_cell: CellObserver = lambda _index, _count, _cell: None,
    on_told: ToldObserver = lambda _lines: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Value]:
    """Execute a notebook, and return its declared outputs.

    Succeeds only if every cell ran and every declared output was published with its type.
    Otherwise saves the notebook with the failing cell marked, and raises a StepError.

    Args:
        job: the notebook, its parameters and its outputs.
        kernel_manager: starts the kernel.
        on_cell: receives the index, the count and the id of each code cell that starts.
        on_told: receives the lines that a running cell wants shown.
        clock: returns seconds.
    """
    given = typed(job.notebook, job.given)
    job.folder.mkdir(parents=True, exist_ok=True)
    job.executed.unlink(missing_ok=True)
    failure = None
    try:
        _run(job, given, kernel_manager, on_cell, on_told, clock)
    except Exception as error:  # explained below, with the help of the saved notebook
        failure = error
    if failure is not None and not job.executed.exists():
        raise failure
    cells = notebook_file.cells(job.executed)
    fault = _Fault(job, given)
    if failure is not None:
        if not _may_raise(cells):
            raise fault.of(failure, cells, kernel_manager) from failure
        _remove_error_markers(job.executed)
    _check_every_cell_ran(cells, fault)
    return _outputs(job, cells, fault)


def _run(
    job: Job,
    given: Mapping[str, Any],
    kernel_manager: Any,
    on_cell: CellObserver,
    on_told: ToldObserver,
    clock: Callable[[], float],
) -> None:
    from mlops_kit.kernels.preload import lazy_rfc3987

    # With JupyterLab installed, importing nbformat takes a second longer.
    lazy_rfc3987()
    from mlops_kit.pipelines.papermill import run

    deadline = clock() + job.timeout
    run.execute(
        job.notebook,
        job.executed,
        given,
        start_timeout=max(1, int(job.timeout)),
        km=kernel_manager,
        on_cell=on_cell,
        on_told=on_told,
        # nbclient limits each cell, the kit the step: a cell gets the time that is left.
        timeout_func=lambda _cell: max(0.01, deadline - clock()),
    )


@dataclass(frozen=True)
class _Fault:
    """Builds the kit's errors for one job."""

    job: Job
    given: Mapping[str, Any]

    def __call__(
        self,
        kind: type[errors.StepError],
        reason: str,
        cell: Mapping[str, Any] | None = None,
        line: int | None = None,
        code: str = "",
    ) -> errors.StepError:
        return kind(
            reason[:2000],
            notebook=self.job.notebook.name,
            cell=str((cell or {}).get("id", "")),
            line=line,
            parameters=self.given,
            output=str(self.job.executed),
            code=code,
        )

    def of(
        self, failure: Exception, cells: list[dict[str, Any]], kernel_manager: Any
    ) -> errors.StepError:
        """Return the kit's error for one of papermill's or nbclient's."""
        from nbclient.exceptions import CellTimeoutError, DeadKernelError

        from mlops_kit.pipelines.papermill.run import PapermillExecutionError

        cell = next((each for each in cells if notebook_file.status(each) == "failed"), None)
        if cell is not None and _has_exited(cell):
            return self.early_exit(cell)
        match failure:
            case PapermillExecutionError():
                reason = f"{failure.ename}: {failure.evalue}".rstrip(": ")
                reason += _hint(failure.ename, failure.evalue, self.job.notebook.parent)
                return self(errors.CellError, reason, cell, _line_of(failure.traceback))
            case CellTimeoutError():
                reason = f"the step exceeded its time-out of {self.job.timeout:g} s"
                return self(errors.StepTimeoutError, reason, cell)
            case DeadKernelError():
                death = getattr(kernel_manager, "death", None) or "no reason given"
                return self(errors.KernelDiedError, f"the kernel died: {death}", cell)
            case _:
                return self(errors.StepError, f"{type(failure).__name__}: {failure}", cell)

    def early_exit(self, cell: Mapping[str, Any] | None) -> errors.StepError:
        """Return the error for a SystemExit, which papermill may count as success."""
        reason = "the cell exited (SystemExit); a notebook must run to its last cell"
        return self(errors.EarlyExitError, reason, cell)


def _check_every_cell_ran(cells: list[dict[str, Any]], fault: _Fault) -> None:
    for cell in cells:
        if _has_exited(cell):
            raise fault.early_exit(cell)
        skipped = (
            notebook_file.has_tag(cell, "skip-execution") or not notebook_file.source(cell).strip()
        )
        if cell["cell_type"] == "code" and cell.get("execution_count") is None and not skipped:
            raise fault(errors.StepError, "the cell did not run", cell)


def _outputs(job: Job, cells: list[dict[str, Any]], fault: _Fault) -> dict[str, Value]:
    found = values.published(cells)
    kept: dict[str, Value] = {}
    for name, kind in job.outputs.items():
        if name not in found:
            reason = f"it declares the output {name!r} but published only {sorted(found)}."
            reason += did_you_mean(name, found)
            raise fault(errors.OutputError, reason, code="step.output.missing")
        if not values.of_type(found[name], kind):
            reason = (
                f"the output {name!r} is {str(found[name])[:80]!r}, of type "
                f"{type(found[name]).__name__}; declared as {kind.__name__}"
            )
            raise fault(errors.OutputError, reason, code="step.output.type")
        try:
            kept[name] = values.keep(name, found[name], job.folder)
        except (OSError, ValueError) as error:
            reason = f"can't keep the output {name!r}: {error}"
            raise fault(errors.OutputError, reason, code="step.output.not-kept") from error
    return kept


def _remove_error_markers(executed: Path) -> None:
    """Remove the banner that papermill adds when an allowed cell raises."""
    content = notebook_file.content(executed)
    content["cells"] = [
        c for c in content["cells"] if not notebook_file.has_tag(c, notebook_file.ERROR_MARKER)
    ]
    files.write_whole(executed, (json.dumps(content, indent=1) + "\n").encode())


def _may_raise(cells: list[dict[str, Any]]) -> bool:
    """Return whether every cell ran, and only cells that may raise did."""
    if any(
        notebook_file.status(cell) in {"failed", "pending"}
        for cell in cells
        if cell["cell_type"] == "code"
    ):
        return False
    return all(notebook_file.has_tag(cell, MAY_RAISE) for cell in cells if _raised(cell))


def _raised(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [o for o in cell.get("outputs", ()) if o.get("output_type") == "error"]


def _has_exited(cell: Mapping[str, Any]) -> bool:
    return any(output.get("ename") == "SystemExit" for output in _raised(cell))


def _hint(name: str, said: str, folder: Path) -> str:
    """Suggest a path for a file that a cell didn't find, but the project's folder has."""
    found = _PATH.search(said) if name == "FileNotFoundError" else None
    if found is None or Path(found[1]).is_absolute():
        return ""
    path = project_folder.located(Path(found[1]), folder)
    if not path.exists():
        return ""
    right = Path(os.path.relpath(path, folder)).as_posix()
    return f". Paths count from the notebook's folder; from there it is {right!r}"


def _line_of(traceback: list[str]) -> int | None:
    """Return the line that a traceback points at in its innermost cell."""
    lines = _LINE.findall(_ANSI.sub("", "\n".join(traceback)))
    return int(lines[-1]) if lines else None
