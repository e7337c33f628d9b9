"""The promotion panel: shows a board and carries out a person's actions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from mlops_kit.errors import KitError, ReleaseError
from mlops_kit.jupyter.panel import page, reader
from mlops_kit.jupyter.panel.acts import Acts
from mlops_kit.jupyter.panel.state import Board, Notice, Opened, Unfolded
from mlops_kit.project import releases, rollouts
from mlops_kit.project.workspace import Workspace
from mlops_kit.releases import release_yaml
from mlops_kit.reporting.markup import Html
from mlops_kit.reporting.notebooks import html_page

if TYPE_CHECKING:
    from mlops_kit.jupyter.widget import View
    from mlops_kit.rollouts.observer import ObservedState

# How often an open page reads the state anew.
POLL_SECONDS = 3.0
# How long an action waits for a read that hangs.
ACT_TIMEOUT_SECONDS = 10.0
_HANGS = (
    "Not done: an earlier request is still waiting, perhaps because Git hangs. Nothing was "
    "committed for you; try again."
)


class PromotionPanel:
    """Shows what serves, what could serve next, and the actions that a person may take.

    Reads Git, the registry and the store and keeps no state, so two panels show the same. Make it
    the last value of a cell to display it. `board` is what it shows, `act` what its buttons do.
    Failures appear as a sentence on the page.
    """

    def __init__(
        self,
        model: str = "",
        environment: str = "",
        *,
        workspace: Workspace | None = None,
        every: float = POLL_SECONDS,
    ) -> None:
        """Use the settings' model and environment by default; poll every `every` seconds."""
        self.workspace = workspace or Workspace.open()
        self.model = model or self.workspace.default_model
        self.environment = environment or self.workspace.settings.environment
        self.unfolded = Unfolded()
        self.document = ""
        self.board: Board | None = None
        self._chosen = ""
        self._every = every
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._reader: reader.Reader | None = None
        self._view: View | None = None
        self._hidden = threading.Event()
        self._closed = threading.Event()

    @property
    def sentence(self) -> str:
        """The state in one sentence, as last read."""
        if self.board is None:
            self.refresh()
        assert self.board is not None
        return self.board.sentence

    def refresh(self, notice: Notice | None = None) -> Html:
        """Read the state, show the page and return it; without a `notice` the old one stays."""
        with self._lock:
            return self._shown(self._looked(notice))

    def look(self) -> None:
        """Read the state, and show it only if more than the clock has changed."""
        with self._lock:
            board, shown = self._looked(None), self.board
            # Needless messages would keep an unattended kernel from being culled.
            if shown is None or replace(board, checked=shown.checked) != shown:
                self._shown(board)

    def _looked(self, notice: Notice | None) -> Board:
        try:
            board = self._read().read(self._chosen)
        except KitError as error:
            board = self._away(error)
        if notice is not None:
            return replace(board, notice=notice)
        # A notice is stale once the release has changed.
        if self.board is not None and self.board.serving == board.serving:
            return replace(board, notice=self.board.notice)
        return board

    def _shown(self, board: Board) -> Html:
        self.board = board
        markup = page.page(board, self.unfolded)
        if self._view is not None:
            self._view.show(markup, self.document)
        return markup

    def act(self, name: str, given: Mapping[str, str] | None = None) -> None:
        """Do what a button does; a failure becomes the page's notice."""
        asked = given or {}
        if name in ("shown", "hidden"):
            (self._hidden.clear if name == "shown" else self._hidden.set)()
            return
        # A read may wait for a Git that hangs; tell whoever presses a button sooner.
        if not self._lock.acquire(timeout=ACT_TIMEOUT_SECONDS):
            if self.board is not None:
                self._shown(replace(self.board, notice=Notice(_HANGS, name)))
            return
        try:
            self._act(name, asked)
        finally:
            self._lock.release()

    def _act(self, name: str, asked: Mapping[str, str]) -> None:
        try:
            done = self._do(name, asked)
        except KitError as error:
            self.refresh(Notice(f"Not done: {error}", name, fault=error.code))
        except Exception as error:
            # Nothing else would show an exception in a callback.
            bug = f"{type(error).__name__}: {error}"
            self.refresh(Notice(f"Not done, due to a bug in the panel: {bug}", name))
        else:
            # An action that only shows more clears the notice.
            self.refresh(Notice(done, name, is_done=True) if done else Notice())

    def close(self) -> None:
        """Stop polling and close what was opened."""
        self._closed.set()
        with self._lock:
            self._stack.close()
            self._reader = None

    def _do(self, name: str, given: Mapping[str, str]) -> str:
        """Do an action and return a sentence on what was done; empty if it only shows more."""
        if name in _LOOKS:
            _LOOKS[name](self, given)
            return ""
        shown = self.board.serving if self.board is not None else None
        acts = Acts(self.workspace, self.model, self.environment, self._observed, shown)
        done = acts.do(name, given.get("version", ""), given.get("reason", ""))
        if name == "promote":
            self._chosen = ""
        return done

    def _look_at(self, given: Mapping[str, str]) -> None:
        if (place := given.get("value", "")) not in self._environments():
            known = list(self._environments())
            raise ReleaseError(f"There is no environment {place!r}; expected one of {known}.")
        self._stack.close()
        self.environment, self._chosen, self._reader, self.board = place, "", None, None
        self._open_evidence({})

    def _choose(self, given: Mapping[str, str]) -> None:
        self._chosen = given.get("version", "")

    def _unfold(self, given: Mapping[str, str]) -> None:
        what = given.get("what", "")
        if what in ("history", "candidates"):
            more = getattr(self.unfolded, what) + page.MORE_ROWS
            self.unfolded = replace(self.unfolded, **{what: more})

    def _open_evidence(self, given: Mapping[str, str]) -> None:
        """Show a file of a release's evidence; without a revision, close it."""
        revision, wanted = given.get("revision", ""), given.get("file", "")
        if not revision:
            self.unfolded, self.document = replace(self.unfolded, opened=None), ""
            return
        shown = self.board.history if self.board else ()
        entry = next((each for each in shown if each.revision == revision), None)
        if entry is None or not entry.evidence:
            raise ReleaseError(f"Commit {revision[:10]!r} has no evidence for {self.environment}.")
        found = releases.evidence(self.workspace, entry)
        file = wanted if wanted in found else next(iter(found))
        title = f"Evidence of v{entry.version}, commit {entry.revision[:10]}"
        self.unfolded = replace(self.unfolded, opened=Opened(revision, title, tuple(found), file))
        self.document = html_page.shown(file, found)

    def _search(self, given: Mapping[str, str]) -> None:
        self.unfolded = replace(self.unfolded, search=given.get("text", "").strip())

    def _environments(self) -> tuple[str, ...]:
        return release_yaml.environments(self.workspace.repository.list("envs"))

    def _observed(self) -> ObservedState:
        return self._read().observer.observe()

    def _read(self) -> reader.Reader:
        if self._reader is None:
            self._stack = ExitStack()
            opened = rollouts.open_observer(self.workspace, self.model, self.environment)
            observer = self._stack.enter_context(opened)
            self._reader = reader.Reader(self.workspace, observer, self._environments())
        return self._reader

    def _away(self, error: KitError) -> Board:
        """Return the last board, marked as out of date and without actions."""
        said = f"Git can't be read: {error}"
        if self.board is not None and self.board.history:
            old = f"You see the state of {self.board.checked}. Traffic isn't affected."
            return replace(
                self.board, standing="inconclusive", sentence=said, next=old, offers=(), change=()
            )
        return Board(
            model=self.model,
            environment=self.environment,
            environments=(self.environment,),
            headline="",
            checked=f"{datetime.now(UTC):%H:%M:%S} UTC",
            standing="inconclusive",
            sentence=said,
            next="Traffic isn't affected. Refresh when Git answers again.",
        )

    def _poll(self) -> None:
        while not self._closed.wait(self._every):
            if not self._hidden.is_set():
                self.look()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Show the page; without anywidget, as in a step's image, only its sentence."""
        try:
            from mlops_kit.jupyter.widget import View
        except ImportError:
            return {
                "text/plain": f"{self.sentence} To see the panel: pip install 'mlops-kit[lab]'."
            }
        if self._view is None:
            self._view = View(self.refresh(), self.act)
            threading.Thread(target=self._poll, daemon=True, name="mlops-kit panel").start()
        bundle = self._view._repr_mimebundle_(**options)
        assert self.board is not None
        text = {"text/plain": f"{self.board.sentence} {self.board.next}".strip()}
        if isinstance(bundle, tuple):
            return {**bundle[0], **text}, bundle[1]
        return {**cast(dict[str, Any], bundle or {}), **text}


_LOOKS: dict[str, Callable[[PromotionPanel, Mapping[str, str]], None]] = {
    "refresh": lambda _panel, _given: None,
    "environment": PromotionPanel._look_at,
    "choose": PromotionPanel._choose,
    "more": PromotionPanel._unfold,
    "evidence": PromotionPanel._open_evidence,
    "search": PromotionPanel._search,
}
