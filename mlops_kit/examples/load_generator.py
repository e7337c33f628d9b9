"""Send simulated customers' requests to a server at a steady rate, and their labels later."""

from __future__ import annotations

import http.client
import math
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import ServingError, StoreBusyError
from mlops_kit.examples import load_client
from mlops_kit.examples.load import Load, Sent
from mlops_kit.prediction_log.label import Label

if TYPE_CHECKING:
    from mlops_kit.tables.table import Table

__all__ = ["Label", "Load", "Sent", "Traffic", "send"]

# Seconds: an answer's time-out, between deliveries of labels, after a failed request.
_TIMEOUT, _LOOK, _PAUSE = 5.0, 0.05, 0.1
# Requests overdue by more than this are skipped: the rate wasn't kept.
_LATE_SECONDS = 1.0
_LABELS = 2_000
# A store that refuses so often in a row, each time after a second, is broken.
_REFUSALS = 30


class Traffic:
    """Sends a load in background threads, until its end or until stopped.

    A server that doesn't answer costs a failed request and a short pause each time, nothing else.
    As a context manager it starts, and stops at the end of the block.
    """

    def __init__(
        self,
        url: str,
        model: str,
        rows: NDArray[Any],
        labels: NDArray[Any],
        load: Load,
        *,
        table: Table | None = None,
        on_label: Callable[[Sequence[Label]], None] | None = None,
        stop: threading.Event | None = None,
        anywhere: bool = False,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Prepare the load; `start` sends it.

        Args:
            url: the server's, as http://host:port.
            model: the model's name.
            rows: features (n, f), sent over and over in an order drawn from the load's seed;
                numbers, or what `load_client.rows_of` makes of a table's.
            labels: the class's index or, of a regression, the value (n,).
            load: how much to send, and how fast.
            table: sends one tensor a column of it; without one, one matrix of numbers.
            on_label: takes batches of labels, in one thread; a batch that it refuses by
                StoreBusyError is delivered again.
            stop: an event that ends sending.
            anywhere: allow a server on another machine.
            clock: the time in seconds since the epoch, for labels.
            ticks: a monotonic clock in seconds, for the pace.
            sleep: waits for some seconds; by default on `stop`.

        Raises ServingError for a URL or rows that can't be sent, and for a server on another
        machine.
        """
        self._host, self._port = load_client.address(url, anywhere)
        self._path = f"/v2/models/{quote(model, safe='')}/infer"
        self._table = table
        self._rows = np.ascontiguousarray(rows, np.float64 if table is None else object)
        is_value = np.issubdtype(np.asarray(labels).dtype, np.floating)
        self._labels = np.asarray(labels, np.float64 if is_value else np.int64)
        if (
            self._rows.ndim != 2
            or not len(self._rows)
            or self._labels.shape != self._rows.shape[:1]
        ):
            raise ServingError(
                f"Rows of shape {self._rows.shape} and labels of shape {self._labels.shape} can't "
                "be sent; expected (n, f) and (n,). Check the data set."
            )
        self.load = load
        self._on_label = on_label
        self._clock, self._ticks = clock, ticks
        self._stopped = stop or threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._size = len(self._rows)
        self._order = np.random.default_rng(load.seed).permutation(self._size)
        # Ids are unique whatever the seed: a store takes a repeated id for a retry.
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
        """The counts so far."""
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
        """Start sending in the background."""
        self._thread = self._threaded(self._run)
        return self

    def stop(self) -> Sent:
        """Stop at once, without the labels not due yet; raises what `on_label` raised."""
        self._stopped.set()
        return self.wait()

    def wait(self) -> Sent:
        """Wait until all requests and labels are sent; raises what `on_label` raised."""
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
        """Run a thread's work; an exception ends all threads, and `wait` raises it."""
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
                # Sending them all at once when the server is back wouldn't be a steady rate.
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
        """Send a request and count its result; tell whether the server answered at all."""
        load, name = self.load, f"{self._name}-{number}"
        chance = np.random.default_rng((load.seed, number))
        chosen = self._order[np.arange(number * load.batch, (number + 1) * load.batch) % self._size]
        rows, client = self._rows[chosen], int(chance.integers(load.clients))
        if chance.random() < load.missing:
            rows[:, load.missing_feature] = np.nan if self._table is None else None
        body = load_client.body(name, client, rows, self._table)
        status, version = load_client.answer(connection, self._path, body)
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
        """Deliver the labels that are due."""
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
    rows: NDArray[Any],
    labels: NDArray[Any],
    load: Load,
    *,
    on_label: Callable[[Sequence[Label]], None] | None = None,
    stop: threading.Event | None = None,
    **named: Any,
) -> Sent:
    """Send a load until its labels are delivered or `stop` is set.

    Args:
        url: the server's, as http://host:port.
        model: the registered name.
        rows: the inputs, a row each.
        labels: the truth about each row.
        load: how fast, how many and in what batches.
        on_label: receives the labels that are due.
        stop: ends the sending once it is set.
        named: further arguments of Traffic.
    """
    with Traffic(url, model, rows, labels, load, on_label=on_label, stop=stop, **named) as traffic:
        return traffic.wait()
