"""The CPU time that each server takes for a request, which other work hardly changes.

    python -m tests.benchmarks.serving --cpu [--mixed] [--only KEY …]

One client asks one request after the other; the time is the server process's own, all threads.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.servers import Running

# Requests of a measurement, by their rows, and before it.
COUNTS = {1: 300, 10: 200, 100: 150}
WARM = 20


def main(running: Sequence[Running], rows: list[list[Any]]) -> str:
    """Return a table: milliseconds of CPU a request, and the first server's to each."""
    heads = [f"{count} row{'s' if count > 1 else ''}" for count in COUNTS]
    lines = ["| CPU ms a request | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(COUNTS)]
    base: dict[int, float] = {}
    for each in running:
        cells = []
        for count, requests in COUNTS.items():
            taken = _taken(each, each.contender.body(rows[:count]), requests)
            ratio = base.setdefault(count, taken) / taken
            cells.append(f"{taken:.2f} ({ratio:.1f}x)")
        lines.append(f"| {each.contender.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _taken(server: Running, body: bytes, requests: int) -> float:
    """Return the milliseconds of CPU that the server took for each of some requests."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    start = 0.0
    for number in range(WARM + requests):
        if number == WARM:
            start = _seconds(server.pid)
        headers = {"content-type": "application/json"}
        connection.request("POST", server.contender.path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{server.contender.key}: {answer.status} {said[:300]!r}")
    connection.close()
    return (_seconds(server.pid) - start) / requests * 1000


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
