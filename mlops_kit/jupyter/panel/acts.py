"""Carry out a person's action as one commit, and report it in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import LostRaceError, ReleaseError
from mlops_kit.jupyter.panel import reader
from mlops_kit.project import candidates, registry_alias, releases
from mlops_kit.releases import approvals, holds, promotion, release
from mlops_kit.releases.request import Signoff
from mlops_kit.rollouts import decision as rollout

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.rollouts.observer import ObservedState


@dataclass(frozen=True)
class Acts:
    """The actions on one model in one environment.

    `observe` returns the current state. `serving` are the versions that the page shows as champion
    and candidate, None without a page: an action is refused if Git has moved on since.
    """

    workspace: Workspace
    model: str
    environment: str
    observe: Callable[[], ObservedState]
    serving: tuple[str, str] | None

    def do(self, name: str, version: str, reason: str) -> str:
        """Do an action and return a sentence on what was done; raises KitError."""
        if name not in _ACTS:
            raise ReleaseError(f"Unknown action {name!r}; expected one of {sorted(_ACTS)}.")
        if not self._who:
            raise ReleaseError(reader.ONLY_LOOKS)
        return _ACTS[name](self, version, reason)

    def _promote(self, version: str, reason: str) -> str:
        judged = candidates.find(self.workspace, self.model, version)
        self._expect_unchanged()
        done = releases.promote(self.workspace, judged, environment=self.environment, reason=reason)
        what = f"{self.model} v{version}"
        if not done.changed:
            return f"Nothing to do: {what} was already promoted to {self.environment}."
        return f"Promoted {what} to {self.environment} in commit {done.revision[:10]}."

    def _approve(self, version: str, reason: str) -> str:
        return self._decided(approvals.approve, "approved", version, reason)

    def _reject(self, version: str, reason: str) -> str:
        return self._decided(approvals.reject, "rejected", version, reason)

    def _withdraw(self, version: str, _reason: str) -> str:
        target = candidates.find(self.workspace, self.model, version).target
        made = approvals.withdraw(self._git, self.environment, target, self._who)
        return f"{self._who} withdrew the approval of v{version} in commit {made[:10]}."

    def _decided(self, decide: Callable[..., str], did: str, version: str, reason: str) -> str:
        target = candidates.find(self.workspace, self.model, version).target
        made = decide(self._git, self.environment, target, self._who, reason)
        return f"{self._who} {did} v{version} in commit {made[:10]}."

    def _hold(self, _version: str, reason: str) -> str:
        name = self._running().rollout
        made = holds.hold(self._git, self.environment, name, self._who, reason)
        return f"Held the rollout in commit {made[:10]}."

    def _resume(self, _version: str, _reason: str) -> str:
        made = holds.resume(self._git, self.environment, self._running().rollout, self._who)
        return f"Resumed the rollout in commit {made[:10]}."

    def _abort(self, version: str, reason: str) -> str:
        done = self._advanced(release.Abort(), reason)
        return f"Aborted v{version} in commit {done[:10]}."

    def _complete(self, version: str, reason: str) -> str:
        if not reason.strip():
            raise ReleaseError("The reason is empty; say why no more evidence is needed.")
        done = self._advanced(release.Complete(), reason)
        return f"Made v{version} champion in commit {done[:10]}."

    def _rollback(self, _version: str, reason: str) -> str:
        if not reason.strip():
            raise ReleaseError("The reason is empty; say why you roll back.")
        done = releases.rollback(self.workspace, self.model, self.environment, reason=reason)
        champion = done.release.champion
        serves = f"v{champion.version} serves again" if champion else "nothing serves now"
        return f"Rolled back in commit {done.revision[:10]}: {serves}."

    def _repair(self, _version: str, _reason: str) -> str:
        return releases.repair(self.workspace, self.model, self.environment).sentence

    def _advanced(self, change: promotion.Step, reason: str) -> str:
        """Commit a step of the rollout that the page shows; raises LostRaceError if it changed."""
        seen = self.observe()
        self._expect_unchanged(seen.release)
        decision = rollout.decide(self.workspace.policy(self.model), seen.situation)
        done = promotion.advance(
            self._git, seen.release, change, Signoff(self._who, reason, decision.verdict)
        )
        registry_alias.sync(self.workspace, done.release)
        return done.revision

    def _expect_unchanged(self, now: release.Release | None = None) -> None:
        """Raise LostRaceError if Git has moved on from what the page shows."""
        found = now or self.workspace.release(self.model, self.environment)
        if self.serving is not None and reader.serving(found) != self.serving:
            newest = releases.history(self.workspace, self.model, self.environment).entries
            raise _lost(newest[0] if newest else None, found)

    def _running(self) -> release.Release:
        found = self.workspace.release(self.model, self.environment)
        if not found.rollout:
            raise ReleaseError(f"No rollout is running in {self.environment} any more.")
        return found

    @property
    def _git(self) -> Any:
        return self.workspace.repository

    @property
    def _who(self) -> str:
        return self.workspace.settings.approved_by


def _lost(entry: Any, found: release.Release) -> LostRaceError:
    change = (
        f"{entry.who} did '{entry.action} v{entry.version}' at "
        f"{entry.when.astimezone(UTC):%H:%M:%S} UTC"
        if entry
        else "Git changed"
    )
    return LostRaceError(
        f"{change}, while you were deciding. Nothing was committed for you; "
        f"the page now shows {found.environment} as it is."
    )


_ACTS: dict[str, Callable[[Acts, str, str], str]] = {
    "promote": Acts._promote,
    "approve": Acts._approve,
    "reject": Acts._reject,
    "withdraw": Acts._withdraw,
    "hold": Acts._hold,
    "resume": Acts._resume,
    "abort": Acts._abort,
    "complete": Acts._complete,
    "rollback": Acts._rollback,
    "repair": Acts._repair,
}
