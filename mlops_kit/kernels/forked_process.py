"""Control a forked kernel from the process that asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any


async def readable(descriptor: int, seconds: float) -> None:
    """Wait until a descriptor is readable, or for `seconds`."""
    loop = asyncio.get_running_loop()
    is_ready = asyncio.Event()
    loop.add_reader(descriptor, is_ready.set)
    try:
        await asyncio.wait_for(is_ready.wait(), seconds)
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)


class Lines:
    """Reads a zygote's messages, one per line."""

    def __init__(self, connection: socket.socket) -> None:
        """Read from `connection`, with its time-out."""
        self._connection = connection
        self._buffer = b""

    def next(self) -> dict[str, Any]:
        """Return the next message; an empty one once the zygote is gone."""
        while b"\n" not in self._buffer:
            try:
                more = self._connection.recv(1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                return {}
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))


class Fork:
    """A kernel forked by a zygote, with the interface of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, lines: Lines, pid: int) -> None:
        """Take over `connection`; closing it kills the kernel."""
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._lines = lines

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the kernel ends."""
        return self._connection.fileno()

    def poll(self) -> int | None:
        """Return the exit status, or None while the kernel runs. Negative: a signal's number."""
        with contextlib.suppress(BlockingIOError, TimeoutError):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status; raises TimeoutError."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            message = self._lines.next()
            # A dead zygote reports nothing, and its kernels die with it.
            self.returncode = int(message.get("ended", -signal.SIGKILL))
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if the kernel still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def umask() -> int:
    """Read the umask without setting it, which would affect other threads."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("Umask:")[2].split()[0], 8)
