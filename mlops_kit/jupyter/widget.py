"""The one widget: shows markup and reports events by name.

The only module that imports anywidget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mlops_kit.reporting.markup import Html

# Called with an event's name and the values entered with it.
EventHandler = Callable[[str, Mapping[str, str]], None]

_STATIC = Path(__file__).parent / "static"


class View(anywidget.AnyWidget):
    """Takes markup, reports named events; created once per page and updated in place."""

    _esm = (_STATIC / "view.js").read_text(encoding="utf-8")
    _css = (_STATIC / "view.css").read_text(encoding="utf-8")
    markup = traitlets.Unicode("").tag(sync=True)
    # A page within the page; separate, so that it is sent only when it changes.
    document = traitlets.Unicode("").tag(sync=True)

    def __init__(self, markup: Html, acts: EventHandler | None = None) -> None:
        """Show `markup`; `acts` gets each event's name and its values as text."""
        super().__init__(markup=str(markup))
        if acts is not None:
            self.on_msg(lambda _view, content, _buffers: self._do(acts, content))

    def show(self, markup: Html, document: str = "") -> None:
        """Replace the markup; the page changes only where it differs.

        `document` fills the markup's frame, and can run nothing.
        """
        self.document = document
        self.markup = str(markup)

    def _do(self, acts: EventHandler, content: Any) -> None:
        try:
            _tell(acts, content)
        finally:
            self.send({"done": True})


def _tell(acts: EventHandler, content: Any) -> None:
    """Pass a browser's message on as text, ignoring malformed ones."""
    if not isinstance(content, Mapping) or not isinstance(content.get("act"), str):
        return
    given = content.get("given")
    found = given.items() if isinstance(given, Mapping) else ()
    acts(content["act"], {str(name): str(value) for name, value in found})
