"""V2 clients that nobody here wrote get the library's answers for a mixed table, bit for bit."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from tests import mixed, served
from tests.served import MODEL

TABLE = mixed.table("multiclass")
# A process of its own: tritonclient.grpc and mlserver.grpc can't be imported in one.
CLIENT = """
import json, sys
import numpy as np
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

protocol, address, file, how = sys.argv[1:]
if protocol == "http":
    import tritonclient.http as triton
    sent = {"binary_data": how == "binary"}
else:
    import tritonclient.grpc as triton
    sent = {}

def infer(client, columns):
    tensors = []
    for name, values in columns.items():
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values, **sent)
        tensors.append(tensor)
    wanted = [triton.InferRequestedOutput(name, **sent) for name in ("score", "decision")]
    return client.infer("fraud", tensors, model_version="1", outputs=wanted)

with np.load(file, allow_pickle=True) as found:
    columns = {name: found[name] for name in found.files}
with triton.InferenceServerClient(address) as client:
    answer = infer(client, columns)
    score, decision = answer.as_numpy("score"), answer.as_numpy("decision")
    as_json = {} if protocol == "http" else {"as_json": True}
    try:
        infer(client, columns | {"visits": columns["visits"] + 0.5})
        refusal = ""
    except InferenceServerException as error:
        refusal = error.message()
    print(json.dumps({
        "metadata": client.get_model_metadata("fraud", **as_json),
        "decision": [each.decode() if isinstance(each, bytes) else each for each in decision],
        "refusal": refusal,
    }))
    np.save(file + ".npy", score)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("columns")
    (made / "task").write_text("multiclass")
    for name, kind in (("fast", "trees"), ("slow", "linear")):
        joblib.dump(mixed.fitted("multiclass", kind, 300), made / f"{name}.joblib")
    return made


@pytest.fixture(scope="module", params=["kit", "mlserver"])
def addresses(request: pytest.FixtureRequest, folder: Path) -> Iterator[dict[str, Any]]:
    with served.started(request.param, folder) as found:
        yield found


def complete() -> list[list[Any]]:
    """Return rows without gaps in text, which these clients can't say."""
    found = mixed.rows(300, seed=5, unknown=True)
    return [row for row in found if None not in (row[1], row[2], row[4], row[8])]


def expected(folder: Path, found: list[list[Any]]) -> tuple[Any, list[str]]:
    model, frame = joblib.load(folder / "fast.joblib"), mixed.frame(found, TABLE)
    order = [model.classes_.tolist().index(each) for each in TABLE.classes]
    return model.predict_proba(frame)[:, order], model.predict(frame).tolist()


DTYPES = {"float": np.float64, "int": np.int64, "bool": np.bool_}


@pytest.mark.parametrize("protocol", ["http binary", "http json", "grpc"])
def test_tritonclient_gets_the_librarys_answers(
    addresses: dict[str, Any], folder: Path, protocol: str, tmp_path: Path
) -> None:
    if protocol == "grpc" and "grpc" not in addresses:
        pytest.skip("the kit's own server has no gRPC")
    found = complete()
    if protocol == "http json":  # tritonclient would write NaN, which is no JSON
        found = [row for row in found if row[5] is not None]
    assert len(found) > 50
    columns = {
        column.name: np.array([row[place] for row in found], DTYPES.get(column.kind, object))
        for place, column in enumerate(TABLE.features)
    }
    file = tmp_path / "columns.npz"
    np.savez(file, **columns)
    address = addresses["grpc" if protocol == "grpc" else "url"].removeprefix("http://")
    words = [*f"{protocol} -".split()[:2]]
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, words[0], address, str(file), words[1]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    scores, labels = expected(folder, found)
    assert np.load(f"{file}.npy").tobytes() == np.ascontiguousarray(scores).tobytes()
    assert said["decision"] == labels
    assert [each["name"] for each in said["metadata"]["inputs"]] == TABLE.feature_names
    assert "visits" in said["refusal"]


def test_kserves_own_client_gets_the_librarys_answers(
    addresses: dict[str, Any], folder: Path
) -> None:
    kserve = pytest.importorskip("kserve", reason="needs kserve, whose pins are not the kit's")
    found = [row for row in complete() if row[5] is not None]
    inputs = []
    for place, column in enumerate(TABLE.features):
        values = np.array([row[place] for row in found], DTYPES.get(column.kind, object))
        kind = {"float": "FP64", "int": "INT64", "bool": "BOOL"}.get(column.kind, "BYTES")
        each = kserve.InferInput(column.name, list(values.shape), kind)
        each.set_data_from_numpy(values, binary_data=False)
        inputs.append(each)

    async def asked() -> Any:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        request = kserve.InferRequest(model_name=MODEL, infer_inputs=inputs)
        return await client.infer(addresses["url"], request, model_name=MODEL)

    answer = {each.name: each.as_numpy() for each in asyncio.run(asked()).outputs}
    scores, labels = expected(folder, found)
    assert answer["score"].tobytes() == np.ascontiguousarray(scores).tobytes()
    assert [str(each) for each in answer["decision"].tolist()] == labels


def test_mlservers_own_codecs_get_the_librarys_answers(
    addresses: dict[str, Any], folder: Path
) -> None:
    from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
    from mlserver.types import InferenceResponse

    found = [row for row in complete() if row[5] is not None]
    # MLServer doesn't know pandas 3's own type of text.
    frame = {
        column.name: pd.Series([row[place] for row in found], dtype=DTYPES.get(column.kind, object))
        for place, column in enumerate(TABLE.features)
    }
    request = PandasCodec.encode_request(pd.DataFrame(frame))
    body = request.model_dump_json(exclude_none=True).encode()
    reply = served.Client(addresses["url"]).ask(f"/v2/models/{MODEL}/versions/1/infer", body)
    assert reply.status == 200, reply.body
    answer = InferenceResponse.model_validate(reply.json)
    score, decision = answer.outputs
    scores, labels = expected(folder, found)
    assert NumpyCodec.decode_output(score).tobytes() == np.ascontiguousarray(scores).tobytes()
    assert StringCodec.decode_output(decision) == labels
