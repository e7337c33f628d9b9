"""Live traffic as it was observed: predictions, the labels that follow, and what both add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlops_kit.prediction_log import counters, insert, labelled_rows, labels, replays, schema
from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.prediction_log.database import Store
from mlops_kit.prediction_log.label import Label
from mlops_kit.prediction_log.labelled_rows import Cursor, LabelledRows
from mlops_kit.prediction_log.prediction import Prediction, Role
from mlops_kit.prediction_log.replays import StoredReplay
from mlops_kit.prediction_log.sql import chunks, driver, find_key

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Cursor", "Label", "LabelledRows", "Observations"]


class Observations:
    """The store of predictions, labels and counters; it is opened, and made, at its first use.

    Any thread and process may use it at the same time; one writes, the others wait for it. Every
    verb raises StoreBusyError while another writer holds the store for longer than a second (the
    same again may work), StoreFullError where there is no room, and ObservationsError for any
    other fault.
    """

    def __init__(self, url: str, *, slow_ms: float = 250.0, interval: float = 1.0) -> None:
        """Count a request that took over `slow_ms` as slow, in buckets of `interval` seconds.

        Counters belong to the `slow_ms` that they were counted with: who reads them must give
        the same as who wrote them.
        """
        self.slow_ms = slow_ms
        self.interval = interval
        self._store = Store(url)
        self._full_samples: dict[tuple[int, int], tuple[int, int]] = {}

    def prepare(self) -> None:
        """Make or migrate the store; every other verb does so by itself."""
        self._store.prepare()

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Store predictions and count them, all or none.

        One whose id is stored already changes nothing, so that a retry doesn't count twice.
        """
        if predictions:
            with self._store.writing() as connection:
                newest = insert.record(
                    driver(connection), predictions, slow_ms=self.slow_ms, interval=self.interval
                )
                labels.find(connection, newest)

    def label(self, given: Sequence[Label]) -> None:
        """Store labels; they may come in any order, twice, and before their prediction.

        Of two that contradict each other the newer by time counts (of the same time: fraud), and
        the row counts as a conflict. Many are stored in several transactions, so that predictions
        needn't wait; after a fault the same labels may be given again.
        """
        for chunk in chunks(given):
            with self._store.writing() as connection:
                labels.store(connection, chunk)

    def blocks(
        self, model: str, environment: str, champion: str, candidate: str
    ) -> tuple[Block, ...]:
        """Return the counters of a pair of digests: a block a weight and interval, by time."""
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
        """Return what a digest did as the champion, beside whichever candidate, an interval each.

        The oldest comes first, of those that began from `since` to before `until`; an interval
        without a request is left out.
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

        The oldest come first: of the requests from `since` to `before`, both in seconds and
        within, about `most` rows (one request is never parted) after the cursor.
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
        """Return the labelled rows that were not read yet, or had another label when they were.

        As `matured`, but who goes on with each cursor, at any later time, has after `is_last`
        counted each labelled row once, with the label that counts: also those labelled, changed
        or stored after younger ones were read. `before` may move, `since` and `digest` must stay.
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
        """Return how many rows a digest answered in that time, and how many are labelled."""
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

        Of the first `most` predictions that a pair made at this weight; each one without a client
        counts as a client of its own.
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
        """Keep what a watcher found in the replay of a pair of digests, in place of the last."""
        with self._store.writing() as connection:
            replays.save(connection, (model, environment, champion, candidate), found)

    def replay(
        self, model: str, environment: str, champion: str, candidate: str
    ) -> StoredReplay | None:
        """Return what a watcher found last in the replay of a pair; None where none did."""
        with self._store.reading() as connection:
            return replays.load(connection, (model, environment, champion, candidate))

    def status(self, model: str, environment: str) -> dict[str, Any]:
        """Return what is stored: counts, and the times of what came last, in seconds, or None.

        `predictions` are requests, `labels` labelled rows, `conflicts` rows with both labels.
        `unknown_labels` name no stored prediction, of whichever model.
        """
        with self._store.reading() as connection:
            return counters.status(connection, model, environment)

    def close(self) -> None:
        """Let go of the store; a later use opens it again."""
        self._store.close()

    def _read_on(
        self,
        read: Callable[[Connection, labelled_rows.Query, Cursor], LabelledRows],
        answerer: tuple[str, str, str],
        after: Cursor | None,
        query: tuple[float, float, Role | None, bool, int],
    ) -> LabelledRows:
        """Read what an answerer answered, after the cursor; nothing for one that never did."""
        start = after or Cursor()
        with self._store.reading() as connection:
            who = find_key(connection, schema.answerers, answerer)
            if who is None:
                return LabelledRows(start, True)
            return read(connection, labelled_rows.Query(who, *query), start)
