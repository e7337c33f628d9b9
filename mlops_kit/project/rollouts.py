"""Watch or observe a project's rollout, with everything its settings name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_kit.errors import KitError, SettingsError
from mlops_kit.formatting import did_you_mean
from mlops_kit.project import judged_table, labels, local_server, registry_alias
from mlops_kit.rollouts import controller, decision
from mlops_kit.rollouts.controller import OnPoll, RolloutController, Show
from mlops_kit.rollouts.criteria import BINARY, ModelTask, criteria
from mlops_kit.rollouts.judge import Judge
from mlops_kit.rollouts.observer import ObservedState, RolloutObserver
from mlops_kit.rollouts.shared_replay import ComputedReplays, StoredReplays

if TYPE_CHECKING:
    from mlops_kit.examples.customers import Customers
    from mlops_kit.project.judged_table import JudgedTable
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.rollouts.judge import Array
    from mlops_kit.rollouts.judge import Costs as RowCosts
    from mlops_kit.rollouts.policy import Policy
    from mlops_kit.rollouts.result import Watched
    from mlops_kit.tables.table import Table


@contextmanager
def open_observer(
    workspace: Workspace, model: str, environment: str, *, watched: JudgedTable | None = None
) -> Iterator[RolloutObserver]:
    """Yield an observer of one environment, with the prediction log that it reads.

    A watcher's, who has `watched` the table that decides, replays the candidate itself; any other
    reads what a watcher found.
    """
    from mlops_kit.serving import daemon

    observations = local_server.observations(workspace, model)
    folder = local_server.folder(workspace, environment)
    place = (observations, model, environment)
    policy = workspace.policy(model)
    try:
        judged = watched or judged_table.find(workspace, model, environment)
        task = model_task(workspace, model, judged.table)
        costs = row_costs(workspace, model, judged.table)
        source: ComputedReplays | StoredReplays = StoredReplays(*place)
        if watched is not None:
            judge = Judge(criteria(policy, task), policy.regression, costs)
            source = ComputedReplays(*place, watched.load, judge, policy.replay_share)
        yield RolloutObserver(
            workspace.repository,
            policy,
            model,
            environment,
            observations,
            source,
            lambda: daemon.running(folder),
            task,
            costs,
        )
    finally:
        observations.close()


def model_task(workspace: Workspace, model: str, table: Table | None = None) -> ModelTask:
    """Return what a model predicts by its table; a binary task for a model without one.

    `table` is the released model's, by default the project's. Raises SettingsError for a bound on
    a class that no table has.
    """
    tables = workspace.tables()
    table = table or tables.get(model)
    known = {str(each) for one in (*tables.values(), table) if one for each in one.classes}
    for name in workspace.policy(model).class_recall:
        if name not in known:
            raise SettingsError(
                f"[rollout.class_recall] bounds {name!r}; expected a class of a table in "
                f"workflows/tables, one of {sorted(known)}." + did_you_mean(name, known)
            )
    if table is None:
        return BINARY
    return ModelTask(table.task, tuple(map(str, table.classes)))


def row_costs(workspace: Workspace, model: str, table: Table | None = None) -> RowCosts | None:
    """Return what each answer of a model costs, where the rollout bounds the cost.

    `table` is the released model's, by default the project's.
    """
    if not workspace.policy(model).cost:
        return None
    from mlops_kit.models.costs import by_row
    from mlops_kit.tables.frames import frame_of

    told, costs = table or workspace.table(model), workspace.costs(model)

    def spent(labels: Array, scores: Array, decisions: Array, features: Array) -> Array:
        columns = dict(zip(told.feature_names, features.T, strict=True))
        frame = frame_of(told, columns)
        is_number = told.task == "regression"
        frame[told.label] = [*(labels if is_number else (told.classes[int(y)] for y in labels))]
        return by_row(costs, told, frame, scores, decisions.astype(int))

    return spent


def watch(
    workspace: Workspace,
    model: str,
    environment: str,
    *,
    show: Show,
    revision: str = "",
    customers: Customers | None = None,
    on_poll: OnPoll = lambda _seen, _look: None,
    looks: int | None = None,
    cancelled: threading.Event | None = None,
) -> Watched:
    """Watch a rollout until it has ended, and return what was seen and how it ended.

    While something is to be decided, it uses the running server, or starts one for this call.
    Raises what the server and Git raise, KitError for a `revision` that began no rollout, and
    KeyboardInterrupt once it is `cancelled`: the rollout stays as it is.

    Args:
        workspace: the project.
        model: the registered name.
        environment: where it is released.
        show: gets the lines of each look.
        revision: the promotion's commit; empty for whichever rollout runs.
        customers: simulated ones who send traffic meanwhile.
        on_poll: gets each look.
        looks: so many at most.
        cancelled: ends the watch once it is set.
    """
    stop = cancelled or threading.Event()

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise KeyboardInterrupt

    with ExitStack() as stack:
        judged = judged_table.find(workspace, model, environment, is_watcher=True)
        if judged.differs:
            show([judged.differs])
        observer = stack.enter_context(open_observer(workspace, model, environment, watched=judged))
        observer.prepare()
        seen = observer.observe()
        name = controller.named(seen, revision)
        if needs_server(observer.policy, seen):
            status = stack.enter_context(local_server.ensure_running(workspace, model, environment))
            if customers is not None:
                _send(stack, status.url, observer, customers, seen, show)
        return RolloutController(
            observer,
            lambda now: registry_alias.sync(workspace, now),
            name,
            show,
            sleep,
            on_poll,
            lambda: _collect(workspace, show, model, judged.table),
            lambda former: registry_alias.check_registered(workspace, model, former),
        ).run(looks=looks)


def _collect(workspace: Workspace, show: Show, model: str = "", table: Table | None = None) -> None:
    """Read the labels that the settings name; say what is wrong with them, and watch on.

    `table` declares the label of the model that is watched.
    """
    tables = {model: table} if table is not None else {}
    try:
        result = labels.from_settings(workspace, required=False, tables=tables)
    except KitError as error:
        show([f"No labels were read: {error}"])
        return
    if result.refused:
        first = result.reasons[0]
        show([f"{result.refused:,} labels were refused, in row {first.place}: {first.reason}"])


def needs_server(policy: Policy, seen: ObservedState) -> bool:
    """Tell whether a rollout runs, or a completed one may still go back."""
    if seen.release.rollout:
        return True
    # As if it served: a missing server is a fault, for which nothing is decided.
    served = replace(seen.situation, faults=(), is_live=True, target_ready=True)
    return decision.decide(policy, served).act != "done"


def _send(
    stack: ExitStack,
    url: str,
    observer: RolloutObserver,
    customers: Customers,
    seen: ObservedState,
    show: Callable[[list[str]], None],
) -> None:
    """Let customers send the rows of before, where the log lacks them, and the live ones."""
    known = seen.situation.replay.labelled if seen.situation.replay else 0
    if known < len(customers.before) // 2:
        show([f"{len(customers.before):,} rows of before the rollout are sent first."])
        customers.send_before(url, observer.model, observer.observations)
    stack.enter_context(customers.traffic(url, observer.model, observer.observations))
