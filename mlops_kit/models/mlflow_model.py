"""A fitted model as a folder in MLflow's form, with its table; the kit reads it back by itself."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import RegistryError
from mlops_kit.models import artifacts, probes
from mlops_kit.models import outputs as outputs

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Column, Table

_CONDA, _PYTHON, _REQUIREMENTS = "conda.yaml", "python_env.yaml", "requirements.txt"


def save(
    model: Any,
    frame: pd.DataFrame,
    folder: Path,
    table: Table | None = None,
    trusted: Collection[str] = (),
) -> None:
    """Write a fitted model that its table and the kit's own reading have tried.

    None of the frame's rows is kept. Raises TableError for a model that doesn't fit its table,
    UntrustedModelError for one that couldn't be loaded again, and RegistryError for one that
    would give other scores then.

    Args:
        model: the fitted estimator.
        frame: rows of the table, or of features where there is none.
        folder: where to; it is made.
        table: the model's declaration, kept beside it.
        trusted: the names of the project's own types that it may hold.
    """
    inputs = frame if table is None else probes.check_model(model, table, frame)
    folder.mkdir(parents=True)
    artifacts.dump(model, folder, table, trusted)
    files = artifacts.contents(folder)
    loaded = artifacts.open_contents(files, f"the {type(model).__name__}", trusted).model
    scores = [_scores(each, inputs, table) for each in (model, loaded)]
    if not probes.same(*scores):
        raise RegistryError(
            f"The {type(model).__name__} gives other scores once it is stored and loaded: "
            f"{scores[1].ravel()[:3].tolist()} for {scores[0].ravel()[:3].tolist()}. Expected an "
            "estimator that keeps all that it predicts from."
        )
    _describe(folder, files, _signature(inputs, scores[0], table), table)


def _scores(model: Any, inputs: pd.DataFrame, table: Table | None) -> Any:
    if table is not None:
        return outputs.outputs(model, inputs, table)
    return model.predict_proba(inputs)[:, 1]


def _signature(inputs: pd.DataFrame, scores: Any, table: Table | None) -> Any:
    """Return MLflow's description of what its own prediction takes and gives."""
    import numpy as np
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    if table is None:
        return infer_signature(inputs, scores)
    columns = [ColSpec(_kind(c), c.name, required=not c.nullable) for c in table.features]
    shape = (-1,) if table.task == "regression" else (-1, len(table.classes))
    return ModelSignature(
        inputs=Schema(columns), outputs=Schema([TensorSpec(np.dtype(np.float64), shape)])
    )


def _kind(column: Column) -> str:
    """Return MLflow's name for the type of a column of `table.inputs`."""
    if not column.is_number:
        return "string"
    if column.nullable or column.kind in ("float", "datetime"):
        return "double"
    return "long" if column.kind == "int" else "boolean"


def _describe(
    folder: Path, files: Mapping[str, bytes], signature: Any, table: Table | None
) -> None:
    """Write MLflow's files: what the model is, and what it needs."""
    import mlflow.pyfunc
    import sklearn
    from mlflow.models import Model

    boosters = artifacts.boosters_in(files)
    is_own = bool(boosters) or artifacts.TRUSTED_FILE in files
    described = Model(signature=signature)
    is_regression = table is not None and table.task == "regression"
    mlflow.pyfunc.add_to_model(
        described,
        loader_module=__name__ if is_own else "mlflow.sklearn",
        conda_env=_CONDA,
        python_env=_PYTHON,
        predict_fn="predict" if is_regression else "predict_proba",
    )
    if not is_own:
        described.add_flavor(
            "sklearn",
            pickled_model=artifacts.MODEL_FILE,
            sklearn_version=sklearn.__version__,
            serialization_format="skops",
            code=None,
            skops_trusted_types=artifacts.types_in(files),
        )
    described.model_size_bytes = sum(len(content) for content in files.values())
    described.save(str(folder / "MLmodel"))
    own = ["mlops-kit"] if is_own else []
    _write_requirements(folder, ["scikit-learn", "skops", *boosters, *own])


def _write_requirements(folder: Path, libraries: list[str]) -> None:
    pinned = ["mlflow", *(f"{name}=={_installed(name)}" for name in libraries)]
    (folder / _REQUIREMENTS).write_text("\n".join(pinned))
    python = f"python: {platform.python_version()}\nbuild_dependencies: []\n"
    (folder / _PYTHON).write_text(f"{python}dependencies:\n- -r {_REQUIREMENTS}\n")
    listed = "".join(f"\n  - {each}" for each in pinned)
    conda = "name: mlflow-env\nchannels:\n- conda-forge\ndependencies:\n"
    conda += f"- python={platform.python_version()}\n"
    (folder / _CONDA).write_text(f"{conda}- pip\n- pip:{listed}\n")


def _installed(library: str) -> str:
    """Return a library's version; XGBoost has one without CUDA under another name."""
    try:
        return version(library)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(library), "__version__", "0"))


def _load_pyfunc(path: str) -> Any:
    """Return what MLflow asks for predictions, of a model that holds more than scikit-learn's.

    MLflow calls this by its name. It checks types, as the kit does, and no digest.
    """
    files = artifacts.contents(Path(path))
    named = json.loads(files.get(artifacts.TRUSTED_FILE, b"[]"))
    loaded = artifacts.open_contents(files, path, named)
    is_regression = loaded.table is not None and loaded.table.task == "regression"
    return _Served(loaded.model.predict if is_regression else loaded.model.predict_proba)


@dataclass(frozen=True)
class _Served:
    predict_rows: Callable[[Any], Any]

    def predict(self, rows: Any, params: Any = None) -> Any:
        return self.predict_rows(rows)
