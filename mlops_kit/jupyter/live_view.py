"""Work in the background that shows itself in a cell, changes in place, and leaves a record."""

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

# A page that changes more often than this says no more to a person.
_REFRESH_SECONDS = 0.5

T = TypeVar("T")


class Display(Protocol):
    """Whatever shows markup, with a document in it, as a View does."""

    def show(self, markup: Html, document: str = "") -> None:
        """Show it in the place of what was there."""


@dataclass(frozen=True)
class Markdown:
    """Text that a notebook shows as Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


class Live(ABC, Generic[T]):
    """Work that goes on while its cell has ended; as the last value of a cell it shows itself.

    `wait` returns how it ended, `cancel` ends it. When it is over, tables and pictures are left
    that need no kernel. `view` is what the page shows, another value after each change, and
    `document` a page within it.
    """

    # How many outputs are left of it at the end.
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
        """Return what stays when it is over, a value an output, in Markdown and pictures."""

    @abstractmethod
    def _say(self, state: str, sentence: str) -> None:
        """Take in that it succeeded, failed or was stopped."""

    def wait(self, seconds: float | None = None) -> T:
        """Return how it ended once it is over; raises what the work raised, or TimeoutError.

        Who interrupts the waiting cancels the work.
        """
        try:
            is_over = self._over.wait(seconds)
        except KeyboardInterrupt:
            self.cancel()
            raise
        if not is_over:
            raise TimeoutError(f"{self.title} still runs after {seconds:g} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """End it as soon as it can."""
        self.cancelled.set()

    def act(self, name: str, given: Mapping[str, str]) -> None:
        """Do what a person did on the page."""
        if name == "cancel":
            self.cancel()
        self._show()

    def shown_by(self, page: Display) -> None:
        """Let another page show it, and show it there now."""
        self._page = page
        self._show()

    def attended(self) -> Any:
        """Return it, where nobody looks on, as under papermill, only when it is over."""
        if not has_frontend() and _is_kernel():
            self.wait()
        return self

    def _work(self, work: Callable[[], T]) -> None:
        state, said = "succeeded", "It has run to its end."
        try:
            self._result = work()
        except KeyboardInterrupt:
            state, said = "stopped", "It was cancelled."
            self._error = ProjectError(f"{self.title} was cancelled.")
        except KitError as error:
            state, said = "failed", f"It failed: {error}"
            self._error = error
        except BaseException as error:
            state, said = "failed", f"It failed: {type(error).__name__}: {error}"
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
        """Let time pass in what is shown."""

    def _show(self) -> None:
        if self._page is None:
            return
        try:
            markup = self.page()
        except Exception as error:
            # In a thread nothing else would ever show it, and the work doesn't depend on it.
            said = f"The view has failed, the work goes on: {type(error).__name__}: {error}"
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
        # Their places: a cell that has ended takes no other outputs.
        self._handles = [display(Markdown(""), display_id=True) for _ in range(self.parts)]
        if self._over.is_set():
            self._freeze()


def _is_kernel() -> bool:
    module = sys.modules.get("IPython")
    return module is not None and module.get_ipython() is not None
