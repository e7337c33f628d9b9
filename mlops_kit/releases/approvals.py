"""What people decide beside a release: who approved or rejected a version, who holds a rollout.

    decisions/<environment>/<model>-<version>.yaml   approvals and a rejection of one version
    decisions/<environment>/hold.yaml                who holds which rollout, and why

Each is one commit; none of them touches release.yaml. An approval is of one digest with one
evaluation: where either differs it doesn't count any more, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger, release_yaml
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.snapshot import Snapshot

_LOOK = "Look at decisions/ in the GitOps repository."


@dataclass(frozen=True)
class Subject:
    """What a person decides on: a version with these bytes, and the evaluation that judged it."""

    model: str
    version: str
    digest: str
    evaluation: str


@dataclass(frozen=True)
class Said:
    """Who said it, why and when (ISO 8601, UTC), and of which digest and evaluation."""

    who: str
    why: str
    when: str
    digest: str = ""
    evaluation: str = ""

    @property
    def sentence(self) -> str:
        """Who, when and why in words."""
        why = f': "{self.why}"' if self.why else ""
        return f"{self.who} at {self.when[11:16]}{why}"


@dataclass(frozen=True)
class Decisions:
    """What was decided on one version."""

    approvals: tuple[Said, ...] = ()
    rejection: Said | None = None

    def valid(self, subject: Subject) -> tuple[Said, ...]:
        """Return the approvals that are of this digest and this evaluation."""
        same = (subject.digest, subject.evaluation)
        return tuple(each for each in self.approvals if (each.digest, each.evaluation) == same)

    def void(self, subject: Subject) -> tuple[Said, ...]:
        """Return the approvals that don't count any more."""
        valid = self.valid(subject)
        return tuple(each for each in self.approvals if each not in valid)


@dataclass(frozen=True)
class Hold:
    """Who holds a rollout, and why; empty where nobody does."""

    rollout: str = ""
    said: Said = Said("", "", "")

    def by(self, rollout: str) -> str:
        """Return who holds this rollout, and why; empty where nobody does."""
        return self.said.sentence if rollout and self.rollout == rollout else ""


def read(snapshot: Snapshot, environment: str, model: str, version: str) -> Decisions:
    """Return what was decided on a version; raises ReleaseError for a file that can't be read."""
    path = _path(environment, f"{model}-{version}")
    found = _mapping(snapshot.read(path), path)
    try:
        rejected = found.get("rejection")
        return Decisions(
            tuple(_said(each) for each in found.get("approvals") or ()),
            _said(rejected) if rejected else None,
        )
    except (TypeError, AttributeError) as error:
        raise ReleaseError(f"{path} is not what the kit wrote: {error}. {_LOOK}") from error


def held(snapshot: Snapshot, environment: str) -> Hold:
    """Return who holds the environment's rollout; raises ReleaseError."""
    path = _path(environment, "hold")
    found = _mapping(snapshot.read(path), path)
    try:
        return Hold(str(found["rollout"]), _said(found["said"])) if found else Hold()
    except (TypeError, KeyError, AttributeError) as error:
        raise ReleaseError(f"{path} is not what the kit wrote: {error!r}. {_LOOK}") from error


def approve(
    repository: GitOpsRepository, environment: str, subject: Subject, who: str, why: str = ""
) -> str:
    """Add a person's approval of a version, in place of their earlier one; return the commit.

    A rejection before ends with it.
    """
    new = _spoken(subject, who, why)

    def change(found: Decisions) -> Decisions:
        others = tuple(each for each in found.approvals if each.who != new.who)
        return Decisions((*others, new))

    return _decide(repository, environment, subject, "approve", new, change)


def withdraw(repository: GitOpsRepository, environment: str, subject: Subject, who: str) -> str:
    """Take a person's approval back; return the commit."""

    def change(found: Decisions) -> Decisions:
        return replace(found, approvals=tuple(a for a in found.approvals if a.who != who))

    return _decide(repository, environment, subject, "withdraw", _spoken(subject, who, ""), change)


def reject(
    repository: GitOpsRepository, environment: str, subject: Subject, who: str, why: str
) -> str:
    """Reject a version, with a reason; return the commit. All its approvals end with it."""
    if not ledger.one_line(why):
        raise ReleaseError("The reason is empty; expected why this version is rejected.")
    new = _spoken(subject, who, why)
    return _decide(
        repository, environment, subject, "reject", new, lambda _found: Decisions((), new)
    )


def hold(
    repository: GitOpsRepository, environment: str, rollout: str, who: str, why: str = ""
) -> str:
    """Hold a rollout until it is resumed: its weight stays, and only harm ends it."""
    said = _spoken(Subject("", "", "", ""), who, why)
    return _keep(repository, environment, Hold(rollout, said), f"Hold {rollout}", "hold")


def resume(repository: GitOpsRepository, environment: str, rollout: str, who: str) -> str:
    """End the hold of a rollout; return the commit."""
    said = _spoken(Subject("", "", "", ""), who, "")
    return _keep(repository, environment, Hold("", said), f"Resume {rollout}", "resume")


def _decide(
    repository: GitOpsRepository,
    environment: str,
    subject: Subject,
    action: str,
    said: Said,
    change: Callable[[Decisions], Decisions],
) -> str:
    def propose(snapshot: Snapshot) -> Proposal | None:
        before = read(snapshot, environment, subject.model, subject.version)
        after = change(before)
        if after == before:
            return None
        path = _path(environment, f"{subject.model}-{subject.version}")
        what = f"{action.capitalize()} {subject.model} {subject.version} for {environment}"
        about = {"model": subject.model, "version": subject.version, "digest": subject.digest}
        trailers = _trailers(action, environment, said, **about)
        return Proposal(what, trailers, {path: release_yaml.written(asdict(after))})

    return repository.commit(propose)


def _keep(
    repository: GitOpsRepository, environment: str, value: Hold, subject: str, action: str
) -> str:
    def propose(snapshot: Snapshot) -> Proposal | None:
        if held(snapshot, environment).rollout == value.rollout:
            return None
        path = _path(environment, "hold")
        trailers = _trailers(action, environment, value.said)
        return Proposal(subject, trailers, {path: release_yaml.written(asdict(value))})

    return repository.commit(propose)


def _trailers(action: str, environment: str, said: Said, **about: str) -> dict[str, str]:
    told = {"action": action, "environment": environment, "who": said.who, "why": said.why}
    return ledger.trailers(told | about)


def _spoken(subject: Subject, who: str, why: str) -> Said:
    if not (name := ledger.one_line(who)):
        raise ReleaseError("Nobody decides this; expected a name, as the setting 'approver'.")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Said(name, ledger.one_line(why), when, subject.digest, subject.evaluation)


def _said(found: Mapping[str, Any]) -> Said:
    return Said(**{str(name): str(value) for name, value in found.items()})


def _path(environment: str, name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise ReleaseError(f"{name!r} can't name a file; expected a model's name and version.")
    return f"decisions/{release_yaml.checked_environment(environment)}/{name}.yaml"


def _mapping(content: bytes | None, path: str) -> Mapping[str, Any]:
    found = {} if content is None else release_yaml.parsed(content, path)
    if not isinstance(found, dict):
        raise ReleaseError(f"{path} holds {found!r:.80}; expected a mapping. {_LOOK}")
    return found
