"""Start a pipeline when someone pushes to the project's repository."""

from __future__ import annotations

from typing import Any

from mlops_kit.argo.rbac import EVENTS
from mlops_kit.pipelines.definition import Pipeline

# The last part of the webhook's URL.
DISCRIMINATOR = "mlops-kit"
# The full SHA and nothing else: the next step evaluates the value.
_FULL_SHA = '"^[0-9a-f]{40}$"'


def push_binding(pipeline: Pipeline, namespace: str, branch: str, bot: str) -> dict[str, Any]:
    """Return the WorkflowEventBinding that starts a pipeline on a push to GitHub or GitLab.

    Ignores pull requests, which may hold anybody's code, and the kit's own commits, which would
    loop. Both hosts send the fields used here.
    """
    push = 'metadata["x-github-event"] == ["push"] || metadata["x-gitlab-event"] == ["Push Hook"]'
    selector = " && ".join(
        (
            f"({push})",
            f'discriminator == "{DISCRIMINATOR}"',
            f'payload.ref == "refs/heads/{branch}"',
            "payload.deleted != true",
            f"payload.after matches {_FULL_SHA}",
            'payload.after != "0000000000000000000000000000000000000000"',
            f'all(payload.commits ?? [], .author?.email != "{bot}")',
        )
    )
    # Plain data, like the schedule: Hera's classes silently drop a misspelt field, whereas a test
    # checks this against Argo's schemas.
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowEventBinding",
        "metadata": {
            "name": f"{pipeline.name}-push",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "mlops-kit"},
        },
        "spec": {
            "event": {"selector": selector},
            "submit": {
                "workflowTemplateRef": {"name": pipeline.name},
                "metadata": {
                    "labels": {"mlops-kit/trigger": '"push"'},
                    "annotations": {"mlops-kit/revision": "payload.after"},
                },
                "arguments": {
                    "parameters": [{"name": "revision", "valueFrom": {"event": "payload.after"}}]
                },
            },
        },
    }


def instructions(namespace: str) -> str:
    """Return what to enter at GitHub or GitLab, and how to create the cluster's secret."""
    path = f"/api/v1/events/{namespace}/{DISCRIMINATOR}"
    return "\n".join(
        (
            "GitHub: Settings, Webhooks, Add webhook",
            f"  Payload URL   https://<argo server>{path}",
            "  Content type  application/json (the other one is rejected)",
            "  Secret        a long random text; an empty one lets everybody in",
            "  Events        just the push event",
            "GitLab: Settings, Webhooks, Add new webhook",
            f"  URL           https://<argo server>{path}",
            "  Secret token  a long random text",
            "  Trigger       Push events",
            "",
            "Give the cluster the same secret, but never commit it (type: github or gitlab):",
            f"  kubectl -n {namespace} create secret generic argo-workflows-webhook-clients \\",
            f"    --from-literal={EVENTS}=$'type: github\\nsecret: \"'\"$WEBHOOK_SECRET\"'\"'",
        )
    )
