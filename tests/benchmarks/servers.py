"""The servers that are compared, each a process of its own on one port of this machine.

    python -m tests.benchmarks.servers KEY PORT FOLDER

A server ends with its standard input. A folder with the file table.json is of a mixed table: six
columns of text and ten of numbers, behind a ColumnTransformer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FEATURES = tuple(f"V{number}" for number in range(30))
TREES, LEAVES = 100, 31
JOBLIB, MLFLOW, TABLE = "model.joblib", "mlflow-model", "table.json"
TEXTS, NUMBERS = tuple(f"text_{n}" for n in range(6)), tuple(f"number_{n}" for n in range(10))
START = 120.0
INFER, READY = "/v2/models/fraud/infer", "/v2/models/fraud/ready"


@dataclass(frozen=True)
class Contender:
    """One server: where its requests go, and what they hold beside the rows."""

    key: str
    title: str
    path: str = INFER
    ready: str = READY
    outputs: tuple[str, ...] = ()

    def body(self, rows: list[list[Any]]) -> bytes:
        """Return a request for these rows."""
        if isinstance(rows[0][0], str):
            return self._columns(rows)
        if self.key == "mlflow":
            return json.dumps({"inputs": rows}).encode()
        data = [value for row in rows for value in row]
        shape = [len(rows), len(FEATURES)]
        tensor = {"name": "features", "datatype": "FP64", "shape": shape, "data": data}
        wanted = {"outputs": [{"name": name} for name in self.outputs]} if self.outputs else {}
        return json.dumps({"inputs": [tensor], **wanted}).encode()

    def _columns(self, rows: list[list[Any]]) -> bytes:
        """Return a request for rows of the mixed table, for each server in its own words."""
        names = [*TEXTS, *NUMBERS]
        if self.key == "mlflow":
            return json.dumps({"dataframe_split": {"columns": names, "data": rows}}).encode()
        tensors = [
            {
                "name": name,
                "datatype": "BYTES" if name in TEXTS else "FP64",
                "shape": [len(rows), 1],
                "data": [row[place] for row in rows],
                **({"parameters": {"content_type": "str"}} if name in TEXTS else {}),
            }
            for place, name in enumerate(names)
        ]
        wanted = {"outputs": [{"name": name} for name in self.outputs]} if self.outputs else {}
        parameters = {"content_type": "pd"} if self.key == "mlserver" else {}
        return json.dumps({"inputs": tensors, "parameters": parameters, **wanted}).encode()


CONTENDERS = (
    Contender("mlserver", "MLServer's sklearn runtime, good settings", outputs=("predict_proba",)),
    Contender("kit", "**kit's server, log on**"),
    Contender("kit-nolog", "kit's server, log off"),
    Contender("kit-mlserver", "**kit's MLServer adapter, log on**"),
    Contender("mlflow", "`mlflow models serve`", path="/invocations", ready="/ping"),
    Contender("null", "null model on the kit's server, log on"),
)


class Running:
    """A contender that was started; `log` is what it said."""

    def __init__(self, contender: Contender, port: int, folder: Path) -> None:
        self.contender, self.port = contender, port
        self._log = folder / f"{contender.key}.log"
        kept = {"HOME": os.environ.get("HOME", str(folder))}
        # `mlflow models serve` looks for uvicorn there.
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, contender.key, str(port), str(folder)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Spinning threads of OpenMP would cost all of them, and most the ones in MLServer.
                env={**kept, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def until_ready(self) -> None:
        """Wait until it answers; raises RuntimeError with its log where it doesn't."""
        deadline = time.monotonic() + START
        while True:
            try:
                url = f"http://127.0.0.1:{self.port}{self.contender.ready}"
                with urllib.request.urlopen(url, timeout=5):
                    return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._log.read_text()[-3000:]) from None
                time.sleep(0.2)

    def stop(self) -> None:
        """End it by its standard input, or else by force."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def prepare(folder: Path) -> list[list[float]]:
    """Fit the one model that all serve, keep it as each wants it, and return rows to ask about."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import joblib
    import mlflow.sklearn
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(6_000, len(FEATURES)))
    labels = (rows[:, :5].sum(axis=1) + generator.normal(size=len(rows)) > 1).astype(int)
    model = HistGradientBoostingClassifier(
        max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False, random_state=0
    ).fit(rows, labels)
    joblib.dump(model, folder / JOBLIB)
    mlflow.sklearn.save_model(
        model,
        str(folder / MLFLOW),
        serialization_format="cloudpickle",
        pip_requirements=[],
        pyfunc_predict_fn="predict_proba",
    )
    asked: list[list[float]] = generator.normal(size=(100, len(FEATURES))).tolist()
    return asked


