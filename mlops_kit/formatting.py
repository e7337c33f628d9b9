"""Format numbers and words for every message and table of the kit."""

from __future__ import annotations

import difflib
import html
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

_INPUT_CHARACTERS = 60
_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")
_LIST = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s|$)")


def number(value: float | None) -> str:
    """Return a number with three significant digits, or a dash if it isn't finite."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return an estimate with its interval, as value (low to high)."""
    return f"{number(value)} ({number(low)} to {number(high)})"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message that suggests the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def violations(details: Iterable[Mapping[str, Any]]) -> str:
    """Return pydantic's errors as one line: for each, the field, the rule and the value."""
    found = []
    for detail in details:
        where = ".".join(map(str, detail["loc"]))
        given = detail["input"]
        # reprlib cuts deep and long values, whose repr could be slow or raise.
        text = given if isinstance(given, str) else reprlib.repr(given)
        said = f"{detail['msg']}, got {text[:_INPUT_CHARACTERS]!r}"
        found.append(f"{where}: {said}" if where else said)
    return "; ".join(found)


def joined(text: object) -> str:
    """Return a notebook's text, which may be stored as a list of lines."""
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def escape_markdown(text: object) -> str:
    """Return the text escaped for Markdown and HTML, on one line.

    Pipes, line breaks, backticks, emphasis, links, HTML and invisible control characters lose
    their meaning; the result is safe in a table cell, a heading and an HTML attribute.
    """
    line = " ".join(str(text).split())
    line = "".join(character for character in line if character.isprintable())
    # GitHub turns even a bare address into a link.
    line = line.replace("://", ":\u200b//") if "://" in line else line
    line = html.escape(_SPECIAL.sub(r"\\\1", line))
    return _LIST.sub(r"\1\\\2", line)
