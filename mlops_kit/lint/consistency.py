"""Rules for what stands in two places that must agree: projects, schedules, credentials, values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_kit.lint.workflows import all_tasks, all_templates, specs, tasks
from mlops_kit.lint.yaml_documents import Document, Finding, Path, fields, named

# Every kind of theirs lives in a namespace.
_NAMESPACED = ("mlops.seldon.io", "machinelearning.seldon.io")
_COMMITS = re.compile(r"(^|-)(commit|promote|update-(k8s-)?manifests?|push-manifests?)(-|$)")
_NAME = re.compile(r"[\w-]+")
_MOST_TASKS, _LONGEST_NAME = 200, 128
_ID, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


def new_namespaces(documents: list[Document]) -> Iterator[Finding]:
    """Find CreateNamespace where the application's project may not create one."""
    projects = {each.name: each for each in documents if each.kind == "AppProject"}
    roots = {"Application": ("spec",), "ApplicationSet": ("spec", "template", "spec")}
    for document in documents:
        root: Path = roots.get(document.kind, ())
        project = projects.get(str(document.at(*root, "project"))) if root else None
        if project is None or _may_create(project):
            continue
        for path, option in document.items(*root, "syncPolicy", "syncOptions"):
            if str(option).lower() == "createnamespace=true":
                yield document.finding(
                    path,
                    "create-namespace",
                    f"Project {project.name!r} doesn't permit Namespace: the first sync fails.",
                    "List {group: '', kind: Namespace} in its clusterResourceWhitelist.",
                )


def _may_create(project: Document) -> bool:
    entries = [fields(each) for _, each in project.items("spec", "clusterResourceWhitelist")]
    return any(
        each.get("group") in ("", "*") and each.get("kind") in ("Namespace", "*")
        for each in entries
    )


def idle_permissions(documents: list[Document]) -> Iterator[Finding]:
    """Find an entry or a policy of a project that has no effect, or is no policy."""
    for document in documents:
        if document.kind != "AppProject":
            continue
        for path, each in document.items("spec", "clusterResourceWhitelist"):
            if fields(each).get("group") in _NAMESPACED:
                yield document.finding(
                    path,
                    "idle-whitelist",
                    f"{fields(each)['group']} has no kinds of the cluster: it permits nothing.",
                    "List them in namespaceResourceWhitelist.",
                )
        for role, _ in document.items("spec", "roles"):
            for path, policy in document.items(*role, "policies"):
                if len(str(policy).split(",")) != 6:
                    yield document.finding(
                        path,
                        "invalid-policy",
                        f"{str(policy)[:80]!r} is no policy: the project is refused.",
                        "Write 'p, proj:PROJECT:ROLE, RESOURCE, ACTION, PROJECT/OBJECT, allow'.",
                    )


def schedules(documents: list[Document]) -> Iterator[Finding]:
    """Find a time zone in a schedule, which Argo v4 refuses."""
    for document in documents:
        if document.kind != "CronWorkflow":
            continue
        for path, schedule in document.items("spec", "schedules"):
            if str(schedule).startswith(("TZ=", "CRON_TZ=")):
                yield document.finding(
                    path,
                    "zone-in-schedule",
                    f"{str(schedule)[:80]!r} names its time zone: the object is refused.",
                    "Write it in spec.timezone.",
                )


def missing_values(documents: list[Document]) -> Iterator[Finding]:
    """Find a parameter of a workflow that nobody can give a value to."""
    for document, spec in specs(documents):
        if "Template" in document.kind:
            continue
        for path, each in document.items(*spec, "arguments", "parameters"):
            if isinstance(each, dict) and not each.keys() & {"value", "valueFrom"}:
                yield document.finding(
                    path,
                    "missing-value",
                    f"Parameter {each.get('name')!r} has no value: the workflow is refused.",
                    "Give it a value, or valueFrom.",
                )


def half_credentials(documents: list[Document]) -> Iterator[Finding]:
    """Find one half of S3's credentials without the other: each access is refused."""
    for document, template, _ in all_templates(documents):
        for kind in ("container", "script"):
            path = (*template, kind)
            known = named(document.at(*path, "env"))
            is_half = _ID in known and _SECRET not in known
            if is_half and not document.at(*path, "envFrom"):
                yield document.finding(
                    (*path, "env"),
                    "half-credentials",
                    f"{_ID} stands without {_SECRET}: S3 refuses the step.",
                    "Take both from one Secret.",
                )


def ungated_commits(documents: list[Document]) -> Iterator[Finding]:
    """Find a task that commits to Git, and no gate before it: a bad model is promoted, too."""
    for document, own, path, task in all_tasks(documents):
        names = (str(task.get("name")), str(task.get("template")))
        if any(map(_COMMITS.search, names)) and not _is_gated(names[0], own, set()):
            yield document.finding(
                path,
                "ungated-commit",
                f"Task {names[0]!r} commits, and no gate stands before it: a dependency asks only "
                "whether the step ended.",
                "Add when: \"{{= tasks.NAME.outputs.parameters.VALUE == 'pass' }}\".",
            )


def _is_gated(name: str, own: Mapping[str, dict[str, Any]], seen: set[str]) -> bool:
    """Whether a task, or one that it depends on, has a gate."""
    if name not in own or name in seen:
        return False
    seen.add(name)
    before = _NAME.findall(f"{own[name].get('depends')} {own[name].get('dependencies')}")
    return "when" in own[name] or any(_is_gated(each, own, seen) for each in before)


def many_tasks(documents: list[Document]) -> Iterator[Finding]:
    """Find more tasks than Argo takes in one DAG, and names that are too long for one."""
    for document, template, _ in all_templates(documents):
        found = list(tasks(document, template))
        if len(found) > _MOST_TASKS:
            yield document.finding(
                template,
                "too-many",
                f"{len(found)} tasks are more than the {_MOST_TASKS} that Argo takes.",
                "Split the template.",
            )
        for path, task in found:
            if len(str(task.get("name"))) > _LONGEST_NAME:
                yield document.finding(
                    (*path, "name"),
                    "long-name",
                    f"A task's name of {len(str(task['name']))} characters is refused.",
                    f"Use at most {_LONGEST_NAME}.",
                )


RULES = (
    new_namespaces,
    idle_permissions,
    schedules,
    missing_values,
    half_credentials,
    ungated_commits,
    many_tasks,
)
