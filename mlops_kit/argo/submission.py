"""Workflows on a cluster: start one, follow it, read its logs, bring a failed step back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from mlops_kit.argo.pod_run import CACHE
from mlops_kit.errors import ClusterError, ParameterError, ProjectError
from mlops_kit.pipelines.definition import NOTEBOOK, Output, Pipeline, Step, did_you_mean
from mlops_kit.pipelines.progress import Observer, Progress

if TYPE_CHECKING:
    from mlops_kit.argo.workflow_status import Node
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace

# Seconds between two looks, and how long a cluster may be silent before that is a fault.
_LOOK, _SILENCE = 1.0, 60.0
_FULL_SHA = re.compile(r"[0-9a-f]{40}")
# Where a pod keeps what its steps published, as the values of the notebooks' parameters say.
_IN_POD = "/work/run/"
_INJECTED = "injected-parameters"


class Cluster(Protocol):
    """What both ways to a cluster can do: its own API, and Argo's server."""

    context: str
    namespace: str

    def submit(self, workflow: Mapping[str, Any]) -> str: ...  # noqa: D102
    def workflow(self, name: str) -> dict[str, Any]: ...  # noqa: D102
    def template(self, name: str) -> dict[str, Any]: ...  # noqa: D102
    def log(self, name: str, node: Node, *, follow: bool) -> Iterator[str]: ...  # noqa: D102
    def artifact(self, name: str, node: Node, artifact: str) -> bytes: ...  # noqa: D102


@dataclass(frozen=True)
class Ending:
    """How a workflow ended: its phase in Argo's word, its tasks, and what these published."""

    name: str
    phase: str
    message: str
    nodes: tuple[Node, ...]
    values: Mapping[str, str]

    @property
    def failed(self) -> tuple[Node, ...]:
        """The tasks that failed."""
        return tuple(node for node in self.nodes if node.state == "failed")


def cluster(workspace: Workspace, context: str = "") -> Cluster:
    """Return the cluster that is meant: a context, else Argo's server, else the current context.

    Raises ClusterError where there is none.
    """
    argo = workspace.settings.argo
    if argo.server and not context:
        from mlops_kit.argo.argo_server_client import ArgoServer

        token = argo.token.get_secret_value()
        return ArgoServer(
            argo.server,
            token,
            argo.namespace,
            secure=argo.secure,
            verify=not argo.insecure_skip_verify,
        )
    from mlops_kit.argo.kubernetes_client import KubernetesCluster

    return KubernetesCluster(argo.namespace, context)


def refuse_unnamed(workspace: Workspace, where: Cluster) -> None:
    """Raise ClusterError for a context that the settings don't let be written to."""
    allowed = workspace.settings.argo.contexts
    if where.context not in allowed:
        raise ClusterError(
            f"Context {where.context!r} is not among those that may be written to: "
            f"{list(allowed)}. Add it to contexts under [argo] in mlops-kit.toml, or choose "
            "another by --context."
        )


def revision(workspace: Workspace, given: str = "") -> str:
    """Return the full SHA that a workflow shall run: the given one, or what is checked out here.

    Raises ProjectError for changes that the cluster wouldn't see, ParameterError for another form.
    """
    from mlops_kit.releases import repository

    if given:
        if not _FULL_SHA.fullmatch(given):
            raise ParameterError(
                f"{given!r} is no full commit SHA; expected 40 hexadecimal digits, as a branch or "
                "a short SHA could be two commits in one workflow: git rev-parse HEAD."
            )
        return given
    here = repository.code_revision(workspace.project)
    if not here:
        raise ProjectError(
            f"{str(workspace.project)!r} is no checkout with a commit, so there is nothing that "
            "a cluster could run; commit and push it, or name a --revision."
        )
    if here.endswith("-dirty"):
        raise ProjectError(
            "The checkout has changes that the cluster would not see; commit and push them, or "
            f"run what is committed: --revision {here.removesuffix('-dirty')}"
        )
    if not repository.is_pushed(workspace.project, here):
        raise ProjectError(
            f"Commit {here[:12]} is on no branch of a remote that this checkout knows, so the "
            f"cluster can't fetch it; git push, or name a --revision."
        )
    return here


def submit(
    workspace: Workspace,
    where: Cluster,
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    sha: str,
    *,
    fresh: bool = False,
) -> str:
    """Start a workflow of a pipeline's template, and return its name.

    A `fresh` one takes no outputs of earlier ones from Argo's cache. Raises ParameterError for
    inputs that the pipeline, or the template on the cluster, lacks, and ClusterError.
    """
    from mlops_kit.argo import workflow_status
    from mlops_kit.pipelines import validation

    checked = validation.check(workspace.project / "notebooks", pipeline, inputs)
    try:
        known = workflow_status.arguments(where.template(pipeline.name))
    except ClusterError as error:
        if error.status != 404:
            raise
        raise ClusterError(
            f"Namespace {where.namespace!r} of {where.context!r} has no WorkflowTemplate "
            f"{pipeline.name!r}; 'mlops-kit render' writes it, and the GitOps repository's "
            "pipelines/ must be synced there."
        ) from error
    lacking = sorted(set(checked) - set(known))
    if lacking:
        # Argo would ignore them without a word.
        raise ParameterError(
            f"The template {pipeline.name!r} on the cluster has no input {lacking}; it is of "
            "another definition: 'mlops-kit render', and let it be synced."
        )
    key = uuid4().hex if fresh and CACHE in known else ""
    return where.submit(workflow_status.submission(pipeline, checked, sha, key))


