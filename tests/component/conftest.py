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
def kernel(zygote: provisioner.Zygote, tmp_path: Path) -> Callable[..., Any]:
    """Make kernel managers whose working directory is the test's folder, if none is given."""
    return lambda threads=1, folder=tmp_path: provisioner.manager(
        zygote=zygote, cwd=folder, threads=threads
    )


@pytest.fixture(scope="session")
def watched_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with yesterday's traffic; not to be changed."""
    return watched.made(tmp_path_factory.mktemp("watching") / "project")


@pytest.fixture
def make_world(watched_project: Path, tmp_path: Path) -> watched.MakeWorld:
    """Make a world, in a copy of the project, in which a version was just promoted."""
    return partial(watched.placed, watched_project, tmp_path / "project")
