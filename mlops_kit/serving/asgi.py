"""A request's body, read with a bound on its bytes; plain ASGI, for whichever server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from mlops_kit.errors import RequestError
from mlops_kit.serving import protocol

Message = MutableMapping[str, Any]
Scope = Message
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON, _BINARY = b"application/json", b"application/octet-stream"
_REPLACED = (b"content-type", b"content-length")


class Bounded:
    """An application behind the bound, which gets a body whole and as JSON alone."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        limit: int,
        refused: Callable[[int], None],
    ) -> None:
        """`limit` is in bytes; `refused` is told the status of each request that ends here."""
        self._app, self._limit, self._refused = app, limit, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, and hand it on; or answer with the protocol's error."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        named = headers(scope)
        try:
            body = await read_body(receive, named, self._limit)
            if protocol.JSON_LENGTH in named:
                body = protocol.unpacked(body, named[protocol.JSON_LENGTH])
        except RequestError as error:
            self._refused(error.status)
            await respond(send, error.status, protocol.error(str(error)))
            return
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return parts.pop() if parts else await receive()

        # What it is by now, whatever the client called it; FastAPI reads no JSON of another name.
        kept = [each for each in scope["headers"] if each[0] not in _REPLACED]
        described = [(b"content-type", _JSON), (b"content-length", str(len(body)).encode())]
        await self._app({**scope, "headers": [*kept, *described]}, replayed, send)


def headers(scope: Scope) -> dict[str, str]:
    """Return a request's headers by their names in lower case."""
    return {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}


async def respond(send: Send, status: int, body: bytes, json_length: int = 0) -> None:
    """Send an answer of JSON, or of the binary extension where `json_length` isn't 0."""
    kind = _BINARY if json_length else _JSON
    sent = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if json_length:
        sent.append((protocol.JSON_LENGTH.encode(), str(json_length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """Return a request's body, counted as it comes; `headers` have names in lower case.

    Raises RequestError: 413 above `limit` bytes, 415 for a body that is packed, as what it
    unpacks to has no bound, and 400 where the client left before its end.
    """
    if headers.get("content-encoding", "identity") not in ("identity", ""):
        raise RequestError(
            f"The body's Content-Encoding is {headers['content-encoding']!r:.40}; expected none.",
            status=415,
        )
    length = headers.get("content-length", "")
    too_large = RequestError(f"The body has more than {limit} bytes.", status=413)
    if length.isdigit() and (len(length) > 19 or int(length) > limit):
        raise too_large
    parts, size, is_more = [], 0, True
    while is_more:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestError("The client left before the body's end.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large
        is_more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)
