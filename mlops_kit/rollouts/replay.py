"""Count answers against labels: a candidate's on replayed traffic, a version's on its own."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_kit.rollouts.judge import Answered
from mlops_kit.rollouts.logged_answers import answers, decoded, differ
from mlops_kit.rollouts.quality import Quality

if TYPE_CHECKING:
    from mlops_kit.prediction_log.log import Cursor, LabelledRows, Observations
    from mlops_kit.rollouts.judge import Array, Judge
    from mlops_kit.serving.predictor import Predictor

# Rows that are read and scored at once: so many, or as many as a slow model does in the time below.
_CHUNK, _MIN_CHUNK = 5_000, 20
# Seconds that one read may go on: a candidate that is slow must not delay the look that ends it.
_BUDGET_SECONDS = 0.5


class Answers:
    """What the labels of one version's own answers say, read on from where it was read before.

    Made anew it reads from the start and counts the same: what it knows is in the store. Answers
    before `since` don't count.
    """

    def __init__(
        self,
        observations: Observations,
        model: str,
        environment: str,
        digest: str,
        judge: Judge,
        since: float = -math.inf,
    ) -> None:
        """Read nothing yet.

        Args:
            observations: the prediction log.
            model: the registered name.
            environment: where it is released.
            digest: the version that answered.
            judge: counts answers by the criteria of the model's task.
            since: the oldest answer that counts, in seconds since the epoch.
        """
        self._observations, self._where = observations, (model, environment, digest)
        self.judge, self._since = judge, since
        self._cursor: Cursor | None = None
        self._quality = Quality()
        self._most = _CHUNK // 10

    @property
    def features(self) -> bool:
        """Whether features are read: what an answer costs may depend on them."""
        return self.judge.costs is not None

    def read(self, before: float) -> Quality:
        """Return the counts of what is older than `before`, in seconds since the epoch.

        Where that takes long, the rest is left to the next read. Raises ObservationsError.
        """
        start = time.monotonic()
        while True:
            began = time.monotonic()
            rows = self._observations.labelled(
                *self._where,
                before=before,
                after=self._cursor,
                since=self._since,
                most=self._most,
                features=self.features,
            )
            new, old = self._count(rows)
            self._quality = self._quality.plus(new).plus(old, -1)
            self._cursor = rows.cursor
            now = time.monotonic()
            if len(rows):
                pace = len(rows) / max(now - began, 1e-6)
                self._most = max(_MIN_CHUNK, min(_CHUNK, int(pace * _BUDGET_SECONDS)))
            if rows.is_last or now - start > _BUDGET_SECONDS:
                break
        mature, labelled = self._observations.coverage(*self._where, before, since=self._since)
        return replace(self._quality, mature=self._waiting(mature, labelled))

    def _waiting(self, mature: int, labelled: int) -> int:
        """Return the rows that are counted or could be, with their label."""
        return self._quality.labelled + mature - labelled

    def _count(self, rows: LabelledRows) -> tuple[Quality, Quality]:
        """Return what these rows say now, and what they said when they were read before."""
        features = decoded(rows)
        if not len(rows) or (self.features and features is None):
            return Quality(), Quality()
        logged = Answered(rows.scores, rows.decisions)
        return self._both(rows.labels, rows.previous, features, logged)

    def _both(
        self,
        labels: Array,
        previous: Array,
        features: Array | None,
        mine: Answered,
        champion: Answered | None = None,
        failed: Array | None = None,
    ) -> tuple[Quality, Quality]:
        """Return what the labels say of the answers, and what the `previous` ones said."""
        import numpy as np

        known = ~np.isnan(previous)
        return (
            self._said(labels, features, mine, champion, failed),
            self._said(
                previous[known],
                None if features is None else features[known],
                mine[known],
                None if champion is None else champion[known],
                None if failed is None else failed[known],
            ),
        )

    def _said(
        self,
        labels: Array,
        features: Array | None,
        mine: Answered,
        champion: Answered | None,
        failed: Array | None,
    ) -> Quality:
        priced = self.judge.priced
        other = None if champion is None else priced(labels, champion, features)
        return self.judge.quality(labels, priced(labels, mine, features), other, failed)


class Replay(Answers):
    """What a candidate would have decided on the champion's traffic; no user is exposed.

    `share` of the requests, chosen by a hash of their id, is replayed: whoever trains on logged
    traffic leaves these out by `is_held_out`. `faults` are reasons not to believe it.
    """

    @property
    def features(self) -> bool:
        """Whether features are read: the candidate needs them."""
        return True

    def __init__(
        self,
        observations: Observations,
        model: str,
        environment: str,
        champion: Predictor,
        candidate: Predictor,
        judge: Judge,
        share: float = 1.0,
    ) -> None:
        """Read nothing yet.

        Args:
            observations: the prediction log.
            model: the registered name.
            environment: where it is released.
            champion: predicts as the champion did.
            candidate: the version to judge.
            judge: counts answers by the criteria of the model's task.
            share: of the requests, chosen by a hash of their id.
        """
        super().__init__(observations, model, environment, champion.digest, judge)
        self.champion, self.candidate, self.share = champion, candidate, share
        self._differing = self._unkept = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the replay can't be believed, a sentence each."""
        found = []
        if self._differing:
            found.append(f"The champion now answers otherwise on {self._differing:,} logged rows.")
        if self._unkept and not self._quality.labelled:
            found.append(
                f"The log has no features for {self._unkept:,} labelled rows, so it can't replay "
                "them: set serving.log_features to 'values'."
            )
        return tuple(found)

    def _waiting(self, mature: int, labelled: int) -> int:
        return self._quality.labelled + round(self.share * (mature - labelled))

    def _count(self, rows: LabelledRows) -> tuple[Quality, Quality]:
        import numpy as np

        self._unkept += rows.without_features
        features = decoded(rows)
        if features is None:
            return Quality(), Quality()
        kept = np.array([is_held_out(name, self.share) for name in rows.ids], bool)
        features, previous = features[kept], rows.previous[kept]
        logged = Answered(rows.scores, rows.decisions)[kept]
        # The champion's own answers must come out again: else features or code differ from then.
        again, _ = answers(self.champion, features)
        # A row whose label changed was looked at before.
        self._differing += int((np.isnan(previous) & differ(again, logged)).sum())
        found, failed = answers(self.candidate, features)
        return self._both(rows.labels[kept], previous, features, found, logged, failed)


def is_held_out(request: str, share: float) -> bool:
    """Tell whether a request belongs to the share that is replayed, and never trained on."""
    if share >= 1:
        return True
    hashed = hashlib.blake2b(request.encode(), digest_size=8, person=b"replay").digest()
    return int.from_bytes(hashed) < share * 2**64
