"""Customers' requests to a server, at a steady rate, and the labels that follow them later."""

from __future__ import annotations

import http.client
import math
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_kit.errors import ServingError, StoreBusyError
from mlops_kit.examples.load import Load, Sent
from mlops_kit.prediction_log.label import Label

__all__ = ["Label", "Load", "Sent", "Traffic", "send"]

_HERE = ("127.0.0.1", "::1", "localhost")
# Seconds: for one answer, between two looks at the labels, after a server that didn't answer.
_TIMEOUT, _LOOK, _PAUSE = 5.0, 0.05, 0.1
# So late, in seconds, the rate counts as not kept, and what is overdue is left out.
_LATE_SECONDS = 1.0
_LABELS = 2_000
# A store that is busy so often in a row, each time for a second, is a fault.
_REFUSALS = 30


class Traffic:
    """Sends in threads of its own until the load's end, or until it is stopped.

    A server that doesn't answer costs failed requests and a short pause each, and nothing else.
    As a context manager it starts, and is stopped at the end of the block.
    """

    def __init__(
        self,
        url: str,
        model: str,
        rows: NDArray[np.float64],
        labels: NDArray[Any],
        load: Load,
        *,
        on_label: Callable[[Sequence[Label]], None] | None = None,
        stop: threading.Event | None = None,
        anywhere: bool = False,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """`rows` (n, f) are sent in an order of their own, again and again; `labels` (n,) are 0, 1.

        `on_label` takes batches of labels, in one thread; those that it refuses by StoreBusyError
        come again. `clock` gives the labels' times, `ticks` the pace. Raises ServingError for a
        server on another machine, unless `anywhere`.
        """
        self._host, self._port = _address(url, anywhere)
        self._path = f"/v2/models/{quote(model, safe='')}/infer"
        self._rows = np.ascontiguousarray(rows, np.float64)
        self._labels = np.asarray(labels, np.int64)
        if (
            self._rows.ndim != 2
            or not len(self._rows)
            or self._labels.shape != self._rows.shape[:1]
        ):
            raise ServingError(
                f"Rows of the shape {self._rows.shape} and labels of {self._labels.shape} can't "
                "be sent; expected (n, f) and (n,). Look at the data set."
            )
        self.load = load
        self._on_label = on_label
        self._clock, self._ticks = clock, ticks
        self._stopped = stop or threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._size = len(self._rows)
        self._order = np.random.default_rng(load.seed).permutation(self._size)
        # Ids are never the same twice, whatever the seed: a store takes those for retries.
        self._name = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._slot = self._number = self._skipped = self._failed = self._delivered = 0
        self._refused = 0
        self._begun = 0.0
        self._versions: Counter[str] = Counter()
        self._due: deque[tuple[float, list[Label]]] = deque()
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def sent(self) -> Sent:
        """What was sent up to now."""
        with self._lock:
            answered = self._versions.total()
            return Sent(
                answered + self._failed,
                answered,
                self._failed,
                self._skipped,
                self._delivered,
                dict(self._versions),
            )

    def start(self) -> Traffic:
        """Begin to send, in the background."""
        self._thread = self._threaded(self._run)
        return self

    def stop(self) -> Sent:
        """End at once; labels that aren't due yet are not given. Raises what `on_label` raised."""
        self._stopped.set()
        return self.wait()

    def wait(self) -> Sent:
        """Return when all is sent and all labels are given; raises what `on_label` raised."""
        if self._thread is not None:
            self._thread.join()
        if self._fault is not None:
            raise self._fault
        return self.sent

    def __enter__(self) -> Traffic:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do the work of a thread; a fault ends all of them, and is raised by who waits."""
        try:
            work()
        except BaseException as fault:
            self._fault = self._fault or fault
            self._stopped.set()

    def _run(self) -> None:
        self._begun = self._ticks()
        senders = [self._threaded(self._send) for _ in range(self.load.threads)]
        while any(sender.is_alive() for sender in senders) or self._due:
            self._deliver()
            if self._stopped.is_set():
                break
            self._sleep(_LOOK)
        for sender in senders:
            sender.join()
        self._deliver()

    def _threaded(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=[work], name="traffic", daemon=True)
        thread.start()
        return thread

    def _send(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        try:
            while (number := self._take()) is not None:
                if not self._ask(connection, number):
                    connection.close()
                    self._sleep(_PAUSE)
        finally:
            connection.close()

    def _take(self) -> int | None:
        """Return the number of the next request when it is due, or None at the end."""
        load = self.load
        with self._lock:
            if self._number == load.count:
                return None
            overdue = self._ticks() - self._begun - self._slot / load.rate
            if overdue > _LATE_SECONDS and load.rate < math.inf:
                # Sending them all at once, when the server is back, would be no steady rate.
                left = math.ceil((overdue - _LATE_SECONDS) * load.rate)
                self._skipped += left
                self._slot += left
            number, due = self._number, self._slot / load.rate
            self._number += 1
            self._slot += 1
        while not self._stopped.is_set():
            now = self._ticks() - self._begun
            if max(now, due) >= load.longest:
                return None
            if now >= due:
                return number
            self._sleep(due - now)
        return None

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> bool:
        """Send a request and count its end; tells whether there was an answer at all."""
        load, name = self.load, f"{self._name}-{number}"
        chance = np.random.default_rng((load.seed, number))
        chosen = self._order[np.arange(number * load.batch, (number + 1) * load.batch) % self._size]
        rows, client = self._rows[chosen], int(chance.integers(load.clients))
        if chance.random() < load.missing:
            rows[:, load.missing_feature] = np.nan
        status, version = _answer(connection, self._path, _body(name, client, rows))
        due, known = self._ticks() + load.label_delay, self._clock() + load.label_delay
        with self._lock:
            if status == 200:
                self._versions[version] += 1
                labels = self._labels[chosen].tolist()
                self._due.append((due, [Label(name, n, y, known) for n, y in enumerate(labels)]))
            else:
                self._failed += 1
        return status > 0

    def _deliver(self) -> None:
        """Give the labels that are due."""
        while True:
            batch: list[Label] = []
            with self._lock:
                while self._due and len(batch) < _LABELS and self._due[0][0] <= self._ticks():
                    batch += self._due.popleft()[1]
            if not batch:
                return
            try:
                if self._on_label is not None:
                    self._on_label(batch)
            except StoreBusyError:
                self._refused += 1
                if self._refused > _REFUSALS:
                    raise
                with self._lock:
                    self._due.appendleft((-math.inf, batch))
                return
            self._refused = 0
            with self._lock:
                self._delivered += len(batch)


def send(
    url: str,
    model: str,
    rows: NDArray[np.float64],
    labels: NDArray[Any],
    load: Load,
    *,
    on_label: Callable[[Sequence[Label]], None] | None = None,
    stop: threading.Event | None = None,
    **named: Any,
) -> Sent:
    """Send a load and return when all its labels are given, or `stop` is set; else as Traffic."""
    with Traffic(url, model, rows, labels, load, on_label=on_label, stop=stop, **named) as traffic:
        return traffic.wait()


def _answer(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, str]:
    """Return the status, 0 where there was no answer, and the version that answered."""
    try:
        status, content = _post(connection, path, body)
        answer = orjson.loads(content) if status == 200 else None
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
        return 0, ""
    return status, str(answer.get("model_version", "")) if isinstance(answer, dict) else ""


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    was_open = connection.sock is not None
    headers = {"Content-Type": "application/json"}
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
    except ConnectionError:
        if not was_open:
            raise
        # The server may have closed a connection that nobody used. The id makes it safe to ask
        # again: one that was logged isn't logged twice.
        connection.close()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
    return answer.status, answer.read()


def _body(name: str, client: int, rows: NDArray[np.float64]) -> bytes:
    """Return a request of the V2 protocol; a missing value, NaN, becomes null."""
    tensor = {"name": "features", "datatype": "FP64", "shape": rows.shape, "data": rows.ravel()}
    parameters = {"client_id": f"customer-{client}"}
    request = {"id": name, "parameters": parameters, "inputs": [tensor]}
    return orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)


def _address(url: str, anywhere: bool) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        raise ServingError(f"The server's URL is {url!r}; expected http://<host>:<port>.")
    if not anywhere and host not in _HERE:
        raise ServingError(
            f"{url!r} is another machine; expected one of {list(_HERE)}, so that no test load "
            "meets a server by mistake. Say `anywhere` where that is meant."
        )
    return host, port
