"""Rules for workflows: names that lead nowhere, values that change, limits, fields of before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlops_kit.lint.calls import callable_templates, calls_of, referred
from mlops_kit.lint.yaml_documents import Document, Finding, Path, fields, named

_KINDS = {
    "Workflow": ("spec",),
    "WorkflowTemplate": ("spec",),
    "ClusterWorkflowTemplate": ("spec",),
    "CronWorkflow": ("spec", "workflowSpec"),
}
_GONE = {
    "schedule": "schedules, a list",
    "podPriority": "podPriorityClassName",
    "mutex": "mutexes, a list",
    "semaphore": "semaphores, a list",
}
_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+")
# Argo replaces longer arguments by a file's name, without a word.
_MAX_ARGUMENT_BYTES = 131_072


def specs(documents: list[Document]) -> Iterator[tuple[Document, Path]]:
    """Yield each workflow's document with the path of its spec."""
    for document in documents:
        path = _KINDS.get(document.kind)
        if path and isinstance(document.at(*path), dict):
            yield document, path


def templates(document: Document, spec: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a workflow's templates with their paths."""
    for path, each in document.items(*spec, "templates"):
        if isinstance(each, dict):
            yield path, each


def all_templates(documents: list[Document]) -> Iterator[tuple[Document, Path, dict[str, Any]]]:
    """Yield every workflow's templates with their documents and paths."""
    for document, spec in specs(documents):
        yield from ((document, path, each) for path, each in templates(document, spec))


def tasks(document: Document, template: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the tasks of a template's DAG, or its steps."""
    for path, each in document.items(*template, "dag", "tasks"):
        if isinstance(each, dict):
            yield path, each
    for group, _ in document.items(*template, "steps"):
        for path, each in document.items(*group):
            if isinstance(each, dict):
                yield path, each


def all_tasks(
    documents: list[Document],
) -> Iterator[tuple[Document, dict[str, Any], Path, dict[str, Any]]]:
    """Yield each task with its document, its template's tasks by name, and its path."""
    for document, path, _ in all_templates(documents):
        found = list(tasks(document, path))
        own = {str(task.get("name")): task for _, task in found}
        yield from ((document, own, place, task) for place, task in found)


def volumes(documents: list[Document]) -> Iterator[Finding]:
    """Find a volume that is mounted and defined nowhere: the pod never starts."""
    for document, spec in specs(documents):
        known = {
            *named(document.at(*spec, "volumes")),
            *(
                str(fields(each.get("metadata")).get("name"))
                for _, each in document.items(*spec, "volumeClaimTemplates")
                if isinstance(each, dict)
            ),
        }
        for path, template in templates(document, spec):
            own = known | set(named(template.get("volumes")))
            for where in _containers(document, path):
                for place, mount in document.items(*where, "volumeMounts"):
                    name = str(fields(mount).get("name"))
                    if name not in own:
                        yield document.finding(
                            place,
                            "undefined-volume",
                            f"Volume {name!r} is mounted and defined nowhere: no pod starts.",
                            f"Add it to volumes, as in '{{name: {name}, emptyDir: {{}}}}'.",
                        )


def _containers(document: Document, template: Path) -> Iterator[Path]:
    """Yield the path of everything in a template that can mount a volume."""
    yield from ((*template, kind) for kind in ("container", "script", "containerSet"))
    for key in (("containerSet", "containers"), ("initContainers",), ("sidecars",)):
        yield from (path for path, _ in document.items(*template, *key))


def undefined_templates(documents: list[Document]) -> Iterator[Finding]:
    """Find a template, a task or a handler that doesn't exist."""
    for document, spec in specs(documents):
        ref = document.at(*spec, "workflowTemplateRef")
        whole = fields(document.at(*spec))
        calls = [*calls_of(spec, {key: whole[key] for key in ("hooks", "onExit") if key in whole})]
        if "entrypoint" in whole:
            calls.append(((*spec, "entrypoint"), {"template": whole["entrypoint"]}))
        for path, _ in templates(document, spec):
            for place, task in tasks(document, path):
                calls += calls_of(place, task)
        for place, call in calls:
            known, name = callable_templates(documents, document, spec, call)
            if ref and "templateRef" not in call:
                known = referred(documents, document, fields(ref))
            if known is not None and name not in known:
                yield document.finding(
                    place,
                    "undefined-template",
                    f"Template {name!r} is defined nowhere: the workflow is refused.",
                    f"Define it, or use one of {sorted(known)}.",
                )


def values(documents: list[Document]) -> Iterator[Finding]:
    """Find a parameter's value that is no text: Argo rewrites it, and the server refuses it."""
    for document, spec in specs(documents):
        lists = [(*spec, "arguments", "parameters")]
        for path, _ in templates(document, spec):
            lists += [(*path, "inputs", "parameters")]
            lists += [(*each, "arguments", "parameters") for each, _ in tasks(document, path)]
        for place in lists:
            for item, parameter in document.items(*place):
                value = parameter.get("value") if isinstance(parameter, dict) else None
                if value is not None and not isinstance(value, str):
                    yield document.finding(
                        (*item, "value"),
                        "unquoted-value",
                        f"The value {value!r} of {parameter.get('name')!r} is no text: Argo "
                        "rewrites it, 1.10 to 1.1.",
                        "Put it in quotes.",
                    )


def removed_fields(documents: list[Document]) -> Iterator[Finding]:
    """Find fields that Argo v4 removed, which an older file still has."""
    for document, spec in specs(documents):
        places = [spec, (*spec, "synchronization")]
        places += [("spec",)] if document.kind == "CronWorkflow" else []
        for path, _ in templates(document, spec):
            places += [path, (*path, "synchronization")]
        for place in places:
            found = document.at(*place)
            for name in found if isinstance(found, dict) else ():
                is_schedule = name == "schedule" and document.kind == "CronWorkflow"
                if name in _GONE and (name != "schedule" or is_schedule):
                    yield document.finding(
                        (*place, name),
                        "removed-field",
                        f"Argo Workflows 4 has no field {name!r}.",
                        f"Write {_GONE[name]}.",
                    )


def limits(documents: list[Document]) -> Iterator[Finding]:
    """Find names and sizes over what Argo and Kubernetes allow."""
    for document, spec in specs(documents):
        longest = 52 if document.kind == "CronWorkflow" else 63
        if len(document.name) > longest:
            yield document.finding(
                ("metadata", "name"),
                "long-name",
                f"{document.name!r} has {len(document.name)} characters: it is refused.",
                f"Use at most {longest}.",
            )
        found = list(templates(document, spec))
        if len(found) > 200:
            yield document.finding(
                (*spec, "templates"),
                "too-many",
                f"{len(found)} templates are more than the 200 that Argo takes.",
                "Split the workflow.",
            )
        for path, template in found:
            name = str(template.get("name"))
            if not _NAME.fullmatch(name) or len(name) > 128:
                yield document.finding(
                    (*path, "name"),
                    "bad-name",
                    f"{name[:60]!r} is no template's name: it is refused.",
                    "Use letters, digits and dashes, at most 128.",
                )
            yield from _of_memo(document, path, template)
            yield from _long_arguments(document, path)


def _of_memo(document: Document, path: Path, template: dict[str, Any]) -> Iterator[Finding]:
    memo = template.get("memoize")
    if not isinstance(memo, dict):
        return
    key, age = str(memo.get("key", "")), memo.get("maxAge")
    if "{{" not in key and not _NAME.fullmatch(key):
        yield document.finding(
            (*path, "memoize", "key"),
            "memoize-key",
            f"The key {key!r} is invalid: the step ends with an error.",
            "Use letters, digits and dashes, as a hex digest has.",
        )
    if age is not None and not _DURATION.fullmatch(str(age)):
        yield document.finding(
            (*path, "memoize", "maxAge"),
            "memoize-age",
            f"{age!r} is no duration of Go's: the step ends with an error.",
            "Write hours, as in 720h.",
        )


def _long_arguments(document: Document, path: Path) -> Iterator[Finding]:
    for place, value in document.items(*path, "container", "args"):
        if isinstance(value, str) and len(value) > _MAX_ARGUMENT_BYTES:
            yield document.finding(
                place,
                "long-argument",
                f"An argument of {len(value):,} characters is replaced by a file's name.",
                "Give it as an artifact.",
            )


def accounts(documents: list[Document]) -> Iterator[Finding]:
    """Find no service account: the default one may not report, so each step fails at its end."""
    known = {(d.namespace, d.name) for d in documents if d.kind == "ServiceAccount"}
    for document, spec in specs(documents):
        if document.at(*spec, "workflowTemplateRef"):
            continue
        account = document.at(*spec, "serviceAccountName")
        if not account:
            yield document.finding(
                spec,
                "no-service-account",
                "No serviceAccountName: each step runs to its end, and fails then.",
                "Name one that may create and patch workflowtaskresults.",
            )
        elif known and (document.namespace, str(account)) not in known:
            yield document.finding(
                (*spec, "serviceAccountName"),
                "undefined-service-account",
                f"Service account {account!r} stands nowhere in these files.",
                "Add it beside the workflow, with its role.",
            )


def security(documents: list[Document]) -> Iterator[Finding]:
    """Find no security context: the pods run as root, and a restricted namespace refuses them."""
    for document, spec in specs(documents):
        is_set = document.at(*spec, "securityContext") or document.at(*spec, "workflowTemplateRef")
        if not is_set:
            yield document.finding(
                spec,
                "runs-as-root",
                "No securityContext: the pods run as root.",
                "Set runAsNonRoot, runAsUser and a seccompProfile.",
            )


RULES = (
    volumes,
    undefined_templates,
    values,
    removed_fields,
    limits,
    accounts,
    security,
)
