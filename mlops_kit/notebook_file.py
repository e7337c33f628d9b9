"""The one reader of notebook files: their content, cells, tags and status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import NotebookError
from mlops_kit.formatting import did_you_mean, joined

# Papermill's tags: the cell it writes the parameters into, and the two it adds around a failure.
INJECTED = "injected-parameters"
_PYTHON = {"", "python", "python3", "ipython"}
ERROR_MARKER = "papermill-error-cell-tag"


class NotebookFormatError(ValueError):
    """The file is JSON, but not a notebook of format 4."""


def content(path: Path) -> dict[str, Any]:
    """Read a notebook; raises NotebookError for a missing file, and as `parsed` does."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        near = did_you_mean(path.name, [each.name for each in path.parent.glob("*.ipynb")])
        raise NotebookError(f"There is no notebook {str(path)!r}.{near}") from error
    except OSError as error:
        raise NotebookError(f"The notebook {str(path)!r} can't be read: {error}.") from error
    return parsed(raw, str(path))


def parsed(raw: bytes, name: str) -> dict[str, Any]:
    """Return the notebook in these bytes, its cells in the shape that the kit relies on.

    Raises NotebookError, naming `name`, for anything but format 4 in UTF-8.
    """
    try:
        # Strictly, as Jupyter and papermill do: neither reads a byte order mark or UTF-16.
        found: dict[str, Any] = json.loads(raw.decode("utf-8"))
        if found["nbformat"] != 4 or not all(_is_cell(cell) for cell in found["cells"]):
            raise NotebookFormatError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotebookError(
            f"{name!r} is not a Jupyter notebook of format 4 (JSON with cells): {error!r}."
        ) from error
    return found


def cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook; raises as `content` does."""
    return list(content(path)["cells"])


def check_language(notebook: Mapping[str, Any], path: Path) -> None:
    """Refuse a notebook of another language; one that names none is Python.

    Raises NotebookError.
    """
    metadata = notebook.get("metadata", {})
    for part, field in (("kernelspec", "language"), ("language_info", "name")):
        found = metadata.get(part) if isinstance(metadata, dict) else None
        language = found.get(field) if isinstance(found, dict) else None
        if isinstance(language, str) and language.lower() not in _PYTHON:
            raise NotebookError(
                f"{path.name} is written in {language!r}; steps run Python notebooks only.",
                code="notebook.language",
            )


def source(cell: Mapping[str, Any]) -> str:
    """Return a cell's source as one text."""
    return joined(cell["source"])


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Return a cell's tags."""
    return list(cell.get("metadata", {}).get("tags", ()))


def has_tag(cell: Mapping[str, Any], tag: str) -> bool:
    """Tell whether a cell has a tag."""
    return tag in tags(cell)


def status(cell: Mapping[str, Any]) -> str:
    """Return the status that papermill gave a cell; empty without one."""
    return str(cell.get("metadata", {}).get("papermill", {}).get("status", ""))


def _is_cell(cell: Any) -> bool:
    """Tell whether a cell has that shape; KeyError and TypeError mean no, too."""
    if not isinstance(cell, dict) or not isinstance(cell.get("metadata", {}), dict):
        return False
    text, metadata = cell["source"], cell.get("metadata", {})
    return (
        isinstance(cell["cell_type"], str)
        and isinstance(text, (str, list))
        and all(isinstance(line, str) for line in text)
        and isinstance(metadata.get("tags", []), list)
        and isinstance(metadata.get("papermill", {}), dict)
        and all(isinstance(each, dict) for each in cell.get("outputs", []))
        and all(isinstance(each.get("data", {}), dict) for each in cell.get("outputs", []))
    )
