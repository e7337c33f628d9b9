"""Which template a task, step or hook of a workflow calls, in its own file or another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlops_kit.lint.yaml_documents import Document, Path, fields, named


def called(
    documents: list[Document], document: Document, spec: Path, task: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the template that a task, hook or step calls; None if it isn't in these files."""
    known, name = callable_templates(documents, document, spec, task)
    return (known or {}).get(name)


def callable_templates(
    documents: list[Document], document: Document, spec: Path, task: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """Return the templates that a call chooses from, None if they aren't here, and its choice."""
    if isinstance(ref := task.get("templateRef"), dict):
        return referred(documents, document, ref), str(ref.get("template"))
    return named(document.at(*spec, "templates")), str(task.get("template"))


def referred(
    documents: list[Document], document: Document, ref: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the templates of the object that a reference names, None if it isn't here."""
    kind = "ClusterWorkflowTemplate" if ref.get("clusterScope") is True else "WorkflowTemplate"
    for each in documents:
        # A namespace that a file leaves out is set when the file is applied.
        spaces = {each.namespace, document.namespace} - {""}
        is_same = kind == "ClusterWorkflowTemplate" or len(spaces) <= 1
        if each.kind == kind and each.name == str(ref.get("name")) and is_same:
            return named(each.at("spec", "templates"))
    return None


def calls_of(place: Path, task: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield what calls a template: a task or step itself, its hooks and its exit handler."""
    if "template" in task:
        yield (*place, "template"), task
    if "templateRef" in task:
        yield (*place, "templateRef"), task
    if isinstance(task.get("onExit"), str):
        yield (*place, "onExit"), {"template": task["onExit"]}
    for name, hook in fields(task.get("hooks")).items():
        yield from calls_of((*place, "hooks", name), fields(hook))
