"""Start a zygote, fork kernels from it, and stop it. Imports in a few milliseconds."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mlops_kit import errors
from mlops_kit.kernels import runtime_dir
from mlops_kit.kernels.forked_process import Fork, Lines, umask
from mlops_kit.kernels.preload_key import PRELOAD, THREADS, import_time, key

log = logging.getLogger(__name__)
QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # otherwise the debugger warns on stderr
ANSWER_TIMEOUT_SECONDS = 60.0  # enough for the preload on a loaded machine


class CannotForkError(errors.KitError):
    """Why a kernel can't be forked; the provisioner logs it and starts the kernel cold."""


class Zygote:
    """A process that has imported everything, from which kernels are forked. Thread-safe.

    It lives as long as the process that started it. With `idle`, until it has had no kernel for
    that many seconds; this user's other processes find it by its key.
    """

    def __init__(
        self,
        modules: Sequence[str],
        *,
        idle: float | None,
        environ: Mapping[str, str],
        folder: Path,
        platform: str,
    ) -> None:
        """Use `start` instead."""
        self.modules = tuple(modules)
        self.key = key(modules, environ)
        self.path = folder / f"{self.key}.sock" if idle is not None else None
        self.cold_reason = "" if platform == "linux" else f"fork is not safe on {platform!r}"
        self._environ = dict(environ)
        self._variables = import_time(environ)
        self._idle = idle
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._deaths = 0
        self._said: set[str] = set()
        self._door: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        modules: Sequence[str] = PRELOAD,
        *,
        idle: float | None = None,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        platform: str = sys.platform,
    ) -> Self:
        """Start importing `modules` in the background.

        Where forking isn't safe, nothing starts and every kernel is cold.

        Args:
            modules: the modules to import.
            idle: seconds without a kernel until it ends; None ties it to this process.
            environ: its environment; by default this process's.
            folder: where a shared zygote's socket is.
            platform: as in `sys.platform`.
        """
        zygote = cls(
            modules,
            idle=idle,
            environ=os.environ if environ is None else environ,
            folder=folder or runtime_dir.runtime_folder(),
            platform=platform,
        )
        if not zygote.cold_reason:
            try:
                zygote._connect().close()
            except PermissionError as error:
                zygote.cold_reason = str(error)
        return zygote

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.path is None:
            self.stop()

    def is_alive(self) -> bool:
        """Return whether it runs."""
        if self.path is None:
            return self._process is not None and self._process.poll() is None
        try:
            runtime_dir.dial(self.path).close()
        except OSError:
            return False
        return True

    def wait(self) -> tuple[int, dict[str, str]]:
        """Wait until everything is imported; return the process id and why modules were skipped."""
        connection, message, _ = self._ask({}, [])
        connection.close()
        return int(message["zygote"]), dict(message["skipped"])

    def stop(self) -> None:
        """Stop it, and kill its remaining kernels."""
        if self.path is not None:
            with contextlib.suppress(OSError, CannotForkError):
                runtime_dir.dial(self.path).close()
                os.kill(self.wait()[0], 15)
            for remove in (self.path.unlink, self.path.parent.rmdir):
                with contextlib.suppress(OSError):
                    remove()
        with self._lock:
            self.cold_reason = self.cold_reason or "the zygote was stopped"
            if self._door is not None and self._process is not None:
                self._door.close()
                try:
                    # It notices at once, unless it is still importing.
                    self._process.wait(1)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()

    def fork(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdio: Sequence[int],
        folder: Path | None = None,
    ) -> Fork:
        """Fork a kernel, and return once its sockets are bound.

        Raises CannotForkError.

        Args:
            argv: ipykernel's arguments.
            env: the kernel's whole environment.
            cwd: its working directory.
            stdio: descriptors of its stdin, stdout and stderr.
            folder: removed by the zygote if this process is killed.
        """
        wanted = import_time(env)
        names = sorted(
            name
            for name in wanted.keys() | self._variables.keys()
            if wanted.get(name) != self._variables.get(name)
        )
        if names:
            raise CannotForkError(f"{', '.join(names)} differs, and libraries read it at import")
        if (cwd / "matplotlibrc").exists():
            raise CannotForkError("the folder has a matplotlibrc, which matplotlib reads at import")
        request = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": str(cwd),
            "umask": umask(),
            "folder": str(folder or ""),
        }
        connection, message, lines = self._ask(request, stdio)
        self._say(message["skipped"])
        try:
            outcome = lines.next()
        except TimeoutError:
            outcome = {"failed": f"its sockets weren't bound within {ANSWER_TIMEOUT_SECONDS:g} s"}
        if "bound" not in outcome:
            connection.close()
            reason = outcome.get("failed", f"it exited with {outcome.get('ended')!r}")
            raise CannotForkError(f"the fork didn't become a kernel: {reason}")
        return Fork(connection, lines, message["pid"])

    def _say(self, skipped: Mapping[str, str]) -> None:
        with self._lock:
            news = {name: why for name, why in skipped.items() if name not in self._said}
            self._said |= news.keys()
        for module, reason in news.items():
            log.info("Not preloading %s: %s.", module, reason)

    def _ask(
        self, request: Mapping[str, object], stdio: Sequence[int]
    ) -> tuple[socket.socket, dict[str, Any], Lines]:
        """Send a request; return its connection, the first answer, and a reader of later ones."""
        if self._owner != os.getpid() and self.path is None:
            raise CannotForkError("the zygote belongs to the parent of this forked process")
        while True:
            if self.cold_reason:
                raise CannotForkError(self.cold_reason)
            process = self._process
            message: dict[str, Any] = {}
            with contextlib.suppress(ConnectionError):
                connection = self._connect()
                lines = Lines(connection)
                try:
                    message = self._exchange(connection, lines, request, stdio)
                finally:
                    if "refused" in message or not message:
                        connection.close()
            if "refused" in message:
                raise CannotForkError(message["refused"])
            if message:
                return connection, message, lines
            self._note_death(process)

    def _exchange(
        self,
        connection: socket.socket,
        lines: Lines,
        request: Mapping[str, object],
        stdio: Sequence[int],
    ) -> dict[str, Any]:
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        data = json.dumps(request).encode() + b"\n"
        try:
            sent = socket.send_fds(connection, [data], list(stdio))
            if rest := data[sent:]:  # sending nothing would fail once the zygote has answered
                connection.sendall(rest)
            return lines.next()
        except TimeoutError:
            raise CannotForkError(
                f"the zygote didn't answer within {ANSWER_TIMEOUT_SECONDS:g} s"
            ) from None

    def _note_death(self, process: subprocess.Popen[bytes] | None) -> None:
        with self._lock:
            if process is not self._process:
                return  # another thread noticed first, and has started a new one
            self._deaths += 1
            self._process = None
            if process is not None:
                process.kill()
                process.wait()
            if self._door is not None:
                self._door.close()
            if self._deaths > 1:
                self.cold_reason = "the zygote died twice"

    def _connect(self) -> socket.socket:
        with self._lock:
            if self.path is not None:
                return self._connect_shared(self.path)
            if self._process is None:
                self._door, theirs = socket.socketpair()
                with theirs:
                    self._process = self._launch(theirs, owner=os.getpid())
            assert self._door is not None
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(self._door, [b"+"], [theirs.fileno()])
                except OSError:
                    ours.close()
                    raise
            return ours

    def _connect_shared(self, path: Path) -> socket.socket:
        with contextlib.suppress(OSError):
            return runtime_dir.dial(path)
        with runtime_dir.locked(path.parent):
            with contextlib.suppress(OSError):  # another process was faster
                return runtime_dir.dial(path)
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                path.chmod(0o600)
                listener.listen(128)
                # It detaches at once, so this wait is short.
                self._launch(listener, path=str(path)).wait()
            return runtime_dir.dial(path)

    def _launch(self, door: socket.socket, **where: object) -> subprocess.Popen[bytes]:
        start = {"descriptor": door.fileno(), "modules": self.modules, "idle": self._idle, **where}
        command = [sys.executable, str(Path(__file__).with_name("zygote.py")), json.dumps(start)]
        return subprocess.Popen(
            command,
            # A thread pool started by an import would make forking unsafe.
            env={**self._environ, **dict.fromkeys(THREADS, "1"), **QUIET},
            cwd="/",
            pass_fds=[door.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if self._idle is None else subprocess.DEVNULL,
        )
