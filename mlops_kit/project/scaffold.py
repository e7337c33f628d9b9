"""Make a project, or add a model to one: from the template, or for the rows that somebody has."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_kit.errors import ProjectError
from mlops_kit.project import table_files, table_notebooks, table_settings
from mlops_kit.project_folder import FILE

if TYPE_CHECKING:
    from mlops_kit.tables.guessing import Guess
    from mlops_kit.tables.roles import Roles

_IGNORED = """.mlops-kit/
.venv/
__pycache__/
.ipynb_checkpoints/
notebooks/debug-*.ipynb
"""
# A name of Git, Argo and MLflow, and a word of Python's with '_'.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# The defaults of these parameters in the template's notebooks, as JSON spells them.
_MODEL = re.compile(r'(model: str = \\")[a-z][^"]*\\"')
_PIPELINE = re.compile(r'(pipeline: str = \\")[^"]*\\"')
_STEPS = ("validate_data", "train", "evaluate")
_SHARED = ("promote", "watch_rollout")
_PAGES = ("panel", "pipeline")


@dataclass(frozen=True)
class Made:
    """What was made: a project's folder, its new files, the pipeline to run, and the guesses."""

    folder: Path
    files: tuple[str, ...]
    pipeline: str
    guess: Guess | None = None


def template() -> Path:
    """Return the folder that a new project is made from: in the wheel, or the repository's own."""
    packed = Path(__file__).parents[1] / "template"
    return packed if packed.is_dir() else Path(__file__).parents[2]


def create(folder: Path) -> list[str]:
    """Make a project in a folder that is empty or not there, and return its files.

    Raises ProjectError for a folder with something in it.
    """
    _check_empty(folder)
    source = template()
    folder.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "debug-*")
    for name in ("notebooks", "workflows"):
        shutil.copytree(source / name, folder / name, ignore=ignored)
    shutil.copyfile(source / FILE, folder / FILE)
    (folder / ".gitignore").write_text(_IGNORED)
    return _files(folder)


def create_for(folder: Path, name: str, source: str, roles: Roles) -> Made:
    """Make a project for the rows of a source: its table, notebooks, pipeline and settings.

    Args:
        folder: empty or not there.
        name: of the model, and of its table.
        source: as `read` takes it.
        roles: what is known of the columns; the rest is guessed.

    Raises ProjectError for a folder with something in it or a name that can't be one, DataError
    for a source that can't be read, and ParameterError for a role that names no column.
    """
    from mlops_kit.tables.guessing import guess

    _check_name(name)
    _check_empty(folder)
    guessed = guess(source, name, roles)
    pages = template()
    for room in ("notebooks", "workflows/tables"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    shutil.copytree(pages / "workflows" / "gitops", folder / "workflows" / "gitops")
    text = table_settings.settings(guessed, (pages / FILE).read_text())
    (folder / FILE).write_text(text)
    (folder / ".gitignore").write_text(_IGNORED)
    _write_model(folder, guessed, "prod", _data(source, folder), suffix="")
    for page in _PAGES:
        text = (pages / "notebooks" / f"{page}.ipynb").read_text()
        named = _PIPELINE.sub(rf'\1{name}-training\\"', text)
        (folder / "notebooks" / f"{page}.ipynb").write_text(named)
    return Made(folder, tuple(_files(folder)), f"{name}-training", guessed)


def add(folder: Path, name: str, source: str, roles: Roles) -> Made:
    """Add a model for the rows of a source to a project, in an environment of its own.

    Raises ProjectError where a file of it is there already, and as `create_for`.
    """
    from mlops_kit.tables.guessing import guess

    _check_name(name)
    word = name.replace("-", "_")
    made = [
        folder / "workflows" / "tables" / f"{word}.py",
        folder / "workflows" / f"{word}_training.py",
        *(folder / "notebooks" / f"{step}_{word}.ipynb" for step in _STEPS),
    ]
    there = [str(path.relative_to(folder)) for path in made if path.exists()]
    if there:
        raise ProjectError(f"{name!r} has {there} already; name another model, or remove them.")
    guessed = guess(source, name, roles)
    before = set(_files(folder))
    for room in ("notebooks", "workflows/tables"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    _write_model(folder, guessed, name, _data(source, folder), suffix=f"_{word}")
    _write_environment(folder, name)
    with (folder / FILE).open("a") as file:
        file.write(f"\n{table_settings.model_settings(guessed)}")
    return Made(folder, tuple(sorted(set(_files(folder)) - before)), f"{name}-training", guessed)


def _write_model(folder: Path, guessed: Guess, environment: str, data: str, suffix: str) -> None:
    """Write a model's table, notebooks and pipeline."""
    word = guessed.table.name.replace("-", "_")
    table = folder / "workflows" / "tables" / f"{word}.py"
    table.write_text(table_files.declaration(guessed))
    notebook = {step: f"{step}{suffix}.ipynb" for step in _STEPS}
    for step, text in table_notebooks.notebooks(guessed, data, environment).items():
        named = text.replace("{notebook}", notebook[step])
        (folder / "notebooks" / notebook[step]).write_text(named)
    for step in _SHARED:
        notebook[step] = f"{step}.ipynb"
        target = folder / "notebooks" / notebook[step]
        if not target.exists():
            text = (template() / "notebooks" / notebook[step]).read_text()
            target.write_text(_MODEL.sub(rf'\1{guessed.table.name}\\"', text))
    pipeline = folder / "workflows" / f"{word}_training.py"
    pipeline.write_text(table_files.workflow(guessed, data, notebook, environment))


def _write_environment(folder: Path, name: str) -> None:
    """Give a model an environment of its own, which serves nothing yet."""
    target = folder / "workflows" / "gitops" / "envs" / name / "release.yaml"
    if target.exists():
        return
    text = (template() / "workflows" / "gitops" / "envs" / "dev" / "release.yaml").read_text()
    text = text.replace("environment: dev", f"environment: {name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace("host: dev.local", f"host: {name}.local"))


def _data(source: str, folder: Path) -> str:
    """Return a source as a notebook names it: from its folder if it is inside the project.

    The URL of a database loses its password, and its file becomes absolute.
    """
    from mlops_kit.tables import sources

    if sources.is_sql(source):
        return sources.without_password(source)
    if "://" in source:
        return source
    path = Path(source).resolve()
    inside = path.is_relative_to(folder.resolve())
    return f"../{path.relative_to(folder.resolve()).as_posix()}" if inside else str(path)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > 40:
        raise ProjectError(
            f"The model's name is {name!r:.80}; expected up to 40 small letters, digits and '-', "
            "as in 'churn'."
        )


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{str(folder)!r} isn't empty; name an empty folder or a new one.")


def _files(folder: Path) -> list[str]:
    state = {".mlops-kit", ".git", ".venv"}
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in state
    )
