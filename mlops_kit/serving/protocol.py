"""The V2 inference protocol: bytes become a request, and an answer becomes bytes.

Source: the Open Inference Protocol, version 2, with its binary tensor extension. One input,
`features`, of shape [rows, features]; two outputs, `score` and `decision` (1 is flagged). A `null`
is a missing value and reaches the model as NaN; NaN and Infinity are no JSON, and an infinite
number in a binary tensor is refused like it. Every fault is a RequestError with a status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_kit.errors import RequestError
from mlops_kit.serving.tensors import TYPES, from_bytes, from_json, shown

INPUT, SCORE, DECISION = "features", "score", "decision"
OUTPUTS = (SCORE, DECISION)
PLATFORM = "mlops-kit"
# The binary extension's header: how many bytes of the body are JSON.
JSON_LENGTH = "inference-header-content-length"
CLIENT = "x-client-id"
# The client's own key for a request, by which labels may come later.
KEY = "x-prediction-key"
OUTPUT_TYPES = {SCORE: "FP64", DECISION: "INT64"}
_MAX_ID_LENGTH = 200


@dataclass(frozen=True)
class Signature:
    """What a model takes: the names of its features, in their order."""

    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request as the model needs it; `rows` is float64 of shape (n, features).

    `client` and `key`, the client's own for this request, are empty where it names none.
    `outputs` are the names that are wanted, and `binary` those of them that go out as bytes.
    """

    id: str
    client: str
    rows: NDArray[np.float64]
    outputs: tuple[str, ...] = OUTPUTS
    binary: frozenset[str] = frozenset()
    key: str = ""


def decode(
    body: bytes,
    headers: Mapping[str, str],
    signature: Signature,
    max_rows: int,
    fresh: Callable[[], str],
) -> InferRequest:
    """Return the request in a body; of the headers (names in lower case) three are read.

    `fresh` gives an id for a request that has none. Raises RequestError, status 400.
    """
    document, tail = _split(body, headers.get(JSON_LENGTH))
    client, key = headers.get(CLIENT, ""), headers.get(KEY, "")
    return read(document, tail, client, signature, max_rows, fresh, key)


def read(
    document: object,
    tail: bytes,
    client: str,
    signature: Signature,
    max_rows: int,
    fresh: Callable[[], str],
    key: str = "",
) -> InferRequest:
    """Return the request in a JSON document and the binary tensors behind it.

    A parameter `client_id` of the request goes before `client`, and one `key` before `key`. Raises
    RequestError, status 400.
    """
    if not isinstance(document, dict):
        raise RequestError("The request is no JSON object; expected one with 'inputs'.")
    parameters = _mapping(document.get("parameters"), "The request's 'parameters'")
    outputs, binary = _wanted(document.get("outputs"), parameters)
    return InferRequest(
        _text(document.get("id"), "id") or fresh(),
        _text(parameters.get("client_id"), "client_id") or _text(client, CLIENT),
        _rows(document.get("inputs"), tail, len(signature.features), max_rows),
        outputs,
        binary,
        _text(parameters.get("key"), "key") or _text(key, KEY),
    )


def unpacked(body: bytes, json_length: str) -> bytes:
    """Return a request of the binary extension as one of JSON alone, for those that read no other.

    Raises RequestError, status 400.
    """
    document, tail = _split(body, json_length)
    if isinstance(document, dict) and isinstance(document.get("inputs"), list):
        for tensor in document["inputs"]:
            parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
            size = parameters.pop("binary_data_size", None) if isinstance(parameters, dict) else 0
            if size:
                values = from_bytes(tail, size, tensor.get("datatype"))
                tail = b""
                tensor["data"] = values.tolist()
    return orjson.dumps(document)


def encode(
    model: str,
    version: str,
    request: InferRequest,
    scores: NDArray[np.float64],
    decisions: NDArray[np.int64],
) -> tuple[bytes, int]:
    """Return the body of an answer, and how many of its bytes are JSON where some are not, or 0."""
    values = {SCORE: scores, DECISION: decisions}
    outputs: list[dict[str, Any]] = []
    tail = []
    for name in request.outputs:
        output: dict[str, Any] = {
            "name": name,
            "datatype": OUTPUT_TYPES[name],
            "shape": [len(scores)],
        }
        if name in request.binary:
            tail.append(values[name].astype(TYPES[output["datatype"]], copy=False).tobytes())
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = values[name].tolist()
        outputs.append(output)
    head = orjson.dumps(
        {"model_name": model, "model_version": version, "id": request.id, "outputs": outputs}
    )
    return b"".join([head, *tail]), len(head) if tail else 0


