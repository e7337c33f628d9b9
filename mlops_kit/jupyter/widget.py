"""The one widget: it shows markup, and hands back by name what a person does.

The only module that imports anywidget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mlops_kit.reporting.markup import Html

# What a person did, and what they entered with it.
EventHandler = Callable[[str, Mapping[str, str]], None]

_STATIC = Path(__file__).parent / "static"


class View(anywidget.AnyWidget):
    """Markup in, named acts out; made once a page, and changed in place."""

    _esm = (_STATIC / "view.js").read_text(encoding="utf-8")
    _css = (_STATIC / "view.css").read_text(encoding="utf-8")
    markup = traitlets.Unicode("").tag(sync=True)
    # A page within the page, apart, so that it travels only when it is another one.
    document = traitlets.Unicode("").tag(sync=True)

    def __init__(self, markup: Html, acts: EventHandler | None = None) -> None:
        """Show `markup`; `acts` gets the name of an act, and text by name."""
        super().__init__(markup=str(markup))
        if acts is not None:
            self.on_msg(lambda _view, content, _buffers: self._do(acts, content))

    def show(self, markup: Html, document: str = "") -> None:
        """Show other markup; only what differs is changed in the page.

        `document` is shown where the markup has a frame for it, and can run nothing.
        """
        self.document = document
        self.markup = str(markup)

    def _do(self, acts: EventHandler, content: Any) -> None:
        try:
            _tell(acts, content)
        finally:
            self.send({"done": True})


def _tell(acts: EventHandler, content: Any) -> None:
    """Hand on what a browser said, as text by name, whatever it said."""
    if not isinstance(content, Mapping) or not isinstance(content.get("act"), str):
        return
    given = content.get("given")
    found = given.items() if isinstance(given, Mapping) else ()
    acts(content["act"], {str(name): str(value) for name, value in found})
