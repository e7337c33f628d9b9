"""Import modules once, then fork a kernel per request; started by path with one JSON argument.

Imports only the standard library and ipykernel, not the rest of the kit: every kernel has what the
zygote imports. Each connection is one kernel: the request brings stdin, stdout and stderr, and
closing the connection kills the kernel. The zygote answers in lines of JSON: the process id, that
its sockets are bound, how it ended.

All children share the zygote's hash seed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib.util
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

BORN_WITH = set(os.environ)  # ipykernel's debugger adds variables, in a cold kernel too

if TYPE_CHECKING:
    from mlops_kit.kernels import child_setup, preload
else:

    def _beside(name: str) -> Any:
        """Load a file unregistered: in a kernel, `import preload` is the user's module."""
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    child_setup, preload = _beside("child_setup"), _beside("preload")

ENOUGH_CORES = 2
REQUEST_TIMEOUT_SECONDS = 5.0  # for a client to send its whole request
PR_SET_PDEATHSIG = 1


def tell(connection: socket.socket, **message: object) -> None:
    """Send one line; ignore a client that is gone."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def hear(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Read one request and its descriptors."""
    connection.settimeout(REQUEST_TIMEOUT_SECONDS)
    line, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while line and not line.endswith(b"\n"):
        more = connection.recv(1 << 16)
        line = line + more if more else b""
    return (json.loads(line) if line else {}), list(files)


class Kernel(NamedTuple):
    """A child: its process, and the folder to remove if its client was killed."""

    pid: int
    folder: str


