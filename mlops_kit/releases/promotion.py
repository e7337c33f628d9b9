"""Promote and advance releases: each change is one commit to the GitOps repository."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import replace

from mlops_kit.errors import LostRaceError, ReleaseError
from mlops_kit.releases import commits, ledger, quarantine, release
from mlops_kit.releases.commits import Promotion, ReleaseCommit, current
from mlops_kit.releases.ledger import Trailers
from mlops_kit.releases.quarantine import PromotionLimits
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.releases.request import PromotionRequest, Signoff
from mlops_kit.releases.rollback import rollback
from mlops_kit.releases.snapshot import Snapshot

__all__ = [
    "Promotion",
    "Step",
    "advance",
    "current",
    "promote",
    "release_name",
    "rollback",
]

Step = release.Shift | release.Complete | release.Retire | release.Abort
_FIRST = "the first champion: somebody has to serve while a candidate proves itself"


def promote(
    repository: GitOpsRepository,
    request: PromotionRequest,
    limits: PromotionLimits | None = None,
    *,
    now: float | None = None,
    start: Snapshot | None = None,
) -> Promotion:
    """Promote the candidate and keep its evidence, in one commit.

    The same version by the same execution again changes nothing, also after a rollback: to try
    again is a new execution. With the canary strategy the request's baseline becomes champion
    first, by a commit of its own, where there is none yet.

    Raises ReleaseError where the release doesn't allow it, and QuarantineError for a version that
    was rolled back or aborted for cause, and while the limits pause promotions.

    Args:
        repository: the GitOps repository.
        request: what to release, where, and its evidence.
        limits: how promotions slow down after rollbacks.
        now: in seconds since the epoch; by default the present.
        start: the head, if the caller has read it already.
    """
    if request.strategy not in ("direct", "canary"):
        raise ReleaseError(f"The strategy is {request.strategy!r}; expected 'direct' or 'canary'.")
    if not (execution := ledger.one_line(request.execution)):
        raise ReleaseError("The execution is empty; expected the pipeline execution's name.")
    request = replace(request, execution=execution)
    moment = time.time() if now is None else now
    candidate, baseline = request.candidate, request.baseline
    model, environment = request.model, request.environment
    if request.strategy == "canary" and baseline is not None and not baseline.is_same(candidate):
        _promote_first(repository, request, baseline, start)
        start = None
    act = _promotion(request)

    def decide(snapshot: Snapshot, found: Release) -> ReleaseCommit | str:
        entries = commits.entries(snapshot, model, environment)
        key = ("promote", execution, candidate.version, candidate.digest)
        for entry in entries:
            if (entry.action, entry.run, entry.version, entry.digest) == key:
                return entry.revision
        if candidate.is_same(found.champion) or candidate.is_same(found.candidate):
            same = (e for e in entries if (e.action, e.digest) == ("promote", candidate.digest))
            return next((entry.revision for entry in same), snapshot.revision)
        if not ledger.one_line(request.override):
            quarantine.check_promotion(
                entries, candidate.version, candidate.digest, limits or PromotionLimits(), moment
            )
        return act

    return commits.perform(repository, model, environment, decide, start)


def advance(
    repository: GitOpsRepository,
    expected: Release,
    change: Step,
    signoff: Signoff,
    *,
    live_at: str = "",
) -> Promotion:
    """Commit one step of a running rollout, if the release is still the expected one.

    If the step was already made, changes nothing and returns the commit that made it. Raises
    ReleaseError for a step that `expected` doesn't allow, and LostRaceError, which names the
    current release, if that is another.

    Args:
        repository: the GitOps repository.
        expected: the release that the decision was made on.
        change: the step.
        signoff: who makes it and why, with the verdict and the counts.
        live_at: when the previous commit was seen live, in ISO 8601.
    """
    commits.check_verdict(signoff.verdict)
    wanted = release.apply(expected, change)
    model, environment, candidate = expected.model, expected.environment, expected.candidate
    assert candidate is not None, "each of these changes is legal only while there is one"
    name, subject = _told(change, expected, f"{model} {candidate.version}", environment)
    trailers = Trailers(**vars(signoff), rollout=expected.rollout, live_at=live_at)
    act = ReleaseCommit(name, subject, candidate, change, trailers)

    def decide(snapshot: Snapshot, found: Release) -> ReleaseCommit | str:
        if found == expected != wanted:
            return act
        if found == wanted:
            key = (name, expected.rollout, wanted.weight)
            for entry in commits.entries(snapshot, model, environment):
                if (entry.action, entry.rollout, entry.weight) == key:
                    return entry.revision
            if wanted == expected:
                return snapshot.revision
        raise LostRaceError(
            f"Not done: {subject!r}. {environment} changed meanwhile: expected "
            f"{commits.described(expected)}, found {commits.described(found)}. Nothing of this was "
            "written; look at the history and decide again."
        )

    return commits.perform(repository, model, environment, decide)


def _promotion(request: PromotionRequest) -> ReleaseCommit:
    model, environment = request.model, request.environment
    name = release_name(model, request.candidate, request.execution)
    folder = f"evidence/{environment}/{name}"
    served = replace(request.candidate, evidence=folder)
    is_canary = request.strategy == "canary"
    trailers = Trailers(
        **vars(request.signoff),
        rollout=name,
        run=request.execution,
        committed_at=request.committed_at,
        forced=request.forced,
        override=request.override,
    )
    return ReleaseCommit(
        "promote",
        f"Promote {model} {served.version} to {environment}",
        served,
        release.Promote(served, name) if is_canary else release.Replace(served),
        trailers,
        {f"{folder}/{path}": content for path, content in request.evidence.items()},
    )


def _promote_first(
    repository: GitOpsRepository,
    request: PromotionRequest,
    baseline: ServedModel,
    start: Snapshot | None,
) -> None:
    """Make the baseline the champion where there is none."""
    model, environment = request.model, request.environment
    act = ReleaseCommit(
        "promote",
        f"Promote {model} {baseline.version} to {environment}",
        baseline,
        release.Replace(baseline),
        Trailers(
            who=request.signoff.who,
            why=_FIRST,
            rollout=release_name(model, baseline, request.execution),
            run=request.execution,
        ),
    )
    commits.perform(
        repository,
        model,
        environment,
        lambda snapshot, found: snapshot.revision if found.champion else act,
        start,
    )


def _told(change: Step, before: Release, candidate: str, environment: str) -> tuple[str, str]:
    """Return a step's name and its sentence."""
    match change:
        case release.Shift(0) if before.candidate and before.candidate.is_same(before.champion):
            return "shift", f"Give {candidate} all traffic as champion in {environment}"
        case release.Shift(weight):
            return "shift", f"Give {candidate} {weight} % in {environment}"
        case release.Complete():
            return "complete", f"Complete {candidate} in {environment}"
        case release.Retire():
            return "retire", f"Retire {candidate} as candidate in {environment}"
        case release.Abort():
            return "abort", f"Abort {candidate} in {environment}"


def release_name(model: str, candidate: ServedModel, execution: str) -> str:
    """Name a release after what makes it the same one when it is asked for again."""
    key = json.dumps([model, candidate.version, candidate.digest, execution])
    slug = re.sub(r"[^a-z0-9]+", "-", f"{model}-{candidate.version}".lower()).strip("-")[:60]
    return f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
