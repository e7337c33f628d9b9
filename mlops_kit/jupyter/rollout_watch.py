"""Watch a rollout from a notebook cell, in a view that updates in place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from mlops_kit.examples import customers
from mlops_kit.jupyter.html import rollout
from mlops_kit.jupyter.html.rollout import Watch
from mlops_kit.jupyter.live_view import Live, Markdown
from mlops_kit.jupyter.metrics_view import metrics_view
from mlops_kit.pipelines.values import Teller
from mlops_kit.project import rollouts
from mlops_kit.project.settings import has_frontend
from mlops_kit.project.workspace import Workspace
from mlops_kit.reporting.charts import plotly_figures
from mlops_kit.reporting.markup import Html
from mlops_kit.rollouts.evidence_history import Point, Trail
from mlops_kit.rollouts.result import PollRecord, Watched

if TYPE_CHECKING:
    from mlops_kit.rollouts.observer import ObservedState

# Polls to keep for the charts.
_MAX_LOOKS = 60


@dataclass(frozen=True)
class _Now:
    """The newest poll, the state it saw, and the state of the watch itself."""

    state: str
    sentence: str
    seen: ObservedState | None = None
    look: PollRecord | None = None


class LiveRollout(Live[Watched]):
    """A live view of a rollout: the decision, each metric, the evidence over time."""

    view: _Now
    parts = 3

    def __init__(
        self,
        workspace: Workspace,
        model: str,
        environment: str,
        work: Callable[[LiveRollout], Watched],
    ) -> None:
        """Use `watch` instead; the work reports each poll to this view."""
        self.workspace = workspace
        self._looks: list[PollRecord] = []
        now = _Now("running", "Starting: the platform takes a few seconds.")
        super().__init__(f"The rollout of {model} in {environment}", now, lambda: work(self))

    def saw(self, seen: ObservedState, look: PollRecord) -> None:
        """Record a poll."""
        with self._lock:
            self._looks = [
                *(self._looks[::2] if len(self._looks) > _MAX_LOOKS else self._looks),
                look,
            ]
            self.view = replace(self.view, sentence="", seen=seen, look=look)

    def page(self) -> Html:
        """Return the newest poll, and the evidence up to it, as HTML."""
        now = self.view
        seen, look = now.seen, now.look
        shown = Watch(self.title, now.state, now.sentence)
        if seen is not None and look is not None:
            policy = self.workspace.policy(seen.release.model)
            whole = metrics_view(policy, seen, look.decision)
            known = {trail.name for trail in whole.trails}
            whole = replace(whole, trails=(*_of_replay(self._looks, known), *whole.trails))
            share = f"{look.weight} % of the requests"
            shown = replace(shown, share=share, decision=look.decision, evidence=whole)
        return rollout.page(shown)

    def record(self) -> Sequence[Any]:
        """Return the result, its evidence as a table, and the evidence over time."""
        if self._result is None:
            return (Markdown(self.view.sentence),)
        watched = self._result
        if not watched.evidence.metrics:
            return (watched,)
        return watched, watched.evidence, plotly_figures.explore(watched.chart())

    def _say(self, state: str, sentence: str) -> None:
        if state == "stopped":
            sentence = (
                "Stopped watching. The rollout stays as it is in Git; run the cell again to go on."
            )
        if self._result is not None:
            sentence = self._result.sentence
        self.view = replace(self.view, state=state, sentence=sentence)


def watch(
    model: str = "",
    environment: str = "",
    *,
    revision: str = "",
    traffic: Literal["live", "simulated"] = "live",
    data: str = "generated",
    seed: int = 7,
    rate: float = 200.0,
    workspace: Workspace | None = None,
) -> LiveRollout:
    """Watch a rollout, commit its steps, and return its live view at once.

    Under papermill, return when the rollout has ended.

    Args:
        model: by default the settings' model.
        environment: by default the settings' environment.
        revision: the promotion's commit; empty for whichever rollout is running.
        traffic: "simulated" sends rows of the model's table, for a laptop without traffic.
        data: the simulated customers' rows: "generated", or a file.
        seed: of the simulation.
        rate: simulated requests per second.
        workspace: by default the project of the working directory.

    Raises DataError and ParameterError before anything starts.
    """
    place = workspace or Workspace.open()
    name, where = model or place.default_model, environment or place.settings.environment
    sent = None
    if traffic != "live":
        read = partial(place.rows, model=name)
        sent = customers.of(traffic, data, place.table(name), read=read, seed=seed, rate=rate)

    def work(live: LiveRollout) -> Watched:
        return rollouts.watch(
            place,
            name,
            where,
            # The view shows a person more than lines do.
            show=(lambda _lines: None) if has_frontend() else Teller(),
            revision=revision,
            customers=sent,
            on_poll=live.saw,
            cancelled=live.cancelled,
        )

    live: LiveRollout = LiveRollout(place, name, where, work).attended()
    return live


def _of_replay(looks: Sequence[PollRecord], known: Collection[str]) -> tuple[Trail, ...]:
    """Return the evidence at these polls, a trail for each needed metric that isn't known yet."""
    found: dict[str, list[Point | None]] = {}
    for look in looks:
        for metric in look.decision.metrics:
            if metric.needed and metric.n and metric.name not in known:
                point = (look.time, metric.log_for, metric.log_against)
                found.setdefault(metric.name, []).append(point)
    return tuple(Trail(name, tuple(points)) for name, points in found.items())
