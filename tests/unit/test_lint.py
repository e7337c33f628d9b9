"""The lint finds what neither a schema nor Argo's own lint does, with its line, and nothing else."""

from __future__ import annotations

import pytest

from mlops_kit.lint import Finding, lint

# A good workflow: each case below breaks one thing of it.
GOOD = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: train, namespace: argowf}
spec:
  entrypoint: pipeline
  serviceAccountName: runner
  securityContext: {runAsNonRoot: true, runAsUser: 1000}
  arguments:
    parameters:
    - {name: rows, value: "1000"}
    - {name: revision}
  volumes:
  - {name: work, emptyDir: {}}
  templates:
  - name: pipeline
    dag:
      tasks:
      - name: evaluate
        template: step
        arguments: {parameters: [{name: rows, value: "{{workflow.parameters.rows}}"}]}
      - name: commit
        template: commit
        depends: evaluate.Succeeded
        when: "{{= tasks.evaluate.outputs.parameters.verdict == 'pass' }}"
      - name: notify
        template: commit
        depends: commit.Succeeded
  - name: step
    inputs:
      parameters: [{name: rows}]
      artifacts:
      - name: code
        path: /work/code
        git: {repo: https://git.example/a.git, revision: "{{workflow.parameters.revision}}"}
    retryStrategy: {limit: "2", expression: "asInt(lastRetry.exitCode) in [-1, 137, 143]"}
    memoize: {key: "abc-1", maxAge: 720h, cache: {configMap: {name: c}}}
    container:
      image: registry.example/step@sha256:00
      args: [step]
      env:
      - {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: s3, key: secret}}}
      volumeMounts:
      - {name: work, mountPath: /work}
    outputs:
      parameters:
      - {name: verdict, valueFrom: {path: /work/verdict, default: fail}}
  - name: commit
    container: {image: registry.example/step@sha256:00}
