"""V2 clients that nobody here wrote get scikit-learn's scores, bit for bit, from both adapters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from tests import served
from tests.served import FEATURES, MODEL

# A process of its own: tritonclient.grpc and mlserver.grpc can't be imported in one.
CLIENT = """
import json, sys
import numpy as np
from tritonclient.utils import InferenceServerException

protocol, address, file, version, binary = sys.argv[1:]
if protocol == "http":
    import tritonclient.http as triton
    how = {"binary_data": binary == "binary"}
else:
    import tritonclient.grpc as triton
    how = {}

def infer(client, rows, model="fraud"):
    tensor = triton.InferInput("features", list(rows.shape), "FP64")
    tensor.set_data_from_numpy(rows, **how)
    names = ("score", "decision")
    wanted = [triton.InferRequestedOutput(name, **how) for name in names]
    answer = client.infer(
        model, [tensor], model_version=version, outputs=wanted, request_id="r-1",
        headers={"x-client-id": "c"}, parameters={"client_id": "somebody"},
    )
    said = answer.get_response()
    said = said if isinstance(said, dict) else {"model_version": said.model_version, "id": said.id}
    return said, [answer.as_numpy(name) for name in names]

def refusal(client, *given):
    try:
        infer(client, *given)
    except InferenceServerException as error:
        return error.status() or "", error.message()
    return "answered", ""

with triton.InferenceServerClient(address) as client:
    rows = np.load(file)
    said, (score, decision) = infer(client, rows)
    as_json = {} if protocol == "http" else {"as_json": True}
    print(json.dumps({
        "ready": client.is_server_live() and client.is_model_ready("fraud"),
        "metadata": client.get_model_metadata("fraud", **as_json),
        "version": said["model_version"],
        "id": said["id"],
        "types": [str(score.dtype), str(decision.dtype)],
        "wrong width": refusal(client, rows[:, :3].copy()),
        "unknown model": refusal(client, rows, "other"),
    }))
    np.savez(file + ".npz", score=score, decision=decision)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("triton")
    for name, model in served.models().items():
        joblib.dump(model, made / f"{name}.joblib")
    return made


@pytest.fixture(scope="module")
def kit(folder: Path) -> Iterator[dict[str, Any]]:
    with served.started("kit", folder) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def mlserver(folder: Path) -> Iterator[dict[str, Any]]:
    with served.started("mlserver", folder) as addresses:
        yield addresses


def assert_is_same(
    folder: Path,
    protocol: str,
    url: str,
    *,
    missing: bool = True,
    version: str = "1",
    how: str = "",
) -> dict[str, Any]:
    """Ask by tritonclient, and hold what it got against the model itself."""
    frame, _ = served.table(50, seed=9)
    if missing:
        frame = frame.mask(np.random.default_rng(2).random(frame.shape) < 0.1)
    file = folder / "rows.npy"
    np.save(file, frame.to_numpy())
    address = url.removeprefix("http://")
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, protocol, address, str(file), version, how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    model = joblib.load(folder / ("fast.joblib" if version == "1" else "slow.joblib"))
    with np.load(f"{file}.npz") as got:
        assert got["score"].tobytes() == model.predict_proba(frame)[:, 1].tobytes()
        assert got["decision"].tolist() == model.predict(frame).tolist()
    assert said["ready"]
    assert said["metadata"]["name"] == MODEL
    assert [tensor["name"] for tensor in said["metadata"]["inputs"]] == ["features"]
    assert (said["version"], said["id"], said["types"]) == (version, "r-1", ["float64", "int64"])
    assert f"{len(FEATURES)} features" in said["wrong width"][1]
    assert "other" in said["unknown model"][1]
    return said


@pytest.mark.parametrize("how", ["binary", "json"])
def test_http_from_the_kits_server(kit: dict[str, Any], folder: Path, how: str) -> None:
    # Without the binary extension, tritonclient writes NaN, which is no JSON.
    assert_is_same(folder, "http", kit["url"], how=how, missing=how == "binary")
    assert_is_same(folder, "http", kit["url"], how=how, missing=False, version="2")


@pytest.mark.parametrize("how", ["binary", "json"])
def test_http_from_mlserver(mlserver: dict[str, Any], folder: Path, how: str) -> None:
    assert_is_same(folder, "http", mlserver["url"], how=how, missing=how == "binary")
    assert_is_same(folder, "http", mlserver["url"], how=how, missing=False, version="2")


def test_grpc_from_mlserver(mlserver: dict[str, Any], folder: Path) -> None:
    said = assert_is_same(folder, "grpc", mlserver["grpc"])
    assert said["wrong width"][0] == "StatusCode.INVALID_ARGUMENT"
    assert said["unknown model"][0] == "StatusCode.NOT_FOUND"
    assert_is_same(folder, "grpc", mlserver["grpc"], version="2", missing=False)


def test_mlserver_counts_by_version_at_its_own_metrics_port(mlserver: dict[str, Any]) -> None:
    client = served.Client(mlserver["url"])
    for name in ("never-heard-of", "other"):
        client.ask(f"/v2/models/{name}/infer", {"inputs": []})
    text = served.Client(mlserver["metrics"]).ask("/metrics").body.decode()
    assert 'mlops_kit_requests_total{outcome="ok",role="candidate",version="2"}' in text
    # A name that a client made up is no series.
    assert "never-heard-of" not in text
