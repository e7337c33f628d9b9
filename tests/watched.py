"""A rollout by hand: a project with real Git and a real store, a clock to turn, and its traffic."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Callable
from functools import cached_property
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit import Workspace
from mlops_kit.errors import GitOpsError, RegistryError, ReleaseError
from mlops_kit.prediction_log.log import Label
from mlops_kit.prediction_log.prediction import Prediction
from mlops_kit.project import local_server, registry_alias
from mlops_kit.project.settings import Settings
from mlops_kit.releases import commits, promotion
from mlops_kit.releases.ledger import Entry
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.releases.request import PromotionRequest, Signoff, Strategy
from mlops_kit.rollouts.controller import RolloutController
from mlops_kit.rollouts.criteria import BINARY, criteria
from mlops_kit.rollouts.judge import Judge
from mlops_kit.rollouts.observer import RolloutObserver
from mlops_kit.rollouts.result import Watched
from mlops_kit.rollouts.shared_replay import ComputedReplays, StoredReplays
from mlops_kit.serving import model_loader
from mlops_kit.serving.daemon import ServerStatus
from tests.served import FEATURES, write_artifact

SEED = Path(__file__).parents[1] / "workflows" / "gitops"
MODEL, ENVIRONMENT = "fraud", "prod"
START = 1_700_000_000
RATE = 100
# Requests of the champion's usual day, the last before the rollout began.
USUAL = 1_200
SETTINGS = """
[rollout]
slow_share = 0.05
replay_deadline = 10.0
canary_deadline = 60.0
"""


class Clock:
    """Seconds since the epoch, turned by hand; processes that fork share it."""

    def __init__(self) -> None:
        self._now = RawValue("d", START - 200.0)

    def __call__(self) -> float:
        return float(self._now.value)

    def turn(self, seconds: float) -> None:
        self._now.value = round(self() + seconds, 3)


class Aliases:
    """A registry's aliases."""

    def __init__(self) -> None:
        self.set: list[str] = []
        self.is_away = False

    def set_alias(self, _model: str, _alias: str, version: str) -> None:
        if self.is_away:
            raise RegistryError("no registry here")
        self.set.append(version)


