"""The same service inside MLServer, over REST and gRPC. The only module that imports mlserver.

MLServer's own ways are kept for what it does well (gRPC, metrics, start and stop), and closed
where they are unsafe: its repository API, its unbounded bodies, errors that are not V2's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import mlserver
from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from mlserver import types
from mlserver.errors import MLServerError

from mlops_kit.errors import RequestError, ServingError
from mlops_kit.prediction_log.writer import PredictionLog
from mlops_kit.serving import protocol
from mlops_kit.serving.asgi import Bounded
from mlops_kit.serving.inference import Service, Source
from mlops_kit.serving.label_door import LABELS, LabelDoor
from mlops_kit.serving.metrics import Metrics
from mlops_kit.serving.options import Ports, Serving

# The version that a URL or a gRPC request names: MLServer would look for a model of its own.
_VERSION: ContextVar[str] = ContextVar("version", default="")
_MODEL = "/v2/models/{model_name}"
_PLACES = (_MODEL, f"{_MODEL}/versions/{{model_version}}")
_KEPT = (
    *("/v2", "/v2/health/live", "/v2/health/ready"),
    *(f"{place}{end}" for place in _PLACES for end in ("", "/ready", "/infer")),
)
_OUR_FAULT = "The server failed at this request; its log has the reason."


class KitRuntime(mlserver.MLModel):
    """One model of MLServer's that routes by the live release, which is swapped as one value."""

    @property
    def _service(self) -> Service:
        given = self.settings.parameters
        service = (given.extra or {}).get("service") if given else None
        if not isinstance(service, Service):
            raise ServingError("KitRuntime has no service; start it by mlserver_runtime.serve.")
        return service

    async def load(self) -> bool:
        """Say that the model is there: releases come and go without MLServer."""
        return self._service is not None

    async def metadata(self) -> types.MetadataModelResponse:
        """Return what the protocol says of the release's model."""
        found = self._service.metadata(self.name, _VERSION.get())
        return types.MetadataModelResponse.model_validate(found)

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Answer by the version that the client names, or that its id falls on."""
        service, version = self._service, _VERSION.get()
        live = service.live(self.name, version)
        most, signature = service.options.max_rows, live.signature
        document, client = _document(payload), _client(payload)
        request = protocol.read(document, b"", client, signature, most, service.fresh)
        answer = await service.infer(live, request, version)
        values = protocol.answers(signature, answer.scores, answer.decisions)
        # Nothing here needs pydantic's check, which would take longer than the model.
        return types.InferenceResponse.model_construct(
            model_name=live.model,
            model_version=answer.version,
            id=request.id,
            outputs=[
                types.ResponseOutput.model_construct(
                    name=name,
                    shape=list(found.shape),
                    datatype=signature.outputs[name],
                    data=types.TensorData.model_construct(root=_plain(found)),
                )
                for name, found in ((name, values[name]) for name in request.outputs)
            ],
        )


class KitServer(mlserver.MLServer):
    """MLServer with the kit's rules before its handlers, for REST and gRPC alike."""

    def __init__(
        self, settings: mlserver.Settings, service: Service, labels: LabelDoor | None = None
    ) -> None:
        """Wrap the handlers before the servers are made of them."""
        self._service = service
        super().__init__(settings)
        _harden(self._rest_server._app, service)
        if labels is not None:
            self._rest_server._app.add_route(LABELS, labels, methods=["POST"])

    def _create_servers(self) -> None:
        self._data_plane: Any = _Guard(self._data_plane, self._service)
        self._model_repository_handlers = _Closed()
        super()._create_servers()


