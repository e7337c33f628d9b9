"""Check manifests against the schemas of Argo and Kubernetes, unknown fields as errors."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_SCHEMAS = Path(__file__).parent / "schemas"
_FREE = "x-kubernetes-preserve-unknown-fields"
_VERSIONS = {
    "Workflow": "argoproj.io/v1alpha1",
    "WorkflowTemplate": "argoproj.io/v1alpha1",
    "CronWorkflow": "argoproj.io/v1alpha1",
    "WorkflowEventBinding": "argoproj.io/v1alpha1",
    "AppProject": "argoproj.io/v1alpha1",
    "ServiceAccount": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
}


def check(document: Mapping[str, Any]) -> list[str]:
    """Return what breaks the schema, a sentence each, which names the field.

    Rules in CEL (`x-kubernetes-validations`) can't be run here.
    """
    kind, version = document.get("kind", ""), document.get("apiVersion", "")
    if _VERSIONS.get(kind) != version:
        return [f"There is no schema for {version} {kind}; there are {sorted(_VERSIONS)}."]
    faults = list(_faults(_validator(kind), document))
    # A CRD leaves the metadata to the server.
    return faults + list(_faults(_validator("ObjectMeta"), document["metadata"], "metadata"))


def _faults(validator: Any, document: Any, start: str = "") -> Iterator[str]:
    for error in sorted(validator.iter_errors(document), key=lambda each: list(each.path)):
        place = start
        for part in error.absolute_path:
            place += f"[{part}]" if isinstance(part, int) else f".{part}"
        yield f"{place.lstrip('.')}: {error.message[:300]}"


@cache
def _validator(kind: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads(gzip.decompress((_SCHEMAS / f"{kind}.json.gz").read_bytes()))
    return Draft202012Validator(_closed(schema))


def _closed(node: Any) -> Any:
    """Return a schema in Kubernetes' dialect as JSON schema that allows no unknown field."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = {key: _closed(value) for key, value in node.items() if key != "format"}
    is_object = isinstance(node.get("properties"), dict) and "type" in node
    if is_object and "additionalProperties" not in node and not node.get(_FREE):
        found["additionalProperties"] = False
    return found
