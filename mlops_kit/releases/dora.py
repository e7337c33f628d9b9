"""The four DORA keys of each model in each environment, from the ledger alone.

Definitions are those of dora.dev, for a model release:

- A deployment is an act that makes a champion: a direct promotion, or the end of a rollout. Going
  back is none, else failing would raise the frequency.
- Lead time runs from the commit of the change's source until the deployment was seen live.
- A deployment failed if it was gone back from, by a rollback or by `git revert`. Aborted rollouts
  stand apart: some users met them, but the champion never changed.
- Time to restore runs from the failure's start, or else from when the failed deployment was live,
  until the rollback was.
- Rework is the share of going back in all changes of the champion.

Live is what the next commit on the environment says in its trailer, or else the act's own time. A
duration that is negative, because a clock jumped, is left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from mlops_kit.formatting import number
from mlops_kit.releases.dora_events import DoraTally
from mlops_kit.releases.ledger import Entry

_DAY_SECONDS = 86_400.0
_MAX_DAYS = 36_500


@dataclass(frozen=True)
class Keys:
    """The keys of one model in one environment; `days` is the time that they are about.

    `lead_times`, `restore_times` and `abort_times` are in seconds, of those deployments, returns
    and aborts where both ends are known. `refuted` of the `aborts` had a verdict of fail.
    """

    model: str
    environment: str
    days: float
    deployments: int = 0
    failures: int = 0
    returns: int = 0
    rollouts: int = 0
    aborts: int = 0
    refuted: int = 0
    lead_times: tuple[float, ...] = ()
    restore_times: tuple[float, ...] = ()
    abort_times: tuple[float, ...] = ()

    @property
    def per_day(self) -> float:
        """Deployments a day."""
        return self.deployments / self.days

    @property
    def lead_time(self) -> float | None:
        """The median, in seconds."""
        return median(self.lead_times) if self.lead_times else None

    @property
    def restore_time(self) -> float | None:
        """The median, in seconds."""
        return median(self.restore_times) if self.restore_times else None

    @property
    def failure_rate(self) -> float | None:
        """The share of deployments that were gone back from."""
        return _share(self.failures, self.deployments)

    @property
    def rework_rate(self) -> float | None:
        """The share of returns in all changes of the champion."""
        return _share(self.returns, self.deployments + self.returns)

    @property
    def abort_rate(self) -> float | None:
        """The share of rollouts that were aborted."""
        return _share(self.aborts, self.rollouts)

    @property
    def abort_time(self) -> float | None:
        """The median time from a rollout's start to its abort, in seconds."""
        return median(self.abort_times) if self.abort_times else None


@dataclass(frozen=True)
class Target:
    """What one key should be: above or below a bound, in the unit of the property `of` Keys."""

    title: str
    of: str
    bound: float
    above: bool = False

    def met(self, keys: Keys) -> bool | None:
        """Tell whether it is; None where nothing is known."""
        value = getattr(keys, self.of)
        return None if value is None else value > self.bound if self.above else value < self.bound


TARGETS = (
    Target("deployments a day", "per_day", 10, above=True),
    Target("lead time for changes", "lead_time", 15 * 60),
    Target("time to restore", "restore_time", 5 * 60),
    Target("change failure rate", "failure_rate", 0.05),
)
_NOTHING = "No model was released yet."
_HEADER = ("key", "target", "measured", "met", "of")


@dataclass(frozen=True)
class Dora:
    """The keys by model and environment, and the commits that say nothing of themselves."""

    keys: tuple[Keys, ...]
    untold: tuple[Entry, ...] = field(default=(), repr=False)

    def of(self, model: str, environment: str) -> Keys:
        """Return the keys of one model in one environment, of nothing where it has no acts."""
        wanted = (model, environment)
        found = (each for each in self.keys if (each.model, each.environment) == wanted)
        return next(found, Keys(model, environment, 1.0))

    @property
    def lines(self) -> list[str]:
        """The tables as text, one after the other."""
        lines = []
        for keys in self.keys:
            cells = [_HEADER, *rows(keys)]
            widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADER))]
            lines.append(_title(keys))
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        return [*(lines or [_NOTHING]), *self._remarks()]

    def _repr_markdown_(self) -> str:
        parts = []
        for keys in self.keys:
            table = [_HEADER, ("---",) * len(_HEADER), *rows(keys)]
            parts.append(f"**{_title(keys)}**\n")
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in table) + "\n")
        return "\n".join([*(parts or [_NOTHING + "\n"]), *self._remarks()])

    def _remarks(self) -> list[str]:
        if not self.untold:
            return []
        some = ", ".join(entry.revision[:10] for entry in self.untold[:5])
        more = ", …" if len(self.untold) > 5 else ""
        return [f"Without trailers, so not counted: {len(self.untold)} commits ({some}{more})."]


