"""A release answers a request: choose the version, predict, and say what is to be logged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import RequestError, ServingError
from mlops_kit.prediction_log.prediction import Prediction, Role
from mlops_kit.serving.protocol import InferRequest
from mlops_kit.serving.rows import encode_features
from mlops_kit.serving.signature import Signature

# Rows that a fast predictor scores in well under a millisecond or two, in an event loop.
MAX_QUICK_ROWS = 256


@dataclass(frozen=True, eq=False)
class Predictor:
    """One loaded version: `score` takes rows (n, features), see `inputs.rows`, and gives float64.

    Scores are of shape (n,), or (n, classes) of a multi-class model. Of a binary model a score of
    `threshold` or more decides for the positive class. `is_fast` is for a score that takes a fast
    path, up to `quick_rows`; all others may take their time, and are not for an event loop.
    """

    version: str
    digest: str
    signature: Signature
    score: Callable[[NDArray[Any]], NDArray[np.float64]]
    threshold: float = 0.5
    is_fast: bool = False
    quick_rows: int = MAX_QUICK_ROWS

    def is_quick(self, rows: int) -> bool:
        """Tell whether so many rows may be scored in an event loop."""
        return self.is_fast and rows <= self.quick_rows

    def predict(self, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return scores and decisions, one a row: the class's index, nothing of a regression.

        Raises what the model raises, and ValueError for scores that are no finite numbers.
        """
        scores = np.asarray(self.score(rows), dtype=np.float64)
        if scores.shape != self.signature.shape(len(rows)) or not np.isfinite(scores).all():
            raise ValueError("the model gave no finite score for each row")
        if self.signature.task == "binary":
            return scores, (scores >= self.threshold).astype(np.int64)
        if self.signature.task == "regression":
            return scores, _NO_DECISIONS
        return scores, scores.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class LiveRelease:
    """What a server answers with, swapped as one value; `weight` is the candidate's, in percent.

    After completion champion and candidate are the same predictor, and roles still go by weight.
    """

    revision: str
    model: str
    environment: str
    rollout: str
    champion: Predictor
    candidate: Predictor | None = None
    weight: int = 0

    def __post_init__(self) -> None:
        """Refuse sides that take or give different things: a request can't be right for both."""
        if self.candidate and not self.candidate.signature.takes_the_same(self.signature):
            raise ServingError(
                f"The candidate {self.candidate.version!r} of {self.model!r} takes other features "
                f"or predicts something else than the champion {self.champion.version!r}; expected "
                "the same features, types and classes in the same order. Replace the champion "
                "instead of a canary."
            )

    @property
    def signature(self) -> Signature:
        """What a request must hold, whoever answers it."""
        return self.champion.signature

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that this release serves, each once."""
        sides = (self.champion, self.candidate)
        return tuple(dict.fromkeys(side.version for side in sides if side))

    def choose(self, client: str) -> Role:
        """Return which side a client gets: always the same one within a rollout.

        A higher weight keeps all clients that the candidate has already. Another model or
        rollout deals them anew.
        """
        if self.candidate is None or self.weight <= 0:
            return "champion"
        salted = f"{self.model}\0{self.rollout}\0{client}".encode()
        place = int.from_bytes(hashlib.blake2b(salted, digest_size=8).digest())
        return "candidate" if place * 100 < self.weight << 64 else "champion"


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Who answers a request; `is_split` where the release's weight decided, not the client."""

    predictor: Predictor
    role: Role
    is_split: bool


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a version gave: scores and decisions, or the exception that the model raised.

    `prediction` is what the log gets; None where the client named the version, as such requests
    are no part of the split and would bend its evidence.
    """

    version: str
    role: Role
    latency_ms: float
    scores: NDArray[np.float64]
    decisions: NDArray[np.int64]
    fault: Exception | None
    prediction: Prediction | None


def turn(
    live: LiveRelease, request: InferRequest, version: str, *, fresh: Callable[[], str]
) -> Turn:
    """Return who answers: the version that the client names, or the side that its id falls on.

    A request without a client's id goes by a fresh one: its own id may be the same every time.
    Raises RequestError, status 404, for a version that the release doesn't have.
    """
    if version:
        return Turn(*side(live, version), is_split=False)
    role = live.choose(request.client or fresh())
    predictor = live.candidate if role == "candidate" else live.champion
    return Turn(predictor or live.champion, role, is_split=True)


def side(live: LiveRelease, version: str) -> tuple[Predictor, Role]:
    """Return the predictor of a version and its role; raises RequestError, status 404."""
    if live.champion.version == version:
        return live.champion, "champion"
    if live.candidate is not None and live.candidate.version == version:
        return live.candidate, "candidate"
    raise RequestError(
        f"The model {live.model!r} has no version {version!r:.80} here; it serves "
        f"{list(live.versions)}.",
        status=404,
    )


def answer(
    live: LiveRelease,
    request: InferRequest,
    turn: Turn,
    *,
    clock: Callable[[], float],
    timer: Callable[[], float],
    log_features: Literal["values", "digest"] = "values",
) -> Answer:
    """Return the chosen predictor's answer; if the model raises, the answer holds the fault.

    Args:
        live: the release.
        request: the rows to score.
        turn: the predictor that was chosen for this client.
        clock: returns seconds since the epoch.
        timer: returns seconds of a clock that never goes back.
        log_features: whether the log keeps the rows, or only their digest.
    """
    scores, decisions, fault = _NO_SCORES, _NO_DECISIONS, None
    time, start = clock(), timer()
    try:
        scores, decisions = turn.predictor.predict(request.rows)
    except Exception as error:
        fault = error
    latency_ms = (timer() - start) * 1000
    prediction = None
    if turn.is_split:
        features, encoding = encode_features(request.rows)
        is_kept = log_features == "values"
        prediction = Prediction(
            id=request.id,
            time=time,
            model=live.model,
            environment=live.environment,
            revision=live.revision,
            champion=live.champion.digest,
            candidate=live.candidate.digest if live.candidate else "",
            weight=live.weight,
            role=turn.role,
            version=turn.predictor.version,
            client=request.client,
            outcome="error" if fault else "ok",
            latency_ms=latency_ms,
            rows=len(request.rows),
            features=features if is_kept else b"",
            features_digest="" if is_kept else hashlib.sha256(features).hexdigest(),
            scores=scores.astype("<f8", copy=False).tobytes(),
            decisions=decisions.astype(np.uint8).tobytes(),
            encoding=encoding,
            client_key=request.key,
        )
    version = turn.predictor.version
    return Answer(version, turn.role, latency_ms, scores, decisions, fault, prediction)


_NO_SCORES = np.empty(0)
_NO_DECISIONS = np.empty(0, dtype=np.int64)
