"""Make a new project from the notebooks and pipelines that come with the kit."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlops_kit.errors import ProjectError
from mlops_kit.project.settings import FILE

_IGNORED = """.mlops-kit/
.venv/
__pycache__/
.ipynb_checkpoints/
notebooks/debug-*.ipynb
"""


def template() -> Path:
    """Return the folder that a new project is made from: in the wheel, or the repository's own."""
    packed = Path(__file__).parents[1] / "template"
    return packed if packed.is_dir() else Path(__file__).parents[2]


def create(folder: Path) -> list[str]:
    """Make a project in a folder that is empty or not there, and return its files.

    Raises ProjectError for a folder with something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{str(folder)!r} isn't empty; name an empty folder or a new one.")
    source = template()
    folder.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "debug-*")
    for name in ("notebooks", "workflows"):
        shutil.copytree(source / name, folder / name, ignore=ignored)
    shutil.copyfile(source / FILE, folder / FILE)
    (folder / ".gitignore").write_text(_IGNORED)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
