"""Find a judged version with its evidence, in a pipeline's values or a local execution."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import EvaluationError, ReleaseError
from mlops_kit.models import evaluation_summary
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.models.model_version import ModelVersion
from mlops_kit.releases.approvals import ApprovalTarget
from mlops_kit.releases.release import ServedModel
from mlops_kit.reporting.reports import Report

if TYPE_CHECKING:
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace


@dataclass(frozen=True)
class JudgedVersion:
    """A version with its evaluation, the executed notebooks, and the execution that asks."""

    version: ModelVersion
    evaluation: EvaluationSummary
    notebooks: tuple[str, ...]
    execution: str

    @property
    def served(self) -> ServedModel:
        """The version as a release names it."""
        return served(self.version)

    @property
    def target(self) -> ApprovalTarget:
        """What people approve or reject: this version by this evaluation."""
        found = self.version
        return ApprovalTarget(found.name, found.version, found.digest, self.evaluation.digest)

    def report(self, environment: str) -> Report:
        """Return the report that is committed beside the release."""
        about = {
            "model": f"{self.version} {self.version.digest}",
            "execution": self.execution,
            **{tag: value for tag, value in self.version.tags.items() if tag != "verdict"},
            **(
                {"trusted": ", ".join(sorted(self.version.trusted))} if self.version.trusted else {}
            ),
            "reproduce": f"mlops-kit debug {self.execution}/evaluate",
        }
        return Report(self.evaluation, environment, about)


def find(
    workspace: Workspace,
    model: str,
    version: str = "",
    *,
    evaluation: Mapping[str, Any] | None = None,
    notebooks: Sequence[str] = (),
    execution: str = "",
) -> JudgedVersion:
    """Return a version with its evidence.

    Raises ReleaseError when nothing judged that version, or the evaluation is of another, and
    EvaluationError for an evaluation of another form.

    Args:
        workspace: the project.
        model: the registered name.
        version: the version; empty for the newest that was judged.
        evaluation: what `evaluate` published; without it, the newest execution here is asked.
        notebooks: the executed notebooks that are the evidence.
        execution: the execution that asks for the promotion.
    """
    wanted = f"{model} v{version}" if version else model
    if evaluation:
        found = evaluation_summary.read(evaluation, execution or "the pipeline")
        judged = found.candidate
        if judged.model != model or version not in ("", judged.version):
            raise ReleaseError(
                f"The evaluation is of {judged}; expected one of {wanted}: look at what "
                "'evaluate' was given.",
                code="release.other-evaluation",
            )
        return JudgedVersion(_unchanged(workspace, found), found, tuple(notebooks), execution)
    if newest := find_newest(workspace, model, {version} if version else None):
        return newest
    raise ReleaseError(
        f"No execution here judged {wanted}; a promotion needs its evidence. Run a pipeline with "
        "an evaluation.",
        code="release.not-judged",
    )


def find_newest(
    workspace: Workspace, model: str, versions: Collection[str] | None = None
) -> JudgedVersion | None:
    """Return what the newest execution here says of one of these versions, or of any.

    None where none judged one. Raises ReleaseError for a version that has changed since.
    """
    for execution in reversed(list(workspace.executions.all())):
        for found in _evaluations(execution):
            judged = found.candidate
            if judged.model == model and (versions is None or judged.version in versions):
                version = _unchanged(workspace, found)
                return JudgedVersion(version, found, _notebooks(execution), execution.name)
    return None


def served(version: ModelVersion) -> ServedModel:
    """Return a registered version as a release names it."""
    return ServedModel(version.version, version.uri, version.digest, trusted=version.trusted)


def _evaluations(execution: Execution) -> Iterator[EvaluationSummary]:
    """Yield what an execution's steps judged; a pipeline may publish other evaluations."""
    for step in execution.state.steps:
        outputs = execution.outputs(step) or {}
        if "evaluation" in outputs and isinstance(data := outputs["evaluation"].data, Mapping):
            try:
                yield evaluation_summary.read(data, execution.name)
            except EvaluationError:
                continue


def _unchanged(workspace: Workspace, found: EvaluationSummary) -> ModelVersion:
    """Return the version that was judged, if its digest is still the same."""
    judged = found.candidate
    version = workspace.model_version(judged.model, judged.version)
    if judged.digest != version.digest:
        raise ReleaseError(
            f"{version} has the digest {version.digest} in the registry; the evaluation judged "
            f"{judged.digest}. Judge it again."
        )
    return version


def _notebooks(execution: Execution) -> tuple[str, ...]:
    """Return the executed notebooks of the steps that ended well, but not of the release itself."""
    outputs = {step: execution.outputs(step) or {} for step in execution.state.steps}
    return tuple(
        str(found["notebook"].file)
        for found in outputs.values()
        if "notebook" in found
        and not found.keys() & {"revision", "rollout"}
        and Path(str(found["notebook"].file)).exists()
    )
