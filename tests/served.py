"""Models, artifacts and servers for the tests of serving; run as a module, it is such a server.

    python -m tests.served kit|mlserver FOLDER

A server prints one line of JSON with its addresses, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import mixed

ROOT = Path(__file__).parents[1]
FEATURES = tuple(f"V{number}" for number in range(6))
MODEL = "fraud"
WEIGHT = 50
MAX_BODY, MAX_ROWS = 200_000, 1_000
# A first feature of this or more makes the candidate raise.
POISON = 900.0
START = 90.0


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A plain HTTP client that takes every status as an answer."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(
        self, path: str, body: object = None, headers: Mapping[str, str] = {}, method: str = ""
    ) -> Reply:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, content, dict(headers), method=method or None
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _reply(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error)


def _reply(answer: Any) -> Reply:
    headers = {name.lower(): text for name, text in answer.headers.items()}
    return Reply(answer.status, headers, answer.read())


def table(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Return rows without missing values as a frame, and their labels."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, len(FEATURES)))
    labels = (values[:, :3].sum(axis=1) + generator.normal(size=rows) > 1).astype(int)
    return pd.DataFrame(values, columns=list(FEATURES)), labels


def models() -> dict[str, Any]:
    """Return models by how they are scored, two of them on the fast path; all with a threshold."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.frozen import FrozenEstimator
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    frame, labels = table(1500)
    made = {}
    for name, estimator in {
        "fast": HistGradientBoostingClassifier(max_iter=20, random_state=0),
        "linear": make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        "slow": make_pipeline(MinMaxScaler(), LogisticRegression()),
    }.items():
        fitted = FrozenEstimator(estimator.fit(frame, labels))
        calibrated = CalibratedClassifierCV(fitted, method="sigmoid", ensemble=False)
        frozen = FrozenEstimator(calibrated.fit(frame, labels))
        fixed = FixedThresholdClassifier(frozen, threshold=0.3, response_method="predict_proba")
        made[name] = fixed.fit(frame, labels)
    return made


def write_artifact(
    folder: Path,
    model: Any,
    version: str,
    features: tuple[str, ...] = FEATURES,
    declared: Any = None,
    trusted: tuple[str, ...] = (),
) -> Any:
    """Write an artifact as the registry keeps it, and return the ServedModel that names it.

    `declared` is the model's table; None for one of before there were any. `trusted` are the
    project's own names.
    """
    from mlops_kit.models import artifacts, trusted_code
    from mlops_kit.releases.release import ServedModel

    folder.mkdir(parents=True)
    inputs = json.dumps([{"name": name, "type": "double"} for name in features])
    (folder / "MLmodel").write_text(json.dumps({"signature": {"inputs": inputs}}))
    artifacts.dump(model, folder, declared, trusted)
    files = artifacts.contents(folder)
    own = trusted_code.digests(artifacts.own_code(files, version))
    return ServedModel(version, f"models:/{MODEL}/{version}", artifacts.digest(files), trusted=own)


class Source:
    """A release that stands still."""

    def __init__(self, live: Any) -> None:
        self.live = live


class Written:
    """Where a server's log goes: into a list, shown by `/status`."""

    def __init__(self) -> None:
        self.predictions: list[Any] = []

    def write(self, predictions: Any) -> None:
        self.predictions += predictions


@contextlib.contextmanager
def started(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Start a server in a process of its own, and give its addresses when it is ready."""
    folder.mkdir(parents=True, exist_ok=True)
    # The same kernels of BLAS as the test compares with, bit for bit.
    kept = {
        n: v for n, v in os.environ.items() if n in ("PATH", "HOME") or n.startswith("OPENBLAS_")
    }
    command = [sys.executable, "-m", "tests.served", kind, str(folder)]
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**kept, "OMP_NUM_THREADS": "1"},
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / f"{kind}.log").read_text()
        addresses = json.loads(line)
        until_ready(addresses["url"])
        yield addresses
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def until_ready(url: str) -> None:
    """Wait until a server's model answers."""
    deadline = time.monotonic() + START
    while True:
        with contextlib.suppress(OSError):
            if Client(url).ask(f"/v2/models/{MODEL}/ready").status == 200:
                return
        assert time.monotonic() < deadline, f"{url} isn't ready"
        time.sleep(0.1)


def release(folder: Path) -> Any:
    """Return champion 1, which is fast, and candidate 2, which is slow and may be made to raise.

    A folder with a task's name in the file "task" has models of the mixed table.
    """
    import joblib

    from mlops_kit.serving import model_loader
    from mlops_kit.serving.predictor import LiveRelease

    sides = []
    task = (folder / "task").read_text() if (folder / "task").exists() else ""
    declared = mixed.table(task) if task else None
    for version, name in (("1", "fast"), ("2", "slow")):
        place = folder / f"artifact-{version}-{os.getpid()}"
        model = joblib.load(folder / f"{name}.joblib")
        served = write_artifact(place, model, version, declared=declared)
        sides.append(model_loader.load(place, served))
    champion, candidate = sides
    candidate = dataclasses.replace(candidate, score=poisoned(candidate.score))
    return LiveRelease("r1", MODEL, "dev", "rollout-1", champion, candidate, WEIGHT)


def poisoned(score: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def raising(rows: Any) -> Any:
        if rows.dtype != object and (rows[:, 0] >= POISON).any():
            raise ZeroDivisionError("a secret of the model's")
        return score(rows)

    return raising


def main(kind: str, folder: Path) -> None:
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.prediction_log.writer import PredictionLog
    from mlops_kit.serving.label_door import LabelDoor
    from mlops_kit.serving.options import Serving

    written = Written()
    log = PredictionLog(written.write, every=0.01)
    options = Serving(max_body=MAX_BODY, max_rows=MAX_ROWS)
    source = Source(release(folder))
    serve = serve_kit if kind == "kit" else serve_mlserver
    store = Observations(f"sqlite:///{folder / f'{kind}-labels.db'}")
    served = source.live.champion.signature.table
    door = LabelDoor(store, MODEL, "dev", lambda: served, options)
    serve(source, log, options, folder, door)
    log.close()
    store.close()
    ended = [
        dataclasses.asdict(each) | {"features": len(each.features)} for each in written.predictions
    ]
    (folder / f"{kind}-written.json").write_text(json.dumps(ended, default=len))


def serve_kit(source: Source, log: Any, options: Any, folder: Path, door: Any) -> None:
    from mlops_kit.serving.server import Server, application

    server = Server(application(source, log, options, log.status, door), options)
    server.start()
    print(json.dumps({"url": server.url}), flush=True)
    sys.stdin.read()
    server.stop()


def serve_mlserver(source: Source, log: Any, options: Any, folder: Path, door: Any) -> None:
    from mlops_kit.serving import mlserver_runtime
    from mlops_kit.serving.options import Ports

    ports = Ports.free(options.host)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.create_task(
            mlserver_runtime.serve(source, log, options, ports, folder / "mlserver", door)
        )
        threading.Thread(
            target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(os.kill, os.getpid(), 15)),
            daemon=True,
        ).start()
        await serving

    host = options.host
    print(
        json.dumps(
            {
                "url": f"http://{host}:{ports.http}",
                "grpc": f"{host}:{ports.grpc}",
                "metrics": f"http://{host}:{ports.metrics}",
            }
        ),
        flush=True,
    )
    asyncio.run(serve())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
