"""Run a rollout: observe, decide, commit, repeat, until it ends.

A controller keeps no state: killed anywhere and restarted, it continues. Two at once don't act
twice, because each commit is a compare-and-swap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mlops_kit.errors import GitOpsError, KitError, LostRaceError, RegistryError, ReleaseError
from mlops_kit.releases import commits, promotion, release
from mlops_kit.releases.request import Signoff
from mlops_kit.rollouts import decision as rollout
from mlops_kit.rollouts import metrics, timeline
from mlops_kit.rollouts.observer import ObservedState, RolloutObserver
from mlops_kit.rollouts.result import Outcome, PollRecord, Watched
from mlops_kit.rollouts.state import Decision

# Who approves what the evidence decides.
WATCHER = "mlops-kit watch"
# Between two looks while a commit is not served yet, in seconds.
_COMMITTED_POLL_SECONDS = 0.1
_MAX_LOOKS = 5_000

Show = Callable[[Sequence[str]], None]
OnPoll = Callable[[ObservedState, PollRecord], None]


@dataclass(frozen=True)
class RolloutController:
    """One look after another at one rollout; `show` gets the lines of each, `on_poll` all of it.

    `sync_alias` lets the registry's alias follow a release. `name` is the rollout's, empty for
    whichever runs. `collect` is called before each look, to bring in labels; it raises nothing.
    `check_former` gets the version that a rollback restores, and raises ReleaseError against it.
    """

    observer: RolloutObserver
    sync_alias: Callable[[release.Release], object]
    name: str = ""
    show: Show = lambda _lines: None
    sleep: Callable[[float], object] = time.sleep
    on_poll: OnPoll = lambda _seen, _look: None
    collect: Callable[[], object] = lambda: None
    check_former: Callable[[release.ServedModel], object] = lambda _former: None

    def run(self, *, looks: int | None = None) -> Watched:
        """Look until the rollout has ended, or so many times, and return what was seen.

        Raises GitOpsError or ReleaseError when Git doesn't answer, or says what can't be read,
        for longer than a rollout may take.
        """
        policy = self.observer.policy
        path: list[PollRecord] = []
        name, away = self.name, 0.0
        while True:
            try:
                self.collect()
                seen = self.observer.observe()
                name = name or running_name(seen)
                look, ended = self._decide(seen, name)
                path = [*_thinned(path), look]
                self.show(look.lines)
                self.on_poll(seen, look)
                if ended or (looks is not None and len(path) >= looks):
                    return self._watched(name, path)
                away, wait = 0.0, _COMMITTED_POLL_SECONDS if look.committed else policy.interval
            except LostRaceError:  # somebody else acted: look again at what is there now
                continue
            except (GitOpsError, ReleaseError) as error:
                away, wait = away + policy.interval, policy.interval
                if away > policy.canary_deadline:
                    raise
                self.show([f"No decision while Git can't be read: {error}"])
            self.sleep(min(wait, policy.interval))

    def _decide(self, seen: ObservedState, name: str) -> tuple[PollRecord, bool]:
        """Decide on what was seen and commit it; tell whether the rollout has ended."""
        running = seen.release.rollout
        if running and running != name:
            message = f"Another rollout started: {running}. This watch followed {name or 'none'}."
            return _look(seen, _superseded(message)), True
        decision = rollout.decide(self.observer.policy, seen.situation)
        if name and timeline.outcome(seen.entries, name) in ("aborted", "rolled back"):
            return _look(seen, decision), True
        if decision.act == "done":
            return _look(seen, decision), True
        try:
            committed = self._commit(seen, decision)
        except LostRaceError:
            raise
        except ReleaseError as error:  # as where the state before is bad itself: a person decides
            refused = replace(
                decision,
                code="escalated.refused",
                act="hold",
                change=None,
                sentence=f"The next step is refused: {error}",
                next="A person must decide; traffic stays where it is.",
            )
            return _look(seen, refused), False
        return _look(seen, decision, committed), False

    def _commit(self, seen: ObservedState, decision: Decision) -> str:
        """Commit what was decided, and return the revision; empty where there is nothing to."""
        if decision.change is None and decision.act != "rollback":
            return ""
        observer, alpha = self.observer, self.observer.policy.alpha_promote
        counts = metrics.counts(decision.metrics, alpha) if decision.metrics else ""
        repository = self.observer.repository
        if decision.act == "rollback":
            signoff = Signoff(WATCHER, decision.sentence, "fail", counts)
            done = promotion.rollback(
                *(repository, observer.model, observer.environment, signoff),
                expected=seen.release,
                check=self.check_former,
            )
        else:
            change = decision.change
            assert isinstance(change, promotion.Step)
            done = promotion.advance(
                repository,
                seen.release,
                change,
                Signoff(WATCHER, decision.sentence, decision.verdict, counts),
                live_at=_iso(seen.platform.since)
                if seen.platform and seen.situation.is_live
                else "",
            )
        if decision.act in ("complete", "rollback"):
            self._follow(done.release)
        return done.revision if done.changed else ""

    def _follow(self, now: release.Release) -> None:
        """Let the registry's alias follow; where it can't, `repair` does it later."""
        try:
            self.sync_alias(now)
        except RegistryError as error:
            self.show(
                [f"The registry's alias is behind Git ('mlops-kit repair' fixes it): {error}"]
            )

    def _watched(self, name: str, path: Sequence[PollRecord]) -> Watched:
        """Return what was seen, and how the rollout ended by Git."""
        observer = self.observer
        snapshot = self.observer.repository.snapshot()
        entries = commits.entries(snapshot, observer.model, observer.environment)
        now = commits.at(snapshot, observer.model, observer.environment)
        # Again, in case that whoever completed it was killed before the alias followed.
        self._follow(now)
        how: Outcome = timeline.outcome(entries, name) if name else "serving"
        if now.rollout and now.rollout != name:
            how = "superseded"
        served = observer.served()
        return Watched(
            model=observer.model,
            environment=observer.environment,
            rollout=name,
            outcome=how,
            champion=now.champion.version if now.champion else "",
            entries=timeline.of(entries, name),
            looks=tuple(path),
            alpha=self.observer.policy.alpha_promote,
            dropped=served.dropped if served else 0,
        )


def named(seen: ObservedState, revision: str) -> str:
    """Return the rollout that a promotion's commit began, or the one that runs."""
    for entry in seen.entries:
        if revision and entry.revision == revision:
            return entry.rollout
    if revision:
        raise KitError(
            f"Commit {revision[:12]} is no act on {seen.release.environment}; expected the "
            "revision that 'promote' published."
        )
    return running_name(seen)


def running_name(seen: ObservedState) -> str:
    """Return the rollout that runs, or the one that made the champion."""
    if seen.release.rollout:
        return seen.release.rollout
    return next((entry.rollout for entry in seen.entries if entry.makes_champion), "")


def _thinned(path: list[PollRecord]) -> list[PollRecord]:
    """Return the path, without every second look that led to no commit where it is very long."""
    if len(path) < _MAX_LOOKS:
        return path
    return [look for number, look in enumerate(path) if look.committed or number % 2]


def _look(seen: ObservedState, decision: Decision, committed: str = "") -> PollRecord:
    blocks = seen.situation.blocks
    return PollRecord(
        time=seen.situation.now,
        weight=seen.release.weight,
        decision=decision,
        requests=sum(block.candidate.requests for block in blocks),
        champion_requests=sum(block.champion.requests for block in blocks),
        committed=committed,
    )


def _superseded(message: str) -> Decision:
    return Decision("superseded", "done", None, "inconclusive", message, "")


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
