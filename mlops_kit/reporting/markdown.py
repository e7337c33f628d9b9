"""Turn text from data, Git and people into inert Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from mlops_kit.formatting import escape_markdown

_ALLOWED_TAG = r"/?(?:details|summary|br|sub|sup|b|i|em|strong|kbd)\s*/?>"
_TAG = re.compile(rf"<(?=[a-zA-Z/!?])(?!{_ALLOWED_TAG})", re.IGNORECASE)
_SCHEME = re.compile(r"^[^/?#]*?:")
escape = escape_markdown


def link(text: object, target: str) -> str:
    """Return a link, or only its text if the target isn't http, https or relative."""
    target = "".join(target.split())
    scheme = _SCHEME.match(html.unescape(target))
    if (scheme and scheme.group().lower() not in ("http:", "https:")) or target[:2] in (
        "//",
        "\\\\",
    ):
        return escape(text)
    safe = re.sub(
        r"[^\w./:?#&=%+~,@-]", lambda found: f"%{ord(found.group()):02X}", target, flags=re.A
    )
    return f"[{escape(text)}]({safe})"


def table(header: Sequence[object], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """Return a Markdown table of escaped cells; only the first `left` columns align left."""
    marks = ["---" if column < left else "---:" for column in range(len(header))]
    lines = [[escape(cell) for cell in header], marks, *([escape(c) for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def remark(*sentences: str) -> str:
    """Return a paragraph under a table; empty without sentences."""
    said = "; ".join(filter(None, sentences))
    return f"\n{escape(said)}\n" if said else ""


def tame(text: str) -> str:
    """Return foreign Markdown without active HTML and without links that run code."""
    text = _TAG.sub("&lt;", text)
    return re.sub(r"(?i)(\]\(\s*|\]:\s*)(?:javascript|data|vbscript)\s*:", r"\1#", text)
