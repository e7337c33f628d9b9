"""What starts a pipeline: a push to the project's repository, or the clock."""

from __future__ import annotations

from typing import Any

from mlops_kit.argo.rbac import EVENTS
from mlops_kit.pipelines.definition import Pipeline

# The last part of the webhook's address.
DISCRIMINATOR = "mlops-kit"
# Only where the whole SHA is: what is in the value would be evaluated by the next step.
_FULL_SHA = '"^[0-9a-f]{40}$"'


def push_binding(pipeline: Pipeline, namespace: str, branch: str, bot: str) -> dict[str, Any]:
    """Return what starts a pipeline at a push to the branch, by GitHub or by GitLab.

    Never for a pull request, whose code is anybody's, nor for the kit's own commits, which would
    make a loop. Both hosts send the same fields but for the author of the last commit.
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
    # Plain data, as the schedule is: Hera's classes for both drop a misspelt field without a word,
    # and here the test that holds what is rendered against Argo's schemas finds it.
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
    """Return what to enter at GitHub or GitLab, and the secret that the cluster needs."""
    path = f"/api/v1/events/{namespace}/{DISCRIMINATOR}"
    return "\n".join(
        (
            "GitHub: Settings, Webhooks, Add webhook",
            f"  Payload URL   https://<argo server>{path}",
            "  Content type  application/json (the other one is refused)",
            "  Secret        a long random one; an empty one lets everybody in",
            "  Events        just the push event",
            "GitLab: Settings, Webhooks, Add new webhook",
            f"  URL           https://<argo server>{path}",
            "  Secret token  a long random one",
            "  Trigger       Push events",
            "",
            "The same secret for the cluster, never in Git (type: github or gitlab):",
            f"  kubectl -n {namespace} create secret generic argo-workflows-webhook-clients \\",
            f"    --from-literal={EVENTS}=$'type: github\\nsecret: \"'\"$WEBHOOK_SECRET\"'\"'",
        )
    )
