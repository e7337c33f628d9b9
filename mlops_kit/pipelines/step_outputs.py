"""Store a finished step's outputs in a file beside its executed notebook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit import files
from mlops_kit.pipelines.values import Value

_OUTPUTS = "outputs.json"


def save(folder: Path, outputs: Mapping[str, Value], key: str) -> None:
    """Write a finished step's outputs beside its notebook."""
    stored = {name: value.to_json(folder) for name, value in outputs.items()}
    write_json(folder / _OUTPUTS, {"key": key, "outputs": stored})


def forget(folder: Path) -> None:
    """Remove what `save` wrote, so that a failing step leaves no old outputs."""
    (folder / _OUTPUTS).unlink(missing_ok=True)


def load(folder: Path) -> tuple[dict[str, Value], str] | None:
    """Return a finished step's outputs and cache key; None if any is missing."""
    try:
        stored = json.loads((folder / _OUTPUTS).read_bytes())
        found = {n: Value.from_json(value, folder) for n, value in stored["outputs"].items()}
        if any(value.file and not value.file.is_file() for value in found.values()):
            return None
        return found, str(stored["key"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file atomically."""
    files.write_whole(path, json.dumps(content, indent=1, sort_keys=True).encode())
