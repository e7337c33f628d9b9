"""Read a Workflow's status: its tasks, their progress, and how it ended. Pure."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_kit.argo.pod_run import ABSENT, CACHE, DIGEST
from mlops_kit.argo.transport import packed, unpacked
from mlops_kit.pipelines.definition import Pipeline

# The kit's states, by Argo's phases.
STATES = {
    "": "waiting",
    "Pending": "waiting",
    "Running": "running",
    "Succeeded": "succeeded",
    "Skipped": "skipped",
    "Omitted": "not run",
    "Failed": "failed",
    "Error": "failed",
}
ENDED = frozenset({"Succeeded", "Failed", "Error"})
_PODLESS = frozenset({"Pending", "Skipped", "Omitted"})
_HINTS = {
    401: " Expected a valid token or certificate; ARGO_TOKEN or the kubeconfig may be out of date.",
    403: " The user lacks the right; check with 'kubectl auth can-i'.",
}
# The maximal length of a pod's name, and the part that its hash takes.
_LONGEST, _HASH = 253, 11


@dataclass(frozen=True)
class Node:
    """A task in its newest attempt. `phase` is Argo's; times are ISO 8601."""

    id: str
    name: str
    template: str
    phase: str = ""
    message: str = ""
    progress: tuple[int, int] = (0, 0)
    started: str = ""
    finished: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    artifacts: frozenset[str] = frozenset()
    memoized: bool = False

    @property
    def has_pod(self) -> bool:
        """Whether its pod has started, or was about to."""
        return bool(self.id) and not self.memoized and self.phase not in {"", *_PODLESS}

    @property
    def state(self) -> str:
        """The kit's state."""
        return "cached" if self.memoized else STATES.get(self.phase, self.phase.lower())

    def pod(self, workflow: str) -> str:
        """Return its pod's name, which Argo builds from three parts."""
        prefix = f"{workflow}-{self.template}"[: _LONGEST - _HASH]
        return f"{prefix}-{self.id.rpartition('-')[2]}"


def submission(
    pipeline: Pipeline, inputs: Mapping[str, Any], revision: str, cache: str = ""
) -> dict[str, Any]:
    """Return a Workflow that runs a pipeline's template at a commit with these inputs.

    `cache` names a separate cache, so that earlier results are ignored.
    """
    values = {**{name: packed(value) for name, value in inputs.items()}, "revision": revision}
    values |= {CACHE: cache} if cache else {}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": f"{pipeline.name}-",
            "labels": {"mlops-kit/trigger": "submit"},
            "annotations": {"mlops-kit/revision": revision},
        },
        "spec": {
            "workflowTemplateRef": {"name": pipeline.name},
            "arguments": {
                "parameters": [{"name": name, "value": value} for name, value in values.items()]
            },
        },
    }


def phase(workflow: Mapping[str, Any]) -> str:
    """Return Argo's phase; empty until the controller has seen the workflow."""
    return str(workflow.get("status", {}).get("phase", ""))


def said(workflow: Mapping[str, Any]) -> str:
    """Return the controller's message."""
    return str(workflow.get("status", {}).get("message", ""))


def arguments(workflow: Mapping[str, Any]) -> dict[str, str]:
    """Return the decoded arguments of a workflow or a template."""
    spec = workflow.get("spec", {})
    stored = workflow.get("status", {}).get("storedWorkflowTemplateSpec", {})
    found = [*_parameters(stored), *_parameters(spec)]
    return {each["name"]: unpacked(str(each.get("value", ""))) for each in found}


def pipeline_of(workflow: Mapping[str, Any]) -> str:
    """Return the name of a workflow's pipeline; empty if it isn't the kit's."""
    return str(workflow.get("spec", {}).get("workflowTemplateRef", {}).get("name", ""))


def nodes(workflow: Mapping[str, Any]) -> tuple[Node, ...]:
    """Return a workflow's tasks, also the waiting ones, in the order of its definition."""
    known = _known(workflow)
    tasks = _tasks(workflow)
    by_name = {
        str(each["displayName"]): each
        for each in known.values()
        if each.get("templateName") in tasks.values() and each.get("displayName") in tasks
    }
    return tuple(
        _node(by_name[name], known) if name in by_name else Node("", name, template)
        for name, template in tasks.items()
    )


def outputs(found: Iterable[Node]) -> dict[str, str]:
    """Return the short values that tasks published, by output name, without absent ones.

    A pod of several steps prefixes an output's name with its step's.
    """
    values: dict[str, str] = {}
    for node in found:
        for name, value in node.parameters.items():
            if value != ABSENT and not name.endswith(DIGEST):
                values[name.rpartition("-")[2]] = unpacked(value)
    return values


def refusal(what: str, where: str, status: int, body: str) -> str:
    """Return the message for an error response, with the reason from its body."""
    try:
        reason = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        reason = body[:300].strip()
    hint = _HINTS.get(status, "")
    return f"The cluster refuses to {what} in {where} ({status}): {reason}.{hint}"


def _known(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes by id, also from a compressed status."""
    status = workflow.get("status", {})
    if packed_nodes := status.get("compressedNodes"):
        found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed_nodes)))
        return found
    return dict(status.get("nodes") or {})


def _tasks(workflow: Mapping[str, Any]) -> dict[str, str]:
    """Return the template of each task, by task name."""
    stored = workflow.get("status", {}).get("storedWorkflowTemplateSpec") or {}
    spec = stored or workflow.get("spec", {})
    for template in spec.get("templates", ()):
        if template["name"] == spec.get("entrypoint"):
            tasks = template.get("dag", {}).get("tasks", ())
            return {str(task["name"]): str(task["template"]) for task in tasks}
    return {}


def _node(raw: Mapping[str, Any], known: Mapping[str, Any]) -> Node:
    """Return a task. If it may be retried, the newest attempt has the outputs."""
    tries = [known[child] for child in raw.get("children", ()) if raw["type"] == "Retry"]
    attempts = [each for each in tries if each["type"] == "Pod"]
    newest = attempts[-1] if attempts else raw
    published = newest.get("outputs") or {}
    done, _, total = str(newest.get("progress", "")).partition("/")
    return Node(
        id=str(newest["id"]),
        name=str(raw["displayName"]),
        template=str(raw.get("templateName", "")),
        phase=str(raw.get("phase", "")),
        message=str(raw.get("message") or newest.get("message") or ""),
        progress=(int(done or 0), int(total or 0)),
        started=str(raw.get("startedAt") or ""),
        finished=str(raw.get("finishedAt") or ""),
        parameters={
            str(each["name"]): str(each.get("value", ""))
            for each in published.get("parameters", ())
        },
        artifacts=frozenset(str(each["name"]) for each in published.get("artifacts", ())),
        memoized=bool((raw.get("memoizationStatus") or {}).get("hit")),
    )


def _parameters(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (spec.get("arguments") or {}).get("parameters") or ()
