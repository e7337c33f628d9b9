"""Count decisions against labels: a candidate's on replayed traffic, a version's on its own."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from mlops_kit.rollouts.evidence import Quality

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mlops_kit.prediction_log.log import Cursor, LabelledRows, Observations
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

    features = False

    def __init__(
        self,
        observations: Observations,
        model: str,
        environment: str,
        digest: str,
        since: float = -math.inf,
    ) -> None:
        """Read nothing yet.

        Args:
            observations: the prediction log.
            model: the registered name.
            environment: where it is released.
            digest: the version that answered.
            since: the oldest answer that counts, in seconds since the epoch.
        """
        self._observations, self._where = observations, (model, environment, digest)
        self._since = since
        self._cursor: Cursor | None = None
        self._quality = Quality()
        self._most = _CHUNK // 10

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
            total = self._quality + new
            differences = zip(astuple(total), astuple(old), strict=True)
            self._quality = Quality(*(now - before for now, before in differences))
            self._cursor = rows.cursor
            now = time.monotonic()
            if len(rows):
                pace = len(rows) / max(now - began, 1e-6)
                self._most = max(_MIN_CHUNK, min(_CHUNK, int(pace * _BUDGET_SECONDS)))
            if rows.is_last or now - start > _BUDGET_SECONDS:
                break
        mature, labelled = self._observations.coverage(*self._where, before, since=self._since)
        return Quality(**{**vars(self._quality), "mature": self._waiting(mature, labelled)})

    def _waiting(self, mature: int, labelled: int) -> int:
        """Return the rows that are counted or could be, with their label."""
        return self._quality.labelled + mature - labelled

    def _count(self, rows: LabelledRows) -> tuple[Quality, Quality]:
        """Return what these rows say now, and what they said when they were read before."""
        decided = rows.decisions
        return _counts(rows.labels, rows.previous, decided, decided, rows.labels != rows.labels)


class Replay(Answers):
    """What a candidate would have decided on the champion's traffic; no user is exposed.

    `share` of the requests, chosen by a hash of their id, is replayed: whoever trains on logged
    traffic leaves these out by `is_held_out`. `faults` are reasons not to believe it.
    """

    features = True

    def __init__(
        self,
        observations: Observations,
        model: str,
        environment: str,
        champion: Predictor,
        candidate: Predictor,
        share: float = 1.0,
    ) -> None:
        """Read nothing yet.

        Args:
            observations: the prediction log.
            model: the registered name.
            environment: where it is released.
            champion: predicts as the champion did.
            candidate: the version to judge.
            share: of the requests, chosen by a hash of their id.
        """
        super().__init__(observations, model, environment, champion.digest)
        self.champion, self.candidate, self.share = champion, candidate, share
        self._differing = self._unkept = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the replay can't be believed, a sentence each."""
        found = []
        if self._differing:
            found.append(f"The champion now decides otherwise on {self._differing:,} logged rows.")
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
        if rows.features is None:
            return Quality(), Quality()
        kept = np.array([is_held_out(name, self.share) for name in rows.ids], bool)
        features, logged = rows.features[kept], rows.decisions[kept]
        # The champion's own answers must come out again: else features or code differ from then.
        again, _ = _decisions(self.champion, features)
        # A row whose label changed was looked at before.
        is_new = np.isnan(rows.previous[kept])
        self._differing += int((is_new & (again != logged)).sum())
        found, failed = _decisions(self.candidate, features)
        return _counts(rows.labels[kept], rows.previous[kept], found, logged, failed)


def is_held_out(request: str, share: float) -> bool:
    """Tell whether a request belongs to the share that is replayed, and never trained on."""
    if share >= 1:
        return True
    hashed = hashlib.blake2b(request.encode(), digest_size=8, person=b"replay").digest()
    return int.from_bytes(hashed) < share * 2**64


def _counts(
    labels: npt.NDArray[Any],
    previous: npt.NDArray[Any],
    found: npt.NDArray[Any],
    champion: npt.NDArray[Any],
    failed: npt.NDArray[np.bool_],
) -> tuple[Quality, Quality]:
    """Return what (n,) labels say of the decisions `found`, and what the `previous` ones said."""
    known = previous >= 0
    old = _quality(previous[known], found[known], champion[known], failed[known])
    return _quality(labels, found, champion, failed), old


def _quality(
    labels: npt.NDArray[Any],
    found: npt.NDArray[Any],
    champion: npt.NDArray[Any],
    failed: npt.NDArray[np.bool_],
) -> Quality:
    """Count; a row that couldn't be scored is a failure, and tells nothing of decisions."""
    fraud, flagged = (labels == 1) & ~failed, (found == 1) & ~failed
    return Quality(
        frauds=int(fraud.sum()),
        caught=int((fraud & flagged).sum()),
        flagged=int(flagged.sum()),
        worse=int((fraud & ~flagged & (champion == 1)).sum()),
        better=int((fraud & flagged & (champion == 0)).sum()),
        labelled=len(labels),
        failed=int(failed.sum()),
    )


def _decisions(
    predictor: Predictor, rows: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the decisions (n,) and on which rows the model raised, found by parting them."""
    import numpy as np

    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    try:
        return predictor.predict(rows)[1], np.zeros(len(rows), bool)
    except Exception:  # a model may raise anything; which rows is what counts
        if len(rows) == 1:
            return np.zeros(1, np.int64), np.ones(1, bool)
    # What a model most often can't do is a missing value.
    chosen = np.isnan(rows).any(axis=1)
    if chosen.all() or not chosen.any():
        chosen = np.arange(len(rows)) < len(rows) // 2
    decisions, failed = np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    for part in (chosen, ~chosen):
        decisions[part], failed[part] = _decisions(predictor, rows[part])
    return decisions, failed
