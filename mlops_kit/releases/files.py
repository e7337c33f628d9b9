"""A release as a file: release.yaml, byte for byte."""

from __future__ import annotations

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger, release
from mlops_kit.releases.release import Release

_HEADER = "# Written by mlops-kit; people don't edit this file.\n"
_LARGEST = 64 * 1024


def write_release(value: Release) -> bytes:
    """Return the bytes of release.yaml: the same release has the same bytes."""
    import yaml

    text = yaml.safe_dump(
        release.to_mapping(value), sort_keys=False, allow_unicode=True, width=100_000
    )
    return (_HEADER + str(text)).encode()


def read_release(content: bytes) -> Release:
    """Return what release.yaml says; raises ReleaseError for anything that is not one."""
    import yaml

    if len(content) > _LARGEST:
        raise ReleaseError(f"release.yaml has {len(content)} bytes; expected up to {_LARGEST}.")
    try:
        text = content.decode()
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            # A few kilobytes of either can take gigabytes or hours, and the kit writes neither.
            if depth > 4 or isinstance(event, yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases, or is nested too deep")
        mapping = yaml.safe_load(text)
    # Beside its own errors PyYAML lets through those of int() and datetime, and of deep nesting.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ReleaseError(
            f"release.yaml can't be read as YAML; expected what the kit wrote. Look at its last "
            f"commits. {ledger.one_line(str(error))}"
        ) from error
    return release.from_mapping(mapping)


def path(environment: str) -> str:
    """Return where an environment's release.yaml is; raises ReleaseError for no environment."""
    if not release.is_environment(environment):
        raise ReleaseError(f"The environment is {environment!r}; expected a name such as 'dev'.")
    return f"envs/{environment}/release.yaml"
