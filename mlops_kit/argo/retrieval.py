"""Fetch a workflow's step, as if it had run here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_kit import files, notebook_file
from mlops_kit.errors import ProjectError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines.definition import NOTEBOOK, Output, Pipeline, Step

if TYPE_CHECKING:
    from mlops_kit.argo.pod_plan import Pod
    from mlops_kit.argo.submission import Cluster
    from mlops_kit.argo.workflow_status import Node
    from mlops_kit.pipelines.executions import Execution

# Where a pod keeps published files; the notebooks' parameters hold such paths.
_IN_POD = "/work/run/"


def retrieve(
    where: Cluster, name: str, step: str, find_pipeline: Callable[[str], Pipeline], state: Path
) -> tuple[Execution, str]:
    """Fetch a step's executed notebook and the files that it read.

    Returns them as an execution, with the step's name: if `step` names a pod of several steps,
    the one that failed. Raises ProjectError if there is nothing to fetch.

    Args:
        where: the cluster.
        name: the workflow's name.
        step: the name of a step or a pod; empty for the one that failed.
        find_pipeline: returns the project's pipeline of a name.
        state: the state folder; the files go into a folder below it.
    """
    from mlops_kit.argo import pod_plan, workflow_status
    from mlops_kit.pipelines.executions import FAILED, SUCCEEDED, Execution, State, StepState

    found = where.workflow(name)
    nodes = {node.name: node for node in workflow_status.nodes(found)}
    pipeline = find_pipeline(workflow_status.pipeline_of(found))
    plan = pod_plan.plan(pipeline)
    failed = [node.name for node in nodes.values() if node.state == "failed"]
    wanted = _steps(plan, step or (failed[0] if failed else ""), name)
    folder = state / "workflows" / name
    chosen, failing = "", False
    for each in wanted:
        source = _brought(where, name, nodes, plan, each.output(NOTEBOOK), folder)
        if source is not None:
            chosen = each.name
            if failing := _rewritten(source, folder):
                break
    if not chosen:
        said = "; ".join(
            f"{n.name}: {n.state}, {n.message or 'no message'}" for n in nodes.values()
        )
        raise ProjectError(
            f"Step {step!r} of workflow {name!r} left no notebook. {said}. "
            f"'mlops-kit logs {name}' may tell more."
        )
    for output in pipeline.step(chosen).references:
        if output.type is Path:
            _brought(where, name, nodes, plan, output, folder)
    pod = pod_plan.pod_of(plan, pipeline.step(chosen))
    ended = StepState(FAILED if failing else SUCCEEDED, error={"message": nodes[pod.name].message})
    given = State(name, pipeline.name, workflow_status.arguments(found), steps={chosen: ended})
    return Execution(folder, given), chosen


def _steps(plan: tuple[Pod, ...], name: str, workflow: str) -> tuple[Step, ...]:
    """Return the steps that a name refers to: one, or those of a pod."""
    for pod in plan:
        for step in pod.steps:
            if step.name == name:
                return (step,)
        if pod.name == name:
            return pod.steps
    names = [step.name for pod in plan for step in pod.steps]
    asked = f"not {name!r}" if name else "and none of them failed; name one"
    raise ProjectError(
        f"Workflow {workflow!r} has the steps {names}, {asked}.{did_you_mean(name, names)}"
    )


def _brought(
    where: Cluster,
    workflow: str,
    nodes: Mapping[str, Node],
    plan: tuple[Pod, ...],
    output: Output,
    folder: Path,
) -> Path | None:
    """Fetch an output that is a file, and return it; None if its step didn't write it."""
    from mlops_kit.argo import pod_plan, transport

    pod = pod_plan.pod_of(plan, output.step)
    node, artifact = nodes.get(pod.name), pod.exported(output)
    if node is None or artifact not in node.artifacts:
        return None
    target = folder / output.step.name
    return transport.unpack_file(where.artifact(workflow, node, artifact), target)


def _rewritten(notebook: Path, folder: Path) -> bool:
    """Point a notebook's parameters at the fetched files; return whether a cell failed."""
    content = notebook_file.content(notebook)
    for cell in content["cells"]:
        if notebook_file.has_tag(cell, notebook_file.INJECTED):
            cell["source"] = notebook_file.source(cell).replace(_IN_POD, f"{folder}/")
    files.write_whole(notebook, json.dumps(content, indent=1).encode())
    return any(notebook_file.status(cell) == "failed" for cell in content["cells"])
