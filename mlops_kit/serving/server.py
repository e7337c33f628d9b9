"""The V2 protocol over HTTP. The only module that imports starlette and uvicorn."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mlops_kit import __version__
from mlops_kit.errors import RequestError, ServingError
from mlops_kit.prediction_log.writer import PredictionLog
from mlops_kit.serving import protocol
from mlops_kit.serving.asgi import Receive, Scope, Send, headers, read_body, respond
from mlops_kit.serving.inference import Service, Source
from mlops_kit.serving.label_door import LABELS, LabelDoor
from mlops_kit.serving.options import Serving

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger(__name__)
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_EXTENSIONS = ["binary_tensor_data"]
_OUR_FAULT = "The server failed at this request; its log has the reason."
# Seconds that a server gets to start, and that running requests get when it stops.
_START, _STOP = 15.0, 30.0


def application(
    source: Source,
    log: PredictionLog | None,
    options: Serving,
    status: Callable[[], Mapping[str, object]],
    labels: LabelDoor | None = None,
) -> Starlette:
    """Return the ASGI application: the V2 protocol, `/metrics`, `/status` and the labels' door.

    `source.live` is read once at the start of each request.

    Args:
        source: knows the release that is served.
        log: takes the predictions; None logs nothing.
        options: bound what a request may hold.
        status: gives what `/status` shows.
        labels: takes labels; None takes none.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException

    service = Service(source, log, options)
    app = Starlette(
        routes=[*_routes(service, status), *_label_routes(labels)],
        exception_handlers={
            RequestError: _on_request_error,
            HTTPException: _on_http_error,
            Exception: _on_fault,
        },
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


class Server:
    """Uvicorn on a socket of its own, in a thread or in the caller's event loop."""

    def __init__(self, app: Starlette, options: Serving) -> None:
        """Take the address, so that `url` is known before the start; raises ServingError."""
        self._app = app
        self._socket = _bound(options.host, options.port)
        self._port = self._socket.getsockname()[1]
        self._host = options.host
        self._server = _uvicorn(app)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address that clients use."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Serve in a background thread; returns when it answers, raises ServingError if not."""
        self._thread = threading.Thread(target=self._run, name="v2-server", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise ServingError(f"The server at {self.url} didn't start; its log says why.")
            time.sleep(0.005)

    async def serve(self) -> None:
        """Serve in the caller's event loop until `stop`; signals stay the caller's."""
        try:
            await self._server.serve([self._socket])
        finally:
            self._release()

    def stop(self, deadline: float = _STOP) -> None:
        """Take no more connections, let running requests end, and free the address."""
        self._server.should_exit = True
        if self._thread is None:
            return
        self._thread.join(deadline)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(1.0)
        self._release()

    def _run(self) -> None:
        try:
            self._server.run([self._socket])
        except BaseException:  # uvicorn's own way out of a failed start is SystemExit
            _LOG.exception("the server at %s ended", self.url)

    def _release(self) -> None:
        self._socket.close()
        self._app.state.service.close()


class _Infer:
    """The one path that every prediction takes, as plain ASGI: nothing stands in its way."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, json_length = 200, 0
        try:
            body, json_length = await self._answered(scope, receive)
        except RequestError as error:
            body, status = protocol.error(str(error)), error.status
        except Exception:
            _LOG.exception("an inference request failed outside of the model")
            body, status = protocol.error(_OUR_FAULT), 500
        if status not in (200, 500):  # a model's fault is counted with its version
            self._service.metrics.refuse(status)
        await respond(send, status, body, json_length)

    async def _answered(self, scope: Scope, receive: Receive) -> tuple[bytes, int]:
        service, path = self._service, scope["path_params"]
        version = path.get("version", "")
        live = service.live(path["model"], version)
        named = headers(scope)
        options = service.options
        body = await read_body(receive, named, options.max_body)
        request = protocol.decode(body, named, live.signature, options.max_rows, service.fresh)
        answer = await service.infer(live, request, version)
        values = protocol.answers(live.signature, answer.scores, answer.decisions)
        return protocol.encode(live.model, answer.version, request, live.signature, values)


def _routes(service: Service, status: Callable[[], Mapping[str, object]]) -> list[Any]:
    from starlette.responses import Response
    from starlette.routing import Route

    async def live(request: Request) -> Response:
        return _json({"live": True})

    async def ready(request: Request) -> Response:
        is_ready = service.source.live is not None
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def model(request: Request) -> Response:
        return _json(service.metadata(**request.path_params))

    async def model_ready(request: Request) -> Response:
        service.live(**request.path_params)
        return _json({"name": request.path_params["model"], "ready": True})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type=_METRICS)

    async def shown(request: Request) -> Response:
        return _json(status())

    async def server(request: Request) -> Response:
        return _json({"name": "mlops-kit", "version": __version__, "extensions": _EXTENSIONS})

    model_path, version_path = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    infer = _Infer(service)
    return [
        Route(f"{model_path}/infer", infer, methods=["POST"]),
        Route(f"{version_path}/infer", infer, methods=["POST"]),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route(model_path, model),
        Route(version_path, model),
        Route(f"{model_path}/ready", model_ready),
        Route(f"{version_path}/ready", model_ready),
        Route("/v2", server),
        Route("/metrics", metrics),
        Route("/status", shown),
    ]


def _label_routes(labels: LabelDoor | None) -> list[Any]:
    from starlette.routing import Route

    return [Route(LABELS, labels, methods=["POST"])] if labels else []


def _json(content: object, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(orjson.dumps(content, default=str), status, media_type="application/json")


async def _on_request_error(request: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, getattr(error, "status", 400))


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    sentence = f"{request.method} {request.url.path!r:.200}: {getattr(error, 'detail', '')}."
    return _json({"error": sentence}, status)


async def _on_fault(request: Request, error: Exception) -> Response:
    return _json({"error": _OUR_FAULT}, 500)


def _uvicorn(app: Starlette) -> Any:
    """Return uvicorn with its faster loop and parser, where they are installed."""
    import uvicorn

    class Quiet(uvicorn.Server):
        """One that leaves the process's signals alone."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Quiet(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=int(_STOP),
        )
    )


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ServingError(
            f"Can't bind {host}:{port}: {error}. Choose a free port, or 0 for any.",
            code="serving.address",
        ) from error
    return bound
