"""Who holds a rollout: its weight stays until it is resumed, and only harm ends it.

decisions/<environment>/hold.yaml                who holds which rollout, and why
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import release_yaml, statements
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.snapshot import Snapshot
from mlops_kit.releases.statements import Statement


@dataclass(frozen=True)
class Hold:
    """Who holds a rollout, and why; empty where nobody does."""

    rollout: str = ""
    said: Statement | None = None

    def by(self, rollout: str) -> str:
        """Return who holds this rollout, and why; empty where nobody does."""
        is_held = rollout and self.rollout == rollout
        return self.said.sentence if is_held and self.said else ""


def held(snapshot: Snapshot, environment: str) -> Hold:
    """Return who holds the environment's rollout; raises ReleaseError."""
    path = statements.path(environment, "hold")
    found = statements.read_file(snapshot.read(path), path)
    try:
        return Hold(str(found["rollout"]), statements.read(found["said"])) if found else Hold()
    except (TypeError, KeyError, AttributeError) as error:
        raise ReleaseError(
            f"{path} is not what the kit wrote: {error!r}. {statements.LOOK}"
        ) from error


def hold(
    repository: GitOpsRepository, environment: str, rollout: str, who: str, why: str = ""
) -> str:
    """Hold a rollout at its weight until it is resumed; only harm ends it. Return the commit.

    Args:
        repository: the GitOps repository.
        environment: where the rollout runs.
        rollout: its name.
        who: the person.
        why: their reason; may be empty.
    """
    statement = statements.state(who, why)
    return _keep(repository, environment, rollout, statement, "hold")


def resume(repository: GitOpsRepository, environment: str, rollout: str, who: str) -> str:
    """End the hold of a rollout; return the commit."""
    statement = statements.state(who, "")
    return _keep(repository, environment, rollout, statement, "resume")


def _keep(
    repository: GitOpsRepository,
    environment: str,
    rollout: str,
    statement: Statement,
    action: str,
) -> str:
    def propose(snapshot: Snapshot) -> Proposal | None:
        value = Hold(rollout if action == "hold" else "", statement)
        if held(snapshot, environment).rollout == value.rollout:
            return None
        path = statements.path(environment, "hold")
        trailers = statements.trailers(action, environment, statement)
        subject = f"{action.capitalize()} {rollout}"
        return Proposal(subject, trailers, {path: release_yaml.written(asdict(value))})

    return repository.commit(propose)
