"""Execute one notebook with typed parameters, and report how it really ended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlops_kit import errors, files, notebook_file
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines import parameters, values
from mlops_kit.pipelines.values import Value

CellObserver = Callable[[int, int, str], None]
ToldObserver = Callable[[tuple[str, ...]], None]
# A cell that is allowed to raise; nbclient's tag, which papermill's last check forgets.
MAY_RAISE = "raises-exception"
_LINE = re.compile(r"Cell In\s?\[\d+\], line (\d+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Job:
    """What to execute: a notebook with given values, for its declared outputs.

    `timeout` is in seconds. The executed notebook and published files go to `folder`.
    """

    notebook: Path
    folder: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, type] = field(default_factory=dict)
    timeout: float = 3600.0

    @property
    def executed(self) -> Path:
        """Where the executed notebook is saved, also of a failed run."""
        return self.folder / self.notebook.name


def file_name(notebook: str) -> str:
    """Return a notebook's file name, which people may give without its ending."""
    return notebook if notebook.endswith(".ipynb") else f"{notebook}.ipynb"


def signature(path: Path) -> tuple[parameters.Parameter, ...]:
    """Return the parameters that a notebook declares; read once, until the file changes.

    Raises NotebookError.
    """
    try:
        found = path.stat()
    except OSError:
        notebook_file.cells(path)  # says what is wrong
        raise
    return _signature(path, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=256)
def _signature(path: Path, _state: tuple[int, int, int]) -> tuple[parameters.Parameter, ...]:
    content = notebook_file.content(path)
    notebook_file.check_language(content, path)
    return parameters.signature(content["cells"], notebook=path.name)


def typed(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values with the types of the notebook's annotations.

    Raises ParameterError before any kernel is started.
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
    """Execute a notebook on a kernel manager, and return its declared outputs.

    Succeeds only if every cell ran and every declared output was published with its type.
    Otherwise saves the notebook with the failing cell marked, and raises a StepError.
    """
    given = typed(job.notebook, job.given)
    job.folder.mkdir(parents=True, exist_ok=True)
    job.executed.unlink(missing_ok=True)
    failure = None
    try:
        _run(job, given, kernel_manager, on_cell, on_told, clock)
    except Exception as error:  # explained below, where the saved notebook says more
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

    # JupyterLab's presence costs a second in every process that imports nbformat.
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
        # nbclient has a limit a cell; a step's deadline leaves each cell what is left of it.
        timeout_func=lambda _cell: max(0.01, deadline - clock()),
    )


@dataclass(frozen=True)
class _Fault:
    """Makes the kit's errors of one job, each with all its facts."""

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
        """Return the error for what papermill or nbclient raised."""
        from nbclient.exceptions import CellTimeoutError, DeadKernelError

        from mlops_kit.pipelines.papermill.run import PapermillExecutionError

        cell = next((each for each in cells if notebook_file.status(each) == "failed"), None)
        if cell is not None and _has_exited(cell):
            return self.early_exit(cell)
        match failure:
            case PapermillExecutionError():
                reason = f"{failure.ename}: {failure.evalue}".rstrip(": ")
                return self(errors.CellError, reason, cell, _line_of(failure.traceback))
            case CellTimeoutError():
                reason = f"the step ran longer than its time-out of {self.job.timeout:g} s"
                return self(errors.StepTimeoutError, reason, cell)
            case DeadKernelError():
                death = getattr(kernel_manager, "death", None) or "it gave no reason"
                return self(errors.KernelDiedError, f"the kernel died: {death}", cell)
            case _:
                return self(errors.StepError, f"{type(failure).__name__}: {failure}", cell)

    def early_exit(self, cell: Mapping[str, Any] | None) -> errors.StepError:
        """Return the error for a SystemExit, which papermill may take for success."""
        reason = "the cell ended the kernel (SystemExit); a notebook ends with its last cell"
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
            reason = f"it declares the output {name!r} but published {sorted(found)}."
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
    """Take out the banner that papermill writes for a cell that was allowed to raise."""
    content = notebook_file.content(executed)
    content["cells"] = [
        c for c in content["cells"] if not notebook_file.has_tag(c, notebook_file.ERROR_MARKER)
    ]
    files.write_whole(executed, (json.dumps(content, indent=1) + "\n").encode())


def _may_raise(cells: list[dict[str, Any]]) -> bool:
    """Whether every cell ran, and only cells that are allowed to raise have raised."""
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


def _line_of(traceback: list[str]) -> int | None:
    """Return the line within the cell that a traceback points at, the innermost cell frame."""
    lines = _LINE.findall(_ANSI.sub("", "\n".join(traceback)))
    return int(lines[-1]) if lines else None
