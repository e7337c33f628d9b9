"""What every test starts from: an empty HOME, a clean environment, its own folder."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.stories"]
# Before numpy is imported: pools of threads for each of four processes on two cores wait in a spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
# What a machine may set, and a test must not depend on.
_REMOVED = ("MLFLOW_", "MLOPS_KIT_", "GIT_", "KUBECONFIG", "JUPYTER_", "NO_COLOR", "ARGO_", "AWS_")
# Seconds that the warm kernels' process outlives whoever used it last, and so the session.
KEEP_WARM = "60"
# The modules that take longest begin, so that none is left to one process at the end.
_LONGEST = (
    *("test_lab", "test_run", "test_panel", "test_kill", "test_daemon"),
    *("test_project_releases", "test_second_model", "test_submission"),
)


def loose_gates(*, minimum: int = 5, least: float = 0.2, worse: float = 0.9) -> str:
    """Return gates that a few positives can meet, so that a small run ends with a promotion.

    `least` is the recall and precision to reach, `worse` how much less than the reference will do.
    """
    return f"""
[models.fraud]
minimum = {minimum}
resamples = 100
gates = [
    {{ metric = "recall", at_least = {least} }},
    {{ metric = "precision", at_least = {least} }},
    {{ metric = "average_precision", at_least = 0.3 }},
    {{ metric = "calibration_error", at_most = 0.1 }},
    {{ metric = "latency_ms", at_most = 1000.0 }},
    {{ metric = "recall", slice = "*", at_least = 0.0 }},
    {{ metric = "recall", against = "reference", at_least = -{worse} }},
    {{ metric = "precision", against = "reference", at_least = -0.9 }},
    {{ metric = "average_precision", against = "reference", at_least = -{worse} }},
    {{ metric = "cost", against = "reference", at_most = 10000.0 }},
]
"""


LOOSE = loose_gates()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests on a real cluster, and pictures for a person, be asked for."""
    parser.addoption("--with-cluster", metavar="CONTEXT", help="run tests/cluster there")
    parser.addoption("--pictures", action="store_true", help="take the browser tests' pictures")


def pytest_configure() -> None:
    """Spare each process the second that a grammar takes which no test uses."""
    from mlops_kit.kernels.preload import lazy_rfc3987

    lazy_rfc3987()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest modules to the front."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session", autouse=True)
def clean_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the tests a HOME of their own, and take away what the machine's user has set."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_REMOVED):
            del os.environ[name]
    # One HOME and one set of warm kernels for all processes of a session.
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in before else base) / "home"
    home.mkdir(exist_ok=True)
    os.environ["HOME"] = str(home)
    os.environ["MLOPS_KIT_KEEP_WARM"] = KEEP_WARM
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # A shell's background job ignores Ctrl-C, and so would all that is started from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Bytecode makes each kernel and each command start sooner.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def isolated(clean_machine: None) -> Iterator[None]:
    """Undo what a test does to the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def prepare_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Give a new project a registry's store, without a migration of its own."""
    from tests import stores

    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    return stores.prepare_with(tmp_path_factory, worker)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as `mlops-kit new` makes it, with smaller data."""
    from mlops_kit.project import scaffold

    folder = tmp_path / "project"
    scaffold.create(folder)
    return folder


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook from the sources of its code cells; a dict is a cell with tags."""
    return lambda *cells, name="example.ipynb": write_notebook(tmp_path / name, *cells)


def write_notebook(path: Path, *cells: str | dict[str, object]) -> Path:
    """Write a notebook; a cell's source that starts with '# parameters' gets the tag."""
    import json

    written = []
    for index, cell in enumerate(cells):
        source = cell if isinstance(cell, str) else str(cell["source"])
        tags = ["parameters"] if source.startswith("# parameters") else []
        if isinstance(cell, dict):
            tags = list(cell.get("tags", tags))  # type: ignore[call-overload]
        written.append(
            {
                "cell_type": "code",
                "id": f"cell-{index}" if isinstance(cell, str) else cell.get("id", f"cell-{index}"),
                "metadata": {"tags": tags},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
        )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="session")
def mlops_kit_command() -> str:
    """The installed command."""
    import sys

    found = shutil.which("mlops-kit", path=str(Path(sys.executable).parent))
    assert found
    return found
