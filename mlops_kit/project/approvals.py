"""Who has to agree before a version is promoted, and whether they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import approvals
from mlops_kit.releases.approvals import Said, Subject

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace


@dataclass(frozen=True)
class Consent:
    """What people have said of a version, and what is still missing for its promotion by `who`."""

    who: str
    environment: str
    needed: int
    valid: tuple[Said, ...] = ()
    void: tuple[Said, ...] = ()
    rejection: Said | None = None

    @property
    def missing(self) -> int:
        """How many people beside `who` still have to approve."""
        others = {said.who for said in self.valid} - {self.who}
        return max(0, self.needed - 1 - len(others))

    @property
    def is_mine(self) -> bool:
        """Whether `who` has approved already."""
        return any(said.who == self.who for said in self.valid)

    @property
    def sentence(self) -> str:
        """What was said so far, in words; empty where nothing was and nothing is needed."""
        parts = [f"Rejected by {self.rejection.sentence}."] if self.rejection else []
        parts += [f"Approved by {said.sentence}." for said in self.valid]
        parts += [
            f"{said.who}'s approval no longer counts: the version or its evaluation changed since."
            for said in self.void
        ]
        if self.needed > 1 and self.missing:
            more = "one more" if self.missing == 1 else f"{self.missing} more"
            parts.append(
                f"{self.environment} asks for {self.needed} people; {more}, not {self.who}."
            )
        return " ".join(parts)


def consent(workspace: Workspace, subject: Subject, environment: str) -> Consent:
    """Return what people have said of a version.

    Raises ReleaseError, GitOpsError.
    """
    snapshot = workspace.repository.snapshot()
    found = approvals.read(snapshot, environment, subject.model, subject.version)
    settings = workspace.settings
    return Consent(
        settings.approved_by,
        environment,
        settings.approvals,
        found.valid(subject),
        found.void(subject),
        found.rejection,
    )


def check(workspace: Workspace, subject: Subject, environment: str) -> None:
    """Raise ReleaseError where a version was rejected, or too few people have approved it."""
    found = consent(workspace, subject, environment)
    if found.rejection is None and not found.missing:
        return
    raise ReleaseError(
        f"{subject.model} v{subject.version} may not be promoted. {found.sentence} "
        "'mlops-kit panel' shows it, and takes approvals."
    )