def metadata(model: str, versions: Sequence[str], signature: Signature) -> dict[str, Any]:
    """Return what the protocol says of a model; `feature_names` stand in the input's parameters."""
    shape = [-1, len(signature.features)]
    names = {"feature_names": list(signature.features)}
    return {
        "name": model,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "FP64", "shape": shape, "parameters": names}],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1]}
            for name, datatype in OUTPUT_TYPES.items()
        ],
    }


def error(message: str) -> bytes:
    """Return the protocol's body of an error."""
    return orjson.dumps({"error": message})


def _split(body: bytes, json_length: str | None) -> tuple[object, bytes]:
    """Return the JSON document of a body and the bytes behind it."""
    if json_length is None:
        head, tail = body, b""
    else:
        digits = json_length.isascii() and json_length.isdigit() and len(json_length) < 20
        if not digits or int(json_length) > len(body):
            raise RequestError(
                f"{JSON_LENGTH} is {shown(json_length)}; expected a number of at most the body's "
                f"{len(body)} bytes."
            )
        head, tail = body[: int(json_length)], body[int(json_length) :]
    try:
        return orjson.loads(head), tail
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The request is no JSON: {error}.") from None


def _rows(inputs: object, tail: bytes, features: int, max_rows: int) -> NDArray[np.float64]:
    expected = f"one tensor {INPUT!r} of shape [rows, {features}]"
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(f"'inputs' must be a list of {expected}.")
    tensor = inputs[0]
    if tensor.get("name") != INPUT:
        raise RequestError(f"The input is {shown(tensor.get('name'))}; expected {expected}.")
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str) or datatype not in TYPES:
        raise RequestError(f"The datatype is {shown(datatype)}; expected one of {list(TYPES)}.")
    if not isinstance(shape, list) or [type(size) for size in shape] != [int, int]:
        raise RequestError(
            f"The shape is {shown(shape)}; expected two numbers, [rows, {features}]."
        )
    rows, columns = shape
    if columns != features or not 0 < rows <= max_rows:
        raise RequestError(
            f"The shape is {shown(shape)}; expected 1 to {max_rows} rows of {features} features."
        )
    parameters = _mapping(tensor.get("parameters"), "The input's 'parameters'")
    size = parameters.get("binary_data_size")
    if size is None:
        if tail:
            raise RequestError(f"{len(tail)} bytes follow the JSON, but no input names them.")
        values = from_json(tensor.get("data"), datatype, columns)
    else:
        values = from_bytes(tail, size, datatype)
    if len(values) != rows * columns:
        raise RequestError(
            f"The data hold {len(values)} numbers; expected {rows * columns} by the shape {shape}."
        )
    if np.isinf(values).any():
        raise RequestError("The data hold an infinite number; null stands for a missing value.")
    return values.reshape(rows, columns)


def _wanted(
    outputs: object, parameters: Mapping[str, Any]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of the outputs that are asked for, and of those that go as bytes."""
    all_binary = parameters.get("binary_data_output") is True
    if outputs is None or outputs == []:
        return OUTPUTS, frozenset(OUTPUTS) if all_binary else frozenset()
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise RequestError(f"'outputs' must be a list of objects with a name of {list(OUTPUTS)}.")
    names = [output.get("name") for output in outputs]
    if len(names) > len(OUTPUTS) or not all(names.count(name) == 1 for name in names):
        raise RequestError(f"'outputs' must name each of {list(OUTPUTS)} once at most.")
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise RequestError(f"The output {shown(unknown[0])} is unknown; expected {list(OUTPUTS)}.")
    binary = {
        output["name"]
        for output in outputs
        if _mapping(output.get("parameters"), "An output's 'parameters'").get(
            "binary_data", all_binary
        )
        is True
    }
    return tuple(names), frozenset(binary)


def _mapping(value: object, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"{what} are {shown(value)}; expected an object.")
    return value


def _text(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_ID_LENGTH or not value.isprintable():
        raise RequestError(
            f"{name!r} is {shown(value)}; expected text of at most {_MAX_ID_LENGTH} "
            "characters that print."
        )
    return value
