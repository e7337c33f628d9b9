"""Promote, roll back and look at releases: what notebooks, commands and the panel share."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import ProjectError, RegistryError, ReleaseError
from mlops_kit.models.registry import CHAMPION, ModelVersion
from mlops_kit.project import approvals
from mlops_kit.releases import ledger, promotion, release
from mlops_kit.releases.approvals import Subject
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import Proposal
from mlops_kit.releases.snapshot import Snapshot
from mlops_kit.reporting import markdown, reports
from mlops_kit.reporting.notebooks import secret_scan
from mlops_kit.reporting.reports import Report

if TYPE_CHECKING:
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """What speaks for a version: its evaluation, the executed notebooks, who asks."""

    version: ModelVersion
    evaluation: Mapping[str, Any]
    notebooks: tuple[str, ...]
    execution: str

    @property
    def subject(self) -> Subject:
        """What people approve or reject: this version by this evaluation."""
        text = json.dumps(self.evaluation, sort_keys=True, default=str)
        told = hashlib.sha256(text.encode()).hexdigest()
        return Subject(self.version.name, self.version.version, self.version.digest, told)

    def report(self, environment: str) -> Report:
        """Return the report that is committed beside the release."""
        about = {
            "model": f"{self.version} {self.version.digest}",
            "execution": self.execution,
            **{tag: value for tag, value in self.version.tags.items() if tag != "verdict"},
            "reproduce": f"mlops-kit debug {self.execution}/evaluate",
        }
        return Report(self.evaluation, environment, about)


@dataclass(frozen=True)
class Status:
    """What an environment should serve, and which version the registry's alias names."""

    release: Release
    revision: str
    alias: str

    @property
    def champion(self) -> str:
        """The champion's version; empty where there is none."""
        return self.release.champion.version if self.release.champion else ""

    @property
    def differs(self) -> bool:
        """Whether the registry says otherwise than Git does."""
        return self.alias != self.champion

    @property
    def sentence(self) -> str:
        """The state as one sentence."""
        model, environment = self.release.model or "any model", self.release.environment
        if not self.champion:
            return f"No version of {model} serves {environment}."
        said = f"{model} v{self.champion} serves {environment}"
        if self.release.candidate:
            said += f", v{self.release.candidate.version} answers {self.release.weight} %"
        if self.differs:
            named = f"v{self.alias}" if self.alias else "no champion"
            return f"Git says that {said}; the registry says {named}. Git counts: mlops-kit repair."
        return f"{said}."

    def _repr_markdown_(self) -> str:
        return f"**{markdown.escape(self.sentence)}** As of commit `{self.revision[:10]}`."


@dataclass(frozen=True)
class Change:
    """What a promotion will write, as a difference of release.yaml."""

    path: str
    before: str
    after: str

    @property
    def lines(self) -> list[str]:
        """The difference, line by line."""
        before, after = self.before.splitlines(), self.after.splitlines()
        return list(difflib.unified_diff(before, after, self.path, self.path, lineterm="", n=2))

    def _repr_markdown_(self) -> str:
        if not self.lines:
            return "Nothing: it serves already."
        return "\n".join(["```diff", *self.lines, "```"])


@dataclass(frozen=True)
class History:
    """The acts on an environment, newest first."""

    entries: tuple[ledger.Entry, ...]

    def _repr_markdown_(self) -> str:
        rows = [
            (
                f"{entry.when:%Y-%m-%d %H:%M}",
                entry.action or "–",
                entry.version,
                entry.origin,
                entry.who,
                entry.why,
                entry.revision[:10],
            )
            for entry in self.entries
        ]
        return markdown.table(
            ("when", "act", "version", "before", "who", "why", "commit"), rows, left=7
        )


def case(
    workspace: Workspace,
    model: str,
    version: str = "",
    *,
    evaluation: Mapping[str, Any] | None = None,
    notebooks: Sequence[str] = (),
    execution: str = "",
) -> Case:
    """Return what speaks for a version, from a pipeline's values or the newest execution here.

    Raises ReleaseError when nothing judged that version, or the evaluation is of another.
    """
    if evaluation:
        judged = _judged(evaluation, model)
        if not judged or version not in ("", judged):
            raise ReleaseError(
                f"The evaluation is of {evaluation['names']['candidate']!r}; expected one of "
                f"{model} {'v' + version if version else ''}: look at what 'evaluate' was given."
            )
        chosen = _same(workspace.model_version(model, judged), evaluation)
        return Case(chosen, evaluation, tuple(notebooks), execution)
    if found := newest_case(workspace, model, {version} if version else None):
        return found
    raise ReleaseError(
        f"No execution here judged {model} {'v' + version if version else ''}; a promotion needs "
        "its evidence. Run a pipeline with an evaluation, as fraud-training is."
    )


