"""The embedded platform: one process that serves what Git says, and ends with its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlops_kit import files, lock
from mlops_kit.errors import ObservationsError, ServingError
from mlops_kit.prediction_log.log import Observations
from mlops_kit.prediction_log.writer import PredictionLog
from mlops_kit.serving.label_door import LabelDoor
from mlops_kit.serving.options import Serving
from mlops_kit.serving.pace import Pace
from mlops_kit.serving.reconciler import Reconciler
from mlops_kit.serving.server import Server, application

_STATUS, _LOCK, LOG = "status.json", "lock", "serve.log"
# Seconds that a start and a stop may take, imports included.
START_DEADLINE, STOP_DEADLINE = 180.0, 15.0


@dataclass(frozen=True)
class ServerStatus:
    """What a platform says of itself; times in seconds since the epoch.

    `revision` is the commit that is served and `since` when it was applied, `wanted` the newest
    commit that was seen; `error` says why they differ. `log` is the prediction log's status.
    """

    pid: int
    url: str
    model: str
    environment: str
    revision: str = ""
    wanted: str = ""
    since: float = 0.0
    error: str = ""
    champion: str = ""
    candidate: str = ""
    weight: int = 0
    log: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """How many predictions couldn't be logged."""
        return sum((self.log.get("dropped") or {}).values())

    @property
    def sentence(self) -> str:
        """What is served where, as one sentence, and what is wrong."""
        serves = f"{self.model} v{self.champion}" if self.champion else "nothing yet"
        if self.candidate:
            serves += f", v{self.candidate} answers {self.weight} %"
        said = f"{self.url} serves {serves}, as of commit {self.revision[:10] or '–'}."
        if self.error and self.wanted == self.revision:
            said += f" Git can't be followed: {self.error}"
        elif self.error:
            said += f" Commit {self.wanted[:10] or '–'} can't be applied: {self.error}"
        if self.dropped:
            why = self.log.get("last_error") or ", ".join(self.log["dropped"])
            said += f" {self.dropped:,} predictions were dropped: {why}"
        return said


