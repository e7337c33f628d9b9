"""A platform's surroundings: models and Git by hand, a remote that hangs, customers who send on."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from mlops_kit.errors import ModelNotFoundError
from mlops_kit.releases import release_yaml
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.serving.protocol import INPUT
from mlops_kit.serving.reconciler import Reconciler
from tests.served import FEATURES, MODEL, table, write_artifact

ENVIRONMENT = "prod"
RELEASE = release_yaml.path(ENVIRONMENT)


def until(holds: Callable[[], object], what: str = "it", seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} never came true"
        time.sleep(0.02)


def write_models(folder: Path) -> dict[str, ServedModel]:
    """Write the artifacts of versions 1 to 3, and return the names that Git would give them."""
    from sklearn.linear_model import LogisticRegression

    frame, labels = table(300)
    return {
        version: write_artifact(
            folder / version, LogisticRegression(C=strength).fit(frame, labels), version
        )
        for version, strength in (("1", 1.0), ("2", 0.1), ("3", 10.0))
    }


@dataclasses.dataclass
class Site:
    """A state folder, a GitOps repository, and a registry that is a folder.

    `fetched` are the versions that were asked of the registry; `on_fetch` is done before each.
    """

    state: Path
    bare: Path
    artifacts: Path
    sides: dict[str, ServedModel]
    timeout: float = 60.0
    fetched: list[str] = dataclasses.field(default_factory=list)
    on_fetch: Callable[[], object] = lambda: None
    timer: Callable[[], float] = time.monotonic

    @property
    def folder(self) -> Path:
        return self.state / "platform" / ENVIRONMENT

    @cached_property
    def repository(self) -> GitOpsRepository:
        return GitOpsRepository(self.bare, self.state / "cache.git", timeout=self.timeout)

    def reconciler(self) -> Reconciler:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Reconciler(
            self.folder,
            model=MODEL,
            environment=ENVIRONMENT,
            repository=self.repository,
            fetch=self.fetch,
            timer=self.timer,
        )

    def fetch(self, served: ServedModel, target: Path) -> None:
        self.fetched.append(served.version)
        self.on_fetch()
        if not (self.artifacts / served.version).exists():
            raise ModelNotFoundError(f"There is no version {served.version}.")
        shutil.copytree(self.artifacts / served.version, target)

    def cache(self, *versions: str) -> None:
        """Put models where the platform keeps them, so that it needs no registry."""
        for version in versions:
            short = self.sides[version].digest.removeprefix("sha256:")[:32]
            target = self.folder / "models" / short
            if not target.exists():
                shutil.copytree(self.artifacts / version, target)

    def release(self, champion: str, candidate: str = "", weight: int = 0) -> Release:
        other = self.sides.get(candidate)
        rollout = f"rollout-{candidate}" if other else ""
        return Release(MODEL, ENVIRONMENT, "", self.sides[champion], other, weight, rollout)

    def commit(self, champion: str, candidate: str = "", weight: int = 0) -> str:
        return self.put(release_yaml.write_release(self.release(champion, candidate, weight)))

    def put(self, content: bytes, path: str = RELEASE) -> str:
        """Commit a file as it is; return the revision."""
        proposal = Proposal("Change it", {"Mlops-Action": "test"}, {path: content})
        return self.repository.commit(lambda _snapshot: proposal)


def made(state: Path, artifacts: Path, sides: dict[str, ServedModel]) -> Site:
    """Make a site whose champion is version 1."""
    site = Site(state, state.with_name("gitops.git"), artifacts, sides)
    site.repository.create({RELEASE: release_yaml.write_release(site.release("1"))})
    return site


class Remote:
    """A remote that hangs, or is away: git's own configuration leads there from the site's path."""

    def __init__(self, site: Site, config: Path) -> None:
        self._site, self._config = site, config
        config.touch()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Take connections, and never say a word."""
        # What is on this machine is read from its files, so it has to be gone.
        with self.away(), socket.create_server(("127.0.0.1", 0)) as server:
            host, port = server.getsockname()
            base = f"git://{host}:{port}{self._site.bare}"
            self._config.write_text(f'[url "{base}"]\n\tinsteadOf = {self._site.bare}\n')
            try:
                yield
            finally:
                self._config.write_text("")

    @contextmanager
    def away(self) -> Iterator[None]:
        moved = self._site.bare.with_name("moved.git")
        self._site.bare.rename(moved)
        try:
            yield
        finally:
            moved.rename(self._site.bare)


class Customers:
    """Some who each keep a connection, and send one row after the other until they are told."""

    def __init__(self, url: str, count: int = 3, pause: float = 0.0) -> None:
        self.versions: Counter[str] = Counter()
        self.faults: list[str] = []
        # Each answered request's id, with when.
        self.answered: dict[str, float] = {}
        self._host, self._pause = urlsplit(url).netloc, pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(count)]

    def __enter__(self) -> Customers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def have(self, more: int) -> None:
        """Wait until so many more were answered."""
        goal = len(self.answered) + more
        until(lambda: len(self.answered) >= goal or self.faults, "the traffic")
        assert not self.faults

    def _send(self, number: int) -> None:
        start, connection = os.urandom(4).hex(), http.client.HTTPConnection(self._host, timeout=20)
        sent = 0
        # All stop at the first request that is dropped, or refused.
        while not self._stop.wait(self._pause) and not self.faults:
            sent += 1
            self._ask(connection, f"{start}-{number}-{sent}")
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, name: str) -> None:
        row = {"name": INPUT, "shape": [1, len(FEATURES)], "datatype": "FP64"}
        body = {"id": name, "inputs": [{**row, "data": [0.5] * len(FEATURES)}]}
        headers = {"x-client-id": name}
        try:
            connection.request("POST", f"/v2/models/{MODEL}/infer", json.dumps(body), headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.faults.append(repr(error))
            return
        if answer.status != 200:
            self.faults.append(f"{answer.status}: {content}")
            return
        self.versions[content.get("model_version", "")] += 1
        self.answered[name] = time.monotonic()
