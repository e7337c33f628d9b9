"""A registry's store that was migrated once, copied into each project that a test makes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_kit import lock
from mlops_kit.models.registry import Registry

NAMES = ("mlflow.db", "mlflow.db.ready")
Prepare = Callable[[Path], None]


def prepare_with(factory: pytest.TempPathFactory, worker: str) -> Prepare:
    """Return what gives a new project such a store; `worker` is xdist's name of this process."""
    base = factory.getbasetemp()
    migrated = (base if worker == "master" else base.parent) / "migrated"

    def prepare(project: Path) -> None:
        migrated.mkdir(exist_ok=True)
        with lock.hold(migrated / "lock", math.inf):
            Registry(f"sqlite:///{migrated / NAMES[0]}").prepare()
        state = project / ".mlops-kit"
        state.mkdir(exist_ok=True)
        for name in NAMES:
            shutil.copyfile(migrated / name, state / name)

    return prepare