async def serve(
    source: Source,
    log: PredictionLog | None,
    options: Serving,
    ports: Ports,
    folder: Path,
    labels: LabelDoor | None = None,
) -> None:
    """Serve the source's release with MLServer until a signal ends it.

    The environment must be free of `MLSERVER_*`. Run it with `uvloop.run`, as `mlserver start`
    does, or it is slower by a tenth. Raises ServingError while the source has no release.

    Args:
        source: holds the release.
        log: receives the predictions; None logs nothing.
        options: the settings' section [serving].
        ports: where MLServer listens.
        folder: where MLServer writes.
        labels: takes labels over REST; None takes none.
    """
    from prometheus_client import REGISTRY

    live = source.live
    if live is None:
        raise ServingError("There is no release to serve yet; expected one before the start.")
    metrics = Metrics(log.status if log else None, registry=REGISTRY)
    service = Service(source, log, options, metrics=metrics)
    described = service.metadata(live.model)
    model = mlserver.ModelSettings(
        name=live.model,
        implementation=KitRuntime,
        platform=protocol.PLATFORM,
        inputs=described["inputs"],
        outputs=described["outputs"],
        parameters=mlserver.settings.ModelParameters(extra={"service": service}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        await KitServer(_settings(options, ports, folder), service, labels).start([model])
    finally:
        service.close()


def _settings(options: Serving, ports: Ports, folder: Path) -> mlserver.Settings:
    return mlserver.Settings(
        _env_file=None,
        debug=False,
        # Its workers die with today's uvloop, and outlive a killed parent.
        parallel_workers=0,
        host=options.host,
        http_port=ports.http,
        grpc_port=ports.grpc,
        grpc_max_message_length=options.max_body,
        metrics_port=ports.metrics,
        metrics_dir=str(folder / "metrics"),
        environments_dir=str(folder / "environments"),
        model_repository_root=str(folder),
        load_models_at_startup=False,
        gzip_enabled=False,
        cache_enabled=False,
        kafka_enabled=False,
        extensions=["binary_tensor_data"],
    )


class _Guard:
    """MLServer's handlers, behind the release: known models and versions only.

    It comes before MLServer's own counters, which keep a series for each name that they are given.
    """

    def __init__(self, inner: Any, service: Service) -> None:
        self._inner, self._service = inner, service

    async def live(self) -> bool:
        return True

    async def ready(self) -> bool:
        return self._service.source.live is not None and bool(await self._inner.ready())

    async def metadata(self) -> Any:
        return await self._inner.metadata()

    async def model_ready(self, name: str, version: str | None = None) -> bool:
        with _as_mlserver(self._service):
            self._service.live(name, version or "")
        return bool(await self._inner.model_ready(name))

    async def model_metadata(self, name: str, version: str | None = None) -> Any:
        with _as_mlserver(self._service):
            self._service.live(name, version or "")
            _VERSION.set(version or "")
            return await self._inner.model_metadata(name)

    async def infer(self, payload: Any, name: str, version: str | None = None) -> Any:
        with _as_mlserver(self._service, is_inference=True):
            self._service.live(name, version or "")
            _VERSION.set(version or "")
            payload.id = payload.id or self._service.fresh()
            return await self._inner.infer(payload, name)

    def infer_stream(self, payloads: Any, name: str, version: str | None = None) -> Any:
        raise MLServerError("This server has no streams.", 404)


class _Closed:
    """The repository API, which would let anybody unload the model: closed."""

    async def index(self, *_: Any, **__: Any) -> Any:
        raise MLServerError(_CLOSED, 404)

    load = unload = index


_CLOSED = "This server has no repository API: releases come from Git."


@contextmanager
def _as_mlserver(service: Service, *, is_inference: bool = False) -> Iterator[None]:
    """Turn the kit's faults into MLServer's, to which REST and gRPC give their status."""
    try:
        yield
    except RequestError as error:
        if is_inference and error.status != 500:
            service.metrics.refuse(error.status)
        raise MLServerError(str(error), error.status) from None


def _harden(app: FastAPI, service: Service) -> None:
    """Keep the protocol's paths alone, bound bodies, and make every error V2's."""
    app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", "") in _KEPT]
    app.router.redirect_slashes = False
    app.add_middleware(Bounded, limit=service.options.max_body, refused=service.metrics.refuse)

    async def invalid(request: Any, error: Any) -> Response:
        service.metrics.refuse(400)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _error(f"The request is not the protocol's: {place}: {first['msg']}.", 400)

    async def http(request: Any, error: Any) -> Response:
        said = f"{request.method} {request.url.path!r:.200}: {error.detail}."
        return _error(said, error.status_code)

    async def fault(request: Any, error: Any) -> Response:
        return _error(_OUR_FAULT, 500)

    app.add_exception_handler(RequestValidationError, invalid)
    for status in (404, 405):
        app.add_exception_handler(status, http)
    app.add_exception_handler(Exception, fault)


def _plain(values: Any) -> list[Any]:
    # Text goes as bytes, of which REST and gRPC make their own.
    return [*map(str.encode, values)] if values.dtype == object else [*values.ravel().tolist()]


def _error(message: str, status: int) -> Response:
    return Response(protocol.error(message), status, media_type="application/json")


def _document(payload: types.InferenceRequest) -> dict[str, Any]:
    """Return a request of MLServer's as the JSON that it was."""
    parameters = payload.parameters.model_dump(exclude={"headers"}) if payload.parameters else None
    return {
        "id": payload.id,
        "parameters": parameters,
        "inputs": [
            {
                "name": tensor.name,
                "shape": tensor.shape,
                "datatype": types.Datatype(tensor.datatype).value,
                "data": tensor.data.root,
            }
            for tensor in payload.inputs
        ],
        "outputs": [{"name": output.name} for output in payload.outputs or ()],
    }


def _client(payload: types.InferenceRequest) -> str:
    headers = payload.parameters.headers if payload.parameters else None
    return str((headers or {}).get(protocol.CLIENT, ""))
