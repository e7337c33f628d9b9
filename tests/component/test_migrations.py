"""Stores that threads of one process make at the same time: alembic knows one migration."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from mlops_kit.models.registry import Registry
from mlops_kit.prediction_log.log import Observations


def test_threads_make_stores_at_once(tmp_path: Path) -> None:
    logs = [Observations(f"sqlite:///{tmp_path / f'{name}.db'}") for name in range(5)]
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path / "artifacts")
    makers = [*(log.prepare for log in logs), registry.prepare]
    start = Barrier(len(makers))

    def make(prepare: Callable[[], None]) -> None:
        start.wait(60)
        prepare()

    with ThreadPoolExecutor(len(makers)) as pool:
        list(pool.map(make, makers))
    assert registry.is_prepared()
    for log in logs:
        log.prepare()  # reads a store that is whole; else it says what is wrong
        log.close()