def newest_case(
    workspace: Workspace, model: str, versions: Collection[str] | None = None
) -> Case | None:
    """Return what the newest execution here says of one of these versions, or of any.

    None where none judged one. Raises ReleaseError for a version that has changed since.
    """
    for found in reversed(list(workspace.executions.all())):
        for step in found.state.steps:
            outputs = found.outputs(step) or {}
            stored = outputs["evaluation"].data if "evaluation" in outputs else {}
            judged = _judged(stored, model) if stored else ""
            if judged and (versions is None or judged in versions):
                chosen = _same(workspace.model_version(model, judged), stored)
                return Case(chosen, stored, _notebooks_of(found), found.name)
    return None


def promote(
    workspace: Workspace,
    asked: Case,
    *,
    environment: str,
    reason: str = "",
    force_gate: bool = False,
    override: str = "",
) -> promotion.Promotion:
    """Promote a version by one commit with its evidence, and let the registry follow.

    Where nothing serves yet, the version that it was judged against becomes the first champion,
    so that the rollout has one to compare with. Run twice, or again after a kill at any moment,
    it makes one release. `force_gate` promotes against the verdict, and the commit says so;
    `override` says who lets a quarantined or rejected version through, and why.

    Raises ReleaseError for a version without a passing verdict, or that people rejected or too
    few of them approved, QuarantineError for one that was rolled back, SecretFoundError for
    evidence that holds a secret, and GitOpsError.
    """
    verdict = asked.evaluation["verdict"]
    if verdict["status"] != "pass" and not force_gate:
        raise ReleaseError(
            f"{verdict['sentence']} Only a verdict of pass can be promoted. "
            + " ".join(verdict["reasons"])
        )
    if not override:
        approvals.check(workspace, asked.subject, environment)
    evidence = reports.evidence(asked.notebooks, asked.report(environment), workspace.project)
    secret_scan.refuse(evidence)
    settings, model = workspace.settings, asked.version.name
    champion = workspace.release(model, environment).champion
    policy = settings.rollout
    promoted = promotion.promote(
        workspace.repository,
        _served(asked.version),
        model=model,
        environment=environment,
        strategy=settings.strategy,
        execution=asked.execution,
        evidence=evidence,
        approved_by=settings.approved_by,
        reason=reason,
        baseline=None if champion else _judged_against(workspace, asked),
        committed_at=_committed_at(workspace, asked, champion),
        forced="" if verdict["status"] == "pass" else verdict["status"],
        override=override,
        cooldown=policy.cooldown,
        freeze_after=policy.freeze_after,
        freeze_window=policy.freeze_window,
    )
    follow(workspace, workspace.release(model, environment))
    return promoted


def rollback(
    workspace: Workspace,
    model: str,
    environment: str,
    *,
    reason: str,
    to: str | None = None,
    override: str = "",
) -> promotion.Promotion:
    """Restore the last good champion by one commit, and let the registry follow.

    Raises ReleaseError when there is nothing to go back to.
    """
    restored = promotion.rollback(
        workspace.repository,
        model=model,
        environment=environment,
        reason=reason,
        approved_by=workspace.settings.approved_by,
        to=to,
        override=override,
    )
    follow(workspace, workspace.release(model, environment))
    return restored


def proposed(
    workspace: Workspace, asked: Case, environment: str, now: Release | None = None
) -> Change:
    """Return how release.yaml will change, without changing it; `now` is it, else Git's head."""
    now = now or workspace.release(asked.version.name, environment)
    served = _served(asked.version)
    if served.is_same(now.champion) or served.is_same(now.candidate):
        after = now
    elif workspace.settings.strategy == "canary":
        rollout = promotion.release_name(asked.version.name, served, asked.execution)
        after = release.apply(now, release.Promote(served, rollout))
    else:
        after = release.apply(now, release.Replace(served))
    path = f"envs/{environment}/release.yaml"
    texts = [promotion.write_release(value).decode() for value in (now, after)]
    return Change(path, *texts)


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
        secret_scan.refuse(files)
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
    """Return what Git says, and what the registry says of it."""
    now = workspace.release(model, environment)
    return status_of(workspace, model, now, workspace.repository.head())


