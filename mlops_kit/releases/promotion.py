"""Turn a decision about a model into one commit in the GitOps repository."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlops_kit.errors import LostRaceError, ReleaseError
from mlops_kit.releases import ledger, release
from mlops_kit.releases.gitops import GitOpsRepository, Proposal
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.snapshot import Snapshot

Strategy = Literal["direct", "canary"]
_HEADER = "# Written by mlops-kit; people don't edit this file.\n"
_LARGEST = 64 * 1024


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
class _Act:
    """What a commit on a release says about itself."""

    action: str
    subject: str
    about: ServedModel
    approved_by: str
    reason: str = ""
    run: str = ""
    name: str = ""


def promote(
    repository: GitOpsRepository,
    candidate: ServedModel,
    *,
    model: str,
    environment: str,
    strategy: Strategy,
    execution: str,
    evidence: Mapping[str, bytes],
    approved_by: str,
    reason: str = "",
) -> Promotion:
    """Promote the candidate and keep its evidence, in one commit.

    The same version by the same execution again changes nothing, also after a rollback: to try
    again is a new execution. Raises ReleaseError where the release doesn't allow it.
    """
    if strategy not in ("direct", "canary"):
        raise ReleaseError(f"The strategy is {strategy!r}; expected 'direct' or 'canary'.")
    if not (execution := ledger.one_line(execution)):
        raise ReleaseError("The execution is empty; expected the pipeline execution's name.")
    name = _release_name(model, candidate, execution)
    folder = f"evidence/{environment}/{name}"
    served = replace(candidate, evidence=folder)
    change = release.Promote(served, name) if strategy == "canary" else release.Replace(served)
    act = _Act(
        "promote",
        f"Promote {model} {candidate.version} to {environment}",
        served,
        approved_by,
        reason,
        run=execution,
        name=name,
    )
    files = {f"{folder}/{path}": content for path, content in evidence.items()}

    def decide(snapshot: Snapshot, now: Release) -> release.Change | str:
        key = ("promote", execution, candidate.version, candidate.digest)
        for entry in _entries(snapshot, model, environment):
            if (entry.action, entry.run, entry.version, entry.digest) == key:
                return entry.revision
        if candidate.is_same(now.champion) or candidate.is_same(now.candidate):
            return snapshot.revision
        return change

    return _changed(repository, model, environment, decide, lambda before, after: act, files)


def rollback(
    repository: GitOpsRepository,
    *,
    model: str,
    environment: str,
    reason: str,
    approved_by: str,
    to: str | None = None,
) -> Promotion:
    """Restore the last good champion, or the former champion of version `to`, by a new commit.

    A running candidate goes too. Asked for twice it goes back twice: where the answer may be
    lost, name `to`. Raises ReleaseError where there is nothing to go back to, and LostRaceError
    when somebody else changed the champion meanwhile.
    """
    seen: list[ServedModel | None] = []

    def decide(snapshot: Snapshot, now: Release) -> release.Change | str:
        seen.append(now.champion)
        if now.champion != seen[0]:
            raise LostRaceError(
                f"Not rolled back: {environment} changed its champion meanwhile, from "
                f"{_version(seen[0])!r} to {_version(now.champion)!r}. Nothing of this was "
                "written; look at the history and decide again."
            )
        if to is not None and now.candidate is None and to == _version(now.champion):
            return snapshot.revision
        return release.RollBack(_former(snapshot, now, to))

    def act(before: Release, after: Release) -> _Act:
        champion = after.champion
        assert champion is not None
        subject = f"Roll back {model} to {champion.version} in {environment}"
        return _Act("rollback", subject, champion, approved_by, reason)

    return _changed(repository, model, environment, decide, act)


def current(repository: GitOpsRepository, model: str, environment: str) -> Release:
    """Return what the environment should serve now.

    Raises ReleaseError where there is no such environment, or it serves another model.
    """
    path = _path(environment)
    content = repository.read(path)
    if content is None:
        raise _no_environment(environment, repository.list("envs"))
    return _named(read_release(content), model, environment)


def write_release(value: Release) -> bytes:
    """Return the bytes of release.yaml: the same release has the same bytes."""
    import yaml

    text = yaml.safe_dump(
        release.to_mapping(value), sort_keys=False, allow_unicode=True, width=100_000
    )
    return (_HEADER + str(text)).encode()


def read_release(content: bytes) -> Release:
    """Return what release.yaml says; raises ReleaseError for anything that is not one."""
    import yaml

    if len(content) > _LARGEST:
        raise ReleaseError(f"release.yaml has {len(content)} bytes; expected up to {_LARGEST}.")
    try:
        text = content.decode()
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            # A few kilobytes of either can take gigabytes or hours, and the kit writes neither.
            if depth > 4 or isinstance(event, yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases, or is nested too deep")
        mapping = yaml.safe_load(text)
    # Beside its own errors PyYAML lets through those of int() and datetime, and of deep nesting.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ReleaseError(
            f"release.yaml can't be read as YAML; expected what the kit wrote. Look at its last "
            f"commits. {ledger.one_line(str(error))}"
        ) from error
    return release.from_mapping(mapping)


def _changed(
    repository: GitOpsRepository,
    model: str,
    environment: str,
    decide: Callable[[Snapshot, Release], release.Change | str],
    act: Callable[[Release, Release], _Act],
    files: Mapping[str, bytes] | None = None,
) -> Promotion:
    """Commit the change that `decide` names; a revision from it means that it is done already."""
    path = _path(environment)
    last: list[Promotion] = []

    def propose(snapshot: Snapshot) -> Proposal | None:
        before = _current(snapshot, model, environment)
        decided = decide(snapshot, before)
        if isinstance(decided, str):
            last.append(Promotion(decided, before, False))
            return None
        after = release.apply(before, decided)
        last.append(Promotion("", after, True))
        said = act(before, after)
        written = {path: write_release(after), **(files or {})}
        return Proposal(said.subject, _trailers(said, before, after), written)

    revision = repository.commit(propose)
    return replace(last[-1], revision=revision) if last[-1].changed else last[-1]


def _trailers(act: _Act, before: Release, after: Release) -> dict[str, str]:
    return {
        "Mlops-Action": act.action,
        "Mlops-Model": after.model,
        "Mlops-Environment": after.environment,
        "Mlops-Version": act.about.version,
        "Mlops-Digest": act.about.digest,
        "Mlops-From": _version(before.champion),
        "Mlops-Champion": _version(after.champion),
        "Mlops-Weight": str(after.weight),
        "Mlops-Release": act.name,
        "Mlops-Run": act.run,
        "Mlops-Evidence": act.about.evidence,
        "Mlops-Approved-By": act.approved_by,
        "Mlops-Reason": act.reason,
    }


def _current(snapshot: Snapshot, model: str, environment: str) -> Release:
    content = snapshot.read(_path(environment))
    if content is None:
        raise _no_environment(environment, snapshot.list("envs"))
    return _named(read_release(content), model, environment)


def _named(found: Release, model: str, environment: str) -> Release:
    # The seed names no model; the first promotion does.
    named = found if found.model else replace(found, model=model)
    if (named.model, named.environment) != (model, environment):
        raise ReleaseError(
            f"envs/{environment}/release.yaml is about model {named.model!r} in "
            f"{named.environment!r}; expected {model!r} in {environment!r}."
        )
    return named


def _former(snapshot: Snapshot, now: Release, to: str | None) -> ServedModel:
    """Return the champion to go back to, as it was served then."""
    entries = _entries(snapshot, now.model, now.environment)
    champion = now.champion
    found: ledger.Entry | None = None
    if champion is not None and to is None:
        found = ledger.last_good(entries, champion.version, champion.digest)
    elif champion is not None:
        found = next((entry for entry in entries if entry.crowns and entry.version == to), None)
    if found is None:
        former = sorted({entry.version for entry in entries if entry.crowns})
        raise ReleaseError(
            f"There is nothing to go back to in {now.environment!r}: the champion is "
            f"{_version(champion)!r}, asked for {to or 'the last good version'!r}, and champions "
            f"so far were {former}."
        )
    content = snapshot.at(found.revision).read(_path(now.environment))
    served = read_release(content or b"").champion
    if served is None or (served.version, served.digest) != (found.version, found.digest):
        raise ReleaseError(
            f"Commit {found.revision} says that it made {found.version!r} champion, but its "
            f"release.yaml has {_version(served)!r}; expected the two to agree."
        )
    return served


def _entries(snapshot: Snapshot, model: str, environment: str) -> Sequence[ledger.Entry]:
    commits = snapshot.log(_path(environment))
    return ledger.history(commits, model=model, environment=environment)


def _path(environment: str) -> str:
    if not release.is_environment(environment):
        raise ReleaseError(f"The environment is {environment!r}; expected a name such as 'dev'.")
    return f"envs/{environment}/release.yaml"


def _no_environment(environment: str, paths: Sequence[str]) -> ReleaseError:
    known = sorted({path.split("/")[1] for path in paths if path.endswith("/release.yaml")})
    return ReleaseError(
        f"The GitOps repository has no envs/{environment}/release.yaml; expected one of {known}."
    )


def _release_name(model: str, candidate: ServedModel, execution: str) -> str:
    """Name a release after what makes it the same one when it is asked for again."""
    key = json.dumps([model, candidate.version, candidate.digest, execution])
    slug = re.sub(r"[^a-z0-9]+", "-", f"{model}-{candidate.version}".lower()).strip("-")[:60]
    return f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _version(model: ServedModel | None) -> str:
    return model.version if model else ""
