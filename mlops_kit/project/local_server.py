"""What serves on this machine: where the embedded platform keeps things, and how it starts."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_kit.errors import KitError

if TYPE_CHECKING:
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.releases.release import ServedModel
    from mlops_kit.serving.daemon import LocalServer, ServerStatus
    from mlops_kit.serving.reconciler import Fetch, Reconciler
    from mlops_kit.tables.table import Table

# Numerics with threads of their own cost a server up to half its requests, and MLServer reads
# settings of its own from the environment.
_THREADS = "OMP_NUM_THREADS"


def folder(workspace: Workspace, environment: str) -> Path:
    """Return where an environment's platform keeps its files."""
    return workspace.settings.state_folder / "platform" / environment


def observations(workspace: Workspace, model: str) -> Observations:
    """Return the store of predictions and labels, which counts by the bounds of a model."""
    from mlops_kit.prediction_log.log import Observations

    settings, policy = workspace.settings, workspace.policy(model)
    settings.state_folder.mkdir(parents=True, exist_ok=True)
    return Observations(
        settings.observations_url,
        slow_ms=policy.slow_ms,
        interval=policy.interval,
    )


def reconciler(workspace: Workspace, model: str, environment: str) -> Reconciler:
    """Return what follows an environment's release, serving nothing yet."""
    from mlops_kit.serving.reconciler import Reconciler

    return Reconciler(
        folder(workspace, environment),
        model=model,
        environment=environment,
        repository=workspace.repository,
        fetch=fetcher(workspace, model),
        trusted=workspace.settings.trusted_names,
    )


def platform(
    workspace: Workspace,
    model: str,
    environment: str,
    say: Callable[[str], None],
    *,
    warm: bool = True,
) -> LocalServer:
    """Return the platform that serves an environment, not yet running.

    Limits numerics to one thread, so call it before numpy is imported.

    Args:
        workspace: the project.
        model: the registered name.
        environment: where it is released.
        say: gets what it does, line by line.
        warm: whether to import the registry before serving, not only when a model is fetched.
    """
    os.environ.setdefault(_THREADS, "1")
    from mlops_kit.serving.daemon import LocalServer
    from mlops_kit.serving.label_door import LabelDoor

    options, log = workspace.settings.serving, observations(workspace, model)
    follower = reconciler(workspace, model, environment)
    return LocalServer(
        follower,
        log,
        options,
        say=say,
        warm=(lambda: _warm(workspace, model)) if warm else lambda: None,
        labels=LabelDoor(log, model, environment, _label_table(workspace, follower), options),
    )


def _label_table(workspace: Workspace, follower: Reconciler) -> Callable[[], Table | None]:
    """Return what finds the declaration of the label: the served model's own, or the project's."""
    declared = cache(lambda: workspace.tables().get(follower.model))

    def table() -> Table | None:
        signature = follower.live.champion.signature if follower.live else None
        held: Table | None = getattr(signature, "table", None)
        return held if held is not None else declared()

    return table


def _warm(workspace: Workspace, model: str) -> None:
    """Import what the registry needs, which takes longer than to load a model."""
    # What goes wrong here goes wrong again, and is said, when a model is fetched.
    with suppress(KitError):
        workspace.registry.versions(model)


def ensure_running(
    workspace: Workspace, model: str, environment: str
) -> AbstractContextManager[ServerStatus]:
    """Return the running platform, or one that ends with this block, or with this process."""
    from mlops_kit.serving import daemon

    # The embedded one is made here, so that two processes don't make it at once. Another may be
    # away: the platform says so, and serves the last good release.
    _ = workspace.repository
    command = serve_command(workspace, model, environment)
    return daemon.ensure_running(command, folder(workspace, environment))


def serve_command(workspace: Workspace, model: str, environment: str) -> list[str]:
    """Return the command that keeps the platform up."""
    place = ["--project", str(workspace.project)]
    return [
        *(sys.executable, "-m", "mlops_kit", *place),
        *("serve", "--model", model, "--environment", environment),
    ]


def fetcher(workspace: Workspace, model: str) -> Fetch:
    """Return what copies a served model's files from the registry, unchecked."""

    def fetch(served: ServedModel, target: Path) -> None:
        registry = workspace.registry
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            files = registry.fetch(registry.version(model, served.version), Path(scratch))
            shutil.move(files, target)

    return fetch
