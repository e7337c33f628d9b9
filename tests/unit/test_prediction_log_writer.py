"""What is predicted gets written, or is dropped and counted; a request never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from mlops_kit.errors import ObservationsError, StoreBusyError, StoreFullError
from mlops_kit.prediction_log.prediction import Prediction
from mlops_kit.prediction_log.writer import PredictionLog


def prediction(number: int, rows: int = 1) -> Prediction:
    return Prediction(
        id=str(number),
        time=0.0,
        model="fraud",
        environment="dev",
        revision="r",
        champion="sha256:a",
        candidate="",
        weight=0,
        role="champion",
        version="1",
        client="",
        outcome="ok",
        latency_ms=1.0,
        rows=rows,
    )


class Store:
    """A store that fails as often as it is told to, and may be made to wait."""

    def __init__(self, *faults: BaseException, ever: ObservationsError | None = None) -> None:
        self.faults, self.ever = list(faults), ever
        self.batches: list[list[str]] = []
        self.attempts = 0
        self.open = threading.Event()
        self.open.set()

    def write(self, predictions: Sequence[Prediction]) -> None:
        self.attempts += 1
        self.open.wait(10)
        if self.faults:
            raise self.faults.pop(0)
        if self.ever:
            raise self.ever
        self.batches.append([each.id for each in predictions])

    @property
    def ids(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


@contextmanager
def logging_to(store: Store, **given: float) -> Iterator[PredictionLog]:
    settings = {"rows": 100, "every": 0.01, "most": 50, "pause": 0.01, **given}
    log = PredictionLog(store.write, **settings)
    try:
        yield log
    finally:
        store.open.set()
        store.ever = None
        log.close(1.0)


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_predictions_are_written_in_their_order_in_few_batches() -> None:
    store = Store()
    with logging_to(store, every=0.2) as log:
        assert all(log.put(prediction(number)) for number in range(40))
        assert log.close()
        assert log.status() == {
            "waiting_rows": 0,
            "written": 40,
            "dropped": {},
            "writer_restarts": 0,
            "last_error": "",
        }
    assert store.ids == [str(number) for number in range(40)]
    assert len(store.batches) == 1


def test_a_batch_has_a_bound() -> None:
    store = Store()
    with logging_to(store, most=7, every=0.2) as log:
        for number in range(20):
            log.put(prediction(number))
        log.close()
    assert [len(batch) for batch in store.batches] == [7, 7, 6]


def test_a_full_queue_drops_and_counts_by_rows() -> None:
    store = Store()
    store.open.clear()
    with logging_to(store, rows=100) as log:
        taken = [log.put(prediction(number, rows=30)) for number in range(5)]
        assert taken == [True, True, True, False, False]
        assert log.put(prediction(5, rows=10))
        assert log.status()["dropped"] == {"queue full": 2}
        assert log.status()["waiting_rows"] == 100
        store.open.set()
        log.close()
    assert store.ids == ["0", "1", "2", "5"]


def test_a_request_does_not_wait_for_a_store_that_hangs() -> None:
    store = Store()
    store.open.clear()
    with logging_to(store) as log:
        log.put(prediction(0))
        eventually(lambda: store.attempts == 1)
        start = time.monotonic()
        for number in range(1, 200):
            log.put(prediction(number))
        assert time.monotonic() - start < 1.0
        assert log.status()["dropped"] == {"queue full": 100}


def test_a_busy_store_gets_the_same_batch_again_and_nothing_is_lost() -> None:
    store = Store(*(StoreBusyError("locked") for _ in range(3)))
    with logging_to(store) as log:
        for number in range(10):
            log.put(prediction(number))
        assert log.close()
        assert log.status()["dropped"] == {}
    assert store.ids == [str(number) for number in range(10)]


def test_a_full_store_keeps_the_newest_and_says_so() -> None:
    store = Store(ever=StoreFullError("no room left"))
    with logging_to(store, rows=20) as log:
        for number in range(60):
            eventually(lambda number=number: log.put(prediction(number)))
        assert log.status()["last_error"] == "no room left"
        store.ever = None
        assert log.close()
        status = log.status()
    dropped = status["dropped"]
    assert isinstance(dropped, dict)
    assert dropped["store full"] >= 40
    assert status["written"] == 60 - dropped["store full"]
    assert store.ids[-1] == "59"
    assert status["last_error"] == ""


def test_another_fault_of_the_store_is_counted_as_such() -> None:
    store = Store(ever=ObservationsError("no such table"))
    with logging_to(store, rows=10) as log:
        for number in range(10):
            log.put(prediction(number))
        eventually(lambda: log.status()["dropped"] != {})
        assert log.status()["dropped"] == {"store broken": 5}
        assert log.status()["last_error"] == "no such table"


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), SystemExit(1)])
def test_a_writer_that_died_is_started_again(fault: BaseException) -> None:
    store = Store(fault)
    with logging_to(store) as log:
        log.put(prediction(0))
        eventually(lambda: log.status()["last_error"] == repr(fault))
        eventually(lambda: log.put(prediction(1)) and log.status()["writer_restarts"] == 1)
        assert log.close()
        assert log.status()["dropped"] == {"writer died": 1}
    assert set(store.ids) == {"1"}


def test_close_gives_up_at_its_deadline_and_counts_what_is_left() -> None:
    store = Store(ever=StoreBusyError("locked"))
    with logging_to(store) as log:
        for number in range(10):
            log.put(prediction(number))
        start = time.monotonic()
        log.close(0.2)
        assert time.monotonic() - start < 2.0
        assert log.status()["dropped"] == {"closed": 10}


def test_after_close_predictions_are_dropped_and_counted() -> None:
    store = Store()
    with logging_to(store) as log:
        log.close()
        assert not log.put(prediction(0))
        assert log.status()["dropped"] == {"closed": 1}


def test_many_threads_may_put_at_once_and_each_prediction_is_written_once() -> None:
    store = Store()
    with logging_to(store, rows=10_000) as log:
        threads = [
            threading.Thread(
                target=lambda first: [log.put(prediction(first + n)) for n in range(500)],
                args=(500 * t,),
            )
            for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.close()
    assert sorted(map(int, store.ids)) == list(range(2000))
