"""What a notebook or a pipeline imports: `mlops_kit/__init__.pyi` lists it, once."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import mlops_kit

ROOT = Path(__file__).parents[2]
STUB = ast.parse((ROOT / "mlops_kit" / "__init__.pyi").read_text())
NAMES = sorted(
    alias.asname or alias.name
    for node in STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
)


def sources() -> dict[str, str]:
    """Return the code of each notebook, and each definition of a pipeline."""
    found = {path.name: path.read_text() for path in (ROOT / "workflows").glob("*.py")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found[path.name] = "\n".join(code)
    return found


def private(code: str) -> set[str]:
    """Return the kit's modules and names that the code imports past the list."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=names):
                found |= {each.name for each in names if each.name.startswith("mlops_kit.")}
            case ast.ImportFrom(module=str(module)) if module.startswith("mlops_kit."):
                found.add(module)
            case ast.ImportFrom(module="mlops_kit", names=names):
                found |= {each.name for each in names} - {*NAMES}
    return found


def test_no_name_is_listed_twice() -> None:
    assert len(NAMES) == len({*NAMES})


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_loads_is_listed_and_explained(name: str) -> None:
    assert name in dir(mlops_kit)
    assert getattr(mlops_kit, name).__doc__


@pytest.mark.parametrize("code", sources().values(), ids=sources())
def test_a_notebook_and_a_pipeline_use_public_names_only(code: str) -> None:
    assert private(code) == set()


def test_a_private_import_is_seen() -> None:
    code = (
        "import mlops_kit.errors\nfrom mlops_kit.models import gates\nfrom mlops_kit import run, no"
    )
    assert private(code) == {"mlops_kit.errors", "mlops_kit.models", "no"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    for name in ("nothing", "_private"):
        with pytest.raises(AttributeError, match=name):
            getattr(mlops_kit, name)
