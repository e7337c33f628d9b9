"""The traffic to generate, and its result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Load:
    """The traffic to generate; the same `seed` sends the same requests.

    `rate` is in requests per second (math.inf for no pause), each of `batch` rows and from one of
    `clients` customers. Ends after `seconds` or `count` requests, whichever comes first; with
    `count` alone, at the latest after three times its duration at `rate` plus 30 seconds. In a
    share `missing` of the requests the feature at index `missing_feature` is null, as if its
    source were down. Labels arrive `label_delay` seconds after the answer.
    """

    rate: float = 50.0
    seconds: float | None = None
    count: int | None = None
    batch: int = 1
    clients: int = 2_000
    label_delay: float = 0.0
    missing: float = 0.0
    missing_feature: int = -1
    seed: int = 0
    threads: int = 8

    def __post_init__(self) -> None:
        """Raise ValueError for a load that can't be sent."""
        if self.seconds is None and self.count is None:
            raise ValueError("seconds and count are both None; expected at least one")
        if not (self.seconds is None or 0 <= self.seconds < math.inf):
            raise ValueError(f"seconds is {self.seconds}; expected 0 or more")
        if not (self.count is None or self.count >= 0) or not self.rate > 0:
            raise ValueError(f"count {self.count}, rate {self.rate}; expected over 0")
        if min(self.batch, self.clients, self.threads) < 1:
            raise ValueError("batch, clients and threads must be 1 or more")
        if not 0 <= self.missing <= 1 or not 0 <= self.label_delay < math.inf:
            raise ValueError("missing must be 0 to 1, and label_delay 0 or more")

    @property
    def longest(self) -> float:
        """The longest that sending takes, in seconds."""
        if self.seconds is not None:
            return self.seconds
        return 3 * (self.count or 0) / self.rate + 30


@dataclass(frozen=True)
class Sent:
    """Counts of requests sent, answered with 200, or failed, and of labels delivered.

    `by_version` counts answers by version. `skipped` requests were due but never sent, because the
    server or this machine couldn't keep the rate.
    """

    requests: int = 0
    answered: int = 0
    failed: int = 0
    skipped: int = 0
    labels: int = 0
    by_version: Mapping[str, int] = field(default_factory=dict)

    @property
    def keeps_rate(self) -> bool:
        """Whether every request was sent nearly on time."""
        return self.skipped == 0

    def __str__(self) -> str:
        """Return the counts on one line."""
        by = ", ".join(f"version {name} {n:,}" for name, n in sorted(self.by_version.items()))
        text = f"{self.requests:,} requests, {self.failed:,} failed, {self.labels:,} labels"
        text = f"{text}; {by}" if by else text
        return (
            text if self.keeps_rate else f"{text}; couldn't keep the rate: {self.skipped:,} skipped"
        )
