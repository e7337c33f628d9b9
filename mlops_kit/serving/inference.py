"""One request through the core: read the release once, answer, count, log. For both adapters."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from mlops_kit.errors import RequestError
from mlops_kit.prediction_log.prediction import Role
from mlops_kit.prediction_log.writer import PredictionLog
from mlops_kit.serving import predictor, protocol
from mlops_kit.serving.metrics import Metrics
from mlops_kit.serving.options import Serving
from mlops_kit.serving.predictor import Answer, LiveRelease, Turn
from mlops_kit.serving.protocol import InferRequest

_LOG = logging.getLogger(__name__)
# A model that takes its time gets threads of its own role, so that a candidate that hangs doesn't
# take the champion's; so many requests may wait for them.
_THREADS = 4
_MAX_WAITING = 256


class Source(Protocol):
    """Who knows the release that is served now, or None before the first."""

    @property
    def live(self) -> LiveRelease | None:
        """The release; assigned as one value when another is to be served."""


class Service:
    """What stands between an adapter and the model."""

    def __init__(
        self,
        source: Source,
        log: PredictionLog | None,
        options: Serving,
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Create a thread pool for each role; its threads start when a model needs them.

        Args:
            source: holds the release.
            log: receives the predictions; None logs nothing.
            options: the settings' section [serving].
            metrics: counted for Prometheus; by default new ones.
            clock: returns seconds since the epoch.
            timer: returns seconds of a clock that never goes back.
        """
        self.source, self.log, self.options = source, log, options
        self.metrics = metrics or Metrics(log.status if log else None)
        self._answer = partial(
            predictor.answer, clock=clock, timer=timer, log_features=options.log_features
        )
        self._pools = {role: ThreadPoolExecutor(_THREADS, f"predict-{role}") for role in _ROLES}
        self._waiting = dict.fromkeys(_ROLES, 0)
        self._told: set[tuple[str, str]] = set()
        # Not secrets' own: that asks the system each time, and the thread loses its turn meanwhile.
        self._bits = random.Random().getrandbits

    def fresh(self) -> str:
        """Return an id that no other request has; no secret.

        It begins with the time, as an index takes ids that grow at half the cost.
        """
        return f"{time.time_ns():016x}{self._bits(64):016x}"

    def live(self, model: str, version: str = "") -> LiveRelease:
        """Return the release if it serves this model and version.

        Raises RequestError: 503 before the first release, 404 for an unknown model or version.
        """
        live = self.source.live
        if live is None:
            raise RequestError("No release is served yet; try again.", status=503)
        if model != live.model:
            raise RequestError(
                f"There is no model {model!r:.80} here; it serves {live.model!r}.", status=404
            )
        if version:
            predictor.side(live, version)
        return live

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Return what the protocol says of a model; raises RequestError as `live` does."""
        live = self.live(model, version)
        side = predictor.side(live, version)[0] if version else live.champion
        return protocol.metadata(model, live.versions, side.signature, side.threshold)

    async def infer(self, live: LiveRelease, request: InferRequest, version: str = "") -> Answer:
        """Return the answer, counted and logged.

        Raises RequestError: 404 for an unknown version, 503 where too many wait for a model, and
        500 where the model raised, with what a client may know of it.
        """
        turn = predictor.turn(live, request, version, fresh=self.fresh)
        if turn.predictor.is_quick(len(request.rows)):
            answer = self._answer(live, request, turn)
        else:
            answer = await self._in_thread(live, request, turn)
        self.metrics.count(answer, is_anonymous=not request.client)
        if self.log is not None and answer.prediction is not None:
            self.log.put(answer.prediction)
        if answer.fault:
            raise RequestError(self._told_of(request, answer), status=500)
        return answer

    def close(self) -> None:
        """Let the threads go, once what they work on is done."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, live: LiveRelease, request: InferRequest, turn: Turn) -> Answer:
        if self._waiting[turn.role] >= _MAX_WAITING:
            raise RequestError(
                f"{_MAX_WAITING} requests wait for the {turn.role}; try again.", status=503
            )
        self._waiting[turn.role] += 1
        try:
            work = partial(self._answer, live, request, turn)
            return await asyncio.get_running_loop().run_in_executor(self._pools[turn.role], work)
        finally:
            self._waiting[turn.role] -= 1

    def _told_of(self, request: InferRequest, answer: Answer) -> str:
        """Log a fault, the traceback once for each kind; return the sentence for the client."""
        kind = (answer.version, type(answer.fault).__name__)
        traceback = None if kind in self._told else answer.fault
        self._told.add(kind)
        _LOG.error("request %s: version %s failed: %s", request.id, *kind, exc_info=traceback)
        return (
            f"Version {answer.version} failed at this request; its log has the reason under the "
            f"id {request.id!r}."
        )


_ROLES: tuple[Role, Role] = ("champion", "candidate")