class LocalServer:
    """Serves one environment of one model from this process."""

    def __init__(
        self,
        reconciler: Reconciler,
        observations: Observations,
        options: Serving,
        *,
        say: Callable[[str], None] = lambda _said: None,
        warm: Callable[[], object] = lambda: None,
        labels: LabelDoor | None = None,
    ) -> None:
        """Prepare, without opening anything. `ending` is set as soon as a run begins to end.

        Args:
            reconciler: follows the environment's release.
            observations: the store of predictions and labels.
            options: the settings' section [serving].
            say: receives a sentence at each change.
            warm: called once before serving, for what the next commit would wait for. Done while
                serving, it would slow down requests, most of all of models with threads.
            labels: accepts labels over HTTP; None for none.
        """
        self.ending = threading.Event()
        self.reconciler, self.observations, self.options = reconciler, observations, options
        self._say, self._warm, self._labels = say, warm, labels
        self._server: Server | None = None
        self._log: PredictionLog | None = None

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, or an exception such as KeyboardInterrupt.

        Raises ServingError where another process serves this environment already, or the address
        is taken.
        """
        folder = self.reconciler.folder
        folder.mkdir(parents=True, exist_ok=True)
        # Each is undone, also where a second Ctrl-C interrupts the one before.
        with ExitStack() as ending:
            ending.enter_context(_only_one(folder))
            ending.callback(self._unwrite)
            # Serving comes first: where nothing can be logged, that is counted and said.
            with suppress(ObservationsError):
                self.observations.prepare()
            ending.callback(self.observations.close)
            self._log = PredictionLog(
                self.observations.add, rows=self.options.log_rows, every=self.options.log_every
            )
            ending.callback(self._log.close)
            more = (self.options, lambda: asdict(self.status()), self._labels)
            app = application(self.reconciler, self._log, *more)
            server = self._server = Server(app, self.options)
            ending.callback(server.stop)
            ending.callback(self.ending.set)
            self._warm()
            self.reconciler.reconcile()
            self.reconciler.restore()
            server.start()
            self._follow(stop)

    def status(self) -> ServerStatus:
        """Return what is served now, as `/status` and the status file say it."""
        live, applied = self.reconciler.live, self.reconciler.applied
        return ServerStatus(
            pid=os.getpid(),
            url=self._server.url if self._server else "",
            model=self.reconciler.model,
            environment=self.reconciler.environment,
            revision=applied.revision,
            wanted=applied.wanted,
            since=applied.since,
            error=applied.error,
            champion=live.champion.version if live else "",
            candidate=live.candidate.version if live and live.candidate else "",
            weight=live.weight if live else 0,
            log=self._log.status() if self._log else {},
        )

    def _follow(self, stop: threading.Event) -> None:
        self._tell()
        written = time.monotonic()
        pace = Pace(self.reconciler.repository, self.options)
        while not stop.wait(self.options.poll):
            changed = pace.is_due() and self.reconciler.reconcile()
            pace.looked(failed=bool(self.reconciler.applied.error))
            if changed:
                self._tell()
            elif time.monotonic() - written > 1.0:
                self._write()
            else:
                continue
            written = time.monotonic()

    def _tell(self) -> None:
        self._write()
        # Whoever listened may be gone, and a log's disk full.
        with suppress(OSError):
            self._say(self.status().sentence)

    def _write(self) -> None:
        """Write the status file; where there is no room, `/status` still says it."""
        content = json.dumps(asdict(self.status())).encode()
        with suppress(OSError):
            files.write_whole(self.reconciler.folder / _STATUS, content)

    def _unwrite(self) -> None:
        with suppress(OSError):
            (self.reconciler.folder / _STATUS).unlink(missing_ok=True)


def running(folder: Path) -> ServerStatus | None:
    """Return the status of the platform that serves from this folder, or None."""
    if not lock.is_held(folder / _LOCK):
        return None
    try:
        return ServerStatus(**json.loads((folder / _STATUS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def ensure_running(command: Sequence[str], folder: Path) -> Iterator[ServerStatus]:
    """Yield the platform that serves from this folder, or start one that ends with this block.

    It ends with this process, too, however that ends: it watches its standard input. Raises
    ServingError when it doesn't start.
    """
    if (found := running(folder)) is not None:
        yield found
        return
    process = _start([*command, "--attended"], folder, stdin=subprocess.PIPE)
    try:
        yield _wait_for(process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def detach(command: Sequence[str], folder: Path) -> ServerStatus:
    """Start a platform that outlives this process, and return its status when it serves.

    Raises ServingError when it doesn't start, or one is there.
    """
    if (found := running(folder)) is not None:
        raise ServingError(
            f"{found.sentence} It is process {found.pid}; stop it first.",
            code="serving.already-running",
        )
    process = _start(command, folder, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return _wait_for(process, folder)
    except BaseException:
        process.kill()
        raise


def stop(folder: Path) -> ServerStatus | None:
    """Stop the platform that serves from this folder; None where there is none.

    One that is starting is waited for. Raises ServingError when it doesn't end.
    """
    deadline = time.monotonic() + START_DEADLINE
    while (found := running(folder)) is None:
        if not lock.is_held(folder / _LOCK):
            return None
        if time.monotonic() > deadline:
            raise ServingError(
                f"A process holds {str(folder / _LOCK)!r} and doesn't say which: end it by hand."
            )
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_DEADLINE
    while lock.is_held(folder / _LOCK):
        if time.monotonic() > deadline:
            raise ServingError(f"Process {found.pid} doesn't end; look at {str(folder / LOG)!r}.")
        time.sleep(0.05)
    return found


def _start(command: Sequence[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen([*command], stdout=log, stderr=log, **options)


def _wait_for(process: subprocess.Popen[bytes], folder: Path) -> ServerStatus:
    """Return the status of a started platform when it answers; else its end is the caller's."""
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        found = running(folder)
        # Somebody else's is as good, if it was quicker.
        if found is not None and (found.pid == process.pid or ended):
            return found
        if ended and not lock.is_held(folder / _LOCK):
            break
        time.sleep(0.05)
    tail = (folder / LOG).read_text(errors="replace").strip()[-1000:] or "nothing"
    slow = f" in {START_DEADLINE:g} s" if process.poll() is None else ""
    said = f"The server didn't start{slow}. Its log ends with: {tail}"
    raise ServingError(said, code="serving.not-started")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(lock.hold(folder / _LOCK))
        except BlockingIOError as error:
            found = running(folder)
            who = f"process {found.pid} at {found.url}" if found else "another process"
            raise ServingError(
                f"This environment is already served by {who}; 'mlops-kit serve stop' stops it.",
                code="serving.already-running",
            ) from error
        # Of one that was killed.
        (folder / _STATUS).unlink(missing_ok=True)
        yield
