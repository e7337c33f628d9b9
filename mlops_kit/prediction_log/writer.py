"""Write predictions from a bounded queue in one thread, so that no request waits."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from mlops_kit.errors import ObservationsError, StoreBusyError, StoreFullError
from mlops_kit.prediction_log.prediction import Prediction

_LOG = logging.getLogger(__name__)
# Seconds until a store that couldn't take a batch is asked again.
_RETRY_SECONDS = 0.2
FULL_QUEUE, FULL_STORE, BROKEN_STORE = "queue full", "store full", "store broken"
DEAD_WRITER, CLOSED = "writer died", "closed"


class PredictionLog:
    """Queues predictions and writes them in batches from its own thread.

    Predictions beyond the queue's bound are dropped and counted. A busy store gets the same batch
    again; so does a full or broken one, but then only the newest half of the queue is kept.
    Nothing here raises into a request. A SIGKILL loses what waits: `every` seconds of traffic
    while the store keeps up.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Prediction]], None],
        *,
        rows: int = 20_000,
        every: float = 0.05,
        most: int = 2_000,
        pause: float = _RETRY_SECONDS,
    ) -> None:
        """Start the thread.

        Args:
            write: stores a batch; may raise ObservationsError.
            rows: how many rows may wait; predictions beyond that are dropped.
            every: how long a batch collects, in seconds.
            most: predictions in a batch.
            pause: before a failed write is retried, in seconds.
        """
        self._write, self._rows, self._every, self._most = write, rows, every, most
        self._pause = pause
        self._queue: queue.SimpleQueue[Prediction | None] = queue.SimpleQueue()
        self._batch: list[Prediction] = []
        self._lock = threading.Lock()
        self._waiting_rows = 0
        self._written = 0
        self._dropped: Counter[str] = Counter()
        self._restarts = 0
        self._last_error = ""
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = self._started()

    def put(self, prediction: Prediction) -> bool:
        """Take a prediction, or drop and count it; True if it was taken."""
        if not self._thread.is_alive():
            self._restart()
        with self._lock:
            is_full = self._waiting_rows + prediction.rows > self._rows
            if is_full or self._closing.is_set():
                self._dropped[FULL_QUEUE if is_full else CLOSED] += 1
                return False
            self._waiting_rows += prediction.rows
            self._queue.put(prediction)
        return True

    def close(self, deadline: float = 5.0) -> bool:
        """Take no more, and write what waits, for at most so many seconds; True if all was."""
        if not self._closing.is_set():
            self._deadline = time.monotonic() + deadline
            if not self._thread.is_alive():
                self._restart()
            with self._lock:
                self._closing.set()
            self._queue.put(None)
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + self._pause)
        return self.status()["waiting_rows"] == 0

    def status(self) -> dict[str, object]:
        """Return what waits (rows), what was written and dropped (predictions), the last error."""
        with self._lock:
            return {
                "waiting_rows": self._waiting_rows,
                "written": self._written,
                "dropped": dict(self._dropped),
                "writer_restarts": self._restarts,
                "last_error": self._last_error,
            }

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        thread.start()
        return thread

    def _restart(self) -> None:
        with self._lock:
            if self._thread.is_alive() or self._closing.is_set():
                return
            self._restarts += 1
            self._thread = self._started()

    def _run(self) -> None:
        try:
            # What the writer before this one died of isn't tried again.
            self._drop(len(self._batch), DEAD_WRITER)
            while self._gather():
                while self._batch:
                    self._store()
        except BaseException as error:  # whatever it was, the next prediction starts a new writer
            _LOG.exception("the writer of the prediction log died, and is started again")
            self._last_error = repr(error)

    def _gather(self) -> bool:
        """Fill the batch; False once the queue was closed and is empty."""
        first = self._queue.get()
        if first is None:
            return False
        self._batch = [first]
        self._closing.wait(self._every)
        self._take_more(self._most)
        return True

    def _take_more(self, most: int) -> None:
        while len(self._batch) < most:
            try:
                taken = self._queue.get_nowait()
            except queue.Empty:
                return
            if taken is None:
                # Back for the next turn, which ends with it.
                self._queue.put(None)
                return
            self._batch.append(taken)

    def _store(self) -> None:
        """Write of the batch what one write takes, or keep of it what may be tried again."""
        part = tuple(self._batch[: self._most])
        try:
            self._write(part)
        except StoreBusyError as error:
            self._wait(error, "")
        except StoreFullError as error:
            self._wait(error, FULL_STORE)
        except ObservationsError as error:
            self._wait(error, BROKEN_STORE)
        else:
            with self._lock:
                self._written += len(part)
                self._waiting_rows -= sum(prediction.rows for prediction in part)
                self._last_error = ""
            del self._batch[: len(part)]

    def _wait(self, error: ObservationsError, reason: str) -> None:
        """Wait until the store may be asked again, and make room; give up at the deadline."""
        if reason and self._last_error != str(error):
            _LOG.warning("predictions can't be logged: %s", error)
        self._last_error = str(error)
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._take_more(self._rows)
            self._drop(len(self._batch), reason or CLOSED)
        elif self._closing.is_set():
            time.sleep(min(self._pause, left))
        else:
            self._closing.wait(self._pause)
        if reason:
            self._take_more(self._rows)
            self._drop(self._older(), reason)

    def _older(self) -> int:
        """Return how many of the batch come before those that half of the bound has room for."""
        rows, place = 0, len(self._batch)
        while place and rows + self._batch[place - 1].rows <= self._rows // 2:
            place -= 1
            rows += self._batch[place].rows
        return place

    def _drop(self, count: int, reason: str) -> None:
        """Drop so many predictions from the batch's start."""
        with self._lock:
            self._dropped[reason] += count
            self._dropped += Counter()  # a reason that dropped none isn't listed
            self._waiting_rows -= sum(prediction.rows for prediction in self._batch[:count])
        del self._batch[:count]
