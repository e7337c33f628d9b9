"""The way in for labels over HTTP: POST /v2/models/NAME/labels."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from mlops_kit.errors import ObservationsError, RequestError, StoreBusyError, StoreFullError
from mlops_kit.prediction_log.label import LabelCounts
from mlops_kit.prediction_log.label_records import RecordReader
from mlops_kit.serving import protocol
from mlops_kit.serving.asgi import Receive, Scope, Send, headers, read_body, respond
from mlops_kit.serving.options import Serving

if TYPE_CHECKING:
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.tables.table import Table

LABELS = "/v2/models/{model}/labels"
_LOG = logging.getLogger(__name__)
# Requests that may wait for the store, which takes one writer at a time.
_MAX_WAITING = 16
_OUR_FAULT = "The server failed at these labels; its log has the reason."


class LabelDoor:
    """Takes the labels of one model, as plain ASGI.

    The body is a JSON list of objects: `id` or `key`, `label`, and optionally `row` (0), `time`
    (now), `origin` and `state` (final). The answer counts those that are stored, waiting and
    unknown, and gives each refused one's place and reason; a label that is refused keeps no other
    one out.
    """

    def __init__(
        self,
        observations: Observations,
        model: str,
        environment: str,
        table: Callable[[], Table | None],
        options: Serving,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open nothing yet.

        Args:
            observations: the prediction log.
            model: the registered name.
            environment: where it is released.
            table: returns the declaration of the label; None for classes 0 and 1.
            options: bound the bytes of a body, and its labels as the rows of a request.
            clock: gives seconds since the epoch.
        """
        self._observations, self._where = observations, (model, environment)
        self._table, self._options, self._clock = table, options, clock
        self._pool = ThreadPoolExecutor(1, "labels")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            status, body = 200, orjson.dumps(await self._answered(scope, receive))
        except RequestError as error:
            status, body = error.status, protocol.error(str(error))
        except (StoreBusyError, StoreFullError) as error:
            status, body = 503, protocol.error(str(error))
        except Exception:
            _LOG.exception("labels can't be stored")
            status, body = 500, protocol.error(_OUR_FAULT)
        await respond(send, status, body)

    async def _answered(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        model = scope["path_params"]["model"]
        if model != self._where[0]:
            raise RequestError(
                f"There is no model {model!r:.80} here; it serves {self._where[0]!r}.", status=404
            )
        body = await read_body(receive, headers(scope), self._options.max_body)
        records = _records(body, self._options.max_rows)
        if self._waiting >= _MAX_WAITING:
            raise RequestError(f"{_MAX_WAITING} requests with labels wait; try again.", status=503)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._stored, records)
        finally:
            self._waiting -= 1

    def _stored(self, records: list[Any]) -> dict[str, Any]:
        labels, refused = RecordReader(self._table(), self._clock()).read(records)
        counts = LabelCounts()
        if labels:
            model, environment = self._where
            try:
                counts = self._observations.label(labels, model=model, environment=environment)
            except (StoreBusyError, StoreFullError):
                raise
            except ObservationsError as error:
                _LOG.exception("labels can't be stored")
                raise RequestError(_OUR_FAULT, status=500) from error
        return {**asdict(counts), "refused": [asdict(each) for each in refused]}


def _records(body: bytes, most: int) -> list[Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is no JSON: {error}.") from error
    if not isinstance(found, list):
        raise RequestError("The body is no JSON list; expected one of objects with a 'label'.")
    if len(found) > most:
        raise RequestError(f"The body has {len(found)} labels; expected at most {most}.")
    return found
