"""Measure how fast predictions and labels are stored, and what a look costs; print a table.

    python -m tests.benchmarks.observations [--sizes 100000 1000000] [--labelled 0.2]

Each size is a store of its own, made in a temporary folder: 100 requests a second, one row of 30
features each, a tenth of them to the candidate. A look is what a watcher asks each interval.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.prediction_log.log import Cursor, Label, Observations
from mlops_kit.prediction_log.prediction import Prediction

CHAMPION, CANDIDATE = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PAIR = ("fraud", "prod", CHAMPION, CANDIDATE)
START, RATE, BATCH = 1_700_000_000.0, 100, 2_000
FEATURES = np.random.default_rng(0).normal(size=(1_000, 30))
# What is measured, in the order of the table.
UNITS = {
    "predictions stored": "a second",
    "labels stored": "a second",
    "labelled rows read": "a second",
    "size of the file": "bytes a prediction",
    "blocks of the pair": "ms",
    "champion_blocks, newest hour": "ms",
    "coverage": "ms",
    "clients": "ms",
    "clients, again": "ms",
    "labelled, nothing new": "ms",
    "labelled, 100 new labels": "ms",
    "status": "ms",
}


def main() -> int:
    """Measure each size, and print the table."""
    options = argparse.ArgumentParser(prog="tests.benchmarks.observations")
    options.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--labelled", type=float, default=0.2, help="share of the predictions")
    chosen = options.parse_args()
    found = []
    for size in chosen.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measured(Path(folder), size, chosen.labelled))
    heads = [f"{size:,} predictions" for size in chosen.sizes]
    print(f"| | {' | '.join(heads)} | |\n|---|{'---:|' * len(heads)}---|")
    for name, unit in UNITS.items():
        print(f"| {name} | {' | '.join(_shown(each[name]) for each in found)} | {unit} |")
    return 0


def measured(folder: Path, size: int, share: float) -> dict[str, float]:
    """Return what one size takes."""
    file = folder / "observations.db"
    store = Observations(f"sqlite:///{file}")
    store.prepare()
    result = {"predictions stored": size / _seconds(store.add, _batches(size))}
    labels = [Label(str(n), 0, n % 500 == 0, START + n) for n in range(0, size, round(1 / share))]
    batches = (labels[n : n + BATCH] for n in range(0, len(labels), BATCH))
    result["labels stored"] = len(labels) / _seconds(store.label, batches)
    start = time.perf_counter()
    rows, after = _read(store, None)
    result["labelled rows read"] = rows / (time.perf_counter() - start)
    result["size of the file"] = file.stat().st_size / size
    changes = []
    for number in range(9):
        store.label([Label(str(500 * number + n), 0, 0, START) for n in range(1, 500, 5)])
        start = time.perf_counter()
        _, after = _read(store, after)
        changes.append((time.perf_counter() - start) * 1e3)
    result["labelled, 100 new labels"] = statistics.median(changes)
    before = START + size / RATE
    looks: dict[str, Callable[[], object]] = {
        "blocks of the pair": lambda: store.blocks(*PAIR),
        "champion_blocks, newest hour": lambda: store.champion_blocks(*PAIR[:3], before - 3600),
        "coverage": lambda: store.coverage(*PAIR[:3], before - 5),
        "clients": lambda: _fresh_clients(store),
        "clients, again": lambda: store.clients(*PAIR, 10),
        "labelled, nothing new": lambda: _read(store, after),
        "status": lambda: store.status(*PAIR[:2]),
    }
    result |= {name: _look(look) for name, look in looks.items()}
    store.close()
    return result


def _batches(size: int) -> Iterator[list[Prediction]]:
    for start in range(0, size, BATCH):
        yield [_prediction(number) for number in range(start, min(start + BATCH, size))]


def _prediction(number: int) -> Prediction:
    is_moved = number % 10 == 0
    return Prediction(
        id=str(number),
        time=START + number / RATE,
        model="fraud",
        environment="prod",
        revision="a" * 40,
        champion=CHAMPION,
        candidate=CANDIDATE,
        weight=10,
        role="candidate" if is_moved else "champion",
        version="2" if is_moved else "1",
        client=f"customer-{number % 2_003}",
        outcome="error" if number % 100 == 1 else "ok",
        latency_ms=float(number % 252),
        rows=1,
        features=FEATURES[number % 1_000].tobytes(),
        scores=b"" if number % 100 == 1 else np.float64(0.5).tobytes(),
        decisions=b"" if number % 100 == 1 else b"\0",
    )


def _read(store: Observations, after: Cursor | None) -> tuple[int, Cursor]:
    rows = 0
    while True:
        part = store.labelled(*PAIR[:3], before=1e12, after=after)
        rows, after = rows + len(part), part.cursor
        if part.is_last:
            return rows, after


def _fresh_clients(store: Observations) -> object:
    store._full_samples.clear()
    return store.clients(*PAIR, 10)


def _seconds(verb: Callable[[list[Any]], None], batches: Iterator[list[Any]]) -> float:
    """Return the seconds that the verb took, without those that made the batches."""
    total = 0.0
    for batch in batches:
        start = time.perf_counter()
        verb(batch)
        total += time.perf_counter() - start
    return total


def _look(look: Callable[[], object]) -> float:
    """Return the median of a few looks, in milliseconds."""
    spent = []
    for _ in range(9):
        start = time.perf_counter()
        look()
        spent.append((time.perf_counter() - start) * 1e3)
    return statistics.median(spent)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
