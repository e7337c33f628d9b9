"""Talk to a kernel: ready as soon as it is, and aware of running cells."""

from __future__ import annotations

import contextlib
import time
from queue import Empty
from typing import Any

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from traitlets import Type

# Seconds between two looks at a socket: see `_ShellChannel.get_msg`.
LOOK_AGAIN_SECONDS = 0.5


class _ShellChannel(AsyncZMQSocketChannel):  # type: ignore[misc]
    """Counts the running cells, and loses no reply while widgets send."""

    running = 0

    def send(self, msg: dict[str, Any]) -> None:
        self.running += msg["msg_type"] == "execute_request"
        super().send(msg)

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message; raises Empty after `timeout` seconds.

        A send takes ZeroMQ's one signal that a reply has come, and the event loop then sleeps
        beside it. nbclient sends while it waits wherever a cell uses widgets, so look again.
        """
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            left = deadline - time.monotonic()
            try:
                message = await super().get_msg(max(0.0, min(left, LOOK_AGAIN_SECONDS)))
            except Empty:
                if left <= LOOK_AGAIN_SECONDS:
                    raise
                continue
            self.running -= message["msg_type"] == "execute_reply"
            return dict(message)


class KernelClient(AsyncKernelClient):  # type: ignore[misc]
    """A client that is ready as soon as its kernel is; without a heartbeat."""

    shell_channel_class = Type(_ShellChannel)

    def start_channels(self, **which: bool) -> None:
        """Start all channels but the heartbeat: the manager watches the process itself."""
        super().start_channels(**{"hb": False, **which})

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until a request is answered on both channels; raises RuntimeError."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                await self._handshake()
                return
            except Empty:
                pass
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    async def _handshake(self) -> None:
        # The kernel greets new subscribers, and nothing sent after that is lost.
        with contextlib.suppress(Empty):
            await self.iopub_channel.get_msg(timeout=0.2)
        request = self.kernel_info()
        reply: dict[str, Any] = {}
        while reply.get("parent_header", {}).get("msg_id") != request:
            reply = await self.shell_channel.get_msg(timeout=1.0)
        self._handle_kernel_info_reply(reply)
        while True:
            message = await self.iopub_channel.get_msg(timeout=1.0)
            is_ours = message["parent_header"].get("msg_id") == request
            if is_ours and message["content"].get("execution_state") == "idle":
                return
