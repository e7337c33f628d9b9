"""Commit a change of a release: release.yaml, its evidence and its trailers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger, release, release_yaml
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.snapshot import Snapshot

_VERDICTS = ("pass", "fail", "inconclusive")


@dataclass(frozen=True)
class Promotion:
    """The commit of a change, and the release as it is at the head.

    `changed` is False when nothing had to be written; `revision` is then the commit that did it
    before, or the head.
    """

    revision: str
    release: Release
    changed: bool


@dataclass(frozen=True)
class ReleaseCommit:
    """A change of a release, and what its commit says about it."""

    action: str
    subject: str
    about: ServedModel
    change: release.Change
    trailers: ledger.Trailers
    evidence: Mapping[str, bytes] = field(default_factory=dict)


Decide = Callable[[Snapshot, Release], ReleaseCommit | str]


def perform(
    repository: GitOpsRepository,
    model: str,
    environment: str,
    decide: Decide,
    start: Snapshot | None = None,
) -> Promotion:
    """Commit the act that `decide` returns; a revision means that it is already done.

    After a lost race, `decide` is called again on the new head.

    Args:
        repository: the GitOps repository.
        model: the registered name.
        environment: where it is released.
        decide: returns the act for a snapshot and its release, or the commit that did it.
        start: the head, if the caller has read it already.
    """
    last: list[Promotion] = []

    def propose(snapshot: Snapshot) -> Proposal | None:
        before = at(snapshot, model, environment)
        act = decide(snapshot, before)
        if isinstance(act, str):
            last.append(Promotion(act, before, False))
            return None
        after = release.apply(before, act.change)
        last.append(Promotion("", after, True))
        written = {
            release_yaml.path(environment): release_yaml.write_release(after),
            **act.evidence,
        }
        return Proposal(act.subject, _trailers(act, before, after), written)

    revision = repository.commit(propose, start)
    return replace(last[-1], revision=revision) if last[-1].changed else last[-1]


def current(repository: GitOpsRepository, model: str, environment: str) -> Release:
    """Return what the environment should serve now.

    Raises ReleaseError where there is no such environment, or it serves another model.
    """
    return at(repository.snapshot(), model, environment)


def at(snapshot: Snapshot, model: str, environment: str) -> Release:
    """Return what the environment should serve by this snapshot; raises as `current` does."""
    content = snapshot.read(release_yaml.path(environment))
    if content is None:
        raise _no_environment(environment, snapshot.list("envs"))
    return _named(release_yaml.read_release(content), model, environment)


def entries(snapshot: Snapshot, model: str, environment: str) -> tuple[ledger.Entry, ...]:
    """Return the acts on the environment so far, the newest first."""
    commits = snapshot.log(release_yaml.path(environment))
    return ledger.history(commits, model=model, environment=environment)


def version(model: ServedModel | None) -> str:
    """Return the version, empty where there is no model."""
    return model.version if model else ""


def described(found: Release) -> str:
    """Return who serves, and with which share, as a few words."""
    text = f"champion {version(found.champion)!r}"
    if found.candidate:
        text += f" and candidate {found.candidate.version!r} at {found.weight} %"
        text += f" of rollout {found.rollout!r}"
    return text


def check_verdict(verdict: str, *others: str) -> None:
    """Raise ReleaseError for what is neither a verdict nor one of `others`."""
    if verdict not in (*_VERDICTS, *others):
        raise ReleaseError(f"The verdict is {verdict!r}; expected one of {_VERDICTS}.")


def _trailers(act: ReleaseCommit, before: Release, after: Release) -> dict[str, str]:
    fields = {
        "action": act.action,
        "model": after.model,
        "environment": after.environment,
        "version": act.about.version,
        "digest": act.about.digest,
        "origin": version(before.champion),
        "champion": version(after.champion),
        "weight": str(after.weight),
        "evidence": act.about.evidence,
        **asdict(act.trailers),
    }
    return ledger.trailers(fields)


def _named(found: Release, model: str, environment: str) -> Release:
    # The seed names no model; the first promotion does.
    named = found if found.model else replace(found, model=model)
    if (named.model, named.environment) != (model, environment):
        raise ReleaseError(
            f"envs/{environment}/release.yaml is about model {named.model!r} in "
            f"{named.environment!r}; expected {model!r} in {environment!r}."
        )
    return named


def _no_environment(environment: str, paths: Sequence[str]) -> ReleaseError:
    known = [*release_yaml.environments(paths)]
    return ReleaseError(
        f"The GitOps repository has no envs/{environment}/release.yaml; expected one of {known}.",
        code="release.no-environment",
    )
