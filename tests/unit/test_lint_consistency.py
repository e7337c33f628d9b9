"""What must agree in two places is found with its line, and odd values crash no rule."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mlops_kit.lint import lint

PROJECT = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: fraud, namespace: argocd}
spec:
  project: mlops
  destination: {namespace: fraud-prod}
  syncPolicy:
    syncOptions: [CreateNamespace=true]
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: mlops, namespace: argocd}
spec:
  clusterResourceWhitelist:
  - {group: '', kind: Namespace}
  namespaceResourceWhitelist:
  - {group: mlops.seldon.io, kind: '*'}
  roles:
  - name: engineer
    groups: [team]
    policies:
    - p, proj:mlops:engineer, applications, sync, mlops/*, allow
"""
CRON = """\
apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: drift, namespace: argowf}
spec:
  schedules: ["7 * * * *"]
  workflowSpec:
    entrypoint: step
    serviceAccountName: runner
    securityContext: {runAsNonRoot: true}
    arguments:
      parameters:
      - {name: rows, value: "7"}
    volumes: [{name: work, emptyDir: {}}]
    templates:
    - name: main
      dag:
        tasks:
        - {name: check, template: step}
        - name: tell
          template: step
          depends: check.Succeeded
          when: "{{= tasks.check.status == 'Succeeded' }}"
    - name: step
      inputs:
        artifacts:
        - name: code
          git: {repo: https://git.example/a.git, revision: "{{workflow.parameters.rows}}"}
      initContainers:
      - {name: first, image: "a@sha256:00", volumeMounts: [{name: work, mountPath: /work}]}
      container:
        image: a@sha256:00
        command: [python]
        args: [-m, step]
        env:
        - {name: MAX_TOKENS, value: "7"}
        - {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: s3, key: id}}}
        - {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: s3, key: secret}}}
"""
BINDING = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowEventBinding
metadata: {name: push, namespace: argowf}
spec:
  event:
    selector: >-
      metadata["x-github-event"] != ["pull_request"] && payload.ref == "refs/heads/main"
      && payload.after matches "^[0-9a-f]{40}$"
      && payload.head_commit?.author?.email != "bot@example.com"
"""
# By the seed's element: the good text, what is written there, what instead, the rule, its line.
CASES = {
    "CreateNamespace without Namespace in the project": (
        *(PROJECT, "  - {group: '', kind: Namespace}\n", "  - {group: '', kind: Node}\n"),
        *("create-namespace", 8),
    ),
    "Seldon's kinds as the cluster's": (
        *(PROJECT, "  - {group: '', kind: Namespace}\n"),
        "  - {group: '', kind: Namespace}\n  - {group: mlops.seldon.io, kind: '*'}\n",
        *("idle-whitelist", 16),
    ),
    "a policy of five parts": (PROJECT, "sync, mlops/*", "sync", "invalid-policy", 22),
    "every kind of every group": (
        *(PROJECT, "{group: mlops.seldon.io, kind: '*'}", "{group: '*', kind: '*'}"),
        *("wide-whitelist", 17),
    ),
    "a zone in the schedule": (CRON, '"7 *', '"TZ=UTC 7 *', "zone-in-schedule", 5),
    "a parameter without a value": (
        CRON,
        ', value: "7"}\n    vol',
        "}\n    vol",
        "missing-value",
        12,
    ),
    "half of the credentials": (
        *(
            CRON,
            "{name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: s3, key: secret}}}",
        ),
        *('{name: OTHER, value: "1"}', "half-credentials", 34),
    ),
    "argocd in command, its order in args": (
        *(CRON, "command: [python]\n        args: [-m, step]"),
        *("command: [argocd]\n        args: [app, sync, fraud, --force]", "refused-command", 32),
    ),
    "a rollback by its id": (
        CRON,
        "[-m, step]",
        "[argocd app rollback fraud 5]",
        "refused-command",
        32,
    ),
    "the state of a task that isn't there": (
        CRON,
        "tasks.check",
        "tasks.chek",
        "lost-reference",
        22,
    ),
    "a bare dependency of a gate": (CRON, "check.Succeeded", "check", "bare-depends", 21),
    "a first container's volume": (
        CRON,
        "[{name: work, mountPath",
        "[{name: wrk, mountPath",
        "undefined-volume",
        29,
    ),
    "a token": (CRON, "MAX_TOKENS", "GIT_TOKEN", "secret-in-the-clear", 35),
    "nothing gates update-manifest": (
        *(CRON, "name: check, template: step}"),
        *("name: check, template: step}\n        - {name: update-manifest, template: step}",),
        *("ungated-commit", 19),
    ),
    "a task's long name": (CRON, "name: tell", "name: " + "t" * 129, "long-name", 19),
    "201 tasks": (
        *(CRON, "        - name: tell\n"),
        "".join(f"        - {{name: t{n}, template: step}}\n" for n in range(200))
        + "        - name: tell\n",
        *("too-many", 15),
    ),
    "pull requests": (BINDING, '!= ["pull', '== ["pull', "open-webhook", 6),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_fault_is_found_at_its_line(case: tuple[str, str, str, str, int]) -> None:
    good, before, after, rule, line = case
    assert lint({"a.yaml": good.encode()}) == ()
    assert before in good
    findings = lint({"a.yaml": good.replace(before, after, 1).encode()})
    assert (rule, line) in {(each.rule, each.line) for each in findings}, findings


def test_a_depth_with_a_fetch_reaches_the_commit() -> None:
    fetched = CRON.replace('rows}}"}', 'rows}}", depth: 1, fetch: ["a:b"]}', 1)
    assert lint({"a.yaml": fetched.encode()}) == ()


def test_what_is_never_applied_has_no_findings() -> None:
    for version, kind in (
        ("mlops-kit.dev/v1", "Release"),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ):
        text = f"apiVersion: {version}\nkind: {kind}\nspec: {{image: a:latest}}\n"
        assert lint({"a.yaml": text.encode()}) == ()


def test_an_event_that_is_no_push_needs_no_branch() -> None:
    degraded = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowEventBinding
metadata: {name: back}
spec:
  event: {selector: discriminator == "rollback"}
  submit: {arguments: {parameters: [{name: app, valueFrom: {event: payload.app}}]}}
"""
    assert lint({"a.yaml": degraded.encode()}) == ()
    findings = lint({"a.yaml": degraded.replace("payload.app", "payload.after").encode()})
    assert {(each.rule, each.line) for each in findings} == {("open-webhook", 5)}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything inside a value."""
    found = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in found if isinstance(value, (dict, list)) else ():
        yield (*path, name)
        if isinstance(each, (dict, list)):
            yield from places(each, (*path, name))


@pytest.mark.parametrize("odd", [None, 5, "x", [[]], [{"name": [1]}], {"a": 1}], ids=repr)
def test_an_odd_value_anywhere_crashes_no_rule(odd: Any) -> None:
    for good in (PROJECT, CRON, BINDING):
        for whole in yaml.safe_load_all(good):
            for *path, last in places(whole):
                changed = copy.deepcopy(whole)
                parent = changed
                for part in path:
                    parent = parent[part]
                parent[last] = odd
                lint({"a.yaml": yaml.safe_dump(changed).encode()})
