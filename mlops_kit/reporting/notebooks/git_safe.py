"""Make an executed notebook safe for Git: the same bytes for the same work.

Masks what differs between two runs and keeps what a reviewer reads, as text, Markdown and pictures
that need no kernel. Nothing in the result runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_kit import notebook_file
from mlops_kit.errors import NotebookError
from mlops_kit.notebook_file import ERROR_MARKER, INJECTED
from mlops_kit.reporting.notebooks import outputs
from mlops_kit.reporting.notebooks.redaction import MachineIdentity, Redactor

MAX_OUTPUT_BYTES = 64_000
MAX_NOTEBOOK_BYTES = 512_000
# Papermill's own cells, whose random ids become these.
_PAPERMILL_IDS = {INJECTED: INJECTED, ERROR_MARKER: "failure"}
_KEPT_OF_CELL = ("tags", "jupyter", "name", "slideshow", "mlops_kit")
_KEPT_OF_PAPERMILL = ("parameters", "status", "exception")
_MOMENT = re.compile(
    r"(?i)(^|_)(times?|timestamps?|date|durations?|elapsed|seconds|started|ended|finished|pid|host|hostname|user)$"
)
_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


def git_safe(
    notebook: Path | Mapping[str, Any],
    *,
    machine: MachineIdentity | None = None,
    picture: Callable[[Mapping[str, Any]], bytes] | None = None,
    output_cap: int = MAX_OUTPUT_BYTES,
    notebook_cap: int = MAX_NOTEBOOK_BYTES,
) -> bytes:
    """Return the notebook in its form for Git, as bytes; idempotent.

    Args:
        notebook: a file, or a notebook's JSON.
        machine: whose paths and names to hide; by default this machine's.
        picture: draws a plotly figure as PNG.
        output_cap: bytes an output may have.
        notebook_cap: bytes that all outputs together may have.

    Raises NotebookError for anything but a notebook of format 4.
    """
    raw = _read(notebook)
    mask = Redactor(machine or MachineIdentity.here(), tuple(_moments(raw)))
    keep = outputs.OutputSanitizer(mask, picture or _drawn, max(output_cap, outputs.SMALL_BYTES))
    cells = [_cell(cell, keep) for cell in raw["cells"]]
    _name(cells)
    _cap(cells, notebook_cap)
    safe = {
        "cells": cells,
        "metadata": _notebook_metadata(raw.get("metadata") or {}, mask),
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(safe, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _drawn(figure: Mapping[str, Any]) -> bytes:
    # Imported late: numpy alone takes a tenth of a second, and few notebooks lack a picture.
    from mlops_kit.reporting.charts import plotly_pictures

    return plotly_pictures.picture(figure)


def _read(notebook: Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return the notebook as strict JSON that is valid by Jupyter's schema."""
    where = str(notebook) if isinstance(notebook, Path) else "The notebook"
    given = notebook_file.content(notebook) if isinstance(notebook, Path) else notebook
    try:
        # Half a surrogate pair and NaN are legal in Python's JSON and nowhere else.
        text = json.dumps(given, default=str, ensure_ascii=False).encode("utf-8", "replace")
        raw: dict[str, Any] = json.loads(text, parse_constant=str)
        _validate(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise NotebookError(
            f"{where} is not a notebook: {reason}. Open it in JupyterLab and save it."
        ) from error
    return raw


def _validate(raw: Mapping[str, Any]) -> None:
    """Raise ValueError for a notebook that breaks format 4; unknown fields don't count."""
    from mlops_kit.kernels.preload import lazy_rfc3987

    lazy_rfc3987()
    import nbformat

    try:
        # Against 4.4: in 4.5 a missing id is an error, and ids are only given later.
        nbformat.validate(raw, version=4, version_minor=4, relax_add_props=True)
    except nbformat.ValidationError as error:
        raise ValueError(error.message) from error


def _moments(raw: Mapping[str, Any]) -> Iterable[datetime]:
    """Yield when the run started, ended and executed each cell."""
    papermill = (raw.get("metadata") or {}).get("papermill") or {}
    texts = [papermill.get("start_time"), papermill.get("end_time")]
    for cell in raw["cells"]:
        texts += ((cell.get("metadata") or {}).get("execution") or {}).values()
    for text in texts:
        try:
            moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        yield moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _cell(cell: Mapping[str, Any], keep: outputs.OutputSanitizer) -> dict[str, Any]:
    metadata = cell.get("metadata") or {}
    source = notebook_file.source(cell)
    tags = metadata.get("tags") or []
    if any(tag in _PAPERMILL_IDS for tag in tags):
        source = keep.mask.places(source)
    safe: dict[str, Any] = {
        "id": _given(cell.get("id"), tags),
        "cell_type": cell.get("cell_type"),
        "metadata": _cell_metadata(metadata, keep.mask),
        "source": source.splitlines(keepends=True),
    }
    if safe["cell_type"] == "code":
        safe["execution_count"] = None
        safe["outputs"] = keep.outputs(cell.get("outputs") or [])
    elif cell.get("attachments"):
        safe["attachments"] = cell["attachments"]
    return safe


def _given(name: object, tags: Iterable[str]) -> str:
    """Return the cell's own id, or "" for none; papermill's cells get a random one each run."""
    given = name if isinstance(name, str) and _ID.match(name) else ""
    ours = next((_PAPERMILL_IDS[tag] for tag in tags if tag in _PAPERMILL_IDS), given)
    return given if re.fullmatch(rf"{re.escape(ours)}(-\d+)*", given) else ours


def _cell_metadata(metadata: Mapping[str, Any], mask: Redactor) -> dict[str, Any]:
    kept = {key: metadata[key] for key in _KEPT_OF_CELL if key in metadata}
    papermill = {
        k: v for k, v in (metadata.get("papermill") or {}).items() if k in _KEPT_OF_PAPERMILL
    }
    # "pending" and "no exception" are every template cell's defaults.
    papermill = {k: v for k, v in papermill.items() if v not in (None, False, "pending")}
    safe: dict[str, Any] = _timeless(
        {**kept, **({"papermill": papermill} if papermill else {})}, mask
    )
    return safe


def _notebook_metadata(metadata: Mapping[str, Any], mask: Redactor) -> dict[str, Any]:
    kernel = metadata.get("kernelspec") or {}
    language = (metadata.get("language_info") or {}).get("name")
    kept = {key: metadata[key] for key in ("title", "mlops_kit") if key in metadata}
    if kernel:
        kept["kernelspec"] = {
            k: kernel[k] for k in ("display_name", "language", "name") if k in kernel
        }
    if language:
        kept["language_info"] = {"name": language}
    papermill = metadata.get("papermill") or {}
    papermill = {k: papermill[k] for k in ("parameters", "exception") if papermill.get(k)}
    safe: dict[str, Any] = _timeless(kept, mask)
    if papermill:
        # Parameters keep their names: a parameter may well be called `date`.
        safe["papermill"] = outputs.masked(papermill, mask.places)
    return safe


def _timeless(value: Any, mask: Redactor) -> Any:
    """Return metadata masked, without when, where and by whom the notebook ran."""
    match value:
        case dict():
            return {k: _timeless(v, mask) for k, v in value.items() if not _MOMENT.search(k)}
        case list():
            return [_timeless(entry, mask) for entry in value]
        case _:
            return outputs.masked(value, mask)


def _name(cells: list[dict[str, Any]]) -> None:
    """Give every cell a unique id: its own, else one made from its content."""
    given = {cell["id"] for cell in cells}
    taken: set[str] = set()
    for cell in cells:
        name = cell["id"]
        if not name:
            content = json.dumps([cell["cell_type"], cell["source"]])
            name = "cell-" + hashlib.sha256(content.encode()).hexdigest()[:8]
        number, unique = 1, name
        while unique in taken or (number > 1 and unique in given):
            number += 1
            unique = f"{name[:58]}-{number}"
        taken.add(unique)
        cell["id"] = unique


def _cap(cells: Iterable[Mapping[str, Any]], cap: int) -> None:
    """Replace outputs, in reading order, by a line each once they exceed `cap` bytes together."""
    room = cap
    for cell in cells:
        found = cell.get("outputs", [])
        for position, output in enumerate(found):
            size = outputs.size(output)
            if size <= outputs.SMALL_BYTES or outputs.indispensable(output):
                continue
            if size > room:
                found[position] = outputs.replaced(output, f"over {cap} bytes in the notebook")
            else:
                room -= size
