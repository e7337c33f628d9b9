"""Decide which kernels may share a zygote: same modules, same import-time variables."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOAD: tuple[str, ...] = (
    "threadpoolctl",  # gives each kernel its threads
    "IPython.display",
    "numpy.random",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.calibration",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.frozen",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "skops.io",
    "mlflow",
    "mlflow.sklearn",
    "mlflow.data.pandas_dataset",
    # The stores behind sqlite:// URLs: 0.6 s of the first MLflow call. Importing opens no database.
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "plotly.express",
    "plotly.io",
    "nbformat",  # plotly needs it to show a figure
    "pandera.pandas",
    "pydantic",
    "tqdm.auto",
)

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
IMPORT_TIME = (
    *("ARROW_", "GOMP_", "KMP_", "LC_", "LD_", "MKL_", "MPL", "NUMEXPR_", "OMP_", "OPENBLAS_"),
    *("PANDAS_", "PLOTLY_RENDERER", "PYTHON", "SKLEARN_", "VSCODE_PID"),
    *("HOME", "LANG", "XDG_CONFIG_HOME"),
)
INLINE = "module://matplotlib_inline.backend_inline"


def import_time(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that libraries read at import, so before a fork.

    Thread counts are not among them: each fork gets its own.
    """
    kept = {n: v for n, v in environ.items() if n.startswith(IMPORT_TIME) and n not in THREADS}
    return {"MPLBACKEND": INLINE, **kept}


def key(modules: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return a zygote's key: two with the same key are interchangeable."""
    here = Path(__file__).parent
    facts = [
        sys.executable,
        sys.version,
        *modules,
        *(f"{name}={value}" for name, value in sorted(import_time(environ).items())),
        *sorted({p.name for folder in sys.path for p in Path(folder).glob("*.dist-info")}),
        *((here / name).read_text() for name in ("zygote.py", "child_setup.py", "preload.py")),
    ]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