def follow(
    where: Cluster,
    name: str,
    observer: Observer,
    *,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Ending:
    """Tell each change of a workflow until it has ended, and return how.

    Raises ClusterError where the cluster refuses, or is silent for a minute.
    """
    from mlops_kit.argo import workflow_status

    told: dict[str, Progress] = {}
    heard = clock()
    while True:
        try:
            found = where.workflow(name)
        except ClusterError as error:
            if error.lasting or clock() - heard > _SILENCE:
                raise
            wait(_LOOK)
            continue
        heard = clock()
        nodes = workflow_status.nodes(found)
        for node in nodes:
            now = _progress(node)
            if told.get(node.name, Progress(node.name, "waiting")) != now:
                told[node.name] = now
                observer(now)
        if (phase := workflow_status.phase(found)) in workflow_status.ENDED:
            values = workflow_status.outputs(nodes)
            return Ending(name, phase, workflow_status.said(found), nodes, values)
        wait(_LOOK)


def _progress(node: Node) -> Progress:
    done, total = node.progress
    # Argo counts a pod without cells of its own as one of one.
    counted = node.state == "running" and total > 1
    return Progress(
        node.name,
        node.state,
        cell="cells" if counted else "",
        index=max(0, done - 1) if counted else 0,
        count=total if counted else 0,
        detail=node.message if node.state in {"failed", "waiting"} else "",
    )


def logs(where: Cluster, name: str, task: str = "", *, follow: bool = False) -> Iterator[str]:
    """Yield the lines of a workflow's pods, each with its task's name in front.

    With `follow` each is read to its end, one after the other. Raises ProjectError for a task that
    the workflow lacks.
    """
    from mlops_kit.argo import workflow_status

    read: set[str] = set()
    while True:
        found = where.workflow(name)
        nodes = workflow_status.nodes(found)
        if task and task not in {node.name for node in nodes}:
            names = [node.name for node in nodes]
            raise ProjectError(
                f"Workflow {name!r} has the tasks {names}, not {task!r}."
                + did_you_mean(task, names)
            )
        ready = [n for n in nodes if n.id not in read and n.has_pod and task in {"", n.name}]
        for node in ready:
            read.add(node.id)
            for line in where.log(name, node, follow=follow):
                if not _of_argo(line):
                    yield f"{node.name}  {line}"
        if not follow or workflow_status.phase(found) in workflow_status.ENDED:
            return
        time.sleep(_LOOK)


def _of_argo(line: str) -> bool:
    """Tell whether Argo's executor wrote a line, which shares the notebook's log."""
    return line.startswith("time=") and "argo=true" in line


def retrieve(workspace: Workspace, where: Cluster, name: str, step: str) -> tuple[Execution, str]:
    """Bring a workflow's step here: its executed notebook, and the files that it read.

    Returns them as an execution's folder, and the step: of a pod of several, where `step` names
    that pod, the one that failed. Raises ProjectError where there is nothing to bring.
    """
    from mlops_kit.argo import pod_plan, workflow_status
    from mlops_kit.pipelines.executions import FAILED, SUCCEEDED, Execution, State, StepState

    found = where.workflow(name)
    nodes = {node.name: node for node in workflow_status.nodes(found)}
    pipeline = workspace.pipeline(workflow_status.pipeline_of(found))
    plan = pod_plan.plan(pipeline)
    failed = [node.name for node in nodes.values() if node.state == "failed"]
    wanted = _steps(plan, step or (failed[0] if failed else ""), name)
    folder = workspace.settings.state_folder / "workflows" / name
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
            f"'mlops-kit logs {name}' may say more."
        )
    for output in pipeline.step(chosen).references:
        if output.type is Path:
            _brought(where, name, nodes, plan, output, folder)
    pod = pod_plan.pod_of(plan, pipeline.step(chosen))
    state = StepState(FAILED if failing else SUCCEEDED, error={"message": nodes[pod.name].message})
    given = State(name, pipeline.name, workflow_status.arguments(found), steps={chosen: state})
    return Execution(folder, given), chosen


def _steps(plan: tuple[Any, ...], name: str, workflow: str) -> tuple[Step, ...]:
    """Return the steps that a name means: one, or those of a pod."""
    for pod in plan:
        for step in pod.steps:
            if step.name == name:
                return (step,)
        if pod.name == name:
            steps: tuple[Step, ...] = pod.steps
            return steps
    names = [step.name for pod in plan for step in pod.steps]
    asked = f"not {name!r}" if name else "and none of them failed; name one"
    raise ProjectError(
        f"Workflow {workflow!r} has the steps {names}, {asked}.{did_you_mean(name, names)}"
    )


def _brought(
    where: Cluster,
    workflow: str,
    nodes: Mapping[str, Node],
    plan: tuple[Any, ...],
    output: Output,
    folder: Path,
) -> Path | None:
    """Fetch an output that is a file, and return it; None where its step didn't write it."""
    from mlops_kit.argo import pod_plan, transport

    pod = pod_plan.pod_of(plan, output.step)
    node, artifact = nodes.get(pod.name), pod.exported(output)
    if node is None or artifact not in node.artifacts:
        return None
    target = folder / output.step.name
    return transport.unpack_file(where.artifact(workflow, node, artifact), target)


def _rewritten(notebook: Path, folder: Path) -> bool:
    """Let a notebook's parameters name files here; tell whether a cell of it failed."""
    content = json.loads(notebook.read_bytes())
    for cell in content["cells"]:
        if _INJECTED in cell.get("metadata", {}).get("tags", ()):
            source = "".join(cell["source"])
            cell["source"] = source.replace(_IN_POD, f"{folder}/")
    notebook.write_text(json.dumps(content, indent=1))
    return any(
        cell.get("metadata", {}).get("papermill", {}).get("status") == "failed"
        for cell in content["cells"]
    )
