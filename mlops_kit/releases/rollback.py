"""Roll back: restore the last good champion by a new commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mlops_kit.errors import LostRaceError, QuarantineError, ReleaseError
from mlops_kit.releases import commits, ledger, quarantine, release, release_yaml
from mlops_kit.releases.commits import Promotion, ReleaseCommit, version
from mlops_kit.releases.ledger import Trailers
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.releases.request import Signoff
from mlops_kit.releases.snapshot import Snapshot


def rollback(
    repository: GitOpsRepository,
    model: str,
    environment: str,
    signoff: Signoff,
    *,
    to: str | None = None,
    expected: Release | None = None,
    started_at: str = "",
    override: str = "",
    check: Callable[[ServedModel], object] = lambda _former: None,
) -> Promotion:
    """Restore the last good champion, or the former champion of version `to`, by a new commit.

    A running candidate is removed too. Raises ReleaseError without a good release to restore,
    QuarantineError for a second rollback of one digest by a verdict, and LostRaceError when
    somebody else changed the release (without `expected`: the champion) meanwhile.

    Args:
        repository: the GitOps repository.
        model: the registered name.
        environment: where it is released.
        signoff: who, and why; a rollback by a verdict, without a person, names that.
        to: the former champion's version; without it the last good one.
        expected: the release that was decided on, which makes a retry safe. Without it, two calls
            go back twice; name `to` if the answer may be lost.
        started_at: when the failure began (ISO 8601), if known.
        override: who goes back to a quarantined version, and why.
        check: gets the version to go back to, before the commit; raises what stands against it.
    """
    commits.check_verdict(signoff.verdict, "")
    seen: list[ServedModel | None] = []

    def decide(snapshot: Snapshot, found: Release) -> ReleaseCommit | str:
        entries = commits.entries(snapshot, model, environment)
        if expected is not None and found != expected:
            if done := _rolled_back(entries, expected, found):
                return done
            raise _lost(environment, commits.described(expected), commits.described(found))
        seen.append(found.champion)
        if found.champion != seen[0]:
            raise _lost(environment, repr(version(seen[0])), repr(version(found.champion)))
        if to is not None and found.candidate is None and to == version(found.champion):
            return snapshot.revision
        if (champion := found.champion) and signoff.verdict:
            quarantine.check_rollback(entries, champion.version, champion.digest)
        check(former := _former(snapshot, entries, found, to, override))
        trailers = Trailers(
            **vars(signoff),
            rollout=found.rollout,
            started_at=started_at,
            override=override,
            rolled_back=champion.digest if champion else "",
        )
        subject = f"Roll back {model} to {former.version} in {environment}"
        return ReleaseCommit("rollback", subject, former, release.RollBack(former), trailers)

    return commits.perform(repository, model, environment, decide)


def _former(
    snapshot: Snapshot,
    entries: Sequence[ledger.Entry],
    now: Release,
    to: str | None,
    override: str,
) -> ServedModel:
    """Return the champion to go back to, as it was served then."""
    champion, bad = now.champion, quarantine.quarantined(entries)
    found: ledger.Entry | None = None
    if champion is not None and to is None:
        found = ledger.last_good(entries, champion.version, champion.digest, avoid=bad)
        if found is None:
            _check_hold(entries, champion, bad, now.environment)
    elif champion is not None:
        found = next(
            (entry for entry in entries if entry.makes_champion and entry.version == to), None
        )
        if found and found.digest in bad and not ledger.one_line(override):
            since = quarantine.described(bad[found.digest])
            raise QuarantineError(
                f"Not rolled back to {to!r}: it is in quarantine since {since}. Name another "
                "version, or give an override.",
                code="release.quarantine.version",
            )
    if found is None:
        former = sorted({entry.version for entry in entries if entry.makes_champion})
        asked = f"{to!r} was never champion there" if to else "no good version served before"
        raise ReleaseError(
            f"There is nothing to go back to in {now.environment!r}: {asked}. The champion is "
            f"{version(champion) or 'none'}; those so far were {former}.",
            code="release.no-former-champion",
        )
    content = snapshot.at(found.revision).read(release_yaml.path(now.environment))
    served = release_yaml.read_release(content or b"").champion
    if served is None or (served.version, served.digest) != (found.version, found.digest):
        raise ReleaseError(
            f"Commit {found.revision} says that it made {found.version!r} champion, but its "
            f"release.yaml has {version(served)!r}; expected the two to agree."
        )
    return served


def _check_hold(
    entries: Sequence[ledger.Entry],
    champion: ServedModel,
    bad: Mapping[str, ledger.Entry],
    environment: str,
) -> None:
    """Raise ReleaseError where there is a state before, but itself a bad one."""
    before = ledger.last_good(entries, champion.version, champion.digest)
    if before is not None:
        raise ReleaseError(
            f"Not rolled back: the state before is itself bad. {environment} holds "
            f"{champion.version!r}, because {before.version!r} is in quarantine since "
            f"{quarantine.described(bad[before.digest])}. A person must decide: promote a better "
            "version, or roll back to one by name with an override.",
            code="release.former-quarantined",
        )


def _rolled_back(entries: Sequence[ledger.Entry], expected: Release, found: Release) -> str:
    """Return the rollback from the expected champion, if the release is as it left it."""
    champion = expected.champion
    last = next((entry for entry in entries if entry.action), None)
    if champion is None or last is None or last.action != "rollback" or found.candidate:
        return ""
    same = (last.rolled_back, last.version) == (champion.digest, version(found.champion))
    return last.revision if same else ""


def _lost(environment: str, expected: str, found: str) -> LostRaceError:
    return LostRaceError(
        f"Not rolled back: {environment} changed its champion meanwhile, from {expected} to "
        f"{found}. Nothing was written; see the history and decide again."
    )