"""
# The seed's faults in its workflow, and the rows that nothing else catches: what stood there, what
# is written instead, which rule says so.
WORKFLOW = {
    "four templates that are defined nowhere": (
        "template: step\n",
        "template: stp\n",
        "undefined-template",
    ),
    "the entrypoint is nowhere": ("entrypoint: pipeline", "entrypoint: main", "undefined-template"),
    "the exit handler is nowhere": (
        "  volumes:",
        "  onExit: report\n  volumes:",
        "undefined-template",
    ),
    "the volume work": (
        "- {name: work, emptyDir: {}}",
        "- {name: other, emptyDir: {}}",
        "undefined-volume",
    ),
    "no service account": ("  serviceAccountName: runner\n", "", "no-service-account"),
    "nothing gates the promotion": ("depends: commit.Succeeded", "depends: commit", "bare-depends"),
    "dependencies, which wait for an end": (
        "depends: commit.Succeeded",
        "dependencies: [commit]",
        "bare-depends",
    ),
    "an image by latest": (
        "image: registry.example/step@sha256:00}",
        "image: harbor.test/a/b:latest}",
        "floating-image",
    ),
    "an image without a tag": (
        "image: registry.example/step@sha256:00}",
        "image: trainer}",
        "floating-image",
    ),
    "argocd from where it is gone": (
        "image: registry.example/step@sha256:00}",
        "image: argoproj/argocd:v2.8.4}",
        "gone-image",
    ),
    "runs as root": (
        "  securityContext: {runAsNonRoot: true, runAsUser: 1000}\n",
        "",
        "runs-as-root",
    ),
    "a retry expression with an open bracket": (
        "[-1, 137, 143]",
        "[-1, 137, 143",
        "invalid-retry",
    ),
    "a retry expression that ends too early": (
        "in [-1, 137, 143]",
        "in",
        "invalid-retry",
    ),
    "a retry expression with an open quote": (
        '"asInt(lastRetry.exitCode) in [-1, 137, 143]"',
        '"lastRetry.message contains \'OOM"',
        "invalid-retry",
    ),
    "a label from a parameter that there isn't": (
        "  volumes:",
        "  workflowMetadata: {labelsFrom: {rev: {expression: 'workflow.parameters.revison[0:8]'}}}\n  volumes:",
        "lost-label",
    ),
    "HEAD of a branch": (
        'revision: "{{workflow.parameters.revision}}"',
        "revision: HEAD",
        "floating-revision",
    ),
    "a shallow clone": (
        'revision: "{{workflow.parameters.revision}}"',
        'revision: "{{workflow.parameters.revision}}", depth: 1',
        "shallow-clone",
    ),
    "argocd app sync --force": (
        "args: [step]",
        "args: [argocd, app, sync, fraud, --force]",
        "refused-command",
    ),
    "a number as a value": ('value: "1000"', "value: 1000", "unquoted-value"),
    "a version as a value": ('value: "1000"', "value: 1.10", "unquoted-value"),
    "a truth as a value": ('value: "1000"', "value: true", "unquoted-value"),
    "a gate whose value rewrites it": (
        "\"{{= tasks.evaluate.outputs.parameters.verdict == 'pass' }}\"",
        '"{{tasks.evaluate.outputs.parameters.verdict}} == pass"',
        "rewritable-gate",
    ),
    "a gate in quotes": (
        "\"{{= tasks.evaluate.outputs.parameters.verdict == 'pass' }}\"",
        "\"'{{tasks.evaluate.outputs.parameters.verdict}}' == 'pass'\"",
        "rewritable-gate",
    ),
    "a gate with ===": ("verdict == 'pass'", "verdict === 'pass'", "invalid-gate"),
    "a gate with =": (
        "\"{{= tasks.evaluate.outputs.parameters.verdict == 'pass' }}\"",
        '"a = b"',
        "invalid-gate",
    ),
    "a gate on a task that isn't there": (
        "tasks.evaluate.outputs",
        "tasks.evalute.outputs",
        "lost-reference",
    ),
    "a gate on an output that isn't there": (
        "parameters.verdict ==",
        "parameters.verdct ==",
        "lost-reference",
    ),
    "no default": (", default: fail}", "}", "no-default"),
    "a default that passes": ("default: fail", "default: pass", "default-passes"),
    "an unknown argument": ("[{name: rows, value:", "[{name: rowz, value:", "extra-argument"),
    "a missing argument": (
        '        arguments: {parameters: [{name: rows, value: "{{workflow.parameters.rows}}"}]}\n',
        "",
        "missing-argument",
    ),
    "a task that isn't there": (
        "depends: evaluate.Succeeded",
        "depends: evalute.Succeeded",
        "undefined-task",
    ),
    "depends twice": (
        "depends: evaluate.Succeeded",
        "depends: evaluate.Succeeded\n        dependencies: [evaluate]",
        "two-depends",
    ),
    "the exit code as a number": (
        "asInt(lastRetry.exitCode) in [-1, 137, 143]",
        "lastRetry.exitCode == 1",
        "retry-type",
    ),
    "a key with a space": ('key: "abc-1"', 'key: "a b"', "memoize-key"),
    "an age in days": ("maxAge: 720h", "maxAge: 1day", "memoize-age"),
    "a mutex of v3": (
        "    container:\n      image",
        "    synchronization: {mutex: {name: a}}\n    container:\n      image",
        "removed-field",
    ),
    "a priority of v3": (
        "  entrypoint: pipeline",
        "  podPriority: 1\n  entrypoint: pipeline",
        "removed-field",
    ),
    "a long name": ("{name: train,", "{name: " + "t" * 64 + ",", "long-name"),
    "a template's name with a space": ("- name: pipeline\n", "- name: pipe line\n", "bad-name"),
    "half of the credentials, in the clear": (
        "valueFrom: {secretKeyRef: {name: s3, key: secret}}",
        "value: hunter2",
        "secret-in-the-clear",
    ),
}
PROJECT = """\
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: mlops, namespace: argocd}
spec:
  sourceRepos: ['https://git.example/team/config.git']
  destinations:
  - {server: https://kubernetes.default.svc, namespace: 'fraud-*'}
  - {server: https://kubernetes.default.svc, namespace: argowf}
  clusterResourceWhitelist:
  - {group: '', kind: Namespace}
  namespaceResourceWhitelist:
  - {group: '', kind: ConfigMap}
  - {group: argoproj.io, kind: WorkflowTemplate}
  roles:
  - name: engineer
    groups: ['team']
    policies:
    - p, proj:mlops:engineer, applications, sync, mlops/*, allow
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: fraud-prod}
---
apiVersion: v1
kind: Namespace
metadata: {name: fraud-prod}
"""
PROJECTS = {
    "any repository of the account": ("team/config.git'", "team/*'", "wide-source"),
    "argocd as a destination": ("namespace: argowf}", "namespace: argocd}", "argocd-destination"),
    "a namespace that is no destination": (
        "namespace: fraud-prod}",
        "namespace: other}",
        "forbidden-namespace",
    ),
    "every kind": ("{group: '', kind: ConfigMap}", "{group: '*', kind: '*'}", "wide-whitelist"),
    "a kind that isn't permitted": (
        "{group: '', kind: ConfigMap}",
        "{group: '', kind: Secret}",
        "forbidden-kind",
    ),
    "a new namespace, which isn't permitted": (
        "- {group: '', kind: Namespace}",
        "- {group: mlops.seldon.io, kind: '*'}",
        "forbidden-kind",
    ),
    "a role for nobody": ("    groups: ['team']\n", "", "unbound-role"),
    "a role that may do anything": ("applications, sync,", "applications, *,", "wide-policy"),
}
BINDING = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowEventBinding
metadata: {name: push, namespace: argowf}
spec:
  event:
    selector: >-
      metadata["x-github-event"] == ["push"] && payload.ref == "refs/heads/main"
      && payload.after matches "^[0-9a-f]{40}$"
      && payload.head_commit?.author?.email != "bot@example.com"
  submit:
    workflowTemplateRef: {name: train}
"""
BINDINGS = {
    "any branch": ('payload.ref == "refs/heads/main"', "true", "open-webhook"),
    "no loop guard": ("author?.email", "x", "open-webhook"),
    "any text as a commit": ("^[0-9a-f]{40}$", ".*", "open-webhook"),
    "pull requests, which are anybody's code": ('["push"]', '["pull_request"]', "open-webhook"),
}
OTHERS = {
    "a canary of a Model": (
        "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: a}\nspec:\n  targetRef: {kind: Model, name: a}\n",
        "canary-target",
        5,
    ),
    "precision in a canary": (
        "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: a}\nspec:\n  targetRef: {kind: Deployment, name: a}\n  analysis:\n    metrics:\n    - {name: precision, interval: 1m}\n",
        "canary-metric",
        8,
    ),
    "rollback rules that nothing reads": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  action: argocd app rollback fraud --revision 5\n",
        "refused-command",
        5,
    ),
    "lead time by a metric that isn't there": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  q: histogram_quantile(0.95, argocd_app_sync_duration)\n",
        "no-such-metric",
        5,
    ),
    "training success by a metric that isn't there": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  q: argo_workflow_status\n",
        "no-such-metric",
        5,
    ),
    "targetRevision HEAD": (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec:\n  source: {targetRevision: HEAD}\n",
        "floating-revision",
        5,
    ),
    "an empty webhook secret": (
        'apiVersion: v1\nkind: Secret\nmetadata: {name: argo-workflows-webhook-clients}\nstringData:\n  hook: |\n    type: github\n    secret: ""\n',
        "empty-webhook-secret",
        5,
    ),
    "a webhook secret in base64 that is empty": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: argo-workflows-webhook-clients}\ndata: {hook: dHlwZTogZ2l0aHViCnNlY3JldDogIiIK}\n",
        "empty-webhook-secret",
        4,
    ),
    "a webhook entry without a secret": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: argo-workflows-webhook-clients}\nstringData:\n  hook: |\n    type: github\n",
        "empty-webhook-secret",
        5,
    ),
    "a webhook entry that is empty": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: argo-workflows-webhook-clients}\nstringData: {hook: ''}\n",
        "empty-webhook-secret",
        4,
    ),
    "a fault inside of a List": (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n  stringData: {password: hunter2}\n",
        "secret-in-the-clear",
        7,
    ),
    "a secret in the clear": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: hunter2}\n",
        "secret-in-the-clear",
        4,
    ),
    "a schedule of v3": (
        'apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\nmetadata: {name: a}\nspec:\n  schedule: "7 * * * *"\n  workflowSpec: {workflowTemplateRef: {name: a}}\n',
        "removed-field",
        5,
    ),
    "no YAML": ("a: [b\n", "no-yaml", 2),
}


# Rules whose place is the object that lacks something, or the use of what isn't there.
ELSEWHERE = {
    *("no-service-account", "runs-as-root", "undefined-volume", "missing-argument"),
    *("forbidden-kind", "unbound-role", "open-webhook", "undefined-template", "removed-field"),
    "two-depends",
}


def found(text: str) -> tuple[Finding, ...]:
    return lint({"a.yaml": text.encode()})


def test_good_files_have_no_findings() -> None:
    for text in (GOOD, PROJECT, BINDING):
        assert found(text) == ()


@pytest.mark.parametrize(
    ("good", "case"),
    [
        *((GOOD, case) for case in WORKFLOW.items()),
        *((PROJECT, case) for case in PROJECTS.items()),
        *((BINDING, case) for case in BINDINGS.items()),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_each_fault_is_found_at_its_line(good: str, case: tuple[str, tuple[str, str, str]]) -> None:
    before, after, rule = case[1]
    assert before in good
    text = good.replace(before, after, 1)
    findings = found(text)
    assert rule in {finding.rule for finding in findings}, findings
    assert all(finding.mend for finding in findings)
    changed = good[: good.index(before)].count("\n") + 1
    lines = {finding.line for finding in findings if finding.rule == rule}
    assert changed in lines or rule in ELSEWHERE, (changed, lines)


@pytest.mark.parametrize("case", OTHERS.items(), ids=lambda case: case[0])
def test_other_faults_of_the_seed_are_found(case: tuple[str, tuple[str, str, int]]) -> None:
    text, rule, line = case[1]
    assert (rule, line) in {(finding.rule, finding.line) for finding in found(text)}, found(text)


def test_a_finding_can_be_jumped_to_and_read_by_a_machine() -> None:
    (finding,) = found(GOOD.replace('value: "1000"', "value: 1000"))
    assert str(finding).startswith("a.yaml:10: The value 1000 of 'rows' is no text")
    assert str(finding).endswith("[unquoted-value]")
    assert finding.to_json()["line"] == 10


def test_an_account_of_another_file_is_known() -> None:
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: argowf}\n"
    both = {"a.yaml": GOOD.encode(), "b.yaml": account.encode()}
    assert lint(both) == ()
    other = account.replace("runner", "somebody")
    (finding,) = lint({"a.yaml": GOOD.encode(), "b.yaml": other.encode()})
    assert (finding.rule, finding.file) == ("undefined-service-account", "a.yaml")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"- 1\n- 2\n",
        b"text\n",
        b"[" * 5_000,
        b"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        + b"".join(
            b"c%d: &c%d [%s]\n" % (n, n, b",".join([b"*c%d" % (n - 1) if n else b"*b"] * 9))
            for n in range(9)
        ),
        b"kind: X\napiVersion: v1\nv: argocd app rollback " + b"argocd app sync " * 100_000,
        b"kind: X\napiVersion: v1\nv: '" + b"{{= tasks.a " * 100_000 + b"'",
        b"a: &a [*a]\n",
        b"kind: 5\napiVersion: [1]\nspec: x\n",
        b"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [1, {}, {dag: {tasks: [x, {when: 5}]}}]}\n",
    ],
    ids=[
        *("empty", "no text", "list", "scalar", "deep", "bomb", "long", "unclosed", "endless"),
        *("odd", "odd workflow"),
    ],
)
def test_hostile_files_end_in_findings_at_most(content: bytes) -> None:
    assert all(isinstance(each, Finding) for each in lint({"a.yaml": content}))


def test_what_is_no_object_of_kubernetes_is_left_alone() -> None:
    files = {
        "kustomization.yaml": b"resources: [a.yaml]\nimages: [{name: a, newTag: latest}]\n",
        "envs/prod/values.yaml": b"image: a:latest\n",
        "README.md": b"image: a:latest\n",
        "release.yaml": b"apiVersion: mlops-kit/v1\nkind: Release\nmetadata:\n  name: a\n"
        b"  annotations: {config.kubernetes.io/local-config: 'true'}\nspec: {image: a:latest}\n",
    }
    assert lint(files) == ()
