"""Reduce a cell's outputs to forms that are readable without a kernel."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from mlops_kit.formatting import joined
from mlops_kit.reporting.markdown import tame
from mlops_kit.reporting.notebooks.redaction import Redactor

SMALL_BYTES = 300
_PLOTLY = "application/vnd.plotly.v1+json"
_SCRAP = "application/scrapbook."
_IMAGES = ("image/png", "image/jpeg", "image/gif")
_TEXTS = ("text/plain", "text/markdown", "text/latex")
_ACTIVE_SVG = re.compile(r"(?i)<script|\son\w+\s*=|javascript:|<foreignobject|<!entity")
_OBJECT = re.compile(r"^<[\w.]+ object( at 0x…)?>$|^<[\w.]+ at 0x…>$|^Figure\(\{")


@dataclass(frozen=True)
class OutputSanitizer:
    """Keeps the readable forms of each output, up to `cap` bytes."""

    mask: Redactor
    picture: Callable[[Mapping[str, Any]], bytes]
    cap: int

    def outputs(self, outputs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return one cell's outputs, with the pieces of a log joined."""
        kept: list[dict[str, Any]] = []
        logs: dict[str, str] = {}
        for output in [*outputs, None]:
            if output and output.get("output_type") == "stream":
                name = output.get("name", "stdout")
                logs[name] = logs.get(name, "") + joined(output.get("text", ""))
                continue
            # How logs are cut and interleaved differs between runs.
            for name in sorted(logs, reverse=True):
                kept += self._log(name, logs[name])
            logs = {}
            if output:
                kept += (
                    self._error(output)
                    if output.get("output_type") == "error"
                    else self._data(output)
                )
        return kept

    def _log(self, name: str, text: str) -> list[dict[str, Any]]:
        text = self.mask(text, log=True)
        if len(text.encode()) > self.cap:
            text = note(text, "a log", f"over {self.cap} bytes") + "\n"
        lines = text.splitlines(keepends=True)
        return [{"output_type": "stream", "name": name, "text": lines}] if text else []

    def _error(self, output: Mapping[str, Any]) -> list[dict[str, Any]]:
        value = self.mask(joined(output.get("evalue", "")))
        trace = [self.mask(str(entry)) for entry in output.get("traceback", [])]
        if len("\n".join(trace).encode()) > self.cap:
            trace = [note("\n".join(trace), "a traceback", f"over {self.cap} bytes")]
        if len(value.encode()) > self.cap:
            value = note(value, "a message", f"over {self.cap} bytes")
        name = str(output.get("ename", ""))
        return [{"output_type": "error", "ename": name, "evalue": value, "traceback": trace}]

    def _data(self, output: Mapping[str, Any]) -> list[dict[str, Any]]:
        data = output.get("data") or {}
        metadata = output.get("metadata") or {}
        kept, notes = self._readable(data)
        for kind in [kind for kind in kept if not kind.startswith(_SCRAP)]:
            size = len(_json(kept[kind]))
            if size > self.cap:
                notes.append(note(kept.pop(kind), kind, f"over {self.cap} bytes"))
        if notes:
            text = "\n".join([*([kept["text/plain"]] if "text/plain" in kept else []), *notes])
            fits = len(_json(text)) <= self.cap
            kept["text/plain"] = text if fits else notes[-1]
        if not kept:
            return []
        safe: dict[str, Any] = {"output_type": output.get("output_type"), "data": _split(kept)}
        safe["metadata"] = {
            key: masked(value, self.mask)
            for key, value in metadata.items()
            if key == "scrapbook" or (key in kept and key in _IMAGES)
        }
        if safe["output_type"] == "execute_result":
            safe["execution_count"] = None
        return [safe]

    def _readable(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the forms to keep, and a note for each that is dropped without a substitute."""
        kept: dict[str, Any] = {}
        for kind, value in data.items():
            if kind in _TEXTS:
                text = self.mask(joined(value))
                kept[kind] = tame(text) if kind == "text/markdown" else text
            elif kind in _IMAGES and (image := _picture(joined(value), kind)):
                kept[kind] = image
            elif kind.startswith(_SCRAP):
                kept[kind] = masked(value, self.mask.places)
            elif kind == "application/json":
                kept[kind] = masked(value, self.mask)
        if _PLOTLY in data and "image/png" not in kept:
            kept["image/png"] = base64.b64encode(self.picture(_figure(data[_PLOTLY]))).decode()
        if _object(kept.get("text/plain", "")) and _PLOTLY in data:
            kept["text/plain"] = "plotly figure"
        if _shown(kept):
            return kept, []
        return self._instead(data, kept)

    def _instead(
        self, data: Mapping[str, Any], kept: dict[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        """Return a harmless SVG, the text of HTML, or a note for each dropped form."""
        svg = joined(data.get("image/svg+xml", ""))
        if svg and not _ACTIVE_SVG.search(svg):
            return {**kept, "image/svg+xml": self.mask(svg)}, []
        text = self.mask(html_text(joined(data.get("text/html", ""))))
        if text:
            return {**kept, "text/plain": text}, []
        dropped = sorted(set(data) - set(kept))
        return kept, [note(data[kind], kind, "needs a browser or a kernel") for kind in dropped]


def masked(value: Any, mask: Redactor) -> Any:
    """Return JSON with every text value masked; keys stay."""
    match value:
        case str():
            return mask(value)
        case dict():
            return {key: masked(entry, mask) for key, entry in value.items()}
        case list():
            return [masked(entry, mask) for entry in value]
        case _:
            return value


def size(output: Mapping[str, Any]) -> int:
    """Return the output's size in bytes."""
    return len(_json(output))


def indispensable(output: Mapping[str, Any]) -> bool:
    """Tell whether the output must stay: a published value, or an error."""
    scraps = any(kind.startswith(_SCRAP) for kind in output.get("data", ()))
    return scraps or output["output_type"] == "error"


def replaced(output: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return a note in the output's place."""
    line = note(output.get("data", output), "an output", reason)
    return {"output_type": "display_data", "data": {"text/plain": [line]}, "metadata": {}}


def note(value: object, what: str, reason: str) -> str:
    """Return the note for a dropped value: what, its size, its digest, and why."""
    raw = value.encode() if isinstance(value, str) else _json(value)
    digest = hashlib.sha256(raw).hexdigest()
    return f"[removed: {what}, {len(raw)} bytes, sha256:{digest}; {reason}]"


def html_text(markup: str) -> str:
    """Return the text of HTML, one line per block, cells separated."""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    lines = (" ".join(line.split()).strip(" |") for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    """Collects the text of HTML, without scripts and styles."""

    _BLOCKS = frozenset(
        [
            "p",
            "div",
            "tr",
            "br",
            "li",
            "ul",
            "ol",
            "table",
            "h1",
            "h2",
            "h3",
            "h4",
            "pre",
            "section",
            "details",
        ]
    )

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._silent = tag
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data.replace("\n", " "))


def _object(text: str) -> bool:
    """Tell whether a text is only an object's name, which says nothing."""
    return not text.strip() or bool(_OBJECT.match(text))


def _shown(kept: Mapping[str, Any]) -> bool:
    """Tell whether any form shows the content."""
    return any(kind != "text/plain" or not _object(kept[kind]) for kind in kept)


def _figure(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _picture(text: str, kind: str) -> str:
    """Return a picture's base64 on one line, a PNG without metadata; "" if it isn't base64."""
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return ""
    return base64.b64encode(_bare(raw) if kind == "image/png" else raw).decode()


def _bare(png: bytes) -> bytes:
    """Return a PNG without metadata chunks; a broken one unchanged."""
    kept, position = png[:8], 8
    while position + 12 <= len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        end = position + 12 + length
        kind = png[position + 4 : position + 8]
        if kind not in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf"):
            kept += png[position:end]
        position = end
    return kept if png[:8] == b"\x89PNG\r\n\x1a\n" and position == len(png) else png


def _split(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return texts as lists of lines, so that Git diffs them by line."""
    lines = (*_TEXTS, "image/svg+xml")
    return {k: v.splitlines(keepends=True) if k in lines else v for k, v in data.items()}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
