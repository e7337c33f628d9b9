"""Find a step that already ran with the same notebook, parameters, code and environment."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlops_kit.pipelines import sources, step_outputs, values
from mlops_kit.pipelines.definition import Step
from mlops_kit.pipelines.values import Value


class Cache:
    """Maps the key of each finished step to its folder."""

    def __init__(self, folder: Path, *, project: Path, salt: str = "") -> None:
        """`salt` holds anything else that a result depends on, such as settings."""
        self.folder = folder
        self.project = project
        self.salt = salt

    def key(self, step: Step, notebook: Path, given: Mapping[str, Any]) -> str:
        """Return the key of a step with typed parameters: a SHA-256 in hex."""
        content = {
            "notebook": sources.source_digest(notebook),
            "sources": sources.of(notebook, self.project, {}).digest,
            "parameters": {n: _content(value, notebook.parent) for n, value in given.items()},
            "outputs": {name: kind.__name__ for name, kind in step.outputs.items()},
            "kit": sources.kit_digest(),
            "environment": environment_digest(),
            "salt": self.salt,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def store(self, key: str, folder: Path) -> None:
        """Remember the folder of a finished step."""
        relative = os.path.relpath(folder, self.folder)
        step_outputs.write_json(self.folder / f"{key}.json", {"folder": relative})

    def find(self, key: str) -> tuple[Path, dict[str, Value]] | None:
        """Return the folder and outputs of the step with this key; None if a file changed."""
        try:
            stored = json.loads((self.folder / f"{key}.json").read_bytes())
            folder = (self.folder / stored["folder"]).resolve()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = step_outputs.load(folder)
        if found is None or found[1] != key or not _is_whole(found[0]):
            return None
        return folder, found[0]


def bring_over(source: Path, outputs: Mapping[str, Value], folder: Path) -> dict[str, Value]:
    """Copy a cached step's outputs into an execution's own folder, and return them."""
    if folder != source:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        name: value
        if value.file is None
        else values.keep_file(value.file, folder / value.file.name)
        for name, value in outputs.items()
    }


@cache
def environment_digest() -> str:
    """Return the digest of the interpreter and the names and versions of all distributions."""
    folder = Path(sysconfig.get_path("purelib"))
    installed = sorted(
        p.name for p in folder.glob("*.dist-info") if not p.name.startswith("mlops_kit")
    )
    content = json.dumps([sys.version, platform.machine(), installed])
    return hashlib.sha256(content.encode()).hexdigest()


def _content(value: Any, folder: Path) -> Any:
    """Return a parameter's value; for a path, the digests of the files that it names."""
    if isinstance(value, list):
        return [_content(item, folder) for item in value]
    found = [sources.content_digest(path) for path in sources.paths_in(value, folder)]
    return found or value


def _is_whole(outputs: Mapping[str, Value]) -> bool:
    return all(
        value.file is None or values.file_digest(value.file) == value.digest
        for value in outputs.values()
    )
