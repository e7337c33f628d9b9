"""A path counts from where one stands, or from the project's folder if only that has the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_kit.examples.fraud import data
from mlops_kit.project_folder import FILE, absolute_uri, find_project, located
from tests.failures import fails


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project" / "notebooks"
    folder.mkdir(parents=True)
    (folder.parent / FILE).touch()
    monkeypatch.chdir(folder)
    return folder


def test_the_nearer_file_counts(notebooks: Path) -> None:
    path = Path("rows.csv")
    assert located(path) == path
    (notebooks.parent / path).touch()
    assert located(path) == notebooks.parent / path
    assert located(path, notebooks / "deep") == notebooks.parent / path
    (notebooks / path).touch()
    assert located(path) == path
    assert located(path, notebooks) == notebooks / path
    assert located(notebooks.parent / path) == notebooks.parent / path
    assert located(Path("x" * 300)) == Path("x" * 300), "too long for a file's name"


def test_the_kits_readers_look_in_the_project_too(notebooks: Path) -> None:
    (notebooks.parent / "rows.csv").touch()
    with fails("data", notebooks.parent / "rows.csv"):
        data.load("rows.csv")


def test_a_project_needs_no_settings(tmp_path: Path) -> None:
    for name in ("notebooks", "workflows"):
        (tmp_path / name).mkdir()
    assert find_project(tmp_path / "notebooks") == tmp_path
    inner = tmp_path / "notebooks" / "own"
    inner.mkdir()
    (inner / FILE).touch()
    assert find_project(inner) == inner


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("../ops.git", "/p/ops.git"),
        ("sqlite:///x.db", "sqlite:////p/q/x.db"),
        ("", ""),
        ("/ops.git", "/ops.git"),
        ("git@host:x/y.git", "git@host:x/y.git"),
        ("https://host/x.git", "https://host/x.git"),
        ("sqlite:////x.db", "sqlite:////x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_a_relative_uri_counts_from_the_project(uri: str, expected: str) -> None:
    assert absolute_uri(uri, Path("/p/q")) == expected
