"""HTML from tags and text: whatever isn't made here is escaped, in this one place."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

_SCHEME = re.compile(r"^[^/?#]*?:")
# Without an end tag.
_VOID = {"br", "input", "path", "line", "circle", "rect", "polyline", "polygon"}


class Html(str):
    """Text that is markup; only this module makes any."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """Return any text so that HTML shows it, and does nothing else."""
    if isinstance(value, Html):
        return value
    shown = "".join(each for each in str(value) if each.isprintable() or each in "\n\t")
    return Html(html.escape(shown))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element; `class_` is class, `data_act` is data-act, None and False are left out.

    What is neither text nor a number in an attribute becomes JSON. A `href` other than http,
    https or a relative one is left out.
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{said}>" if name in ("br", "input") else f"<{name}{said}/>")
    return Html(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Html:
    """Return the children as markup, None left out."""
    return Html("".join(escaped(child) for child in children if child is not None))


def control(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element that takes the keyboard, and keeps its keys from the notebook."""
    # On a parent it is of no use: JupyterLab looks at the focused element alone.
    return tag(name, *children, **attributes, data_lm_suppress_shortcuts="true")


def link(text: object, href: str) -> Html:
    """Return a link, or the text alone where the address isn't http, https or relative."""
    return (
        tag("a", text, href=href, rel="noopener", target="_blank")
        if _is_safe(href)
        else (escaped(text))
    )


def table(
    caption: str, header: Iterable[object], rows: Iterable[Iterable[object]], **attributes: object
) -> Html:
    """Return a table whose first column names the rows."""
    head = tag("tr", *(tag("th", name, scope="col") for name in header))
    body = (
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    )
    said = tag("caption", caption)
    return tag("table", said, tag("thead", head), tag("tbody", *body), **attributes)


def folded(summary: object, *children: object, key: str = "") -> Html:
    """Return what a person can open; whether it is open is the browser's to remember."""
    return tag("details", control("summary", summary), *children, data_key=key or None)


def _is_safe(href: str) -> bool:
    address = "".join(html.unescape(href).split())
    scheme = _SCHEME.match(address)
    return not scheme or scheme.group().lower() in ("http:", "https:")


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False or (name == "href" and not _is_safe(str(value))):
        return ""
    if value is True:
        return f" {name}"
    text: Any = value if isinstance(value, str | int | float) else json.dumps(value)
    return f' {name}="{escaped(str(text))}"'