class Desk(Workspace):
    """A workspace whose commits are dated by a clock, and whose registry is a list."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings)
        self.clock, self.aliases = clock, Aliases()

    @cached_property
    def repository(self) -> GitOpsRepository:
        state = self.settings.state_folder
        return GitOpsRepository(state / "gitops.git", state / "cache.git", clock=self.clock)

    @property
    def registry(self) -> Any:
        return self.aliases


class World:
    """A project, its platform that follows Git, and traffic that comes while somebody waits.

    `errors` and `slow` are shares of each role's requests, `label` tells the truth of a row from
    the real one and the decision, None for no label. `clock` is everybody's, and a look's clock
    is `off` by so many seconds.
    """

    def __init__(self, project: Path, clock: Clock, **policy: Any) -> None:
        settings = Settings.load(project)
        rollout = dataclasses.replace(settings.rollout, **policy)
        self.workspace = Desk(settings.model_copy(update={"rollout": rollout}), clock)
        self.repository, self.clock, self.off = self.workspace.repository, clock, 0.0
        self.observations = local_server.observations(self.workspace, MODEL)
        self.sides = {
            version: ServedModel(**side)
            for version, side in json.loads((project / "sides.json").read_text()).items()
        }
        self.table = dict(np.load(project / "table.npz"))
        self.errors: dict[str, float] = {}
        self.slow: dict[str, float] = {}
        self.label: Callable[[int, int], int | None] = lambda truth, _decision: truth
        self.is_silent, self.skew, self.dropped = False, 0, 0
        self.status: ServerStatus | None = None
        self.said: list[str] = []
        self.on_wait: Callable[[], object] = lambda: None
        self.observer = self.new_observer()

    def new_observer(self, *, is_viewer: bool = False) -> RolloutObserver:
        """Return another observer: a watcher's, or that of somebody who only looks on."""
        observations = local_server.observations(self.workspace, MODEL)
        reconciler = local_server.reconciler(self.workspace, MODEL, ENVIRONMENT)
        policy = self.workspace.settings.rollout
        place = (observations, MODEL, ENVIRONMENT)
        judge = Judge(criteria(policy, BINARY), policy.regression)
        return RolloutObserver(
            self.repository,
            policy,
            MODEL,
            ENVIRONMENT,
            observations,
            StoredReplays(*place)
            if is_viewer
            else ComputedReplays(*place, reconciler.predictor, judge, policy.replay_share),
            self.served,
            clock=lambda: self.clock() + self.off,
            ticks=self.clock,
        )

    def served(self) -> ServerStatus | None:
        """Follow Git, where it answers, and say what is served."""
        try:
            revision = self.repository.head()
            is_new = self.status is None or self.status.revision != revision
            now = self.release if is_new else None
        except (GitOpsError, ReleaseError):
            return self.status
        if now is not None:
            champion, candidate = now.champion, now.candidate
            self.status = ServerStatus(
                *(1, "http://127.0.0.1:1", MODEL, ENVIRONMENT, revision, revision, self.clock()),
                champion=champion.version if champion else "",
                candidate=candidate.version if candidate else "",
                weight=now.weight,
            )
        assert self.status is not None
        log = {"dropped": {"queue": self.dropped}}
        self.status = dataclasses.replace(self.status, log=log)
        return self.status

    @property
    def release(self) -> Release:
        return promotion.current(self.repository, MODEL, ENVIRONMENT)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The acts so far, the newest first, without the first champion's."""
        return commits.entries(self.repository.snapshot(), MODEL, ENVIRONMENT)[:-2]

    @property
    def acts(self) -> list[tuple[str, int | None]]:
        """The acts of the rollout so far with their weights, the oldest first."""
        return [(entry.action, entry.weight) for entry in reversed(self.entries)]

    def promote(self, version: str, strategy: Strategy = "canary", override: str = "") -> str:
        """Promote a version; return the name of its rollout."""
        request = PromotionRequest(
            MODEL,
            ENVIRONMENT,
            self.sides[version],
            f"run-{version}-{self.clock():.0f}",
            Signoff("ana"),
            strategy,
            {"report.md": b"# good\n"},
            override=override,
        )
        return promotion.promote(self.repository, request, now=self.clock()).release.rollout

    def step(self, change: promotion.Step, verdict: str = "pass") -> None:
        """Do by hand what a watcher would."""
        signoff = Signoff("ana", "by hand", verdict)
        promotion.advance(self.repository, self.release, change, signoff)

    def watch(self, looks: int = 150, name: str = "", sleep: Any = None) -> Watched:
        """Watch to the end, or for so many looks."""
        show = self.said.extend
        watcher = RolloutController(
            self.observer,
            lambda now: registry_alias.sync(self.workspace, now),
            name,
            show,
            sleep or self.wait,
        )
        return watcher.run(looks=looks)

    def wait(self, seconds: float) -> None:
        """Let time pass, and traffic come meanwhile."""
        before = self.clock()
        self.clock.turn(seconds)
        self.send(*(round((time - START) * RATE) for time in (before, self.clock())))
        self.on_wait()

    def send(self, first: int, end: int) -> None:
        """Store the requests of these numbers, and their labels."""
        status = self.status
        if self.is_silent or status is None:
            return
        made = [self.prediction(number, status) for number in range(first, end)]
        labels = []
        for number, each in zip(range(first, end), made, strict=True):
            truth = int(self.table["labels"][number % len(self.table["labels"])])
            if each.outcome == "ok" and (said := self.label(truth, each.decisions[0])) is not None:
                labels.append(Label(each.id, 0, said, each.time))
        self.observations.add(made)
        self.observations.label(labels)

    def prediction(self, number: int, status: ServerStatus) -> Prediction:
        chance = random.Random(number)
        place = number * 37 % 100
        weight = status.weight
        role = "candidate" if place < (weight and weight + self.skew) else "champion"
        version = status.candidate if role == "candidate" else status.champion
        is_error = chance.random() < self.errors.get(role, 0.0)
        row = number % len(self.table["rows"])
        decision = bytes([int(self.table[version][row])])
        return Prediction(
            id=f"live-{number}",
            time=START + number / RATE,
            model=MODEL,
            environment=ENVIRONMENT,
            revision=status.revision,
            champion=self.sides[status.champion].digest,
            candidate=self.sides[status.candidate].digest if status.candidate else "",
            weight=weight,
            role=role,
            version=version,
            client="",
            outcome="error" if is_error else "ok",
            latency_ms=1_000.0 if chance.random() < self.slow.get(role, 0.0) else 1.0,
            rows=1,
            features=self.table["rows"][row].tobytes(),
            scores=b"" if is_error else bytes(8),
            decisions=b"" if is_error else decision,
        )


MakeWorld = Callable[..., World]


def made(project: Path) -> Path:
    """Make a project with champion 1, a good 2, a blind 3, and yesterday's traffic."""
    project.mkdir(parents=True)
    (project / "mlops-kit.toml").write_text(SETTINGS)
    clock = Clock()
    _write_models(project)
    world = World(project, clock)
    world.repository.create(SEED)
    world.promote("1", "direct")
    world.served()
    # Not at the same rate all day, so that there are bursts to be found.
    for first in range(-USUAL, 0, RATE):
        world.errors = {"champion": 0.02 if first % (3 * RATE) else 0.06}
        world.send(first, first + RATE)
    world.observations.close()
    return project


def placed(project: Path, copy: Path, version: str = "2", **policy: Any) -> World:
    """Copy the project and promote a version there; two steps, unless told otherwise."""
    shutil.copytree(project, copy)
    clock = Clock()
    clock.turn(START - clock())
    world = World(copy, clock, **{"steps": (10, 50), **policy})
    world.promote(version)
    return world


def _write_models(project: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).normal(size=(1_000, len(FEATURES)))
    # Enough frauds that a few seconds tell what a version is worth.
    labels = (rows[:, :3].sum(axis=1) > 1).astype(int)
    frame, table, sides = _frame(rows), {"rows": rows, "labels": labels}, {}
    models = project / ".mlops-kit" / "platform" / ENVIRONMENT / "models"
    for version, strength in {"1": 1.0, "2": 10.0, "3": 1.0}.items():
        model = LogisticRegression(C=strength).fit(frame, labels)
        if version == "3":
            model.intercept_ -= 8
        folder = project / "artifacts" / version
        served = write_artifact(folder, model, version)
        table[version] = model_loader.load(folder, served).predict(rows)[1]
        sides[version] = dataclasses.asdict(served)
        models.mkdir(parents=True, exist_ok=True)
        folder.rename(models / served.digest.removeprefix("sha256:")[:32])
    np.savez(project / "table.npz", **table)
    (project / "sides.json").write_text(json.dumps(sides))


def _frame(rows: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(FEATURES))
