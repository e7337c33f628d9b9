"""Find a project's folder, and the files that paths relative to it name."""

from __future__ import annotations

import re
from pathlib import Path

FILE = "mlops-kit.toml"
_SQLITE = "sqlite:///"
# A URL, `host:path`, `:memory:` or `file:…`.
_REMOTE = re.compile(r"[^/]*:")


def find_project(start: Path) -> Path:
    """Return the nearest folder, from `start` upwards, that holds a project.

    That is one with an mlops-kit.toml, else one with `notebooks/` and `workflows/`, else `start`.
    """
    above = (start, *start.parents)
    for folder in above:
        if (folder / FILE).is_file():
            return folder
    for folder in above:
        if (folder / "notebooks").is_dir() and (folder / "workflows").is_dir():
            return folder
    return start


def located(path: Path, folder: Path | None = None) -> Path:
    """Return what a path names from `folder`, or from the project's folder if only that has it.

    `folder` defaults to the working directory. A path that neither has counts from `folder`.
    """
    if path.is_absolute():
        return path
    here = folder or Path.cwd()
    found = here / path
    if not _exists(found):
        in_project = find_project(here) / path
        if _exists(in_project):
            return in_project
    return path if folder is None else found


def absolute_uri(uri: str, project: Path) -> str:
    """Return a path, or the URL of a SQLite file, that counts from the project if it is relative.

    Any other URL, and git's `host:path`, come back unchanged.
    """
    head, path = (_SQLITE, uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else ("", uri)
    if not path or path.startswith(("/", "~")) or _REMOTE.match(path):
        return uri
    return f"{head}{(project / path).resolve()}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # for instance a name that is too long
        return False
