"""How a run ended: as lines for a person, and as data for a machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import EvaluationError
from mlops_kit.models import evaluation_summary
from mlops_kit.models.evaluation_summary import EvaluationSummary

if TYPE_CHECKING:
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace


def outcome(workspace: Workspace, execution: Execution) -> dict[str, Any]:
    """Return how an execution ended as plain data: verdict, evaluation, revision, steps."""
    names = ("verdict", "evaluation", "revision", "changed", "rollout")
    found: dict[str, Any] = dict.fromkeys(names)
    for step in execution.state.steps:
        for name, value in (execution.outputs(step) or {}).items():
            if name in found:
                found[name] = value.data
    steps = {name: each.state for name, each in execution.state.steps.items()}
    return {"execution": execution.name, "state": execution.state.state, "steps": steps, **found}


def closing_lines(workspace: Workspace, result: dict[str, Any]) -> Iterator[str]:
    """Yield the last lines of a run: verdict and reasons, scores, commit, next steps."""
    yield from ("", *_evaluation_lines(result))
    yield from ("", _committed(workspace, result))
    if isinstance(result["rollout"], dict):
        yield from ("", *rollout_lines(result["rollout"]))
    yield from (
        "",
        "Next steps:",
        "  mlops-kit status        show what serves and how executions ended",
        "  mlops-kit history       show who released what, when and why",
        "  mlops-kit serve         serve the released model",
        f"  mlflow ui --backend-store-uri {workspace.settings.registry_uri}",
        "  jupyter lab notebooks   open the notebooks",
        f"  {workspace.executions.folder / result['execution']}",
    )


def _evaluation_lines(result: dict[str, Any]) -> list[str]:
    """Return the verdict, its reasons and the scores, if the run published an evaluation."""
    try:
        evaluation = evaluation_summary.read(result["evaluation"] or {}, result["execution"])
    except (EvaluationError, TypeError, ValueError):
        return []
    return [
        f"{str(result['verdict']).upper()}  {evaluation.verdict.sentence}",
        *(f"  {reason}" for reason in evaluation.verdict.reasons),
        "",
        *_aligned(evaluation),
        *([f"  {evaluation.note}"] if evaluation.note else []),
    ]


def _aligned(evaluation: EvaluationSummary) -> list[str]:
    """Return both models' scores as aligned columns."""
    names = evaluation.names
    title = evaluation.title
    rows = [(title, names.reference, names.candidate)]
    rows += [(row.metric, str(row.reference), str(row.candidate)) for row in evaluation.scores]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _committed(workspace: Workspace, result: dict[str, Any]) -> str:
    revision, verdict = result["revision"], result["verdict"]
    if not revision and verdict == "pass":
        return "Nothing was promoted yet: promote it with 'mlops-kit panel' or 'mlops-kit promote'."
    if not revision and verdict == "inconclusive":
        return (
            "Nothing was promoted: the rows are too few to tell. Bring more rows, loosen those "
            "gates in mlops-kit.toml, or add --force-gate, which Git records."
        )
    if not revision:
        return f"Nothing was promoted: the verdict is {verdict}." if verdict else "Done."
    where = workspace.settings.gitops_url
    if result["changed"] is False:
        return f"Nothing to commit: already promoted by {revision[:12]} in {where}"
    return f"Promoted by commit {revision[:12]} in {where}"


def rollout_lines(rollout: dict[str, Any]) -> list[str]:
    """Return how the rollout ended, why, and each weight with its counts."""
    path = " → ".join(f"{weight} %" for weight in rollout["weights"])
    ended = str(rollout["outcome"]) if rollout.get("champion", True) else "waiting"
    lines = [f"{ended.upper()}  {rollout['sentence']}"]
    if path:
        # By this watch, which may have come too late to see any.
        seen, had_traffic = rollout["requests"], any(rollout["weights"])
        is_known = seen or not had_traffic
        answered = f"; the candidate answered {seen:,} requests" if is_known else ""
        lines.append(f"  weights: {path}{answered}")
    for step in rollout["steps"]:
        at = step["when"][11:19]
        lines.append(
            f"  {at}  {step['act']:<8}  {step['weight'] or 0:>3} %  {step['counts']}".rstrip()
        )
    if rollout["dropped"]:
        lines.append(f"  {rollout['dropped']:,} predictions were not logged")
    return lines
