"""Finds a step that ran before with the same content: notebook, parameters, code, environment."""

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

from mlops_kit import notebook_file
from mlops_kit.errors import NotebookError
from mlops_kit.pipelines import step_outputs, values
from mlops_kit.pipelines.definition import Step
from mlops_kit.pipelines.values import Value

_NOT_CODE = {"tests", "workflows", "node_modules", "__pycache__", "build", "dist"}


class Cache:
    """Keys of finished steps, and where each one's folder is."""

    def __init__(self, folder: Path, *, project: Path, salt: str = "") -> None:
        """`salt` stands for whatever else a step's result depends on, such as settings."""
        self.folder = folder
        self.project = project
        self.salt = salt

    def key(self, step: Step, notebook: Path, given: Mapping[str, Any]) -> str:
        """Return the key of a step with typed parameters: a SHA-256 in hex."""
        content = {
            "notebook": source_digest(notebook),
            "files": files_digest(notebook, self.project),
            "parameters": {name: _content(value) for name, value in given.items()},
            "outputs": {name: kind.__name__ for name, kind in step.outputs.items()},
            "code": code_digest(self.project),
            "environment": environment_digest(),
            "salt": self.salt,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def store(self, key: str, folder: Path) -> None:
        """Remember the folder of a finished step."""
        relative = os.path.relpath(folder, self.folder)
        step_outputs.write_json(self.folder / f"{key}.json", {"folder": relative})

    def find(self, key: str) -> tuple[Path, dict[str, Value]] | None:
        """Return folder and outputs of a step that finished under this key, if still whole."""
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
    """Return a cached step's outputs as files of this execution, so that it stands alone."""
    if folder != source:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        name: value
        if value.file is None
        else values.keep_file(value.file, folder / value.file.name)
        for name, value in outputs.items()
    }


def source_digest(notebook: Path) -> str:
    """Return the digest of a notebook's cells, without outputs and metadata."""
    source = [
        (c["cell_type"], c.get("metadata", {}).get("tags"), notebook_file.source(c))
        for c in notebook_file.cells(notebook)
    ]
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


def files_digest(notebook: Path, project: Path) -> str:
    """Return the digest of the project's files that a step names, in its cells or its code.

    Notebooks that it names, as in `%run helper.ipynb`, count with the files that they name. A
    file whose name is put together at run time, as by a glob, isn't seen.
    """
    text = "\n".join(_read(path) for path in _files(project) if path.suffix == ".py")
    text += _source(notebook)
    left = [path for path in _files(project) if path.suffix not in ("", ".py")]
    named: dict[str, str] = {}
    while found := [path for path in left if path.name in text]:
        left = [path for path in left if path not in found]
        for path in found:
            try:
                text += _source(path) if path.suffix == ".ipynb" else ""
                is_notebook = path.suffix == ".ipynb"
            except NotebookError:
                is_notebook = False  # whether it can be read is the step's own concern
            named[str(path.relative_to(project))] = (
                source_digest(path) if is_notebook else values.file_digest(path)
            )
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def code_digest(project: Path) -> str:
    """Return the digest of the kit's Python files and of the project's own."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for root in dict.fromkeys((package, project)):
        for path in (each for each in _files(root) if each.suffix == ".py"):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def environment_digest() -> str:
    """Return the digest of the interpreter and the names and versions of all distributions."""
    folder = Path(sysconfig.get_path("purelib"))
    installed = sorted(
        p.name for p in folder.glob("*.dist-info") if not p.name.startswith("mlops_kit")
    )
    content = json.dumps([sys.version, platform.machine(), installed])
    return hashlib.sha256(content.encode()).hexdigest()


def _files(root: Path) -> list[Path]:
    """Return the files of a project, without those that are no part of a step's code."""
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        # A virtual environment inside the project is the environment, not its code.
        names[:] = [
            name
            for name in names
            if name not in _NOT_CODE
            and not name.startswith(".")
            and not (Path(folder) / name / "pyvenv.cfg").exists()
        ]
        found += [path for file in files if (path := Path(folder) / file).is_file()]
    return sorted(found)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _source(notebook: Path) -> str:
    return "\n".join(map(notebook_file.source, notebook_file.cells(notebook)))


def _content(value: Any) -> Any:
    """Return a parameter by what it means: the path of a file by that file's content."""
    if isinstance(value, list):
        return [_content(item) for item in value]
    if isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value:
        path = Path(value)
        if path.is_file():
            return values.file_digest(path)
    return value


def _is_whole(outputs: Mapping[str, Value]) -> bool:
    return all(
        value.file is None or values.file_digest(value.file) == value.digest
        for value in outputs.values()
    )
