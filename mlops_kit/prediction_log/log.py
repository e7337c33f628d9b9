"""The prediction log: predictions, their labels, and the counters of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import ObservationsError
from mlops_kit.prediction_log import (
    counters,
    insert,
    labelled_rows,
    labels,
    replays,
    schema,
    sources,
)
from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.prediction_log.database import Store
from mlops_kit.prediction_log.label import Label, LabelCounts
from mlops_kit.prediction_log.logged_rows import Cursor, LabelledRows
from mlops_kit.prediction_log.prediction import Prediction, Role
from mlops_kit.prediction_log.replays import StoredReplay
from mlops_kit.prediction_log.sql import chunks, driver, find_key

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Cursor", "Label", "LabelCounts", "LabelledRows", "Observations"]


class Observations:
    """The store of predictions, labels and counters; opened, and created, on first use.

    Threads and processes may share it; writers take turns. Every method raises StoreBusyError
    when another writer holds the store for over a second (a retry may work), StoreFullError when
    the disk is full, and ObservationsError for any other fault.
    """

    def __init__(self, url: str, *, slow_ms: float = 250.0, interval: float = 1.0) -> None:
        """Count requests over `slow_ms` milliseconds as slow, in buckets of `interval` seconds.

        Counters are stored per `slow_ms`: read them with the value they were written with.
        """
        self.slow_ms = slow_ms
        self.interval = interval
        self._store = Store(url)
        self._full_samples: dict[tuple[int, int], tuple[int, int]] = {}

    def prepare(self) -> None:
        """Create or migrate the store; every other method does so itself."""
        self._store.prepare()

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Store predictions and count them, all or none.

        An id that is stored already is skipped, so a retry doesn't count twice.
        """
        if predictions:
            with self._store.writing() as connection:
                newest = insert.record(
                    driver(connection), predictions, slow_ms=self.slow_ms, interval=self.interval
                )
                labels.find(connection, newest)

    def label(
        self, given: Sequence[Label], *, model: str = "", environment: str = ""
    ) -> LabelCounts:
        """Store labels; they may come in any order, twice, and before their prediction.

        The newest label of a row counts (the larger on a tie), and a row with two different ones
        is a conflict. `model` and `environment` are those of labels by key. Large batches use
        several transactions, so predictions don't wait; after a fault, send the same labels again.
        """
        if not model and (keyed := next((each.key for each in given if each.key), "")):
            raise ObservationsError(
                f"The label by the key {keyed!r:.80} names no model; expected the one that was "
                "asked. Look at what delivers the labels."
            )
        counts = LabelCounts()
        for chunk in chunks(given):
            with self._store.writing() as connection:
                counts += labels.store(connection, chunk, (model, environment))
        return counts

    def position(self, source: str) -> str:
        """Return how far a source of labels was read; empty if it never was."""
        with self._store.reading() as connection:
            return sources.position(connection, source)

    def set_position(self, source: str, position: str) -> None:
        """Remember how far a source of labels was read."""
        with self._store.writing() as connection:
            sources.set_position(connection, source, position)

    def blocks(
        self, model: str, environment: str, champion: str, candidate: str
    ) -> tuple[Block, ...]:
        """Return the counters of a pair of digests by time, one block per weight and interval."""
        with self._store.reading() as connection:
            pair = counters.Pair(model, environment, champion, candidate)
            return counters.blocks(connection, pair, self.slow_ms)

    def champion_blocks(
        self,
        model: str,
        environment: str,
        champion: str,
        since: float = 0.0,
        until: float = float("inf"),
    ) -> tuple[Arm, ...]:
        """Return a champion's counts per interval, oldest first, whatever the candidate.

        Intervals without a request are left out.

        Args:
            model: the registered name.
            environment: where it is released.
            champion: its digest.
            since: start of the first interval, in seconds since the epoch.
            until: end (exclusive) of the interval starts, in seconds since the epoch.
        """
        with self._store.reading() as connection:
            pair = counters.Pair(model, environment, champion)
            return counters.champion_blocks(connection, pair, self.slow_ms, since, until)

    def matured(
        self,
        model: str,
        environment: str,
        digest: str,
        *,
        before: float,
        after: Cursor | None = None,
        since: float = float("-inf"),
        most: int = 5_000,
        role: Role | None = None,
        features: bool = True,
    ) -> LabelledRows:
        """Return the next rows that a digest answered without error, labelled or not.

        Args:
            model: the registered name.
            environment: where it is released.
            digest: the version that answered.
            before: the newest request's time (inclusive), in seconds since the epoch.
            after: where the last read ended; None starts at the oldest.
            since: the oldest request's time (inclusive), in seconds since the epoch.
            most: about how many rows to return; a request is never split.
            role: only what it answered as champion or candidate; None for both.
            features: whether to return the features too.
        """
        answerer = (model, environment, digest)
        query = (before, since, role, features, most)
        return self._read_on(labelled_rows.matured, answerer, after, query)

    def labelled(
        self,
        model: str,
        environment: str,
        digest: str,
        *,
        before: float,
        after: Cursor | None = None,
        since: float = float("-inf"),
        most: int = 5_000,
        features: bool = True,
    ) -> LabelledRows:
        """Return labelled rows that are new, or whose label changed, since the cursor.

        Reading on until `is_last` counts each labelled row once with its current label, even if
        it was labelled, changed or stored after younger rows were read.

        Args:
            model: the registered name.
            environment: where it is released.
            digest: the version that answered; the same for each read.
            before: the newest request's time (inclusive), in seconds since the epoch; may move.
            after: where the last read ended; None starts at the oldest.
            since: the oldest request's time (inclusive); the same for each read.
            most: about how many rows to return; a request is never split.
            features: whether to return the features too.
        """
        answerer = (model, environment, digest)
        query = (before, since, None, features, most)
        return self._read_on(labelled_rows.labelled, answerer, after, query)

    def coverage(
        self,
        model: str,
        environment: str,
        digest: str,
        before: float,
        *,
        since: float = float("-inf"),
    ) -> tuple[int, int]:
        """Return how many rows a digest answered, and how many of them are labelled.

        Args:
            model: the registered name.
            environment: where it is released.
            digest: the version that answered.
            before: the newest request's time (inclusive), in seconds since the epoch.
            since: the oldest request's time (inclusive), in seconds since the epoch.
        """
        with self._store.reading() as connection:
            who = find_key(connection, schema.answerers, (model, environment, digest))
            if who is None:
                return 0, 0
            return labelled_rows.coverage(connection, labelled_rows.Query(who, before, since))

    def clients(
        self,
        model: str,
        environment: str,
        champion: str,
        candidate: str,
        weight: int,
        most: int = 20_000,
    ) -> tuple[int, int]:
        """Return how many clients the candidate answered, and how many there were in all.

        A prediction without a client counts as a client of its own.

        Args:
            model: the registered name.
            environment: where it is released.
            champion: its digest.
            candidate: its digest.
            weight: the candidate's, in percent.
            most: how many predictions to look at, from the first.
        """
        values = (model, environment, champion, candidate, weight)
        with self._store.reading() as connection:
            split = find_key(connection, schema.splits, values)
            if split is None:
                return 0, 0
            if (split, most) in self._full_samples:
                return self._full_samples[split, most]
            sampled, counted = counters.clients(connection, split, most)
        if sampled == most:
            # Nothing comes before the first ones, so it stays as it is.
            self._full_samples[split, most] = counted
        return counted

    def save_replay(
        self, model: str, environment: str, champion: str, candidate: str, found: StoredReplay
    ) -> None:
        """Replace the stored replay of a pair.

        Args:
            model: the registered name.
            environment: where it is released.
            champion: its digest.
            candidate: its digest.
            found: what the watcher computed.
        """
        with self._store.writing() as connection:
            replays.save(connection, (model, environment, champion, candidate), found)

    def replay(
        self, model: str, environment: str, champion: str, candidate: str
    ) -> StoredReplay | None:
        """Return the last stored replay of a pair of digests; None without one."""
        with self._store.reading() as connection:
            return replays.load(connection, (model, environment, champion, candidate))

    def status(self, model: str, environment: str) -> dict[str, Any]:
        """Return counts, and the times of the newest prediction and label in seconds, or None.

        `predictions` counts requests, `labels` labelled rows, `conflicts` rows with different
        labels, `unknown_labels` those without a stored prediction, of any model.
        """
        with self._store.reading() as connection:
            return counters.status(connection, model, environment)

    def close(self) -> None:
        """Close the store; the next use opens it again."""
        self._store.close()

    def _read_on(
        self,
        read: Callable[[Connection, labelled_rows.Query, Cursor], LabelledRows],
        answerer: tuple[str, str, str],
        after: Cursor | None,
        query: tuple[float, float, Role | None, bool, int],
    ) -> LabelledRows:
        """Read a version's answers after the cursor; nothing if it has none."""
        start = after or Cursor()
        with self._store.reading() as connection:
            who = find_key(connection, schema.answerers, answerer)
            if who is None:
                return LabelledRows(start, True)
            return read(connection, labelled_rows.Query(who, *query), start)
