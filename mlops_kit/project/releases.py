"""Promote, roll back and inspect releases, for notebooks, commands and the panel.

Each function reads one snapshot of the GitOps repository.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mlops_kit.errors import ProjectError, RegistryError, ReleaseError
from mlops_kit.project import candidates, local_server, registry_alias
from mlops_kit.project.candidates import JudgedVersion
from mlops_kit.project.release_views import Change, History, Status
from mlops_kit.releases import approvals, commits, ledger, promotion, release, release_yaml
from mlops_kit.releases.approvals import Consent
from mlops_kit.releases.promotion import Promotion
from mlops_kit.releases.quarantine import PromotionLimits
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import Proposal
from mlops_kit.releases.request import PromotionRequest, Signoff
from mlops_kit.releases.snapshot import Snapshot
from mlops_kit.reporting import reports
from mlops_kit.reporting.notebooks import secret_scan
from mlops_kit.tables import comparison

if TYPE_CHECKING:
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.tables.table import Table


def promote(
    workspace: Workspace,
    judged: JudgedVersion,
    *,
    environment: str,
    reason: str = "",
    force_gate: bool = False,
    override: str = "",
) -> Promotion:
    """Promote a version by one commit with its evidence, then update the registry's alias.

    Where nothing serves yet, the version that it was judged against becomes the first champion,
    so that the rollout has one to compare with. Run twice, or again after a kill at any moment,
    it makes one release.

    Raises ReleaseError for a version without a passing verdict, or that people rejected or too
    few of them approved, ServingError or UntrustedModelError for one that the server couldn't
    load, TableError for one whose declaration has changed since, QuarantineError for one that was
    rolled back, SecretFoundError for evidence that holds a secret, and GitOpsError.

    Args:
        workspace: the project.
        judged: the version with what speaks for it.
        environment: where to release it.
        reason: why, for the record.
        force_gate: promote against the verdict; the commit says so.
        override: who lets a quarantined or rejected version through, and why.
    """
    verdict = judged.evaluation.verdict
    if verdict.status != "pass" and not force_gate:
        why = " ".join(verdict.reasons)
        message = f"{verdict.sentence} Only a verdict of pass can be promoted. {why}"
        raise ReleaseError(message, code="release.verdict")
    snapshot = workspace.repository.snapshot()
    if not override:
        approvals.check(consent(workspace, judged, environment, snapshot))
    settings, model = workspace.settings, judged.version.name
    # The serving core itself tries the candidate: nothing is promoted that it couldn't serve.
    tried = local_server.reconciler(workspace, model, environment).predictor(judged.served)
    _check_table(workspace, judged, tried.signature.table)
    evidence = reports.evidence(judged.notebooks, judged.report(environment), workspace.project)
    secret_scan.check(evidence)
    champion = commits.at(snapshot, model, environment).champion
    request = PromotionRequest(
        model=model,
        environment=environment,
        candidate=judged.served,
        execution=judged.execution,
        signoff=Signoff(settings.approved_by, reason),
        strategy=settings.strategy,
        evidence=evidence,
        baseline=None if champion else _judged_against(workspace, judged),
        committed_at=_committed_at(workspace, judged, champion),
        forced="" if verdict.status == "pass" else verdict.status,
        override=override,
    )
    policy = settings.policy(model)
    limits = PromotionLimits(policy.cooldown, policy.freeze_after, policy.freeze_window)
    promoted = promotion.promote(workspace.repository, request, limits, start=snapshot)
    registry_alias.sync(workspace, promoted.release)
    return promoted


def rollback(
    workspace: Workspace,
    model: str,
    environment: str,
    *,
    reason: str,
    to: str | None = None,
    override: str = "",
) -> Promotion:
    """Restore the last good champion by one commit, then update the registry's alias.

    Raises ReleaseError when there is nothing to go back to, or the registry has deleted it.

    Args:
        workspace: the project.
        model: the registered name.
        environment: where it is released.
        reason: why, for the record.
        to: a former champion's version; without it the last good one.
        override: who goes back to a quarantined version, and why.
    """
    signoff = Signoff(workspace.settings.approved_by, reason)
    restored = promotion.rollback(
        *(workspace.repository, model, environment, signoff),
        to=to,
        override=override,
        check=lambda former: registry_alias.check_registered(workspace, model, former),
    )
    registry_alias.sync(workspace, restored.release)
    return restored


def consent(
    workspace: Workspace, judged: JudgedVersion, environment: str, snapshot: Snapshot
) -> Consent:
    """Return what people have said of a version, and who is still missing."""
    settings = workspace.settings
    return approvals.consent(
        snapshot, environment, judged.target, settings.approved_by, settings.approvals
    )


def proposed(
    workspace: Workspace, judged: JudgedVersion, environment: str, now: Release | None = None
) -> Change:
    """Return how release.yaml will change, without changing it; `now` is it, else Git's head."""
    model, served = judged.version.name, judged.served
    now = now or workspace.release(model, environment)
    if served.is_same(now.champion) or served.is_same(now.candidate):
        after = now
    elif workspace.settings.strategy == "canary":
        name = promotion.release_name(model, served, judged.execution)
        first = first_champion(workspace, judged, now)
        start = release.apply(now, release.Replace(first)) if first else now
        after = release.apply(start, release.Promote(served, name))
    else:
        after = release.apply(now, release.Replace(served))
    texts = [release_yaml.write_release(value).decode() for value in (now, after)]
    return Change(release_yaml.path(environment), *texts)


