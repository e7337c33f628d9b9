"""Show background work in a cell, update it in place, and leave a record at its end."""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mlops_kit.errors import KitError, ProjectError
from mlops_kit.project.settings import has_frontend
from mlops_kit.reporting.markup import Html, tag

# More frequent updates tell a person nothing more.
_REFRESH_SECONDS = 0.5

T = TypeVar("T")


class Display(Protocol):
    """Shows markup with a document in it, as a View does."""

    def show(self, markup: Html, document: str = "") -> None:
        """Replace what is shown."""


@dataclass(frozen=True)
class Markdown:
    """Text that a notebook shows as Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


class Live(ABC, Generic[T]):
    """Background work that outlives its cell; make it the last value of a cell to display it.

    `wait` returns its result, `cancel` ends it. At the end it leaves tables and pictures that need
    no kernel. `view` is the value that the page shows, replaced on each change; `document` is a
    page within it.
    """

    # The number of outputs that `record` returns.
    parts = 1

    def __init__(self, title: str, view: Any, work: Callable[[], T]) -> None:
        """Start the work at once."""
        self.title = title
        self.view = view
        self.document = ""
        self.cancelled = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._lock = threading.RLock()
        self._page: Display | None = None
        self._handles: list[Any] = []
        self._over = threading.Event()
        threading.Thread(target=self._work, args=[work], name=f"mlops-kit {title}").start()
        threading.Thread(target=self._refresh, daemon=True, name="mlops-kit view").start()

    @abstractmethod
    def page(self) -> Html:
        """Return the page as it is now."""

    @abstractmethod
    def record(self) -> Sequence[Any]:
        """Return the outputs to leave at the end, as Markdown and pictures."""

    @abstractmethod
    def _say(self, state: str, sentence: str) -> None:
        """Record the end: succeeded, failed or stopped."""

    def wait(self, seconds: float | None = None) -> T:
        """Wait for the end and return the result; raises the work's exception, or TimeoutError.

        Interrupting the wait cancels the work.
        """
        try:
            is_over = self._over.wait(seconds)
        except KeyboardInterrupt:
            self.cancel()
            raise
        if not is_over:
            raise TimeoutError(f"{self.title} is still running after {seconds:g} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """Ask the work to end."""
        self.cancelled.set()

    def act(self, name: str, given: Mapping[str, str]) -> None:
        """Handle an event from the page."""
        if name == "cancel":
            self.cancel()
        self._show()

    def shown_by(self, page: Display) -> None:
        """Show it on another page from now on."""
        self._page = page
        self._show()

    def attended(self) -> Any:
        """Return itself; without a frontend, as under papermill, only at the end."""
        if not has_frontend() and _is_kernel():
            self.wait()
        return self

    def _work(self, work: Callable[[], T]) -> None:
        state, said = "succeeded", "Finished."
        try:
            self._result = work()
        except KeyboardInterrupt:
            state, said = "stopped", "Cancelled."
            self._error = ProjectError(f"{self.title} was cancelled.")
        except KitError as error:
            state, said = "failed", f"Failed: {error}"
            self._error = error
        except BaseException as error:
            state, said = "failed", f"Failed: {type(error).__name__}: {error}"
            self._error = error
        finally:
            with self._lock:
                self._say(state, said)
            self._over.set()

    def _refresh(self) -> None:
        shown = None
        while not self._over.wait(_REFRESH_SECONDS):
            self._tick()
            if self.view != shown:
                shown = self.view
                self._show()
        self._show()
        self._freeze()

    def _tick(self) -> None:
        """Update what depends on the time."""

    def _show(self) -> None:
        if self._page is None:
            return
        try:
            markup = self.page()
        except Exception as error:
            # Nothing else would show an exception in a thread, and the work doesn't need the view.
            said = f"The view failed, the work goes on: {type(error).__name__}: {error}"
            markup = tag("div", said, class_="notice", role="alert")
        self._page.show(markup, self.document)

    def _freeze(self) -> None:
        for handle, part in zip(self._handles, self.record(), strict=False):
            handle.update(part)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not has_frontend():
            self._over.wait()
            display(*self.record())
            return
        from mlops_kit.jupyter.widget import View

        view = View(self.page(), self.act)
        self.shown_by(view)
        display(view)
        # Reserve places for the record: a cell that has ended takes no new outputs.
        self._handles = [display(Markdown(""), display_id=True) for _ in range(self.parts)]
        if self._over.is_set():
            self._freeze()


def _is_kernel() -> bool:
    module = sys.modules.get("IPython")
    return module is not None and module.get_ipython() is not None
