"""Render service accounts with exactly the rights that they need."""

from __future__ import annotations

from typing import Any

RUNNER_ROLE, EVENTS_ROLE = "mlops-runner", "mlops-events"
EVENTS = "mlops-events"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/part-of": "mlops-kit"}


def runner(namespace: str, account: str) -> list[dict[str, Any]]:
    """Return the account that workflows run as, which may only report results."""
    rules = [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflowtaskresults"],
            "verbs": ["create", "patch"],
        }
    ]
    return _account(namespace, account, RUNNER_ROLE, rules)


def events(namespace: str) -> list[dict[str, Any]]:
    """Return the account that a webhook uses, which may only start workflows from templates."""
    argo = ["argoproj.io"]
    rules = [
        {"apiGroups": argo, "resources": ["workfloweventbindings"], "verbs": ["list"]},
        {"apiGroups": argo, "resources": ["workflowtemplates"], "verbs": ["get"]},
        {"apiGroups": argo, "resources": ["workflows"], "verbs": ["create"]},
    ]
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        # Argo looks for the token under this name only.
        "metadata": {
            **_metadata(namespace, f"{EVENTS}.service-account-token"),
            "annotations": {"kubernetes.io/service-account.name": EVENTS},
        },
        "type": "kubernetes.io/service-account-token",
    }
    return [*_account(namespace, EVENTS, EVENTS_ROLE, rules), token]


def _account(
    namespace: str, account: str, role: str, rules: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(namespace, account)},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": _metadata(namespace, role),
            "rules": rules,
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(namespace, role),
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    ]


def _metadata(namespace: str, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": _LABELS}