def first_champion(workspace: Workspace, judged: JudgedVersion, now: Release) -> ServedModel | None:
    """Return the version that becomes champion before a canary starts; None if one serves."""
    baseline = None if now.champion else _judged_against(workspace, judged)
    is_other = baseline is not None and not baseline.is_same(judged.served)
    return baseline if is_other and workspace.settings.strategy == "canary" else None


def keep_record(workspace: Workspace, execution: Execution) -> None:
    """Commit the notebook that watched a rollout beside the evidence that began it; once.

    Raises SecretFoundError for a notebook that holds a secret, and GitOpsError.
    """
    for step in execution.state.steps:
        outputs = execution.outputs(step) or {}
        if "rollout" not in outputs or not (name := outputs["rollout"].data.get("rollout")):
            continue
        folder = f"evidence/{execution.state.inputs.get('environment', '')}/{name}"
        files = reports.safe_notebooks((str(outputs["notebook"].file),), workspace.project)
        secret_scan.check(files)
        kept = {f"{folder}/{path}": content for path, content in files.items()}

        def propose(snapshot: Snapshot, kept: dict[str, bytes] = kept) -> Proposal | None:
            if all(snapshot.read(path) == content for path, content in kept.items()):
                return None
            subject = f"Keep the record of {execution.name}"
            return Proposal(subject, {"Mlops-Action": "record", "Mlops-Run": execution.name}, kept)

        workspace.repository.commit(propose)


def evidence(workspace: Workspace, entry: ledger.Entry) -> dict[str, bytes]:
    """Return the files behind an act, the report first.

    They are those of the newest commit: the record of a rollout comes after its promotion. Raises
    ReleaseError where there are none.
    """
    snapshot = workspace.repository.snapshot()
    paths = snapshot.list(entry.evidence)
    found = {path.rpartition("/")[2]: snapshot.read(path) or b"" for path in paths}
    if not found:
        raise ReleaseError(f"{entry.evidence!r} isn't in Git any more, as of {snapshot.revision}.")
    return dict(sorted(found.items(), key=lambda item: (item[0] != "report.md", item[0])))


def status(workspace: Workspace, model: str, environment: str) -> Status:
    """Return the release in Git, and the registry's alias."""
    snapshot = workspace.repository.snapshot()
    now = commits.at(snapshot, model, environment)
    return status_of(workspace, model, now, snapshot.revision)


def status_of(workspace: Workspace, model: str, now: Release, revision: str) -> Status:
    """Return the status of a release that was read at `revision`."""
    alias = workspace.registry.by_alias(model, registry_alias.name_of(workspace, now.environment))
    return Status(now, revision, alias.version if alias else "")


def repair(workspace: Workspace, model: str, environment: str) -> Status:
    """Point the registry's alias at Git's champion again, and return the new status."""
    snapshot = workspace.repository.snapshot()
    now = commits.at(snapshot, model, environment)
    registry_alias.sync(workspace, now)
    return status_of(workspace, model, now, snapshot.revision)


def history(workspace: Workspace, model: str, environment: str) -> History:
    """Return who released what, when and why, from the commits' trailers."""
    entries = commits.entries(workspace.repository.snapshot(), model, environment)
    # That the repository was made is no release.
    return History(tuple(entry for entry in entries if entry.action != "create"))


def _check_table(workspace: Workspace, judged: JudgedVersion, held: Table | None) -> None:
    """Check that a version answers by its own table as by the project's, which it was judged by."""
    declared = workspace.tables().get(judged.version.name)
    if declared is not None and held is not None:
        comparison.check(declared, held, str(judged.version))


def _judged_against(workspace: Workspace, judged: JudgedVersion) -> ServedModel | None:
    """Return the version that the candidate was compared with, if it is of the same model."""
    reference = judged.evaluation.reference
    if reference is None or reference.model != judged.version.name:
        return None
    return candidates.served(workspace.registry.version(reference.model, reference.version))


def _committed_at(workspace: Workspace, judged: JudgedVersion, champion: ServedModel | None) -> str:
    """Return when the change was made: its code's commit, or the execution where that is old.

    Code that serves already, or that isn't in Git, is no change; what is new is the training.
    """
    from mlops_kit.releases.checkout import committed_at

    code, serving = judged.version.tags.get("code", ""), None
    if champion is not None:
        # Where the registry is away Git goes on all the same, without this moment.
        with suppress(RegistryError):
            serving = workspace.registry.version(judged.version.name, champion.version)
    is_new = serving is not None and serving.tags.get("code") != code
    if is_new and (at := committed_at(workspace.project, code)):
        return at
    try:
        return workspace.executions.open(judged.execution).state.started
    except ProjectError:  # by hand, or in a pod
        return ""
