"""The kit's own YAML in the GitOps repository, a release's above all: byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger, release
from mlops_kit.releases.release import Release

_HEADER = "# Written by mlops-kit; people don't edit this file.\n"
_MAX_BYTES = 64 * 1024


def write_release(value: Release) -> bytes:
    """Return the bytes of release.yaml: the same release has the same bytes."""
    return written(release.to_mapping(value))


def read_release(content: bytes) -> Release:
    """Return what release.yaml says; raises ReleaseError for anything that is not one."""
    return release.from_mapping(parsed(content, "release.yaml"))


def written(mapping: Mapping[str, object]) -> bytes:
    """Return a mapping as the bytes of a file of the kit's."""
    import yaml

    text = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=100_000)
    return (_HEADER + str(text)).encode()


def parsed(content: bytes, name: str) -> object:
    """Return what a file of the kit's holds, which `name` is in the error.

    Raises ReleaseError for what the kit can't have written.
    """
    import yaml

    if len(content) > _MAX_BYTES:
        raise ReleaseError(f"{name} has {len(content)} bytes; expected up to {_MAX_BYTES}.")
    try:
        text = content.decode()
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            # A few kilobytes of either can take gigabytes or hours, and the kit writes neither.
            if depth > 4 or isinstance(event, yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases, or is nested too deep")
        return yaml.safe_load(text)
    # Beside its own errors PyYAML lets through those of int() and datetime, and of deep nesting.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ReleaseError(
            f"{name} can't be read as YAML; expected what the kit wrote. Look at its last "
            f"commits. {ledger.one_line(str(error))}"
        ) from error


def path(environment: str) -> str:
    """Return where an environment's release.yaml is; raises ReleaseError for no environment."""
    return f"envs/{checked_environment(environment)}/release.yaml"


def checked_environment(name: str) -> str:
    """Return the name; raises ReleaseError for one that can't be an environment's."""
    if not release.is_environment(name):
        raise ReleaseError(f"The environment is {name!r}; expected a name such as 'dev'.")
    return name


def environments(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the environments that have a release.yaml among these paths, sorted."""
    return tuple(sorted({p.split("/")[1] for p in paths if p.endswith("/release.yaml")}))
