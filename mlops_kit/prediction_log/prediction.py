"""One answered request, as it is logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["champion", "candidate"]
Outcome = Literal["ok", "error"]


# Not frozen, which would make it three times as slow to make, and each request makes one.
@dataclass(slots=True)
class Prediction:
    """What a version answered to one request of one or more rows, or that it failed.

    `id` is the request's, unique; `time` in seconds since the epoch. `champion` and `candidate`
    are the digests of the release that answered, the latter empty outside of a rollout; `weight`
    was the candidate's share then, in percent. `latency_ms` is the model's own time, without the
    wait for a turn. `features` are float64, little-endian, row by row, or where `encoding` is
    "json" one JSON line a row; empty where only their digest is kept. `scores` (float64, one a
    class of a multi-class model) and `decisions` (uint8, the class's index; none of a regression)
    are empty for an error.
    """

    id: str
    time: float
    model: str
    environment: str
    revision: str
    champion: str
    candidate: str
    weight: int
    role: Role
    version: str
    client: str
    outcome: Outcome
    latency_ms: float
    rows: int
    features: bytes = b""
    features_digest: str = ""
    scores: bytes = b""
    decisions: bytes = b""
    encoding: Literal["f8", "json"] = "f8"

    @property
    def digest(self) -> str:
        """The digest of the model that answered."""
        return self.candidate if self.role == "candidate" else self.champion
