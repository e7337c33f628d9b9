"""Each third-party library has one door, and a heavy one costs nobody who doesn't use it."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mlops_kit"

# The modules that may import a library; a folder stands for all in it. What everybody needs
# (numbers, frames, estimators) is open to a room, the rest to one module. What isn't here, as
# plotly, has no door: its figures are written as JSON.
DOORS = {
    "IPython": ("jupyter/live_view.py", "pipelines/values.py", "kernels/"),
    "anywidget": ("jupyter/widget.py",),
    "alembic": ("prediction_log/database.py", "prediction_log/migrations/"),
    "charset_normalizer": ("tables/dialects.py",),
    "click": ("cli/",),
    "detect_secrets": ("reporting/notebooks/secret_scan.py",),
    "fastapi": ("serving/mlserver_runtime.py",),  # MLServer's own, which has to be closed
    "hera": ("argo/templates.py",),
    "ipykernel": ("kernels/",),
    "jupyter_client": ("kernels/",),
    "jupyter_core": ("kernels/provisioner.py",),
    "kubernetes": ("argo/kubernetes_client.py",),
    "markdown_it": ("reporting/notebooks/html_page.py",),
    "catboost": ("models/boosters.py", "models/catboost_probe.py"),
    "lightgbm": ("models/boosters.py",),
    "mlflow": ("models/mlflow_model.py", "models/registry.py"),
    "mlserver": ("serving/mlserver_runtime.py",),
    "nbclient": ("pipelines/notebooks.py", "pipelines/papermill/"),
    "nbformat": ("pipelines/papermill/", "reporting/notebooks/git_safe.py"),
    "numpy": (
        "examples/",
        "models/",
        "prediction_log/",
        "reporting/",
        "rollouts/",
        "serving/",
        "tables/",
    ),
    "orjson": (
        "examples/load_client.py",
        "serving/label_door.py",
        "serving/protocol.py",
        "serving/rows.py",
        "serving/server.py",
    ),
    "pandas": (
        "examples/fraud/",
        "examples/parcels/",
        "models/probes.py",
        "serving/library_scores.py",
        "tables/",
    ),
    "pandera": ("tables/findings.py",),
    "papermill": ("pipelines/papermill/",),
    "pytest": ("pytest_plugin.py",),
    "prometheus_client": ("serving/metrics.py", "serving/mlserver_runtime.py"),
    "pyarrow": ("prediction_log/label_files.py", "tables/"),
    "pydantic": (
        "models/evaluation_summary.py",
        "pipelines/executions.py",
        "pipelines/parameters.py",
        "project/bounds.py",
        "project/settings.py",
    ),
    "pydantic_settings": ("project/settings.py",),
    "requests": ("argo/argo_server_client.py", "tables/sources.py"),
    "resvg_py": ("reporting/charts/png.py",),
    "rich": ("cli/progress.py",),
    "scipy": (
        "models/intervals.py",
        "models/rankings.py",
        "rollouts/sequential_tests.py",
        "serving/fast_ensembles.py",
        "serving/fast_scores.py",
        "serving/fast_ways.py",
    ),
    "pygments": ("reporting/notebooks/html_page.py",),
    "sklearn": (
        "models/booster_estimators.py",
        "models/boosters.py",
        "models/mlflow_model.py",
        "models/outputs.py",
        "examples/fraud/defects.py",
        "models/training.py",
        "serving/fast_linear.py",
        "serving/fast_scores.py",
        "serving/fast_steps.py",
        "serving/fast_ways.py",
        "serving/model_loader.py",
        "reporting/charts/curves.py",
    ),
    "skops": ("models/skops_file.py",),
    "sqlalchemy": (
        "models/registry.py",
        "prediction_log/counters.py",
        "prediction_log/label_sources.py",
        "prediction_log/labels.py",
        "prediction_log/labelled_rows.py",
        "prediction_log/migrations/",
        "prediction_log/replays.py",
        "prediction_log/sources.py",
        "prediction_log/insert.py",
        "prediction_log/schema.py",
        "prediction_log/sql.py",
        "prediction_log/database.py",
        "tables/sources.py",
    ),
    "starlette": ("serving/server.py",),
    "threadpoolctl": ("models/latency.py",),
    "traitlets": ("kernels/", "jupyter/widget.py"),
    "xgboost": ("models/booster_estimators.py", "models/boosters.py"),
    "urllib3": ("argo/kubernetes_client.py",),  # what kubernetes raises
    "uvicorn": ("serving/server.py",),
    "yaml": (
        "cli/options.py",
        "lint/yaml_documents.py",
        "argo/manifests.py",
        "pipelines/yaml_text.py",
        "releases/release_yaml.py",
        "serving/model_loader.py",
    ),
}
# Loaded with the module, and why that costs nobody.
AT_IMPORT = {
    "click": "the command line is made of it",
    "numpy": "tenths of a second, and these modules are numerics all through",
    "orjson": "a few milliseconds, and these modules read and write it with each request",
    "pydantic": "the settings are made of it, and are loaded by who opens a workspace",
    "pydantic_settings": "the same",
    "scipy": "the evidence is made of it, and who watches or serves has loaded it anyway",
    "sqlalchemy": "the store's tables are values of its, and who opens a store needs it",
    "jupyter_client": "provisioner, manager and client are classes of its, and are loaded by it",
    "jupyter_core": "the same",
    "traitlets": "the same",
}
# Modules that are loaded only by the library itself, in a process of their own, by the few
# commands that render, lint or ask a cluster, by a notebook that shows a page, or by who stores or
# loads a booster.
OWN_PROCESS = (
    "models/booster_estimators.py",
    "lint/yaml_documents.py",
    "argo/kubernetes_client.py",
    "argo/manifests.py",
    "argo/argo_server_client.py",
    "argo/templates.py",
    "pipelines/papermill/",
    "kernels/",
    "prediction_log/migrations/",
    "serving/mlserver_runtime.py",
    "pytest_plugin.py",
    "jupyter/widget.py",
)

# Who may ask the environment, and why.
ENVIRONMENT = {
    "project/settings.py": "the one reader",
    "project/local_server.py": "limits numerics to one thread before they load, and reads nothing",
    "models/registry.py": "sets MLflow's defaults, which it reads nowhere else",
    "kernels/": "hands a kernel the environment that it was given, cold or forked",
    "releases/git_process.py": "hands git what it finds its helpers and keys by",
}
COLD = (
    *("mlflow", "pandas", "sklearn", "numpy", "papermill", "pydantic", "rich", "resvg_py"),
    *("hera", "mlserver", "orjson", "scipy", "sqlalchemy", "starlette", "uvicorn"),
)


@dataclass(frozen=True)
class Use:
    module: str
    library: str
    at_import: bool


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "template" not in path.parts:
            yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def uses(module: str, tree: ast.AST, at_import: bool = True) -> Iterator[Use]:
    """Yield each import of another's library, but not those for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        for name in imported(node):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top != PACKAGE.name:
                yield Use(module, top, at_import)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from uses(module, node, at_import and not inside)


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [each.name for each in names]
        case ast.ImportFrom(module=str(name), level=0):
            return [name]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name)), *_]):
            return [name]
    return []