class Server:
    """Forks one kernel per connection, and kills it when the connection closes."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        """`start` is the process's argument: descriptor, modules, and owner, or idle and path."""
        self._start = start
        self._door = socket.socket(fileno=start["descriptor"])
        self._kernels: dict[socket.socket, Kernel] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.EpollSelector()
        for end in (self._door, self._wake):
            end.setblocking(False)
            self._selector.register(end, selectors.EVENT_READ)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def prepare(self) -> None:
        """Import what every kernel needs; the modules follow while it serves."""
        self._shell = preload.ShellToCome()
        self._libc = ctypes.CDLL(None)
        self._waiting: list[socket.socket] = []
        self._skipped: dict[str, str] = {}
        self._import(preload.KERNEL)
        self._own_modules = list(sys.modules)
        preload.rehearse()
        self._left = deque(self._start["modules"])
        # On a single core, a kernel would import the same modules at the same time.
        while self._left and len(os.sched_getaffinity(0)) < ENOUGH_CORES:
            self._import((self._left.popleft(),))
        self._settle()

    def serve(self) -> None:
        """Serve until the owner exits or, without one, until it has been idle for long enough.

        Imports the modules between requests, one at a time. A kernel that is requested early is
        forked with what is there, and imports the rest itself.
        """
        last = time.monotonic()
        while self._is_wanted(last):
            for key, _ in self._selector.select(timeout=0.0 if self._left else 1.0):
                if key.fileobj is self._door:
                    if not self._open():
                        return
                elif key.fileobj is self._wake:
                    self._wake.recv(1 << 12)
                elif key.fileobj in self._kernels:
                    self._abandon(self._kernels.pop(key.fileobj), key.fileobj)
                last = time.monotonic()
            self._reap()
            if self._left:
                self._import((self._left.popleft(),))
                self._settle()

    def _import(self, modules: Iterable[str]) -> None:
        with preload.as_in_a_kernel(self._shell):
            self._skipped |= preload.preload(modules)

    def _settle(self) -> None:
        """Record what imports changed, and exempt it from garbage collection."""
        self._facts = {"zygote": os.getpid(), "skipped": self._skipped}
        self._added = {name: v for name, v in os.environ.items() if name not in BORN_WITH}
        own: list[Any] = [self._door, self._wake, self._woken, self._selector]
        own += [*self._kernels, *self._waiting]
        self._opened = preload.connections({end.fileno() for end in own})
        gc.freeze()
        if not self._left:
            for connection in self._waiting:
                tell(connection, **self._facts)
                connection.close()
            self._waiting.clear()

    def close(self) -> None:
        """Kill the remaining kernels."""
        for connection, kernel in self._kernels.items():
            self._abandon(kernel, connection)

    def _is_wanted(self, last: float) -> bool:
        if self._start["idle"] is None:
            return os.getppid() == int(self._start["owner"])
        is_idle = not self._kernels and time.monotonic() - last > self._start["idle"]
        return not (is_idle and withdraw(Path(self._start["path"])))

    def _open(self) -> bool:
        """Answer one connection; return False once the owner has hung up."""
        if self._start["idle"] is None:
            _, descriptors, _, _ = socket.recv_fds(self._door, 1, 1)
            if not descriptors:
                return False
            connection = socket.socket(fileno=descriptors[0])
        else:
            connection, _ = self._door.accept()
        files: list[int] = []
        try:
            request, files = hear(connection)
            if "argv" in request:
                if not self._fork(connection, request, files):
                    connection.close()
            else:  # asks only whether everything is imported
                self._waiting.append(connection)
                self._settle()
        except (OSError, ValueError) as error:
            tell(connection, refused=f"the zygote could not read the request: {error}")
            connection.close()
        finally:
            for descriptor in files:
                os.close(descriptor)
        return True

    def _unsafe(self) -> str:
        """Return why a fork isn't safe now; empty if it is."""
        if threads := preload.threads():
            return f"the zygote has {len(threads)} extra threads: {threads!r}"
        return f"imports opened {self._opened} connections" if self._opened else ""

    def _fork(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> bool:
        if reason := self._unsafe():
            tell(connection, refused=reason)
            return False
        zygote = os.getpid()
        if (pid := os.fork()) == 0:
            try:
                self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != zygote:  # the zygote died before prctl
                    os._exit(1)
                self._become_kernel(connection, request, files)
            except BaseException as error:
                tell(connection, failed=f"{type(error).__name__}: {error}")
            finally:
                os._exit(1)
        connection.settimeout(None)
        self._kernels[connection] = Kernel(pid, request["folder"])
        self._selector.register(connection, selectors.EVENT_READ)
        tell(connection, pid=pid, **self._facts)
        return True

    def _become_kernel(
        self, connection: socket.socket, request: dict[str, Any], files: list[int]
    ) -> NoReturn:
        self._selector.close()
        for end in (self._door, self._wake, self._woken, *self._kernels, *self._waiting):
            end.close()
        child_setup.renew(request, files, self._added)
        pools: Any = sys.modules.get("threadpoolctl")
        child_setup.raise_threads(pools.ThreadpoolController() if pools else None, request["env"])
        gc.enable()

        def bound() -> None:
            tell(connection, bound=True)
            connection.close()

        child_setup.run_kernel(request["argv"], self._own_modules, self._shell.become, bound)
        child_setup.leave()

    def _abandon(self, kernel: Kernel, connection: socket.socket) -> None:
        for kill in (os.killpg, os.kill):  # a new fork has no group yet
            with contextlib.suppress(OSError):
                kill(kernel.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(kernel.pid, 0)
        if kernel.folder:
            shutil.rmtree(kernel.folder, ignore_errors=True)
        self._selector.unregister(connection)
        connection.close()

    def _reap(self) -> None:
        for connection, kernel in list(self._kernels.items()):
            pid, status = os.waitpid(kernel.pid, os.WNOHANG)
            if pid:
                del self._kernels[connection]
                self._selector.unregister(connection)
                tell(connection, ended=os.waitstatus_to_exitcode(status))
                connection.close()


def withdraw(path: Path) -> bool:
    """Remove the socket unless somebody is about to use it; return whether it is gone."""
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for remove in (path.unlink, path.parent.rmdir):
            with contextlib.suppress(OSError):
                remove()
    return True


def main(argument: str) -> None:
    """Import the modules, then fork kernels until nobody needs them."""
    start = json.loads(argument)
    if start["idle"] is not None:
        if os.fork():  # detach, so that nobody has to wait for this process
            os._exit(0)
        os.setsid()
    # Python puts the folder of a script first.
    del sys.path[0]
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    # Imports make almost no garbage, and collecting takes a tenth of their time.
    gc.disable()
    preload.lazy_rfc3987()
    server = Server(start)
    server.prepare()
    try:
        server.serve()
    finally:
        server.close()


if __name__ == "__main__":
    main(sys.argv[1])
