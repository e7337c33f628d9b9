"""A client hears each reply of its kernel, also while it sends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import Session

from mlops_kit.kernels.kernel_client import KernelClient

# Far less than a step's time-out, and far more than a busy machine takes.
HEARD_WITHIN = 20.0


async def reply_while_sending(timeout: float | None) -> dict[str, Any]:
    """Let a reply come, and send before the event loop has seen it."""
    session, contexts = Session(key=b"key"), (zmq.asyncio.Context(), zmq.Context())
    kernel = contexts[1].socket(zmq.ROUTER)
    socket = contexts[0].socket(zmq.DEALER)
    try:
        socket.connect(f"tcp://127.0.0.1:{kernel.bind_to_random_port('tcp://127.0.0.1')}")
        kind = KernelClient().shell_channel_class
        channel = kind(socket, session, asyncio.get_running_loop())
        channel.send(session.msg("execute_request"))
        sender, _ = session.feed_identities(kernel.recv_multipart())
        waiting = asyncio.create_task(channel.get_msg(timeout=timeout))
        await asyncio.sleep(0.1)
        session.send(kernel, session.msg("execute_reply"), ident=sender)
        # The reply reaches the socket, whose event loop doesn't run.
        time.sleep(0.1)
        channel.send(session.msg("comm_msg"))
        heard: dict[str, Any] = await asyncio.wait_for(waiting, HEARD_WITHIN)
        assert channel.running == 0
        return heard
    finally:
        socket.close(linger=0)
        kernel.close(linger=0)
        for context in contexts:
            context.term()


def test_a_reply_that_comes_while_a_widget_sends_is_heard() -> None:
    # Without a time-out nothing else would ever wake the loop.
    assert asyncio.run(reply_while_sending(None))["msg_type"] == "execute_reply"


def test_nor_is_a_steps_time_out_waited_for() -> None:
    assert asyncio.run(reply_while_sending(3600.0))["msg_type"] == "execute_reply"
