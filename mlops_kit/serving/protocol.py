"""The V2 inference protocol: bytes become a request, and an answer becomes bytes.

Source: the Open Inference Protocol, version 2, with its binary tensor extension. Inputs: one tensor
a column, or one matrix `features` of shape [rows, features] where all features are numbers. Outputs
by the task: `score` (binary: of the positive class; multi-class: one a class; regression: the
prediction), and `decision` (binary: 1 is the positive class; multi-class: the label). A `null` is
a missing value; NaN and Infinity are no JSON, and an infinite number in a binary tensor is refused
like it. Every fault is a RequestError with a status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_kit.errors import RequestError
from mlops_kit.serving import inputs, tensors
from mlops_kit.serving.inputs import Tail
from mlops_kit.serving.signature import DATATYPES, DECISION, INPUT, SCORE, Signature
from mlops_kit.serving.tensors import BYTES, TYPES, TensorValueError, shown
from mlops_kit.tables.table import Column

__all__ = ["DECISION", "INPUT", "SCORE", "Signature"]
OUTPUTS = (SCORE, DECISION)
PLATFORM = "mlops-kit"
# The binary extension's header: how many bytes of the body are JSON.
JSON_LENGTH = "inference-header-content-length"
CLIENT = "x-client-id"
# The client's own key for a request, by which labels may come later.
KEY = "x-prediction-key"
_MAX_ID_LENGTH = 200


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request as the model needs it; `rows` is of shape (n, features), see `inputs.rows`.

    `client` and `key`, the client's own for this request, are empty where it names none.
    `outputs` are the names that are wanted, and `binary` those of them that go out as bytes.
    """

    id: str
    client: str
    rows: NDArray[Any]
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
    """Return the request in a body and its headers.

    Raises RequestError, status 400.

    Args:
        body: JSON, with binary tensors behind it if a header gives the JSON's length.
        headers: by names in lower case; three of them are read.
        signature: the served model's.
        max_rows: how many rows a request may have.
        fresh: returns an id for a request without one.
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

    Raises RequestError, status 400.

    Args:
        document: the parsed JSON.
        tail: the binary tensors.
        client: the client's id, unless the request's parameters have a `client_id`.
        signature: the served model's.
        max_rows: how many rows a request may have.
        fresh: returns an id for a request without one.
        key: the client's own key, unless the request's parameters have a `key`.
    """
    if not isinstance(document, dict):
        raise RequestError("The request is no JSON object; expected one with 'inputs'.")
    parameters = _mapping(document.get("parameters"), "The request's 'parameters'")
    outputs, binary = _wanted(document.get("outputs"), parameters, tuple(signature.outputs))
    return InferRequest(
        _text(document.get("id"), "id") or fresh(),
        _text(parameters.get("client_id"), "client_id") or _text(client, CLIENT),
        inputs.rows(document.get("inputs"), tail, signature, max_rows),
        outputs,
        binary,
        _text(parameters.get("key"), "key") or _text(key, KEY),
    )


def unpacked(body: bytes, json_length: str) -> bytes:
    """Return a request of the binary extension as one of JSON alone, for those that read no other.

    Raises RequestError, status 400.
    """
    document, content = _split(body, json_length)
    tail = Tail(content)
    if isinstance(document, dict) and isinstance(document.get("inputs"), list):
        for tensor in document["inputs"]:
            parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
            if isinstance(parameters, dict) and parameters.get("binary_data_size") is not None:
                part = tail.take(parameters.pop("binary_data_size"))
                tensor["data"] = _plain(part, tensor.get("datatype"))
    tail.check_empty()
    return orjson.dumps(document)


def _plain(part: bytes, datatype: object) -> list[Any]:
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in TYPES):
        raise RequestError(f"The datatype is {shown(datatype)}; expected {[BYTES, *TYPES]}.")
    try:
        found = tensors.values_of_bytes(part, datatype)
    except TensorValueError as fault:
        raise RequestError(
            f"A tensor holds {shown(fault.value)} at {fault.place}; expected {fault.expected}."
        ) from None
    infinite = (float("inf"), -float("inf"))
    if datatype.startswith("FP") and any(value in infinite for value in found):
        raise RequestError("A tensor holds an infinite number; null stands for a missing value.")
    return found


