"""Observe a rollout: Git, the server and the prediction log, as one state."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_kit.errors import KitError, ObservationsError
from mlops_kit.releases import commits, holds, ledger, quarantine
from mlops_kit.releases.ledger import Entry
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.snapshot import Snapshot
from mlops_kit.rollouts import evidence
from mlops_kit.rollouts.criteria import BINARY, ModelTask, live_criteria
from mlops_kit.rollouts.evidence import Bursts
from mlops_kit.rollouts.judge import Costs, Judge
from mlops_kit.rollouts.replay import Answers
from mlops_kit.rollouts.state import RolloutState
from mlops_kit.rollouts.timeline import Timeline, course

if TYPE_CHECKING:
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.releases.repository import GitOpsRepository
    from mlops_kit.rollouts.policy import Policy
    from mlops_kit.rollouts.shared_replay import Replays
    from mlops_kit.rollouts.target import ServingStatus

# The champion's usual day, from which the bursts of its errors are estimated; in seconds.
_USUAL_SECONDS = 86_400.0
# Between two looks the clock may differ from a stopwatch by so many seconds.
_MAX_CLOCK_DRIFT_SECONDS = 5.0


@dataclass(frozen=True)
class ObservedState:
    """One look: what Git says, what the platform serves, and what a decision depends on."""

    snapshot: Snapshot
    release: Release
    entries: tuple[Entry, ...]
    platform: ServingStatus | None
    situation: RolloutState

    @property
    def revision(self) -> str:
        """The commit that Git was read at."""
        return self.snapshot.revision


@dataclass(frozen=True)
class _Git:
    """What the repository says at one revision."""

    snapshot: Snapshot
    release: Release
    entries: tuple[Entry, ...]
    hold: holds.Hold


@dataclass
class RolloutObserver:
    """Observes one environment repeatedly, reading only what is new.

    It keeps nothing that isn't in Git or the log, so any other observer sees the same. `replays`
    computes the replay, or reads a watcher's. `served` returns the server's status, None without
    a server. `task` is the model's, and `costs` gives what its answers cost, None where no cost
    counts.
    """

    repository: GitOpsRepository
    policy: Policy
    model: str
    environment: str
    observations: Observations
    replays: Replays
    served: Callable[[], ServingStatus | None]
    task: ModelTask = BINARY
    costs: Costs | None = None
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    _read: _Git | None = None
    _answers: tuple[tuple[str, float], Answers] | None = None
    _bursts: tuple[tuple[str, float], Bursts] | None = None
    _times: tuple[float, float] | None = None
    _dropped: int | None = None

    def prepare(self) -> None:
        """Load the models of the release, so that a platform which starts next finds their files.

        Here the registry is loaded already, which takes a new process seconds.
        """
        # What goes wrong here goes wrong again, and is said, at a look.
        with suppress(KitError):
            release = self._git().release
            self.replays.prepare(release.champion, release.candidate)

    def observe(self) -> ObservedState:
        """Return the state now; raises GitOpsError when Git can't be read."""
        git = self._git()
        revision, release, entries = git.snapshot.revision, git.release, git.entries
        platform = self.served()
        now = self.clock()
        jumped = self._has_jumped(now)
        passed = course(entries, release)
        facts = {
            "now": now,
            "release": release,
            "task": self.task,
            "started": passed.started,
            "since": passed.since,
            "shifted": passed.shifted,
            "completed": passed.completed,
            "is_live": platform is not None and platform.revision == revision,
            "applied": platform.since if platform else None,
            "target_ready": platform is not None and bool(platform.champion),
            "can_restore": _can_restore(entries, release),
            "held_by": git.hold.by(release.rollout),
            "clock_jumped": jumped,
        }
        observed, faults = self._observed(release, passed, now)
        faults += self._platform_faults(platform)
        situation = RolloutState(**facts, **observed, faults=faults)  # type: ignore[arg-type]
        return ObservedState(git.snapshot, release, entries, platform, situation)

    def _git(self) -> _Git:
        snapshot = self.repository.snapshot()
        if self._read is None or self._read.snapshot.revision != snapshot.revision:
            self._read = _Git(
                snapshot,
                commits.at(snapshot, self.model, self.environment),
                commits.entries(snapshot, self.model, self.environment),
                holds.held(snapshot, self.environment),
            )
        return self._read

    def _has_jumped(self, now: float) -> bool:
        """Tell whether the clock differs from a stopwatch since the last look."""
        times, self._times = self._times, (now, self.ticks())
        if times is None:
            return False
        by_clock, by_stopwatch = now - times[0], self._times[1] - times[1]
        return abs(by_clock - by_stopwatch) > _MAX_CLOCK_DRIFT_SECONDS

    def _observed(
        self, release: Release, passed: Timeline, now: float
    ) -> tuple[dict[str, object], tuple[str, ...]]:
        """Return what the prediction log says, and why parts of it can't be trusted."""
        champion, candidate = release.champion, release.candidate
        if champion is None:
            return {}, ()
        before = now - self.policy.maturity
        found: dict[str, object] = {}
        faults: list[str] = []
        try:
            judged = candidate or champion
            if candidate is not None or passed.completed is not None:
                found["live"] = self._own(judged, passed.started).read(before)
            if candidate is not None and not candidate.is_same(champion):
                pair = (self.model, self.environment, champion.digest, candidate.digest)
                found["blocks"] = self.observations.blocks(*pair)
                found["bursts"] = self._usual(champion, passed.started)
                if release.weight:
                    found["clients"] = self.observations.clients(*pair, release.weight)
                replay = self.replays.read(champion, candidate, before, now)
                found["replay"] = replay.quality
                faults += replay.faults
        except ObservationsError as error:
            faults.append(str(error))
        except KitError as error:
            faults.append(f"The replay can't run: {error}")
        return found, tuple(faults)

    def _platform_faults(self, platform: ServingStatus | None) -> tuple[str, ...]:
        if platform is None:
            return ("No server is running here; start one with 'mlops-kit serve'.",)
        faults = []
        if platform.error:
            faults.append(f"The server can't apply commit {platform.wanted[:10]}: {platform.error}")
        dropped = platform.dropped
        if self._dropped is not None and dropped > self._dropped:
            faults.append(
                f"{dropped - self._dropped:,} predictions couldn't be logged since the last look."
            )
        self._dropped = dropped
        return tuple(faults)

    def _own(self, judged: ServedModel, since: float) -> Answers:
        key = (judged.digest, since)
        if self._answers is None or self._answers[0] != key:
            counted = live_criteria(self.policy, self.task)
            judge = Judge(counted, self.policy.regression, self.costs)
            where = (self.model, self.environment, judged.digest)
            self._answers = (key, Answers(self.observations, *where, judge, since))
        return self._answers[1]

    def _usual(self, champion: ServedModel, started: float) -> Bursts:
        """Return the bursts of the champion's usual day, which ended when the rollout began."""
        key = (champion.digest, started)
        if self._bursts is None or self._bursts[0] != key:
            where = (self.model, self.environment, champion.digest)
            # Whoever looks for the first time only later must not count what came since then.
            arms = self.observations.champion_blocks(*where, started - _USUAL_SECONDS, started)
            self._bursts = (key, evidence.bursts(arms))
        return self._bursts[1]


def _can_restore(entries: tuple[Entry, ...], release: Release) -> bool:
    """Tell whether there is a last good version to go back to."""
    champion = release.champion
    if champion is None:
        return False
    bad = quarantine.quarantined(entries)
    good = ledger.last_good(entries, champion.version, champion.digest, avoid=bad)
    return good is not None
