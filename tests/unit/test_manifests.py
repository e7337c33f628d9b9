"""The check of manifests finds what a server would refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.manifests import check

ARGO = "argoproj.io/v1alpha1"
STEP = {"name": "step", "container": {"image": "a@sha256:0", "args": ["x"]}}
TEMPLATE: dict[str, Any] = {
    "apiVersion": ARGO,
    "kind": "WorkflowTemplate",
    "metadata": {"name": "a", "labels": {"b": "c"}},
    "spec": {
        "entrypoint": "step",
        "arguments": {"parameters": [{"name": "n", "value": "5"}]},
        "templates": [STEP],
        "volumes": [{"name": "work", "emptyDir": {}}],
    },
}
CRON: dict[str, Any] = {
    "apiVersion": ARGO,
    "kind": "CronWorkflow",
    "metadata": {"name": "a"},
    "spec": {
        "schedules": ["7 * * * *"],
        "workflowSpec": {"workflowTemplateRef": {"name": "a"}},
    },
}
ROLE: dict[str, Any] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "a"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
}


@pytest.mark.parametrize("document", [TEMPLATE, CRON, ROLE], ids=lambda each: each["kind"])
def test_what_is_right_has_no_fault(document: dict[str, Any]) -> None:
    assert check(document) == []


@pytest.mark.parametrize(
    ("document", "path", "value", "named"),
    [
        (CRON, ("spec", "schedule"), "* * * * *", "schedule"),
        (TEMPLATE, ("spec", "synchronization"), {"mutex": {"name": "a"}}, "mutex"),
        (TEMPLATE, ("spec", "podPriority"), 1, "podPriority"),
        (TEMPLATE, ("spec", "arguments"), {"parameters": [{"name": "n", "value": 5}]}, "value: 5"),
        (TEMPLATE, ("spec", "templates"), [{"name": "a", "container": {"imge": "b"}}], "imge"),
        (TEMPLATE, ("metadata", "labels"), {"b": True}, "metadata.labels.b: True"),
        (ROLE, ("rules",), [{"verb": ["get"]}], "verb"),
        (ROLE, ("kind",), "Rule", "no schema for"),
    ],
)
def test_a_fault_is_named(
    document: dict[str, Any], path: tuple[str, ...], value: object, named: str
) -> None:
    broken = copy.deepcopy(document)
    place = broken
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert any(named in fault for fault in check(broken)), check(broken)
