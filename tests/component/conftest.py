"""What the tests of a process share: one zygote, so that kernels start at once, and one rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.kernels import provisioner
from tests import watched


@pytest.fixture(scope="session")
def zygote() -> Iterator[provisioner.Zygote]:
    """A zygote that has imported only what every kernel needs."""
    with provisioner.Zygote.start(("IPython.display",)) as started:
        yield started


@pytest.fixture
def kernel(zygote: provisioner.Zygote, tmp_path: Path) -> Callable[[int], Any]:
    """Make kernel managers whose working folder is the test's."""
    return lambda threads=1: provisioner.manager(zygote=zygote, cwd=tmp_path, threads=threads)


@pytest.fixture(scope="session")
def watched_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with yesterday's traffic; not to be changed."""
    return watched.made(tmp_path_factory.mktemp("watching") / "project")


@pytest.fixture
def make_world(watched_project: Path, tmp_path: Path) -> watched.MakeWorld:
    """Make a world, in a copy of the project, in which a version was just promoted."""
    return partial(watched.placed, watched_project, tmp_path / "project")
