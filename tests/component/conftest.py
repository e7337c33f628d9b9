"""Kernels that start at once: one zygote for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.kernels import provisioner


@pytest.fixture(scope="session")
def zygote() -> Iterator[provisioner.Zygote]:
    """A zygote that has imported only what every kernel needs."""
    with provisioner.Zygote.start(("IPython.display",)) as started:
        yield started


@pytest.fixture
def kernel(zygote: provisioner.Zygote, tmp_path: Path) -> Callable[[int], Any]:
    """Make kernel managers whose working folder is the test's."""
    return lambda threads=1: provisioner.manager(zygote=zygote, cwd=tmp_path, threads=threads)