def keys(
    entries: Iterable[Entry], *, now: datetime | None = None, window: float | None = None
) -> Dora:
    """Return the keys from acts of any models and environments, the newest first.

    Only what happened in the last `window` days before `now` counts. Without `now` they end with
    the newest act, and without `window` they begin with each group's first, at least a day ago.
    Raises ValueError for a window that is none.
    """
    if window is not None and not 0 < window <= _MAX_DAYS:
        raise ValueError(f"The window is {window} days; expected more than 0, up to {_MAX_DAYS}.")
    every = tuple(entries)[::-1]
    ends = now or max((entry.when for entry in every), default=None)
    undone = {entry.reverts for entry in every if entry.reverts}
    deploying = {each.revision: each for each in every if each.revision in undone and each.deploys}
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    untold = []
    for entry in every:
        # A revert by hand belongs to what it reverts.
        of = deploying.get(entry.reverts, entry)
        if of.action and of.model and of.environment:
            groups[of.model, of.environment].append(entry)
        elif not of.action:
            untold.append(entry)
    found = tuple(_keys(*names, acts, ends, window) for names, acts in groups.items() if ends)
    return Dora(found, tuple(reversed(untold)))


def rows(keys: Keys) -> list[tuple[str, ...]]:
    """Return a table's rows: each key, its target, what was measured, whether it is met, of what.

    Only numbers and fixed words, so that they need no escaping.
    """
    counted = {
        "per_day": f"{_count(keys.deployments, 'deployment')} in {keys.days:.3g} d",
        "lead_time": f"{len(keys.lead_times)} of {_count(keys.deployments, 'deployment')}",
        "restore_time": f"{len(keys.restore_times)} of {_count(keys.returns, 'return')}",
        "failure_rate": f"{keys.failures} of {_count(keys.deployments, 'deployment')}",
    }
    met = {True: "yes", False: "no", None: "–"}
    lines: list[tuple[str, ...]] = []
    for target in TARGETS:
        value = getattr(keys, target.of)
        bound = ("> " if target.above else "< ") + _shown(target.of, target.bound)
        shown = _shown(target.of, value)
        lines.append((target.title, bound, shown, met[target.met(keys)], counted[target.of]))
    changes = keys.deployments + keys.returns
    rollouts = f"{keys.aborts} of {_count(keys.rollouts, 'rollout')}, {keys.refuted} by a verdict"
    aborts = f"{len(keys.abort_times)} of {_count(keys.aborts, 'abort')}"
    return [
        *lines,
        ("rework rate", "", _shown("rate", keys.rework_rate), "", f"{keys.returns} of {changes}"),
        ("canary abort rate", "", _shown("rate", keys.abort_rate), "", rollouts),
        ("time to abort", "", _shown("time", keys.abort_time), "", aborts),
    ]


def _keys(
    model: str, environment: str, acts: Sequence[Entry], ends: datetime, window: float | None
) -> Keys:
    """Return the keys of one group, from its acts, the oldest first."""
    begins = ends - timedelta(days=window) if window else min(act.when for act in acts)
    days = window or max(1.0, (ends - begins).total_seconds() / _DAY_SECONDS)
    story = DoraTally()
    for act, following in zip(acts, [*acts[1:], None], strict=True):
        story.take(act, following)

    def counts(when: datetime) -> bool:
        return begins <= when <= ends

    made = [each for each in story.deployments if counts(each.when)]
    back = [each for each in story.returns if counts(each.when)]
    aborted = [each for each in story.aborts if counts(each.act.when)]
    return Keys(
        model,
        environment,
        days,
        deployments=len(made),
        failures=sum(each.failed for each in made),
        returns=len(back),
        rollouts=sum(counts(act.when) for act in story.started.values()),
        aborts=len(aborted),
        refuted=sum(each.act.verdict == "fail" for each in aborted),
        lead_times=_durations((each.committed, each.live) for each in made),
        restore_times=_durations((each.since, each.live) for each in back),
        abort_times=_durations((each.since, each.act.when) for each in aborted),
    )


def _durations(spans: Iterable[tuple[datetime | None, datetime]]) -> tuple[float, ...]:
    found = ((end - start).total_seconds() for start, end in spans if start is not None)
    return tuple(seconds for seconds in found if seconds >= 0)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _shown(of: str, value: float | None) -> str:
    """Return a value of that property with its unit."""
    if value is None:
        return "–"
    if of.endswith("rate"):
        return f"{number(100 * value)} %"
    if not of.endswith("time"):
        return number(value)
    for unit, seconds in (("d", _DAY_SECONDS), ("h", 3600.0), ("min", 60.0)):
        if value >= 2 * seconds:
            return f"{number(value / seconds)} {unit}"
    return f"{number(value)} s"


def _title(keys: Keys) -> str:
    """Return whose keys they are, without what Markdown would take for its own."""
    return re.sub(r"[^\w .-]", "?", f"{keys.model} in {keys.environment}")
