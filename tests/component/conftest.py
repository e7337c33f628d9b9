"""Kernels that start at once: one zygote for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.pipelines import kernels


@pytest.fixture(scope="session")
def zygote() -> Iterator[kernels.Zygote]:
    """A zygote that has imported only what every kernel needs."""
    with kernels.Zygote.start(("IPython.display",)) as started:
        yield started


@pytest.fixture
def kernel(zygote: kernels.Zygote, tmp_path: Path) -> Callable[[int], Any]:
    """Make kernel managers whose working folder is the test's."""
    return lambda threads=1: kernels.manager(zygote=zygote, cwd=tmp_path, threads=threads)
