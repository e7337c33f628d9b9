"""Share a candidate's replay: a watcher computes and stores it, viewers read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from mlops_kit.prediction_log.replays import StoredReplay
from mlops_kit.rollouts.quality import Quality
from mlops_kit.rollouts.replay import Replay

if TYPE_CHECKING:
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.releases.release import ServedModel
    from mlops_kit.rollouts.judge import Judge
    from mlops_kit.serving.predictor import Predictor

# A replay that didn't change is stored again after so long, as a sign of life.
_HEARTBEAT_SECONDS = 10.0
# From this age on a stored replay has no watcher any more.
_STALE_SECONDS = 60.0


@dataclass(frozen=True)
class ReplayResult:
    """What the replay of a candidate says, and the reasons not to believe it, a sentence each."""

    quality: Quality | None
    faults: tuple[str, ...] = ()


class Replays(Protocol):
    """Where an observer gets the replay of a candidate from."""

    def prepare(self, champion: ServedModel | None, candidate: ServedModel | None) -> None:
        """Do early what the first read would wait for."""

    def read(
        self, champion: ServedModel, candidate: ServedModel, before: float, now: float
    ) -> ReplayResult:
        """Return the replay of what is older than `before`; both in seconds since the epoch."""


class StoredReplays:
    """Reads what a watcher computed: whoever only looks on loads no model and scores nothing."""

    def __init__(self, observations: Observations, model: str, environment: str) -> None:
        """Nothing is read yet."""
        self._observations, self._where = observations, (model, environment)

    def prepare(self, champion: ServedModel | None, candidate: ServedModel | None) -> None:
        """Do nothing: reading is quick."""

    def read(
        self, champion: ServedModel, candidate: ServedModel, before: float, now: float
    ) -> ReplayResult:
        """Return what a watcher stored last. Raises ObservationsError."""
        pair = (champion.digest, candidate.digest)
        found = self._observations.replay(*self._where, *pair)
        if found is None:
            return ReplayResult(None, ("No watcher has replayed the candidate yet.",))
        faults = found.faults
        if now - found.computed > _STALE_SECONDS:
            at = datetime.fromtimestamp(found.computed, UTC)
            faults += (f"Nobody has watched since {at:%Y-%m-%d %H:%M:%S} UTC.",)
        quality = Quality.from_json(found.counts)
        if quality is None:
            faults += ("The last replay was made by an older mlops-kit; start its watcher anew.",)
        return ReplayResult(quality, faults)


class ComputedReplays:
    """Replays a candidate and stores the result for whoever looks on."""

    def __init__(
        self,
        observations: Observations,
        model: str,
        environment: str,
        load: Callable[[ServedModel], Predictor],
        judge: Judge,
        share: float = 1.0,
    ) -> None:
        """Load and read nothing yet.

        Args:
            observations: the prediction log.
            model: the registered name.
            environment: where it is released.
            load: returns the predictor of a served model.
            judge: counts answers by the criteria of the model's task.
            share: of the requests to replay, 0 to 1.
        """
        self._observations, self._where = observations, (model, environment)
        self._load, self._judge, self._share = load, judge, share
        self._predictors: dict[str, Predictor] = {}
        self._replay: tuple[tuple[str, str], Replay] | None = None
        self._stored: tuple[tuple[str, str], StoredReplay] | None = None

    def prepare(self, champion: ServedModel | None, candidate: ServedModel | None) -> None:
        """Load the models of the release, so that a server which starts next finds their files.

        Here the registry is loaded already, which takes a new process seconds.
        """
        for side in (champion, candidate):
            if side is not None:
                self._predictor(side)

    def read(
        self, champion: ServedModel, candidate: ServedModel, before: float, now: float
    ) -> ReplayResult:
        """Read on, store what changed and return it. Raises KitError."""
        pair = (champion.digest, candidate.digest)
        if self._replay is None or self._replay[0] != pair:
            sides = (self._predictor(champion), self._predictor(candidate))
            self._replay = (
                pair,
                Replay(self._observations, *self._where, *sides, self._judge, self._share),
            )
        replay = self._replay[1]
        quality = replay.read(before)
        self._store(pair, StoredReplay(now, quality.to_json(), replay.faults))
        return ReplayResult(quality, replay.faults)

    def _store(self, pair: tuple[str, str], found: StoredReplay) -> None:
        if self._stored is not None and self._stored[0] == pair:
            last = self._stored[1]
            is_same = (last.counts, last.faults) == (found.counts, found.faults)
            if is_same and 0 <= found.computed - last.computed < _HEARTBEAT_SECONDS:
                return
        self._observations.save_replay(*self._where, *pair, found)
        self._stored = (pair, found)

    def _predictor(self, side: ServedModel) -> Predictor:
        if side.digest not in self._predictors:
            self._predictors[side.digest] = self._load(side)
        return self._predictors[side.digest]
