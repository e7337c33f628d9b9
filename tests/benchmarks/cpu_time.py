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

ROWS = (1, 10, 100)
# Requests between two looks, and seconds of CPU from which on the kernel's ticks are short.
TURN, LEAST = 50, 0.8


def main(running: Sequence[Running], rows: list[list[Any]]) -> str:
    """Return a table: milliseconds of CPU a request, and the first server's to each."""
    heads = [f"{count} row{'s' if count > 1 else ''}" for count in ROWS]
    lines = ["| CPU ms a request | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(ROWS)]
    base: dict[int, float] = {}
    for each in running:
        cells = []
        for count in ROWS:
            taken = _taken(each, each.contender.body(rows[:count]))
            ratio = base.setdefault(count, taken) / taken
            cells.append(f"{taken:.2f} ({ratio:.1f}x)")
        lines.append(f"| {each.contender.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _taken(server: Running, body: bytes) -> float:
    """Return the milliseconds of CPU that the server takes for a request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    _ask(connection, server, body)
    start, used, requests = _seconds(server.pid), 0.0, 0
    while used < LEAST:
        _ask(connection, server, body)
        requests += TURN
        used = _seconds(server.pid) - start
    connection.close()
    return used / requests * 1000


def _ask(connection: http.client.HTTPConnection, server: Running, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    for _ in range(TURN):
        connection.request("POST", server.contender.path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{server.contender.key}: {answer.status} {said[:300]!r}")


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
