"""Run Jupyter kernels as jupyter_client's provisioner and manager; warm if forking is safe."""

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_core.utils import run_sync
from traitlets import Type

from mlops_kit.kernels import import_path, runtime_dir
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
    """Forks the kernel from a zygote, or starts it cold and logs why.

    `manager` gives it a zygote. When started by kernel name (`-k mlops-kit`), it finds its own.
    """

    zygote: Zygote | None = None
    is_cold = False  # a cold start was asked for, so there is nothing to warn about
    cold_reason = ""  # why the kernel isn't a fork
    folder: Path | None = None
    returncode: int | None = None
    _memory: OomCounter | None = None

    async def launch_kernel(self, cmd: list[str], **kw: Any) -> Any:
        """Start the kernel, warm or cold; return its connection info."""
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
            raise CannotForkError(f"{cmd[:3]!r} isn't ipykernel in this Python")
        if kw.get("stdout") or kw.get("stderr"):
            raise CannotForkError("its output is redirected")
        cwd = Path(kw.get("cwd") or Path.cwd())
        if not cwd.is_dir():
            raise FileNotFoundError(2, "No such directory for the kernel", str(cwd))
        zygote = self.zygote or nearest(env)
        # As jupyter_client's `launch_kernel` does.
        env["JPY_PARENT_PID"] = str(os.getpid())
        with Path(os.devnull).open() as nothing:
            stdio = [nothing.fileno(), 1, 2]
            return zygote.fork(cmd[3:], env=env, cwd=cwd, stdio=stdio, folder=self.folder)

    async def poll(self) -> int | None:
        """Return and keep the exit status; None while the kernel runs."""
        status: int | None = await super().poll()
        if self.process is not None and status is not None:
            self.returncode = status
        return status

    async def wait(self) -> int | None:
        """Wait for the kernel to end, without polling if the system can notify."""
        while await self.poll() is None:
            await self.ended(1.0)
        status: int | None = await super().wait()
        return status

    async def ended(self, seconds: float) -> None:
        """Wait until the kernel ends, or for `seconds`."""
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


# These tell a kernel that a person is watching. Nobody watches a step, whoever started it.
_FRONTENDS = {"JPY_SESSION_NAME", "SERVER_SOFTWARE"}


class WarmKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """Manages one kernel over sockets in a private folder; use it in a `with` block."""

    client_factory = Type(KernelClient)
    ipykernel = True  # so that nbclient keeps cells out of the user's history

    zygote: Zygote | None = None
    cwd: Path | None = None
    project: Path | None = None
    env: Mapping[str, str] | None = None
    threads: int | None = None
    provisioner: WarmProvisioner | None = None
    kernel_id: str | None = None

    def __init__(self, **kw: Any) -> None:
        """Use `manager` instead."""
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
        """Return a client that closes with the manager."""
        self._clients.append(super().client(**kw))
        return self._clients[-1]

    async def _async_pre_start_kernel(self, **kw: Any) -> Any:
        if self._folder is None and sys.platform != "win32":
            self._folder = runtime_dir.private_folder()
            # Also when the process exits without stopping the kernel.
            self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self.transport = "ipc"
            self.ip = str(self._folder / "k")
            self.connection_file = str(self._folder / "kernel.json")
        if self.provisioner is None:  # otherwise this is a restart
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
        if self.project is not None:
            kw["extra_arguments"] = self._with_import_path(kw.get("extra_arguments") or ())
        return await super()._async_pre_start_kernel(**kw)

    def _with_import_path(self, arguments: Sequence[str]) -> list[str]:
        assert self.project is not None
        own = import_path.argument(self.project)
        return [*(each for each in arguments if each != own), own]

    async def _async_wait(self, pollinterval: float = 0.1) -> None:
        while self.provisioner is not None and await self._async_is_alive():
            await self.provisioner.ended(1.0)

    async def _async_interrupt_kernel(self) -> None:
        # An idle kernel handles the shutdown request without an interrupt, and a late interrupt
        # would break its exit handlers.
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
        """Kill the kernel and its children at once. Unlike `stop`, works from any thread."""
        process = self.provisioner.process if self.provisioner else None
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    # Shuts down the kernel and removes its files; safe to repeat.
    stop = run_sync(_async_stop)


def manager(
    *,
    zygote: Zygote | None,
    cwd: Path | None = None,
    project: Path | None = None,
    env: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> WarmKernelManager:
    """Return a manager for one kernel, forked from `zygote` or started cold.

    Use it in a `with` block, or call `stop`: nbclient doesn't stop a kernel that it was given.

    Args:
        zygote: the process to fork from; None for a cold kernel.
        cwd: the kernel's working directory; by default this process's.
        project: a folder whose modules the kernel can import too.
        env: its whole environment; by default this process's.
        threads: its share of OpenMP and BLAS threads.
    """
    made = WarmKernelManager()
    made.zygote, made.cwd, made.project, made.env, made.threads = zygote, cwd, project, env, threads
    return made
