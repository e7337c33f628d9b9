"""Read Git, the registry and the store into the board that the panel shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_kit.errors import KitError, ReleaseError
from mlops_kit.jupyter.metrics_view import metrics_view
from mlops_kit.jupyter.panel import actions
from mlops_kit.jupyter.panel.state import Board, Candidate, Offer, Standing
from mlops_kit.models.model_version import ModelVersion
from mlops_kit.project import candidates, releases
from mlops_kit.releases import commits, quarantine
from mlops_kit.releases.ledger import Entry
from mlops_kit.releases.release import Release
from mlops_kit.reporting import reports
from mlops_kit.rollouts import decision as rollout
from mlops_kit.rollouts.state import Decision

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace
    from mlops_kit.rollouts.observer import ObservedState, RolloutObserver

# Shown behind a proxy to whoever it doesn't identify.
ONLY_LOOKS = "This page is read-only for you: the proxy in front of it doesn't say who you are."
_TRAIN = "Train and judge one: 'Run a pipeline' in the launcher, or 'mlops-kit run PIPELINE'."
_UNWATCHED = (
    "Nothing on this machine watches the rollout. Unless a workflow does, run the notebook "
    "watch_rollout, a pipeline of it, or 'mlops-kit watch'."
)


@dataclass(frozen=True)
class Reader:
    """Reads one environment of one model; `observer` reads its rollout."""

    workspace: Workspace
    observer: RolloutObserver
    environments: tuple[str, ...]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.observer.model

    @property
    def strategy(self) -> str:
        """The promotion strategy: direct or canary."""
        return self.workspace.settings.strategy

    @property
    def environment(self) -> str:
        """The environment."""
        return self.observer.environment

    def read(self, chosen: str = "") -> Board:
        """Return the current board; `chosen` is the version to show, by default the newest.

        Raises GitOpsError and ReleaseError if the release can't be read from Git.
        """
        seen = self.observer.observe()
        board = Board(
            model=self.model,
            environment=self.environment,
            environments=self.environments,
            headline=_headline(seen),
            checked=f"{datetime.now(UTC):%H:%M:%S} UTC",
            standing="inconclusive",
            sentence="",
            serving=serving(seen.release),
            history=tuple(entry for entry in seen.entries if entry.action != "create"),
            repository_page=self.workspace.settings.gitops_page,
        )
        remarks, offers = self._registry(seen)
        is_rolling = bool(seen.release.rollout)
        board = self._rolling(board, seen) if is_rolling else self._waiting(board, seen, chosen)
        board = replace(board, remarks=(*board.remarks, *remarks), offers=(*board.offers, *offers))
        if not self.workspace.settings.approved_by:
            board = replace(board, offers=(), remarks=(*board.remarks, ONLY_LOOKS))
        return board

    def _rolling(self, board: Board, seen: ObservedState) -> Board:
        """Return the board while a rollout runs."""
        situation, release = seen.situation, seen.release
        policy = self.workspace.policy(self.model)
        decision = rollout.decide(policy, situation)
        version = commits.version(release.candidate)
        return replace(
            board,
            standing="running" if decision.verdict == "inconclusive" else decision.verdict,
            sentence=_of_rollout(seen, decision),
            next=decision.next if seen.platform else f"{decision.next} {_UNWATCHED}".strip(),
            evidence=metrics_view(policy, seen, decision),
            chosen=version,
            offers=actions.of_rollout(seen, version),
        )

    def _waiting(self, board: Board, seen: ObservedState, chosen: str) -> Board:
        """Return the board without a rollout: what may be promoted, or why not."""
        champion = seen.release.champion
        versions = self.workspace.registry.versions(self.model)
        found = [v for v in versions if champion is None or v.version != champion.version]
        fresh = [v for v in found if v.tags.get("role") != "baseline"]
        bad = quarantine.quarantined(seen.entries)
        served = {entry.champion for entry in seen.entries if entry.makes_champion}
        board = replace(
            board,
            candidates=tuple(_candidate(v, v.digest in bad, v.version in served) for v in fresh),
        )
        # A version that was just taken back is shown only if somebody chooses it.
        floor = max(_number(commits.version(champion)), _number(_gone(seen.entries)))
        newer = {v.version for v in fresh if _number(v.version) > floor}
        try:
            judged = (
                candidates.find(self.workspace, self.model, chosen)
                if chosen
                else candidates.find_newest(self.workspace, self.model, newer)
            )
        except ReleaseError as error:
            resting = self._resting(board, seen)
            return replace(resting, remarks=(*resting.remarks, str(error)))
        if judged is None:
            resting = self._resting(board, seen)
            said = f"v{max(newer, key=_number)} has not been judged here yet." if newer else ""
            return replace(resting, remarks=(*resting.remarks, *([said] if said else [])))
        version = judged.version.version
        consent = releases.consent(self.workspace, judged, self.environment, seen.snapshot)
        change = releases.proposed(self.workspace, judged, self.environment, seen.release)
        first = commits.version(releases.first_champion(self.workspace, judged, seen.release))
        following = actions.after(seen, self.strategy, version, first)
        verdict = judged.evaluation.verdict
        why = actions.reason(verdict) or reports.headline(judged.evaluation)
        return replace(
            board,
            standing=verdict.status,
            sentence=f"{verdict.sentence} {why}".strip(),
            next=consent.sentence or following,
            chosen=version,
            evaluation=judged.evaluation,
            change=tuple(change.lines),
            offers=actions.of_candidate(seen, version, verdict, consent, following),
        )

    def _resting(self, board: Board, seen: ObservedState) -> Board:
        """Return the board when there is nothing to decide."""
        champion = seen.release.champion
        if champion is None:
            said = f"No version of {self.model} serves {self.environment}."
            return replace(board, standing="waiting", sentence=said, next=_TRAIN)
        decision = rollout.decide(self.workspace.policy(self.model), seen.situation)
        offers = (actions.rollback(seen),)
        if _gone(seen.entries):
            said, after = _ended(seen.entries[0], self.model), _tried_again(seen.entries)
            return replace(board, standing="fail", sentence=said, next=after, offers=offers)
        standing: Standing = "fail" if decision.verdict == "fail" else "pass"
        said, after = decision.sentence, decision.next
        if completed := _completed(seen, self.model):
            # The sentence says that it is champion; what labels have shown since is a remark.
            said, board = completed, replace(board, remarks=(*board.remarks, decision.sentence))
        return replace(board, standing=standing, sentence=said, next=after, offers=offers)

    def _registry(self, seen: ObservedState) -> tuple[tuple[str, ...], tuple[Offer, ...]]:
        """Return remarks and actions for a registry that is away or differs from Git."""
        try:
            status = releases.status_of(self.workspace, self.model, seen.release, seen.revision)
        except KitError as error:
            return (f"The registry can't be read: {error}",), ()
        if status.differs and not seen.release.rollout:
            return (status.sentence,), (actions.repair(status),)
        return (), ()


def serving(found: Release) -> tuple[str, str]:
    """Return the versions of champion and candidate; empty text for none."""
    return commits.version(found.champion), commits.version(found.candidate)


def _headline(seen: ObservedState) -> str:
    champion = seen.release.champion
    if champion is None:
        return "no champion"
    crown = next((entry for entry in seen.entries if entry.makes_champion), None)
    since = f" since {crown.when.astimezone(UTC):%Y-%m-%d %H:%M}" if crown else ""
    share = 100 - seen.release.weight
    return f"champion v{champion.version}{since}, serves {share} %"


def _candidate(version: ModelVersion, is_quarantined: bool, has_served: bool) -> Candidate:
    verdict = version.tags.get("verdict", "")
    defect = version.tags.get("defect", "none")
    said = [
        "not judged yet" if not verdict else "",
        "quarantined" if is_quarantined else "former champion" if has_served else "",
        f"defect: {defect}" if defect != "none" else "",
    ]
    return Candidate(version.version, verdict or "waiting", "; ".join(filter(None, said)))


def _of_rollout(seen: ObservedState, decision: Decision) -> str:
    release = seen.release
    assert release.candidate is not None
    version = f"v{release.candidate.version}"
    if seen.situation.held_by and decision.act == "hold":
        return f"Held at {release.weight} % by {seen.situation.held_by}."
    share = f"answers {release.weight} % of"
    if release.weight and share in decision.sentence:
        return decision.sentence
    if release.weight:
        return f"{version} answers {release.weight} % of requests. {decision.sentence}"
    return f"{version} is being replayed, which exposes no users. {decision.sentence}"


def _gone(entries: Sequence[Entry]) -> str:
    """Return the version that the newest commit took back; empty if it did something else."""
    if not entries or entries[0].action not in ("rollback", "abort"):
        return ""
    return entries[0].origin if entries[0].action == "rollback" else entries[0].version


def _tried_again(entries: Sequence[Entry]) -> str:
    """Say whether, and how, the version that was just taken back may be tried again."""
    bad, version = quarantine.quarantined(entries), _gone(entries)
    if (entries[0].rolled_back or entries[0].digest) not in bad:
        return f"v{version} may be promoted again."
    return (
        f"v{version} is quarantined; to try it again, give a reason: "
        f'mlops-kit promote {version} --override "who, and why".'
    )


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _ended(entry: Entry, model: str) -> str:
    did = "was rolled back" if entry.action == "rollback" else "was aborted"
    gone = _gone((entry,))
    why = f": {entry.why.rstrip('.')}." if entry.why else "."
    moment = f"{entry.when.astimezone(UTC):%H:%M} UTC"
    serves = f"v{entry.champion} answers all requests." if entry.champion else ""
    return f"{model} v{gone} {did} at {moment} by {entry.who}{why} {serves}".strip()


def _completed(seen: ObservedState, model: str) -> str:
    """Say since when and why the champion is champion; empty unless a rollout made it so."""
    crown = next((entry for entry in seen.entries if entry.makes_champion), None)
    if crown is None or crown.action != "complete":
        return ""
    since = f"{crown.when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    why = crown.why.partition(": ")[2] or crown.why
    return f"{model} v{crown.champion} is champion since {since}: {why}"
