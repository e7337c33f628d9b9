"""Measure the kit's serving and its peers, interleaved in one run, and print a table.

    python -m tests.benchmarks.serving [--mixed] [--quick] [--rounds N] [--seconds S] [--only KEY …]
    python -m tests.benchmarks.serving --cpu [--mixed] [--only KEY …]
    python -m tests.benchmarks.serving --equality [--rows N]

Every server has the same model (gradient boosting, 100 trees of 31 leaves, 30 features; with
`--mixed` behind a ColumnTransformer of 6 columns of text and 10 of numbers), one process,
OMP_NUM_THREADS=1, and runs all the time; one at a time is asked. The client is a process of its
own on the same machine, so read the ratios, which are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import cpu_time
from tests.benchmarks.servers import CONTENDERS, ROOT, Contender, Running, prepare, prepare_mixed

CASES = tuple((rows, clients) for rows in (1, 100) for clients in (1, 8, 32))
BASE = "mlserver"
# What is to be reached, as a ratio to the base: single rows, and 100 rows.
TARGETS = {"kit": {1: 4.0, 100: 1.1}, "kit-mlserver": {1: 2.5}}
MOST_LOG_COST = 0.05
LIBRARIES = ("mlserver", "mlflow", "scikit-learn", "numpy", "starlette", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Measured:
    """What one contender did in one case of one round: requests a second, milliseconds."""

    key: str
    rows: int
    clients: int
    rate: float
    p50: float
    p99: float


def main() -> int:
    """Measure, and print; 1 if a contender did not do its work."""
    options = _options()
    if options.equality:
        os.environ["OMP_NUM_THREADS"] = "1"  # before a library reads it
        from tests.benchmarks import equality

        return equality.main(options.rows)
    chosen = [each for each in CONTENDERS if not options.only or each.key in options.only]
    if not chosen:
        print(f"--only knows {[each.key for each in CONTENDERS]}.")
        return 2
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = prepare_mixed(folder) if options.mixed else prepare(folder)
        running: list[Running] = []
        try:
            ports = _free_ports(len(chosen))
            for contender, port in zip(chosen, ports, strict=True):
                running.append(Running(contender, port, folder))
            for each in running:
                each.until_ready()
            if options.cpu:
                print(cpu_time.main(running, rows))
                return 0
            found = _measured(running, rows, folder, rounds, seconds)
        finally:
            for each in running:
                each.stop()
    print(f"\n{_facts(rounds, seconds)}\n\n{_markdown(chosen, found)}\n\n{_closing(found)}")
    if options.json:
        options.json.write_text(json.dumps([vars(each) for each in found], indent=1))
    return 0 if len(found) == rounds * len(chosen) * len(CASES) else 1


def _measured(
    running: Sequence[Running],
    rows: list[list[Any]],
    folder: Path,
    rounds: int,
    seconds: float,
) -> list[Measured]:
    """Return what each round measured, the order of the contenders turned by one each round."""
    found = []
    for number in range(rounds):
        for count, clients in CASES:
            turn = number % len(running)
            for each in [*running[turn:], *running[:turn]]:
                body = folder / "body"
                body.write_bytes(each.contender.body(rows[:count]))
                given = (each.port, each.contender.path, body, clients, seconds)
                command = [sys.executable, "-m", "tests.benchmarks.load", *map(str, given)]
                done = subprocess.run(
                    command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
                )
                key = each.contender.key
                if done.returncode:
                    print(f"{key} FAILED: {done.stderr[-500:]}", file=sys.stderr)
                    continue
                found.append(Measured(key, count, clients, **json.loads(done.stdout)))
                print(
                    f"round {number + 1}  {count:>3} rows {clients:>2} clients  {key:<13}"
                    f"{found[-1].rate:8.0f} r/s  p50 {found[-1].p50:7.2f} ms"
                    f"  p99 {found[-1].p99:7.2f} ms",
                    flush=True,
                )
    return found


def _markdown(chosen: Sequence[Contender], found: Sequence[Measured]) -> str:
    lines = []
    for count in dict.fromkeys(rows for rows, _ in CASES):
        heads = [f"{clients} client{'s' if clients > 1 else ''}" for _, clients in CASES[:3]]
        name = "1 row" if count == 1 else f"{count} rows"
        lines += ["", f"| {name} | " + " | ".join(heads) + " |", "|---|---:|---:|---:|"]
        for each in chosen:
            cells = [_cell(each.key, count, clients, found) for _, clients in CASES[:3]]
            lines.append(f"| {each.title} | " + " | ".join(cells) + " |")
    lines += ["", "A cell: requests a second (ratio to the first line) · p50 / p99 in ms; medians."]
    return "\n".join(lines).strip()


def _cell(key: str, rows: int, clients: int, found: Sequence[Measured]) -> str:
    mine = _of(key, rows, clients, found)
    if not mine:
        return "–"
    rate, p50, p99 = (
        statistics.median(getattr(each, name) for each in mine) for name in ("rate", "p50", "p99")
    )
    compared = _ratio(key, BASE, rows, clients, found)
    ratio = f" ({compared:.2f}x)" if compared else ""
    return f"{rate:.0f}{ratio} · {p50:.1f} / {p99:.1f}"


def _closing(found: Sequence[Measured]) -> str:
    """Return the ratios beside what they were to reach; the least of the three client counts."""
    lines = []
    for key, targets in TARGETS.items():
        for rows, target in targets.items():
            ratios = [_ratio(key, BASE, rows, clients, found) for _, clients in CASES[:3]]
            known = [ratio for ratio in ratios if ratio]
            if known:
                shown = ", ".join(f"{ratio:.2f}x" for ratio in known)
                lines.append(
                    f"{key} / {BASE}, {rows} row{'s' if rows > 1 else ''}: {shown} "
                    f"(target {target}x: {'reached' if min(known) >= target else 'MISSED'})"
                )
    costs = [_ratio("kit", "kit-nolog", *case, found) for case in CASES]
    known = [1 - ratio for ratio in costs if ratio]
    if known:
        middle = statistics.median(known)
        lines.append(
            f"The log costs {', '.join(f'{cost:.0%}' for cost in known)}; the median {middle:.1%} "
            f"(target {MOST_LOG_COST:.0%}: {'reached' if middle <= MOST_LOG_COST else 'MISSED'})"
        )
    return "\n".join(lines)


def _ratio(key: str, base: str, rows: int, clients: int, found: Sequence[Measured]) -> float | None:
    """Return the median over the rounds of one's rate to the other's in the same round."""
    pairs = zip(_of(key, rows, clients, found), _of(base, rows, clients, found), strict=False)
    ratios = [mine.rate / theirs.rate for mine, theirs in pairs]
    return statistics.median(ratios) if ratios else None


def _of(key: str, rows: int, clients: int, found: Sequence[Measured]) -> list[Measured]:
    wanted = (key, rows, clients)
    return [each for each in found if (each.key, each.rows, each.clients) == wanted]


def _facts(rounds: int, seconds: float) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{libraries}; {rounds} rounds of {seconds:g} s a case, interleaved; log to SQLite."
    )


def _free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="tests.benchmarks.serving")
    options.add_argument("--rounds", type=int, default=4, help="how often each is measured")
    options.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    options.add_argument("--mixed", action="store_true", help="rows of text and numbers")
    options.add_argument("--quick", action="store_true", help="one round of 1 s, for a look")
    options.add_argument("--only", nargs="+", default=[], metavar="KEY", help="these alone")
    options.add_argument("--cpu", action="store_true", help="CPU time a request, not the rate")
    options.add_argument("--equality", action="store_true", help="compare bits, and no speed")
    options.add_argument("--rows", type=int, default=1_000_000, help="of --equality, a model")
    options.add_argument("--json", type=Path, help="also write every measurement here")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
