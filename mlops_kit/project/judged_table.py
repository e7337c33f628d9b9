"""The table that a rollout is judged by: the released model's own, or else the project's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from mlops_kit.errors import KitError
from mlops_kit.project import local_server
from mlops_kit.tables import comparison

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.releases.release import ServedModel
    from mlops_kit.serving.predictor import Predictor
    from mlops_kit.tables.table import Table


@dataclass(frozen=True)
class JudgedTable:
    """A rollout's table, None where neither the model nor the project has one.

    `differs` says how the released model's table differs from the project's, empty if it doesn't.
    `load` returns the predictor of a served model, loaded once.
    """

    load: Callable[[ServedModel], Predictor]
    table: Table | None
    differs: str = ""


def find(
    workspace: Workspace, model: str, environment: str, *, is_watcher: bool = False
) -> JudgedTable:
    """Return the table that a rollout is judged by.

    Only a watcher, who decides by it, loads the model. Who looks on takes the project's table, or
    else the one in the files that a server keeps here. Raises KitError where the project declares
    none and a watcher can't load the released model.
    """
    load = _loader(workspace, model, environment)
    declared = workspace.tables().get(model)
    if not is_watcher:
        return JudgedTable(load, declared or _kept(workspace, model, environment))
    try:
        champion = workspace.release(model, environment).champion
        held = load(champion).signature.table if champion is not None else None
    except KitError:
        # With the project's table the watch goes on; each look says what is wrong.
        if declared is None:
            raise
        return JudgedTable(load, declared)
    if held is None or declared is None:
        return JudgedTable(load, held or declared)
    names = comparison.differences(declared, held)
    said = (
        f"The table of {model!r} in workflows/tables differs in {', '.join(names)} from the one "
        f"that serves {environment}, which counts; train again for the new one."
    )
    return JudgedTable(load, held, said if names else "")


def _kept(workspace: Workspace, model: str, environment: str) -> Table | None:
    champion = workspace.release(model, environment).champion
    if champion is None:
        return None
    return local_server.reconciler(workspace, model, environment).kept_table(champion)


def _loader(
    workspace: Workspace, model: str, environment: str
) -> Callable[[ServedModel], Predictor]:
    # Made when it is first asked for: who only looks on needs none.
    follower = cache(lambda: local_server.reconciler(workspace, model, environment))
    return cache(lambda side: follower().predictor(side))
