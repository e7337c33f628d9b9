"""What the benchmarks import of the kit is there, also in the code that they give a kernel."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each module of the kit that a tree imports, and the name that it takes from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlops_kit"):
            yield from ((str(node.module), each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((e.name, "") for e in node.names if e.name.startswith("mlops_kit"))
        elif isinstance(node, ast.Constant) and "mlops_kit" in str(node.value):
            try:
                yield from imported(ast.parse(str(node.value)))
            except SyntaxError:
                continue


def is_there(module: str, name: str) -> bool:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Of an extra that isn't installed here.
        return not str(error.name).startswith("mlops_kit")
    return not name or hasattr(found, name) or bool(importlib.util.find_spec(f"{module}.{name}"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_imports_what_is_there(path: Path) -> None:
    lacking = [each for each in imported(ast.parse(path.read_text())) if not is_there(*each)]
    assert lacking == []


def test_a_name_that_moved_is_seen() -> None:
    code = "CELL = 'from mlops_kit.reporting import page\\npage.page()'"
    assert [each for each in imported(ast.parse(code)) if not is_there(*each)] == [
        ("mlops_kit.reporting", "page")
    ]