def answers(
    signature: Signature, scores: NDArray[np.float64], decisions: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return the outputs by their names; a multi-class decision is the label itself."""
    if signature.task == "binary":
        return {SCORE: scores, DECISION: decisions}
    if signature.task == "regression":
        return {SCORE: scores}
    return {SCORE: scores, DECISION: signature.labels[decisions]}


def encode(
    model: str,
    version: str,
    request: InferRequest,
    signature: Signature,
    values: Mapping[str, NDArray[Any]],
) -> tuple[bytes, int]:
    """Return the body of an answer, and how many of its bytes are JSON where some are not, or 0.

    Args:
        model: the model's name.
        version: which one answered.
        request: what it answered.
        signature: of the model, for the outputs' types.
        values: what `answers` returned.
    """
    outputs: list[dict[str, Any]] = []
    tail = []
    for name in request.outputs:
        found = values[name]
        output: dict[str, Any] = {
            "name": name,
            "datatype": signature.outputs[name],
            "shape": found.shape,
        }
        if name in request.binary:
            tail.append(tensors.to_bytes(found, output["datatype"]))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = found.ravel().tolist()
        outputs.append(output)
    head = orjson.dumps(
        {"model_name": model, "model_version": version, "id": request.id, "outputs": outputs}
    )
    return b"".join([head, *tail]), len(head) if tail else 0


def metadata(
    model: str, versions: Sequence[str], signature: Signature, threshold: float | None = None
) -> dict[str, Any]:
    """Return what the protocol says of a model: each input with its type, and what it predicts.

    Where all features are numbers, the one input is the matrix, and `feature_names` stand in its
    parameters; each may come as a tensor of its own as well.
    """
    table = signature.table
    parameters: dict[str, Any] = {"task": signature.task}
    if table is not None:
        parameters |= {"table": table.name, "label": table.label, "unseen": table.unseen}
    if signature.classes:
        parameters["classes"] = list(signature.classes)
    if signature.task == "binary" and threshold is not None:
        parameters["threshold"] = threshold
    return {
        "name": model,
        "versions": list(versions),
        "platform": PLATFORM,
        "parameters": parameters,
        "inputs": _described(signature),
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, *signature.shape(1)[1:]]}
            if name == SCORE
            else {"name": name, "datatype": datatype, "shape": [-1]}
            for name, datatype in signature.outputs.items()
        ],
    }


def _described(signature: Signature) -> list[dict[str, Any]]:
    if signature.takes_matrix:
        of_each = {column.name: _declared(column) for column in signature.columns}
        names: dict[str, Any] = {"feature_names": list(signature.features)}
        if signature.table is not None:
            names["columns"] = of_each
        shape = [-1, len(signature.features)]
        return [{"name": INPUT, "datatype": "FP64", "shape": shape, "parameters": names}]
    return [
        {
            "name": column.name,
            "datatype": DATATYPES[column.kind],
            "shape": [-1],
            "parameters": _declared(column),
        }
        for column in signature.columns
    ]


def _declared(column: Column) -> dict[str, Any]:
    """Return what a column declares, for a client to read."""
    told: dict[str, Any] = {"kind": column.kind, "nullable": column.nullable}
    if column.categories:
        told["categories"] = list(column.categories)
    bounds = {"low": column.low, "high": column.high}
    return told | {name: bound for name, bound in bounds.items() if bound is not None}


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


def _wanted(
    outputs: object, parameters: Mapping[str, Any], known: tuple[str, ...]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of the outputs that are asked for, and of those that go as bytes."""
    all_binary = parameters.get("binary_data_output") is True
    if outputs is None or outputs == []:
        return known, frozenset(known) if all_binary else frozenset()
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise RequestError(f"'outputs' must be a list of objects with a name of {list(known)}.")
    names = [output.get("name") for output in outputs]
    if len(names) > len(known) or not all(names.count(name) == 1 for name in names):
        raise RequestError(f"'outputs' must name each of {list(known)} once at most.")
    if unknown := [name for name in names if name not in known]:
        raise RequestError(f"The output {shown(unknown[0])} is unknown; expected {list(known)}.")
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
