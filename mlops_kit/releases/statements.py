"""What people state beside a release: files under decisions/ in the GitOps repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger, release_yaml

LOOK = "Look at decisions/ in the GitOps repository."


@dataclass(frozen=True)
class Statement:
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


def trailers(action: str, environment: str, statement: Statement, **about: str) -> dict[str, str]:
    """Return the trailers of the commit that keeps a statement."""
    who, why = statement.who, statement.why
    fields = {"action": action, "environment": environment, "who": who, "why": why}
    return ledger.trailers(fields | about)


def state(who: str, why: str, digest: str = "", evaluation: str = "") -> Statement:
    """Return what somebody states now; raises ReleaseError for nobody."""
    if not (name := ledger.one_line(who)):
        raise ReleaseError("Nobody decides this; expected a name, as the setting 'approver'.")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Statement(name, ledger.one_line(why), when, digest, evaluation)


def read(found: Mapping[str, Any]) -> Statement:
    """Return a statement from its file; raises TypeError for another form."""
    return Statement(**{str(name): str(value) for name, value in found.items()})


def path(environment: str, name: str) -> str:
    """Return the path of a file of statements; raises ReleaseError for a name that can't be."""
    if not name or "/" in name or name.startswith("."):
        raise ReleaseError(f"{name!r} can't name a file; expected a model's name and version.")
    return f"decisions/{release_yaml.checked_environment(environment)}/{name}.yaml"


def read_file(content: bytes | None, path: str) -> Mapping[str, Any]:
    """Return what a file of statements holds; raises ReleaseError for another form."""
    found = {} if content is None else release_yaml.parsed(content, path)
    if not isinstance(found, dict):
        raise ReleaseError(f"{path} holds {found!r:.80}; expected a mapping. {LOOK}")
    return found