def status_of(workspace: Workspace, model: str, now: Release, revision: str) -> Status:
    """Return the status of a release that was read at `revision`."""
    alias = workspace.registry.by_alias(model, _alias(workspace, now.environment))
    return Status(now, revision, alias.version if alias else "")


def repair(workspace: Workspace, model: str, environment: str) -> Status:
    """Let the registry's alias follow Git again, and return the status after it."""
    follow(workspace, workspace.release(model, environment))
    return status(workspace, model, environment)


def history(workspace: Workspace, model: str, environment: str) -> History:
    """Return who released what, when and why, from the commits' trailers."""
    commits = workspace.repository.log(f"envs/{environment}/release.yaml")
    entries = ledger.history(commits, model=model, environment=environment)
    # That the repository was made is no release.
    return History(tuple(entry for entry in entries if entry.action != "create"))


def follow(workspace: Workspace, now: Release) -> None:
    """Point the alias to Git's champion: Git is the truth, the alias a view of it in MLflow.

    `now` is the head and not one's own commit, which another may have overtaken.
    """
    if now.champion is not None:
        alias = _alias(workspace, now.environment)
        try:
            workspace.registry.set_alias(now.model, alias, now.champion.version)
        except RegistryError as error:
            raise type(error)(
                f"Git says that {now.model} v{now.champion.version} serves {now.environment}, and "
                f"that stands. The registry can't follow: {error}"
            ) from error


def _judged_against(workspace: Workspace, asked: Case) -> ServedModel | None:
    """Return the version that the candidate was compared with, if it is of the same model."""
    name, _, version = str(asked.evaluation["names"]["reference"]).rpartition(" v")
    if name != asked.version.name:
        return None
    return _served(workspace.registry.version(name, version))


def _committed_at(workspace: Workspace, asked: Case, champion: ServedModel | None) -> str:
    """Return when the change was made: its code's commit, or the execution where that is old.

    Code that serves already, or that isn't in Git, is no change; what is new is the training.
    """
    from mlops_kit.releases.repository import committed_at

    code, serving = asked.version.tags.get("code", ""), None
    if champion is not None:
        # Where the registry is away Git goes on all the same, without this moment.
        with suppress(RegistryError):
            serving = workspace.registry.version(asked.version.name, champion.version)
    is_new = serving is not None and serving.tags.get("code") != code
    if is_new and (at := committed_at(workspace.project, code)):
        return at
    try:
        return workspace.executions.open(asked.execution).state.started
    except ProjectError:  # by hand, or in a pod
        return ""


def _same(version: ModelVersion, evaluation: Mapping[str, Any]) -> ModelVersion:
    """Return the version, if its digest is still the one that was judged."""
    judged = evaluation.get("digest", version.digest)
    if judged != version.digest:
        raise ReleaseError(
            f"{version} has the digest {version.digest} in the registry; the evaluation judged "
            f"{judged}. Judge it again."
        )
    return version


def _judged(evaluation: Mapping[str, Any], model: str) -> str:
    """Return the version that an evaluation judged; empty where it is another model's."""
    name, _, version = str(evaluation["names"]["candidate"]).rpartition(" v")
    return version if name == model else ""


def _alias(workspace: Workspace, environment: str) -> str:
    own = environment == workspace.settings.environment
    return CHAMPION if own else f"{CHAMPION}-{environment}"


def _served(version: ModelVersion) -> ServedModel:
    return ServedModel(version=version.version, uri=version.uri, digest=version.digest)


def _notebooks_of(execution: Any) -> tuple[str, ...]:
    """Return the executed notebooks of the steps that ended well, but not of the release itself."""
    outputs = {step: execution.outputs(step) or {} for step in execution.state.steps}
    return tuple(
        str(found["notebook"].file)
        for found in outputs.values()
        if "notebook" in found
        and not found.keys() & {"revision", "rollout"}
        and Path(found["notebook"].file).exists()
    )
