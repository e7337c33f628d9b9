"""What a person's acts do: each is one commit, and says so in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import LostRaceError, ReleaseError
from mlops_kit.jupyter.panel import reader
from mlops_kit.project import candidates, releases
from mlops_kit.releases import approvals, holds, promotion, release
from mlops_kit.releases.request import Signoff
from mlops_kit.rollouts import decision as rollout

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.rollouts.observer import ObservedState


@dataclass(frozen=True)
class Acts:
    """The acts on one model in one environment.

    `observe` returns what there is to be seen now; `serving` are the versions that the page
    shows as serving, None where it shows none: an act on another state is refused.
    """

    workspace: Workspace
    model: str
    environment: str
    observe: Callable[[], ObservedState]
    serving: tuple[str, str] | None

    def do(self, name: str, version: str, reason: str) -> str:
        """Do an act, and return the sentence that says it is done; raises KitError."""
        if name not in _ACTS:
            raise ReleaseError(f"There is no act {name!r}; expected one of {sorted(_ACTS)}.")
        if not self._who:
            raise ReleaseError(reader.ONLY_LOOKS)
        return _ACTS[name](self, version, reason)

    def _promote(self, version: str, reason: str) -> str:
        judged = candidates.find(self.workspace, self.model, version)
        self._expect_unchanged()
        done = releases.promote(self.workspace, judged, environment=self.environment, reason=reason)
        what = f"{self.model} v{version} is promoted to {self.environment}"
        return f"{what} by commit {done.revision[:10]}." if done.changed else f"{what} already."

    def _approve(self, version: str, reason: str) -> str:
        return self._decided(approvals.approve, "approved", version, reason)

    def _reject(self, version: str, reason: str) -> str:
        return self._decided(approvals.reject, "rejected", version, reason)

    def _withdraw(self, version: str, _reason: str) -> str:
        target = candidates.find(self.workspace, self.model, version).target
        made = approvals.withdraw(self._git, self.environment, target, self._who)
        return f"{self._who} withdrew the approval of v{version} by commit {made[:10]}."

    def _decided(self, decide: Callable[..., str], did: str, version: str, reason: str) -> str:
        target = candidates.find(self.workspace, self.model, version).target
        made = decide(self._git, self.environment, target, self._who, reason)
        return f"{self._who} {did} v{version} by commit {made[:10]}."

    def _hold(self, _version: str, reason: str) -> str:
        name = self._running().rollout
        made = holds.hold(self._git, self.environment, name, self._who, reason)
        return f"The rollout is held by commit {made[:10]}."

    def _resume(self, _version: str, _reason: str) -> str:
        made = holds.resume(self._git, self.environment, self._running().rollout, self._who)
        return f"The rollout goes on by commit {made[:10]}."

    def _abort(self, version: str, reason: str) -> str:
        done = self._advanced(release.Abort(), reason)
        return f"v{version} is aborted by commit {done[:10]}."

    def _complete(self, version: str, reason: str) -> str:
        if not reason.strip():
            raise ReleaseError("The reason is empty; expected why nothing more is to be proved.")
        done = self._advanced(release.Complete(), reason)
        return f"v{version} is champion by commit {done[:10]}."

    def _rollback(self, _version: str, reason: str) -> str:
        if not reason.strip():
            raise ReleaseError("The reason is empty; expected why it is rolled back.")
        done = releases.rollback(self.workspace, self.model, self.environment, reason=reason)
        champion = done.release.champion
        serves = f"v{champion.version} serves again" if champion else "nothing serves"
        return f"Rolled back by commit {done.revision[:10]}: {serves}."

    def _repair(self, _version: str, _reason: str) -> str:
        return releases.repair(self.workspace, self.model, self.environment).sentence

    def _advanced(self, change: promotion.Step, reason: str) -> str:
        """Commit a step of the rollout that the page shows; raises LostRaceError for another."""
        seen = self.observe()
        self._expect_unchanged(seen.release)
        decision = rollout.decide(self.workspace.settings.rollout, seen.situation)
        done = promotion.advance(
            self._git, seen.release, change, Signoff(self._who, reason, decision.verdict)
        )
        releases.sync_alias(self.workspace, done.release)
        return done.revision

    def _expect_unchanged(self, now: release.Release | None = None) -> None:
        """Raise LostRaceError where the page shows another state than Git has by now."""
        found = now or self.workspace.release(self.model, self.environment)
        if self.serving is not None and reader.serving(found) != self.serving:
            newest = releases.history(self.workspace, self.model, self.environment).entries
            raise _lost(newest[0] if newest else None, found)

    def _running(self) -> release.Release:
        found = self.workspace.release(self.model, self.environment)
        if not found.rollout:
            raise ReleaseError(f"No rollout runs in {self.environment} any more.")
        return found

    @property
    def _git(self) -> Any:
        return self.workspace.repository

    @property
    def _who(self) -> str:
        return self.workspace.settings.approved_by


def _lost(entry: Any, found: release.Release) -> LostRaceError:
    who = f"{entry.who} did '{entry.action} v{entry.version}' at " if entry else ""
    moment = f"{entry.when.astimezone(UTC):%H:%M:%S} UTC" if entry else "Git changed"
    return LostRaceError(
        f"{who}{moment} while you decided. Nothing of yours was written; "
        f"{found.environment} is shown as it is now."
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
