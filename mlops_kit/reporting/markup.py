"""Build HTML from tags and text; everything not built here is escaped, in this one place."""

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
    """Markup; only this module creates it."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """Return text as inert markup: escaped, without invisible control characters."""
    if isinstance(value, Html):
        return value
    shown = "".join(each for each in str(value) if each.isprintable() or each in "\n\t")
    return Html(html.escape(shown))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element with escaped children and attributes.

    `class_` becomes class, `data_act` data-act. Attributes that are None or False are left out, and
    so is a `href` that isn't http, https or relative. Other values than text and numbers become
    JSON.
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{said}>" if name in ("br", "input") else f"<{name}{said}/>")
    return Html(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Html:
    """Return the children as markup, without None."""
    return Html("".join(escaped(child) for child in children if child is not None))


def control(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element that takes focus and keeps its keys from the notebook."""
    # No use on a parent: JupyterLab checks only the focused element.
    return tag(name, *children, **attributes, data_lm_suppress_shortcuts="true")


def link(text: object, href: str) -> Html:
    """Return a link, or only its text if the address isn't http, https or relative."""
    return (
        tag("a", text, href=href, rel="noopener", target="_blank")
        if _is_safe(href)
        else (escaped(text))
    )


def table(
    caption: str, header: Iterable[object], rows: Iterable[Iterable[object]], **attributes: object
) -> Html:
    """Return a table whose first column holds the row headers."""
    head = tag("tr", *(tag("th", name, scope="col") for name in header))
    body = (
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    )
    said = tag("caption", caption)
    return tag("table", said, tag("thead", head), tag("tbody", *body), **attributes)


def folded(summary: object, *children: object, key: str = "") -> Html:
    """Return a foldable section; the browser remembers whether it is open."""
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
