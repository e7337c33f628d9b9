"""Send the same request again and again over a few connections, and say how fast answers came.

    python -m tests.benchmarks.load PORT PATH BODY-FILE CLIENTS SECONDS

One thread that waits for whichever connection has an answer: a client that costs little beside
the server that shares the machine with it. Prints one line of JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from pathlib import Path

WARM_UP = 0.3
# A server that gives no answer for so long has failed, whatever comes later.
PATIENCE = 20.0
LENGTH = b"content-length:"


class Connection:
    """One client: sends, and reads until the answer is whole."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""
        self._missing = -1
        self.sent = 0.0

    def send(self) -> None:
        self._read, self._missing = b"", -1
        self.sent = time.perf_counter()
        self.socket.sendall(self._request)

    def is_answered(self) -> bool:
        """Read what is there; True once the answer is whole. Raises for any but a 200."""
        found = self.socket.recv(262_144)
        if not found:
            raise ConnectionError("the server closed a connection")
        if self._missing >= 0:
            self._missing -= len(found)
            return self._missing <= 0
        self._read += found
        head, end, rest = self._read.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(self._read[:500].decode(errors="replace"))
        lowered = head.lower()
        place = lowered.index(LENGTH) + len(LENGTH)
        self._missing = int(lowered[place:].split(b"\r\n", 1)[0]) - len(rest)
        return self._missing <= 0


def main() -> None:
    port, path, file, clients, seconds = sys.argv[1:]
    body = Path(file).read_bytes()
    connections = [
        Connection(int(port), request(path, body, f"client-{n}")) for n in range(int(clients))
    ]
    selector = selectors.DefaultSelector()
    for each in connections:
        selector.register(each.socket, selectors.EVENT_READ, each)
        each.send()
    start = time.perf_counter() + WARM_UP
    end = start + float(seconds)
    taken = []
    now = 0.0
    while now < end:
        ready = selector.select(PATIENCE)
        if not ready:
            raise TimeoutError("the server gave no answer")
        for key, _ in ready:
            connection: Connection = key.data
            if connection.is_answered():
                now = time.perf_counter()
                if now >= start:
                    taken.append(now - connection.sent)
                connection.send()
    taken.sort()
    print(
        json.dumps(
            {
                "rate": len(taken) / (now - start),
                "p50": 1000 * taken[len(taken) // 2],
                "p99": 1000 * taken[int(len(taken) * 0.99)],
            }
        )
    )


def request(path: str, body: bytes, client: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Client-Id: {client}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main()
