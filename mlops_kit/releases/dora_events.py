"""What became of each deployment, as the ledger tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from mlops_kit.releases.ledger import Entry, moment

_SLACK = timedelta(seconds=1)  # a commit's own time has no fractions


@dataclass
class Deployment:
    """An act that made a champion; `failed` once it was gone back from."""

    when: datetime
    live: datetime
    committed: datetime | None
    failed: bool = False


class Return(NamedTuple):
    """A way back, since when the failure lasted and when its end was live."""

    when: datetime
    since: datetime | None
    live: datetime


class Abort(NamedTuple):
    """An abort, and since when its rollout ran."""

    act: Entry
    since: datetime | None


class DoraTally:
    """What the acts of one group tell, taken one after the other, the oldest first."""

    def __init__(self) -> None:
        """Start with nothing told."""
        self.deployments: list[Deployment] = []
        self.returns: list[Return] = []
        self.aborts: list[Abort] = []
        self.started: dict[str, Entry] = {}
        # The newest deployment of each, so that an act can name it.
        self._by_digest: dict[str, Deployment] = {}
        self._by_version: dict[str, Deployment] = {}
        self._by_revision: dict[str, Deployment] = {}

    def take(self, act: Entry, following: Entry | None) -> None:
        """Go on by one act; `following` may tell when it was live."""
        live = _live(act, following)
        start = self.started.get(act.rollout)
        if act.deploys:
            source = act.committed_at or (start.committed_at if start else "")
            made = Deployment(act.when, live, moment(source) if source else None)
            self.deployments.append(made)
            self._by_digest[act.digest] = self._by_version[act.version] = made
            self._by_revision[act.revision] = made
        elif act.action == "rollback":
            # Older commits name the version only.
            named = self._by_digest.get(act.rolled_back)
            self._go_back(act, live, named or self._by_version.get(act.origin))
        elif act.reverts:
            self._go_back(act, live, self._by_revision.get(act.reverts))
        elif act.action == "promote" and act.rollout:
            self.started[act.rollout] = act
        elif act.action == "abort":
            self.aborts.append(Abort(act, start.when if start else None))

    def _go_back(self, act: Entry, live: datetime, failed: Deployment | None) -> None:
        since = moment(act.started_at) if act.started_at else None
        if failed is not None:
            failed.failed = True
            since = since or failed.live
        self.returns.append(Return(act.when, since, live))


def _live(act: Entry, following: Entry | None) -> datetime:
    """Return when the act was seen live; its own time where nobody says, or nothing credible."""
    seen = moment(following.live_at) if following and following.live_at else None
    if following and seen and act.when <= seen <= following.when + _SLACK:
        return seen
    return act.when
