"""What an AppProject permits: sources, destinations and kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch

from mlops_kit.lint.yaml_documents import Document, Finding, fields

_CLUSTER_KINDS = ("Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
_NOT_FOR_A_PROJECT = ("AppProject", "Application", "ApplicationSet", "Kustomization", "Release")
# Groups that hold Roles and Secrets.
_WIDE = ("*", "", "rbac.authorization.k8s.io")


def projects(documents: list[Document]) -> Iterator[Finding]:
    """Find what no AppProject permits, which fails the whole sync; and what permits too much."""
    found = [document for document in documents if document.kind == "AppProject"]
    for document in found:
        yield from _too_much(document)
    if not found:
        return
    for document in documents:
        if not document.kind or document.kind in _NOT_FOR_A_PROJECT:
            continue
        if not any(_permits_kind(project, document) for project in found):
            yield document.finding(
                ("kind",),
                "forbidden-kind",
                f"No AppProject permits {document.kind}: one such object fails the whole sync.",
                "List it in the project's whitelist, or take it out.",
            )
        elif document.namespace and not any(
            fnmatch(document.namespace, str(fields(each).get("namespace")))
            for project in found
            for _, each in project.items("spec", "destinations")
        ):
            yield document.finding(
                ("metadata", "namespace"),
                "forbidden-namespace",
                f"Namespace {document.namespace!r} is no destination of an AppProject: one such "
                "object fails the whole sync.",
                "Add it to the destinations, or move the object.",
            )


def _permits_kind(project: Document, document: Document) -> bool:
    is_cluster = document.kind in _CLUSTER_KINDS
    key = "clusterResourceWhitelist" if is_cluster else "namespaceResourceWhitelist"
    if not is_cluster and project.at("spec", key) is None:
        return True  # without a list, everything within a namespace
    version = str(document.data["apiVersion"])
    group = version.rpartition("/")[0]
    return any(
        fnmatch(group, str(fields(each).get("group", "")))
        and fnmatch(document.kind, str(fields(each).get("kind", "")))
        for _, each in project.items("spec", key)
    )


def _too_much(project: Document) -> Iterator[Finding]:
    for path, each in project.items("spec", "destinations"):
        if fnmatch("argocd", str(fields(each).get("namespace"))):
            yield project.finding(
                path,
                "argocd-destination",
                "Who may write into Argo CD's own namespace is its administrator.",
                "Take it out of the destinations.",
            )
    for path, each in project.items("spec", "sourceRepos"):
        if "*" in str(each):
            yield project.finding(
                path,
                "wide-source",
                f"{each!r} lets any repository there feed the cluster.",
                "Name the one repository.",
            )
    for path, each in project.items("spec", "namespaceResourceWhitelist"):
        if fields(each).get("kind") == "*" and fields(each).get("group") in _WIDE:
            yield project.finding(
                path,
                "wide-whitelist",
                "Every kind is permitted: Roles and Secrets from Git, too.",
                "List the kinds.",
            )
    for path, role in project.items("spec", "roles"):
        if not fields(role).get("groups") and not fields(role).get("jwtTokens"):
            yield project.finding(
                path,
                "unbound-role",
                f"Role {fields(role).get('name')!r} is bound to nobody.",
                "Give it groups.",
            )
        for place, policy in project.items(*path, "policies"):
            if re.search(r"applications\s*,\s*\*", str(policy)):
                yield project.finding(
                    place,
                    "wide-policy",
                    "'*' includes override, delete and every action.",
                    "List get, sync and the actions.",
                )


RULES = (projects,)