def prepare_mixed(folder: Path) -> list[list[Any]]:
    """Fit the one model of the mixed table, keep it as each wants it, and return rows to ask."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import joblib
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from mlops_kit.tables.table import Column, Table

    generator = np.random.default_rng(0)
    count = 6_000
    words = [f"category {number}" for number in range(8)]
    columns = {name: generator.choice(words, count).astype(object) for name in TEXTS}
    columns |= {name: generator.normal(size=count) for name in NUMBERS}
    declared = [Column(name, "str", categories=tuple(words)) for name in TEXTS]
    declared += [Column(name, "float", nullable=True) for name in NUMBERS]
    table = Table("mixed", (*declared, Column("label", "int")), "binary", "label", classes=(0, 1))
    inputs = table.inputs(pd.DataFrame(columns))
    labels = (sum(columns[name] for name in NUMBERS[:4]) + (columns[TEXTS[0]] == words[0]) > 1) * 1
    change = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(TEXTS)),
        (make_pipeline(SimpleImputer(), StandardScaler()), list(NUMBERS)),
    )
    model = make_pipeline(
        change,
        HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False, random_state=0
        ),
    ).fit(inputs, labels)
    joblib.dump(model, folder / JOBLIB)
    (folder / TABLE).write_text(json.dumps(table.to_json()))
    mlflow.sklearn.save_model(
        model,
        str(folder / MLFLOW),
        serialization_format="cloudpickle",
        pip_requirements=[],
        pyfunc_predict_fn="predict_proba",
    )
    asked: list[list[Any]] = inputs.tail(100).astype(object).to_numpy().tolist()
    return asked


def main(key: str, port: int, folder: Path) -> None:
    serve: dict[str, Callable[[int, Path], None]] = {
        "kit": lambda *given: _kit(*given, is_logging=True),
        "kit-nolog": lambda *given: _kit(*given, is_logging=False),
        "null": lambda *given: _kit(*given, is_logging=True, is_null=True),
        "kit-mlserver": _kit_mlserver,
        "mlserver": _mlserver,
        "mlflow": _mlflow,
    }
    serve[key](port, folder)


def _release(folder: Path, *, is_null: bool) -> Any:
    import joblib
    import numpy as np

    from mlops_kit.serving.fast_scores import fast_scores
    from mlops_kit.serving.library_scores import library_scores
    from mlops_kit.serving.predictor import LiveRelease, Predictor
    from mlops_kit.serving.signature import Signature
    from mlops_kit.tables.table import Table

    signature = Signature(FEATURES)
    if (folder / TABLE).exists():
        table = Table.from_json(json.loads((folder / TABLE).read_text()), TABLE)
        signature = Signature(tuple(table.feature_names), table)
    score: Any = lambda rows: np.zeros(len(rows))  # noqa: E731
    quick = 256
    if not is_null:
        model = joblib.load(folder / JOBLIB)
        score = fast_scores(model, library_scores(model, signature), signature)
        assert score is not None
        quick = score.quick_rows
    sides = [
        Predictor(version, f"sha256:{version}", signature, score, 0.5, True, quick)
        for version in ("1", "2")
    ]
    return LiveRelease("revision", "fraud", "dev", "rollout", *sides, weight=50)


def _log(folder: Path, key: str) -> Any:
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.prediction_log.writer import PredictionLog

    observations = Observations(f"sqlite:///{folder / key}.db")
    observations.prepare()
    return PredictionLog(observations.add)


def _kit(port: int, folder: Path, *, is_logging: bool, is_null: bool = False) -> None:
    from mlops_kit.serving.options import Serving
    from mlops_kit.serving.server import Server, application
    from tests.served import Source

    source = Source(_release(folder, is_null=is_null))
    log = _log(folder, f"kit-{is_null}") if is_logging else None
    options = Serving(port=port)
    server = Server(application(source, log, options, dict), options)
    server.start()
    sys.stdin.read()
    server.stop()
    if log:
        log.close()
        print(log.status())


def _kit_mlserver(port: int, folder: Path) -> None:
    import uvloop

    from mlops_kit.serving import mlserver_runtime
    from mlops_kit.serving.options import Ports, Serving
    from tests.served import Source

    options = Serving()
    free = Ports.free(options.host)
    ports = Ports(port, free.grpc, free.metrics)
    log = _log(folder, "kit-mlserver")
    source = Source(_release(folder, is_null=False))
    _end_with_input()
    uvloop.run(mlserver_runtime.serve(source, log, options, ports, folder / "kit-mlserver"))
    log.close()
    print(log.status())


def _mlserver(port: int, folder: Path) -> None:
    import mlserver
    import uvloop
    from mlserver.settings import ModelParameters

    from mlops_kit.serving.options import Ports

    free = Ports.free("127.0.0.1")
    place = folder / "mlserver"
    settings = mlserver.Settings(
        debug=False,
        parallel_workers=0,
        gzip_enabled=False,
        host="127.0.0.1",
        http_port=port,
        grpc_port=free.grpc,
        metrics_port=free.metrics,
        metrics_dir=str(place / "metrics"),
        environments_dir=str(place / "environments"),
    )
    model = mlserver.ModelSettings(
        name="fraud",
        implementation="mlserver_sklearn.SKLearnModel",
        parameters=ModelParameters(uri=str(folder / JOBLIB), version="1"),
    )

    async def serve() -> None:
        await mlserver.MLServer(settings).start([model])

    place.mkdir(exist_ok=True)
    _end_with_input()
    uvloop.run(serve())


def _mlflow(port: int, folder: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / MLFLOW)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "-p", str(port), "-w", "1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        sys.stdin.read()
        os.killpg(process.pid, 15)


def _end_with_input() -> None:
    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), 15)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
