"""Run Jupyter kernels, warm where fork is safe: by classes of jupyter_client's, so at the top."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_core.utils import run_sync
from traitlets import Type

from mlops_kit.kernels import runtime_dir
from mlops_kit.kernels.exit_reason import Death, OomCounter
from mlops_kit.kernels.forked_process import Fork, readable
from mlops_kit.kernels.kernel_client import KernelClient
from mlops_kit.kernels.preload_key import PRELOAD, THREADS
from mlops_kit.kernels.shared_zygote import nearest
from mlops_kit.kernels.zygote_client import CannotForkError, Zygote

__all__ = ["PRELOAD", "Death", "WarmKernelManager", "WarmProvisioner", "Zygote", "manager"]

log = logging.getLogger(__name__)
COMMAND = [sys.executable, "-m", "ipykernel_launcher"]


class WarmProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Forks the kernel from a zygote, or starts it cold and says why.

    By kernel name (`-k mlops-kit`) it looks for a zygote itself; `manager` gives it one.
    """

    zygote: Zygote | None = None
    is_cold = False  # asked for, which is nothing to warn about
    cold_reason = ""  # why the kernel isn't a fork
    folder: Path | None = None
    returncode: int | None = None
    _memory: OomCounter | None = None

    async def launch_kernel(self, cmd: list[str], **kw: Any) -> Any:
        """Start the kernel, one way or the other; return its connection."""
        self.cold_reason = "asked for"
        self.returncode = None
        if not self.is_cold:
            try:
                self.process = await asyncio.to_thread(self._fork, cmd, **kw)
                self.cold_reason = ""
            except CannotForkError as error:
                self.cold_reason = str(error)
                log.warning("This kernel starts cold: %s.", self.cold_reason)
        if self.cold_reason:
            await super().launch_kernel(cmd, **kw)
        else:
            self.pid = self.pgid = self.process.pid
            self.cwd = kw.get("cwd") or Path.cwd()
        self._memory = OomCounter.of(self.pid)
        return self.connection_info

    def _fork(self, cmd: list[str], *, env: dict[str, str], **kw: Any) -> Fork:
        if cmd[:3] != COMMAND:
            raise CannotForkError(f"{cmd[:3]!r} is not this Python's ipykernel")
        if kw.get("stdout") or kw.get("stderr"):
            raise CannotForkError("its output shall go elsewhere than this process's")
        cwd = Path(kw.get("cwd") or Path.cwd())
        if not cwd.is_dir():
            raise FileNotFoundError(2, "No such directory for the kernel", str(cwd))
        zygote = self.zygote or nearest(env)
        # As `launch_kernel` of jupyter_client does.
        env["JPY_PARENT_PID"] = str(os.getpid())
        with Path(os.devnull).open() as nothing:
            stdio = [nothing.fileno(), 1, 2]
            return zygote.fork(cmd[3:], env=env, cwd=cwd, stdio=stdio, folder=self.folder)

    async def poll(self) -> int | None:
        """Return the exit status once there is one, and remember it."""
        status: int | None = await super().poll()
        if self.process is not None and status is not None:
            self.returncode = status
        return status

    async def wait(self) -> int | None:
        """Wait for the end, without polling where the system tells."""
        while await self.poll() is None:
            await self.ended(1.0)
        status: int | None = await super().wait()
        return status

    async def ended(self, seconds: float) -> None:
        """Return when the kernel has ended, or after `seconds`."""
        process: Any = self.process
        if isinstance(process, Fork):
            await readable(process.fileno(), seconds)
        elif process is not None and hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(process.pid)
            try:
                await readable(descriptor, seconds)
            finally:
                os.close(descriptor)
        else:
            await asyncio.sleep(min(seconds, 0.05))

    @property
    def death(self) -> Death | None:
        """How the kernel ended; None while it runs."""
        return None if self.returncode is None else Death.of(self.returncode, self._memory)


# By these a kernel knows that a person looks on; at a step nobody does, whoever started it.
_FRONTENDS = {"JPY_SESSION_NAME", "SERVER_SOFTWARE"}


class WarmKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """One kernel, over sockets in a private folder of its own; `with` stops it."""

    client_factory = Type(KernelClient)
    ipykernel = True  # so nbclient keeps the history out of the user's file

    zygote: Zygote | None = None
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    threads: int | None = None
    provisioner: WarmProvisioner | None = None
    kernel_id: str | None = None

    def __init__(self, **kw: Any) -> None:
        """Use `manager`."""
        super().__init__(**kw)
        self._clients: list[KernelClient] = []
        self._folder: Path | None = None
        self._kernel_spec = KernelSpec(
            argv=[*COMMAND, "-f", "{connection_file}"],
            language="python",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def cold_reason(self) -> str:
        """Why the kernel isn't a fork; empty if it is one."""
        return self.provisioner.cold_reason if self.provisioner else ""

    @property
    def death(self) -> Death | None:
        """How the kernel ended; None while it runs."""
        return self.provisioner.death if self.provisioner else None

    def client(self, **kw: Any) -> KernelClient:
        """Make a client, which is closed with the manager."""
        self._clients.append(super().client(**kw))
        return self._clients[-1]

    async def _async_pre_start_kernel(self, **kw: Any) -> Any:
        if self._folder is None and sys.platform != "win32":
            self._folder = runtime_dir.private_folder()
            # Also at the exit of a process that stops nothing.
            self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self.transport = "ipc"
            self.ip = str(self._folder / "k")
            self.connection_file = str(self._folder / "kernel.json")
        if self.provisioner is None:  # else it starts again
            self.kernel_id = self.kernel_id or str(uuid.uuid4())
            self.provisioner = made = WarmProvisioner(
                kernel_id=self.kernel_id, kernel_spec=self._kernel_spec, parent=self
            )
            made.zygote, made.is_cold, made.folder = self.zygote, self.zygote is None, self._folder
        shares = {} if self.threads is None else dict.fromkeys(THREADS, str(self.threads))
        given = {**(kw.get("env") or self.env or os.environ), **shares}
        kw["env"] = {name: value for name, value in given.items() if name not in _FRONTENDS}
        if self.cwd is not None:
            kw.setdefault("cwd", str(self.cwd))
        return await super()._async_pre_start_kernel(**kw)

    async def _async_wait(self, pollinterval: float = 0.1) -> None:
        while self.provisioner is not None and await self._async_is_alive():
            await self.provisioner.ended(1.0)

    async def _async_interrupt_kernel(self) -> None:
        # A kernel that runs no cell needs no interrupt to hear that it shall stop, and one that
        # arrives after the request would cut short what the kernel does at its exit.
        if not self.shutting_down or self._is_busy():
            await super()._async_interrupt_kernel()

    interrupt_kernel = _async_interrupt_kernel

    def _is_busy(self) -> bool:
        return not self._clients or any(c.shell_channel.running > 0 for c in self._clients)

    async def _async_cleanup_resources(self, restart: bool = False) -> None:
        await super()._async_cleanup_resources(restart=restart)
        if self._folder is not None and not restart:
            self._remove()
            self._folder = None

    cleanup_resources = _async_cleanup_resources

    async def _async_stop(self) -> None:
        if await self._async_is_alive():
            await self.shutdown_kernel()
        for client in self._clients:
            client.stop_channels()
        self._clients = []
        await self._async_cleanup_resources()

    def kill(self) -> None:
        """Kill the kernel and its children now; from any thread, where `stop` is for its own."""
        process = self.provisioner.process if self.provisioner else None
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    stop = run_sync(
        _async_stop
    )  # ends a kernel that runs, removes what it needed; again is no harm


def manager(
    *,
    zygote: Zygote | None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> WarmKernelManager:
    """Return a manager for one kernel, forked from `zygote`, or cold without one.

    `env` is its whole environment (this process's if None), `threads` its share of OpenMP and
    BLAS. `with` it, or call `stop`: nbclient doesn't end a kernel that it was given.
    """
    made = WarmKernelManager()
    made.zygote, made.cwd, made.env, made.threads = zygote, cwd, env, threads
    return made