def readers(tree: ast.AST) -> list[int]:
    """Return the lines that touch os.environ or os.getenv, by whichever name."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="environ" | "environb" | "getenv" | "getenvb" | "putenv"):
                lines.append(node.lineno)
            case ast.ImportFrom(module="os", names=names):
                lines += [node.lineno for n in names if n.name in {"environ", "getenv", "putenv"}]
    return lines


def is_in(module: str, places: tuple[str, ...]) -> bool:
    return any(
        module == each or (each.endswith("/") and module.startswith(each)) for each in places
    )


@cache
def every_use() -> list[Use]:
    return [use for module, tree in modules() for use in uses(module, tree)]


def test_a_library_is_imported_behind_its_door_only() -> None:
    assert every_use()
    outside = {
        (use.library, use.module)
        for use in every_use()
        if not is_in(use.module, DOORS.get(use.library, ()))
    }
    assert outside == set()


def test_every_door_is_used() -> None:
    unused = [
        (library, door)
        for library, doors in DOORS.items()
        for door in doors
        if not any(use.library == library and is_in(use.module, (door,)) for use in every_use())
    ]
    assert unused == []


def test_heavy_libraries_are_imported_by_the_function_that_needs_them() -> None:
    early = {
        (use.module, use.library)
        for use in every_use()
        if use.at_import and use.library not in AT_IMPORT and not is_in(use.module, OWN_PROCESS)
    }
    assert early == set()


def test_only_settings_read_the_environment() -> None:
    found = {module for module, tree in modules() if readers(tree)}
    assert {module for module in found if not is_in(module, tuple(ENVIRONMENT))} == set()


def test_every_exception_for_the_environment_is_still_needed() -> None:
    found = [module for module, tree in modules() if readers(tree)]
    assert [e for e in ENVIRONMENT if not any(is_in(module, (e,)) for module in found)] == []


@pytest.mark.parametrize("module", ["models/registry.py", "project/local_server.py"])
def test_who_sets_defaults_for_a_library_reads_nothing(module: str) -> None:
    tree = dict(modules())[module]
    calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    written = [call for call in calls if ast.unparse(call) == "os.environ.setdefault"]
    assert len(written) == len(readers(tree)) > 0


def test_the_command_line_answers_before_anything_heavy_is_loaded() -> None:
    words = [sys.executable, "-X", "importtime", "-c", "import mlops_kit.__main__"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "click" in loaded, "the import times were not read"
    assert loaded & set(COLD) == set()


def test_the_names_for_a_notebook_are_there_before_anything_heavy_is_loaded() -> None:
    words = [sys.executable, "-c", "import sys, mlops_kit; print(*sys.modules)"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & set(COLD) == set()


def test_help_is_quick(mlops_kit_command: str) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([mlops_kit_command, "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    # The best of a few, as a busy machine delays some; an import of pandas alone takes longer.
    assert min(seconds() for _ in range(5)) < 0.5


def test_a_second_door_would_be_seen() -> None:
    text = "import os.path\ndef f():\n    from mlflow.sklearn import a\nimport numpy as np\n"
    assert list(uses("x.py", ast.parse(text))) == [
        Use("x.py", "mlflow", False),
        Use("x.py", "numpy", True),
    ]
    assert readers(ast.parse("import os\nos.environ['A']\nos.getenv('B')")) == [2, 3]
    assert readers(ast.parse("from os import environ")) == [1]
    assert not is_in("jupyter/panel/page.py", DOORS["mlflow"])
    assert is_in("models/anything.py", DOORS["numpy"])
