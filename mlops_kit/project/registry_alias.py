"""Let the registry's alias follow what Git says serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_kit.errors import ModelNotFoundError, RegistryError, ReleaseError
from mlops_kit.models.registry import CHAMPION
from mlops_kit.releases.release import Release, ServedModel

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace


def sync(workspace: Workspace, now: Release) -> None:
    """Point the registry's alias to Git's champion: Git is the truth, the alias a view of it.

    `now` is the head's release. Raises RegistryError where the registry can't follow.
    """
    if now.champion is not None:
        alias = name_of(workspace, now.environment)
        try:
            workspace.registry.set_alias(now.model, alias, now.champion.version)
        except RegistryError as error:
            raise type(error)(
                f"{now.model} v{now.champion.version} serves {now.environment} by Git, but the "
                f"registry's alias can't be updated: {error}",
                code=error.code,
            ) from error


def name_of(workspace: Workspace, environment: str) -> str:
    """Return the alias of an environment's champion."""
    own = environment == workspace.settings.environment
    return CHAMPION if own else f"{CHAMPION}-{environment}"


def check_registered(workspace: Workspace, model: str, former: ServedModel) -> None:
    """Check that the registry still has a version; a registry that is away doesn't keep it back.

    Raises ReleaseError for a version that was deleted, which no server could load.
    """
    try:
        workspace.registry.version(model, former.version)
    except ModelNotFoundError as error:
        raise ReleaseError(
            f"There is no going back to {model} v{former.version}: the registry no longer has it. "
            "Nothing was committed; name another former champion with --to.",
            code="release.former-deleted",
        ) from error
    except RegistryError:
        return
