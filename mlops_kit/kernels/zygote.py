"""The process that imports once and forks each kernel; started by path, with one JSON argument.

It holds the standard library and ipykernel only, never the rest of the kit: what it imports, every
kernel has. A connection is one kernel: its request comes with stdin, stdout and stderr, and its
hang-up is the kernel's end. Lines of JSON go back: the process, that it is bound, how it ended.

Children of one zygote share its hash seed, as they share its interpreter.
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

BORN_WITH = set(os.environ)  # ipykernel's debugger adds to it, in a cold kernel too

if TYPE_CHECKING:
    from mlops_kit.kernels import child_setup, preload
else:

    def _beside(name: str) -> Any:
        """Load a file under no name: in a kernel, `import preload` is the user's own module."""
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    child_setup, preload = _beside("child_setup"), _beside("preload")

ENOUGH_CORES = 2
REQUEST_TIMEOUT_SECONDS = 5.0  # seconds for a client to send its whole request
PR_SET_PDEATHSIG = 1


def tell(connection: socket.socket, **message: object) -> None:
    """Send one line; a client that has gone doesn't matter."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def hear(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Read one request and the descriptors that came with it."""
    connection.settimeout(REQUEST_TIMEOUT_SECONDS)
    line, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while line and not line.endswith(b"\n"):
        more = connection.recv(1 << 16)
        line = line + more if more else b""
    return (json.loads(line) if line else {}), list(files)


class Kernel(NamedTuple):
    """A child: its process, and the folder to remove when nobody is left to do it."""

    pid: int
    folder: str


class Server:
    """Forks one kernel a connection, and ends each with the connection that asked for it."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        """`start` is the argument of the process: descriptor, modules, owner or idle and path."""
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
        """Import what every kernel has; the modules come while it serves."""
        self._shell = preload.ShellToCome()
        self._libc = ctypes.CDLL(None)
        self._waiting: list[socket.socket] = []
        self._skipped: dict[str, str] = {}
        self._import(preload.KERNEL)
        self._own_modules = list(sys.modules)
        preload.rehearse()
        self._left = deque(self._start["modules"])
        # With one core for both, a kernel would import the same beside this process.
        while self._left and len(os.sched_getaffinity(0)) < ENOUGH_CORES:
            self._import((self._left.popleft(),))
        self._settle()

    def serve(self) -> None:
        """Serve until the owner has gone or, without one, until nobody asked for long enough.

        Between two requests the modules are imported, one by one: a kernel that is asked for
        before all are there is forked from what is, and imports what it needs by itself.
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
        """Take in what imports have changed, and put it out of the garbage collector's sight."""
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
        """Kill every kernel that is left."""
        for connection, kernel in self._kernels.items():
            self._abandon(kernel, connection)

    def _is_wanted(self, last: float) -> bool:
        if self._start["idle"] is None:
            return os.getppid() == int(self._start["owner"])
        is_idle = not self._kernels and time.monotonic() - last > self._start["idle"]
        return not (is_idle and withdraw(Path(self._start["path"])))

    def _open(self) -> bool:
        """Answer one connection; False once the owner has hung up."""
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
            else:  # only asks whether all is imported
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
        """Say why a fork would not be safe now."""
        if threads := preload.threads():
            return f"the zygote runs {len(threads)} threads beside its own: {threads!r}"
        return f"imports opened {self._opened} connections" if self._opened else ""

    def _fork(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> bool:
        if reason := self._unsafe():
            tell(connection, refused=reason)
            return False
        zygote = os.getpid()
        if (pid := os.fork()) == 0:
            try:
                self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != zygote:  # it died before the line above
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
        for kill in (os.killpg, os.kill):  # a fork that is still young has no group yet
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
    """Take the socket away unless somebody is about to use it; tell whether it is gone."""
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
    """Import, then fork kernels until nobody needs them."""
    start = json.loads(argument)
    if start["idle"] is not None:
        if os.fork():  # so that it's nobody's child, and nobody has to wait for it
            os._exit(0)
        os.setsid()
    # This file's folder, which Python puts first for a file that is started by its path.
    del sys.path[0]
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    # Imports make next to no garbage, and looking for it is a tenth of their time.
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
