"""Approvals and rejections of a version, and what its promotion still lacks.

    decisions/<environment>/<model>-<version>.yaml   approvals and a rejection of one version

Each is one commit; none touches release.yaml. An approval is bound to a digest and an evaluation:
it no longer counts when either changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger, release_yaml, statements
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.snapshot import Snapshot
from mlops_kit.releases.statements import Statement


@dataclass(frozen=True)
class ApprovalTarget:
    """What a person decides on: a version with these bytes, and the evaluation that judged it."""

    model: str
    version: str
    digest: str
    evaluation: str


@dataclass(frozen=True)
class Decisions:
    """What was decided on one version."""

    approvals: tuple[Statement, ...] = ()
    rejection: Statement | None = None

    def valid(self, target: ApprovalTarget) -> tuple[Statement, ...]:
        """Return the approvals that are of this digest and this evaluation."""
        same = (target.digest, target.evaluation)
        return tuple(each for each in self.approvals if (each.digest, each.evaluation) == same)

    def void(self, target: ApprovalTarget) -> tuple[Statement, ...]:
        """Return the approvals that don't count any more."""
        valid = self.valid(target)
        return tuple(each for each in self.approvals if each not in valid)


@dataclass(frozen=True)
class Consent:
    """What people have said of a version, and what is still missing for its promotion by `who`."""

    who: str
    environment: str
    needed: int
    target: ApprovalTarget
    valid: tuple[Statement, ...] = ()
    void: tuple[Statement, ...] = ()
    rejection: Statement | None = None

    @property
    def missing(self) -> int:
        """How many people beside `who` still have to approve."""
        others = {statement.who for statement in self.valid} - {self.who}
        return max(0, self.needed - 1 - len(others))

    @property
    def is_mine(self) -> bool:
        """Whether `who` has approved already."""
        return any(statement.who == self.who for statement in self.valid)

    @property
    def sentence(self) -> str:
        """What was said so far, in words; empty where nothing was and nothing is needed."""
        parts = [f"Rejected by {self.rejection.sentence}."] if self.rejection else []
        parts += [f"Approved by {statement.sentence}." for statement in self.valid]
        parts += [
            f"{statement.who}'s approval no longer counts: the version or its evaluation changed."
            for statement in self.void
        ]
        if self.needed > 1 and self.missing:
            more = "one more" if self.missing == 1 else f"{self.missing} more"
            parts.append(
                f"{self.environment} asks for {self.needed} people; {more}, not {self.who}."
            )
        return " ".join(parts)


def read(snapshot: Snapshot, environment: str, model: str, version: str) -> Decisions:
    """Return what was decided on a version; raises ReleaseError for a file that can't be read."""
    path = statements.path(environment, f"{model}-{version}")
    found = statements.read_file(snapshot.read(path), path)
    try:
        rejected = found.get("rejection")
        return Decisions(
            tuple(statements.read(each) for each in found.get("approvals") or ()),
            statements.read(rejected) if rejected else None,
        )
    except (TypeError, AttributeError) as error:
        raise ReleaseError(
            f"{path} is not what the kit wrote: {error}. {statements.LOOK}"
        ) from error


def consent(
    snapshot: Snapshot, environment: str, target: ApprovalTarget, who: str, needed: int
) -> Consent:
    """Return what people have said of a version, where `needed` of them have to agree.

    Raises ReleaseError for a file that can't be read.

    Args:
        snapshot: the GitOps repository.
        environment: where the version shall be released.
        target: the version and its evaluation.
        who: the person who asks.
        needed: how many people have to agree, that one among them.
    """
    found = read(snapshot, environment, target.model, target.version)
    return Consent(
        who, environment, needed, target, found.valid(target), found.void(target), found.rejection
    )


def check(found: Consent) -> None:
    """Raise ReleaseError where a version was rejected, or too few people have approved it."""
    if found.rejection is None and not found.missing:
        return
    message = (
        f"{found.target.model} v{found.target.version} may not be promoted. {found.sentence} "
        "Approve it in 'mlops-kit panel'."
    )
    if found.rejection is not None:
        raise ReleaseError(message, code="release.rejected")
    raise ReleaseError(message, code="release.approvals")


def approve(
    repository: GitOpsRepository, environment: str, target: ApprovalTarget, who: str, why: str = ""
) -> str:
    """Add or replace a person's approval, lift any rejection, and return the commit.

    Args:
        repository: the GitOps repository.
        environment: where the version shall be released.
        target: the version and its evaluation.
        who: the person.
        why: their reason; may be empty.
    """
    new = _stated(target, who, why)

    def change(found: Decisions) -> Decisions:
        others = tuple(each for each in found.approvals if each.who != new.who)
        return Decisions((*others, new))

    return _decide(repository, environment, target, "approve", new, change)


def withdraw(
    repository: GitOpsRepository, environment: str, target: ApprovalTarget, who: str
) -> str:
    """Take a person's approval back; return the commit."""

    def change(found: Decisions) -> Decisions:
        return replace(found, approvals=tuple(a for a in found.approvals if a.who != who))

    return _decide(repository, environment, target, "withdraw", _stated(target, who, ""), change)


def reject(
    repository: GitOpsRepository, environment: str, target: ApprovalTarget, who: str, why: str
) -> str:
    """Reject a version, drop its approvals, and return the commit.

    Raises ReleaseError without a reason.

    Args:
        repository: the GitOps repository.
        environment: where the version would be released.
        target: the version and its evaluation.
        who: the person.
        why: their reason.
    """
    if not ledger.one_line(why):
        raise ReleaseError(
            "The reason is empty; say why this version is rejected.", code="release.no-reason"
        )
    new = _stated(target, who, why)
    return _decide(
        repository, environment, target, "reject", new, lambda _found: Decisions((), new)
    )


def _decide(
    repository: GitOpsRepository,
    environment: str,
    target: ApprovalTarget,
    action: str,
    statement: Statement,
    change: Callable[[Decisions], Decisions],
) -> str:
    def propose(snapshot: Snapshot) -> Proposal | None:
        before = read(snapshot, environment, target.model, target.version)
        after = change(before)
        if after == before:
            return None
        path = statements.path(environment, f"{target.model}-{target.version}")
        what = f"{action.capitalize()} {target.model} {target.version} for {environment}"
        about = {"model": target.model, "version": target.version, "digest": target.digest}
        trailers = statements.trailers(action, environment, statement, **about)
        return Proposal(what, trailers, {path: release_yaml.written(asdict(after))})

    return repository.commit(propose)


def _stated(target: ApprovalTarget, who: str, why: str) -> Statement:
    return statements.state(who, why, target.digest, target.evaluation)
