"""Start a workflow on a cluster, follow it, and read its logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from mlops_kit.argo.pod_run import CACHE
from mlops_kit.errors import ClusterError, ParameterError, ProjectError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines.definition import Pipeline
from mlops_kit.pipelines.progress import Observer, Progress

if TYPE_CHECKING:
    from mlops_kit.argo.workflow_status import Node

# Seconds between two requests, and how long a cluster may stay silent.
_POLL_SECONDS, _SILENCE_SECONDS = 1.0, 60.0


class Cluster(Protocol):
    """A cluster, reached through its API or Argo's server."""

    context: str
    namespace: str

    def submit(self, workflow: Mapping[str, Any]) -> str: ...  # noqa: D102
    def workflow(self, name: str) -> dict[str, Any]: ...  # noqa: D102
    def template(self, name: str) -> dict[str, Any]: ...  # noqa: D102
    def log(self, name: str, node: Node, *, follow: bool) -> Iterator[str]: ...  # noqa: D102
    def artifact(self, name: str, node: Node, artifact: str) -> bytes: ...  # noqa: D102


@dataclass(frozen=True)
class Ending:
    """How a workflow ended: Argo's phase, the tasks, and what they published."""

    name: str
    phase: str
    message: str
    nodes: tuple[Node, ...]
    values: Mapping[str, str]

    @property
    def failed(self) -> tuple[Node, ...]:
        """The tasks that failed."""
        return tuple(node for node in self.nodes if node.state == "failed")


def submit(
    where: Cluster,
    notebooks: Path,
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    sha: str,
    *,
    fresh: bool = False,
) -> str:
    """Start a workflow from a pipeline's template, and return its name.

    Raises ClusterError, and ParameterError for an input that the pipeline, or its template on the
    cluster, doesn't have.

    Args:
        where: the cluster.
        notebooks: the folder of the notebooks that type the inputs.
        pipeline: the pipeline to start.
        inputs: its inputs by name.
        sha: the full SHA of the commit to run.
        fresh: whether to ignore memoized outputs of earlier workflows.
    """
    from mlops_kit.argo import workflow_status
    from mlops_kit.pipelines import validation

    checked = validation.check(notebooks, pipeline, inputs)
    try:
        known = workflow_status.arguments(where.template(pipeline.name))
    except ClusterError as error:
        if error.status != 404:
            raise
        raise ClusterError(
            f"Namespace {where.namespace!r} of {where.context!r} has no WorkflowTemplate "
            f"{pipeline.name!r}; run 'mlops-kit render', and let the GitOps repository's "
            "pipelines/ sync there."
        ) from error
    lacking = sorted(set(checked) - set(known))
    if lacking:
        # Argo would silently ignore them.
        raise ParameterError(
            f"The template {pipeline.name!r} on the cluster has no input {lacking}; it was "
            "rendered from another definition. Run 'mlops-kit render', and let it sync."
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
    """Report each change of a workflow until it ends, and return how it ended.

    Raises ClusterError if the cluster rejects the request, or stays silent for a minute.

    Args:
        where: the cluster.
        name: the workflow's name.
        observer: receives each change of a task.
        wait: sleeps for so many seconds.
        clock: returns seconds.
    """
    from mlops_kit.argo import workflow_status

    told: dict[str, Progress] = {}
    heard = clock()
    while True:
        try:
            found = where.workflow(name)
        except ClusterError as error:
            if error.lasting or clock() - heard > _SILENCE_SECONDS:
                raise
            wait(_POLL_SECONDS)
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
        wait(_POLL_SECONDS)


def _progress(node: Node) -> Progress:
    done, total = node.progress
    # Argo counts a pod that reports nothing as one of one.
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
    """Yield the log lines of a workflow's pods, each prefixed with its task's name.

    With `follow`, reads each pod to its end, one after the other. Raises ProjectError for an
    unknown task.
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
        time.sleep(_POLL_SECONDS)


def _of_argo(line: str) -> bool:
    """Return whether Argo's executor, which shares the notebook's log, wrote a line."""
    return line.startswith("time=") and "argo=true" in line
