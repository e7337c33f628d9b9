"""How a server serves: addresses, bounds and what it logs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Serving:
    """The settings of a server; `port` 0 takes a free one, `max_body` is in bytes.

    `log_features` keeps the features of each prediction, which a replay needs, or their digest.
    At most `log_rows` rows wait for the log's writer; what comes on top is dropped and counted.
    `poll` is how often the server looks for a new commit in a repository on this machine, which
    costs a file, and `poll_remote` how often it asks a remote one; both in seconds. A commit that
    the kit makes on this machine is seen at once.
    """

    host: str = "127.0.0.1"
    port: int = 0
    max_body: int = 8 * 2**20
    max_rows: int = 10_000
    log_features: Literal["values", "digest"] = "values"
    log_rows: int = 20_000
    log_every: float = 0.05
    poll: float = 0.2
    poll_remote: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what no server can keep, by ValueError."""
        if not 0 <= self.port < 65_536:
            raise ValueError(f"port is {self.port}; expected 0 to 65535")
        if min(self.max_body, self.max_rows, self.log_rows) < 1:
            raise ValueError("max_body, max_rows and log_rows must be 1 or more")
        if not min(self.log_every, self.poll, self.poll_remote) > 0:
            raise ValueError("log_every, poll and poll_remote must be more than 0")


@dataclass(frozen=True)
class Ports:
    """Where MLServer listens; it takes no port 0 that anybody could find again."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def free(cls, host: str) -> Ports:
        """Return three ports that are free now; somebody else may take one before MLServer does."""
        sockets = [socket.create_server((host, 0)) for _ in range(3)]
        try:
            return cls(*(each.getsockname()[1] for each in sockets))
        finally:
            for each in sockets:
                each.close()
