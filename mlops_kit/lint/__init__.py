"""Finds in a repository's YAML what the cluster would only show when it runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mlops_kit.lint import app_projects, consistency, gates, objects, workflows
from mlops_kit.lint.yaml_documents import Finding, read

__all__ = ["Finding", "lint"]


def lint(files: Mapping[str, bytes]) -> tuple[Finding, ...]:
    """Return what is wrong in the YAML files, by their paths, in order of file and line."""
    documents, found = read(files)
    for rule in (
        *workflows.RULES,
        *gates.RULES,
        *objects.RULES,
        *app_projects.RULES,
        *consistency.RULES,
    ):
        found += rule(documents)
    return tuple(sorted(set(found), key=lambda each: (each.file, each.line, each.rule)))
