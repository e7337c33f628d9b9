"""Papermill's engine, on a given kernel manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager

from mlops_kit.notebook_file import INJECTED
from mlops_kit.pipelines.values import TOLD_MIME

# Seconds between two saves during a run: saving a small notebook takes as long as a cell.
SAVE_INTERVAL_SECONDS = 1.0

# Receives the index, the count and the id of each code cell that starts.
CellObserver = Callable[[int, int, str], None]
# Receives the lines that a running cell wants shown.
ToldObserver = Callable[[tuple[str, ...]], None]


class KitEngine(NBClientEngine):  # type: ignore[misc]  # papermill ships no types
    """Papermill's own engine with fewer saves and observers; works with `papermill --engine` too.

    Papermill loads it through its entry point while papermill itself is being imported, so the
    kit never imports it.
    """

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        on_cell: CellObserver = lambda _index, _count, _cell: None,
        on_told: ToldObserver = lambda _lines: None,
        **kwargs: Any,
    ) -> Any:
        """Execute a notebook node as papermill's Engine does, and return it.

        Args:
            nb: the notebook.
            kernel_name: the kernel to start.
            output_path: where papermill saves the notebook.
            progress_bar: whether papermill shows its progress bar.
            log_output: whether papermill logs cell outputs.
            autosave_cell_every: papermill's seconds between saves within a cell.
            on_cell: receives each code cell that starts.
            on_told: receives the lines that a running cell wants shown.
            kwargs: papermill's and nbclient's further options.
        """
        manager = _Manager(
            nb,
            on_cell,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
        )
        manager.notebook_start()
        try:
            _Client.execute_on(manager, on_told, kernel_name, **kwargs)
        except BaseException:
            manager.break_off()
            raise
        finally:
            manager.cleanup_pbar()
            manager.notebook_complete()
            manager.save_now()
        return manager.nb


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill ships no types
    """Papermill's client, which also passes on the lines that a cell wants shown."""

    @classmethod
    def execute_on(
        cls,
        manager: Any,
        on_told: ToldObserver,
        kernel_name: str,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        store_widget_state: bool = True,
        **options: Any,
    ) -> None:
        """Execute as papermill's NBClientEngine does, which allows no client of one's own."""
        for name in ("input_path", "stdout_file", "stderr_file"):
            options.pop(name, None)
        options["timeout"] = execution_timeout or options.get("timeout")
        client = cls(manager, startup_timeout=start_timeout, kernel_name=kernel_name, **options)
        client.on_told = on_told
        client.saves_widgets = store_widget_state
        client.on_cell_executed = _raise_if_kernel_exits
        client.execute()

    def set_widgets_metadata(self) -> None:
        # nbclient's Output widget needs this state while cells run, even if it isn't saved.
        if self.saves_widgets:
            super().set_widgets_metadata()

    def process_message(self, msg: Any, *rest: Any) -> Any:
        data = msg.get("content", {}).get("data", {})
        if isinstance(data, dict) and TOLD_MIME in data:
            self.on_told(tuple(map(str, data[TOLD_MIME].get("lines", ()))))
        return super().process_message(msg, *rest)


def _raise_if_kernel_exits(cell: Any, execute_reply: Any, **_: Any) -> None:
    """Raise DeadKernelError for a cell that called IPython's `exit` or `quit`.

    The kernel exits 0.1 s later or never, so the next cells could still run.
    """
    for payload in execute_reply["content"].get("payload", ()):
        # `exit(1)` asks to keep the kernel: IPython reads the number as `keep_kernel`.
        if payload.get("source") == "ask_exit":
            reason = "the cell called exit()"
            cell.outputs.append(new_output("error", ename="SystemExit", evalue=reason))
            raise DeadKernelError(reason)


class _Manager(NotebookExecutionManager):  # type: ignore[misc]  # papermill ships no types
    """Papermill's bookkeeping with fewer saves, which never marks a dead cell as completed."""

    def __init__(self, nb: Any, on_cell: CellObserver, **options: Any) -> None:
        super().__init__(nb, **options)
        self.on_cell = on_cell
        self.code_cells = [cell for cell in nb.cells if cell.cell_type == "code"]
        self.running: Any = None
        self.saved_at = float("-inf")

    def save(self, **kwargs: Any) -> None:
        if time.monotonic() - self.saved_at >= SAVE_INTERVAL_SECONDS:
            self.save_now(**kwargs)

    def save_now(self, **kwargs: Any) -> None:
        super().save(**kwargs)
        self.saved_at = time.monotonic()

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        if cell.cell_type == "code":
            self.running = cell
            index = next(i for i, each in enumerate(self.code_cells) if each is cell)
            # The id of the cell that papermill adds means nothing to a reader.
            is_injected = INJECTED in cell.metadata.get("tags", ())
            name = INJECTED if is_injected else cell.get("id", "")
            self.on_cell(index, len(self.code_cells), name)
        super().cell_start(cell, cell_index, **kwargs)

    def cell_exception(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        error = kwargs.get("exception")
        has_error = any(output.output_type == "error" for output in cell.get("outputs", ()))
        if error is not None and not has_error:
            # IPython only prints some errors, such as an unknown magic's.
            traceback = error.traceback.splitlines()
            cell.outputs.append(
                new_output("error", ename=error.ename, evalue=error.evalue, traceback=traceback)
            )
        super().cell_exception(cell, cell_index=cell_index, **kwargs)

    def break_off(self) -> None:
        """Mark the running cell as failed, so that papermill leaves later cells pending."""
        self.nb.metadata.papermill["exception"] = True
        if self.running is not None:
            self.cell_exception(self.running)
