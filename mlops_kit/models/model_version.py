"""A registered version, and the tags that the registry keeps it by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_kit.errors import RegistryError

# Of the tags that are the kit's.
PREFIX = "mlops_kit."
_DIGEST, _TRUSTED = "digest", "trusted"


@dataclass(frozen=True)
class Description:
    """What is kept beside a model: metrics and parameters of its run, tags of its version."""

    run_name: str = "train"
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; `digest` is `sha256:<hex>` over the whole artifact.

    `trusted` has the project's own types and functions in it, with the digests of their code.
    """

    name: str
    version: str
    digest: str
    uri: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    trusted: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    def _repr_markdown_(self) -> str:
        rows = {"version": str(self), "digest": self.digest, "run": self.run_id, **self.tags}
        lines = [f"| {name} | `{value}` |" for name, value in rows.items() if value]
        return "\n".join(["| | |", "|---|---|", *lines])


def version_tags(
    description: Description, digest: str, trusted: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags that a version is stored with."""
    tags = {**description.tags, _DIGEST: digest}
    tags |= {_TRUSTED: json.dumps(trusted)} if trusted else {}
    return {f"{PREFIX}{tag}": value for tag, value in tags.items()}


def from_stored(stored: Any) -> ModelVersion:
    """Return a version of MLflow's as the kit's.

    Raises RegistryError for a tag that was changed.
    """
    tags = {name.removeprefix(PREFIX): value for name, value in stored.tags.items()}
    try:
        trusted: Any = json.loads(tags.pop(_TRUSTED, "{}"))
        trusted = {str(name): str(digest) for name, digest in trusted.items()}
    except (ValueError, AttributeError) as error:
        raise RegistryError(
            f"The tag {PREFIX}{_TRUSTED} of {stored.name} v{stored.version} was changed: {error}; "
            "expected what the registration wrote. Train again."
        ) from error
    return ModelVersion(
        name=stored.name,
        version=str(stored.version),
        digest=tags.pop(_DIGEST, ""),
        uri=f"models:/{stored.name}/{stored.version}",
        run_id=stored.run_id or "",
        tags=tags,
        trusted=trusted,
    )
