"""Find what a step can read from its project: Python files, and the files that it names."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from mlops_kit import files as written
from mlops_kit import notebook_file, project_folder
from mlops_kit.errors import NotebookError
from mlops_kit.pipelines import values

_NOT_CODE = {"tests", "workflows", "node_modules", "__pycache__", "build", "dist"}
_NAME = "sources.json"
# Files of a folder that count; text that happens to name a larger one is no source of rows.
_MAX_FILES = 10_000


@dataclass(frozen=True)
class Sources:
    """SHA-256 digests by path: `code` is the project's Python files, `files` what a step names.

    Paths are relative to the project, and absolute outside it.
    """

    code: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The digest of all of them."""
        return _of_json([dict(self.code), dict(self.files)])

    def save(self, folder: Path) -> None:
        """Write them to a step's folder."""
        content = {"code": dict(self.code), "files": dict(self.files)}
        written.write_whole(folder / _NAME, json.dumps(content, indent=1, sort_keys=True).encode())

    @classmethod
    def load(cls, folder: Path) -> Sources | None:
        """Return what `save` wrote to a step's folder; None if it wrote nothing."""
        try:
            stored = json.loads((folder / _NAME).read_bytes())
            return cls(dict(stored["code"]), dict(stored["files"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def of(notebook: Path, project: Path, given: Mapping[str, Any]) -> Sources:
    """Return what a notebook reads from its project, and the files that its parameters name.

    A file counts as read if a cell or the project's code holds its name. Notebooks named that way,
    as in `%run helper.ipynb`, count with the files that they name. A name put together at run
    time, as by a glob, isn't seen.
    """
    code = {_shown(p, project): _digest(p) for p in _files(project) if p.suffix == ".py"}
    named = {_shown(path, project): _digest(path) for path in _named(notebook, project)}
    for value in given.values():
        for path in paths_in(value, notebook.parent):
            named[_shown(path, project)] = _digest(path)
    return Sources(code, named)


def kit_digest() -> str:
    """Return the digest of the kit's own Python files."""
    package = Path(__file__).parents[1]
    found = {_shown(p, package): _digest(p) for p in _files(package) if p.suffix == ".py"}
    return _of_json(found)


def source_digest(notebook: Path) -> str:
    """Return the digest of a notebook's cells, without outputs and metadata."""
    source = [
        (c["cell_type"], c.get("metadata", {}).get("tags"), notebook_file.source(c))
        for c in notebook_file.cells(notebook)
    ]
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


def paths_in(value: Any, folder: Path) -> Iterator[Path]:
    """Yield the files that a parameter names, by paths from a folder or from the project's.

    A folder stands for the files in it, unless it holds the given one.
    """
    if isinstance(value, list):
        for item in value:
            yield from paths_in(item, folder)
    elif isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value:
        path = project_folder.located(Path(value), folder)
        try:
            if path.is_file():
                yield path
            elif path.is_dir() and not folder.resolve().is_relative_to(path.resolve()):
                files = (each for each in path.rglob("*") if each.is_file())
                yield from sorted(islice(files, _MAX_FILES))
        except OSError:  # for instance a text that is too long for a name
            return


def _named(notebook: Path, project: Path) -> list[Path]:
    """Return the project's files whose names a notebook, or the project's code, holds."""
    every = _files(project)
    text = "\n".join(_read(path) for path in every if path.suffix == ".py") + _source(notebook)
    left = [path for path in every if path.suffix not in ("", ".py") and path != notebook]
    named: list[Path] = []
    while found := [path for path in left if path.name in text]:
        left = [path for path in left if path not in found]
        named += found
        for path in found:
            if path.suffix == ".ipynb":
                text += _source_if_readable(path)
    return named


def _files(root: Path) -> list[Path]:
    """Return the files of a project that may be part of a step's code."""
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        # A virtual environment inside the project belongs to the environment.
        names[:] = [
            name
            for name in names
            if name not in _NOT_CODE
            and not name.startswith(".")
            and not (Path(folder) / name / "pyvenv.cfg").exists()
        ]
        found += [path for file in files if (path := Path(folder) / file).is_file()]
    return sorted(found)


def content_digest(path: Path) -> str:
    """Return a file's digest. Reads the file once until it changes."""
    state = path.stat()
    return _read_once(path, (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=16_384)
def _read_once(path: Path, _state: tuple[int, ...]) -> str:
    return values.file_digest(path)


def _digest(path: Path) -> str:
    """Return a file's digest; a notebook's without outputs."""
    if path.suffix == ".ipynb":
        try:
            return source_digest(path)
        except NotebookError:  # a step that reads it will say so
            pass
    return content_digest(path)


def _shown(path: Path, project: Path) -> str:
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _source(notebook: Path) -> str:
    return "\n".join(map(notebook_file.source, notebook_file.cells(notebook)))


def _source_if_readable(notebook: Path) -> str:
    try:
        return _source(notebook)
    except NotebookError:
        return ""


def _of_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
