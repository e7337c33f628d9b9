"""A function fits on a screen, a module on a few: or it says here why not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mlops_kit"
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 300, 40

MODULES = {
    "errors.py": "one tree, a class a fault",
    "releases/release.py": "one state machine: states, changes and what is legal",
    "serving/protocol.py": "one protocol, both ways",
}
FUNCTIONS = {
    "argo/templates.py workflow_template": "one object of Argo's, field by field",
    "argo/templates.py _container": "one object of Argo's, field by field",
    "examples/load_generator.py __init__": "keeps what a load is made of, an attribute a line",
    "jupyter/panel/page.py _dialog": "one element of a page",
    "jupyter/panel/reader.py _waiting": "one board, field by field",
    "lint/app_projects.py _too_much": "a rule after the other",
    "project/table_files.py workflow": "the text of one file",
    "project/table_notebooks.py _evaluate": "one notebook, cell by cell",
    "project/table_notebooks.py _validate": "one notebook, cell by cell",
    "project/train_notebook.py train": "one notebook, cell by cell",
    "tables/guessing.py guess": "one guess, part by part",
    "project/releases.py promote": "one promotion, check by check",
    "serving/predictor.py answer": "the way of a request, which no call should slow down",
    "serving/server.py _routes": "a handler a route, which share what the function is given",
}


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each function's name and its lines, without those of its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first, end = node.body[0], node.end_lineno or node.lineno
            documented = ast.get_docstring(node) is not None
            said = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
            yield node.name, end - node.lineno + 1 - said


def test_each_module_and_function_fits_or_has_a_reason() -> None:
    modules, found = set(), set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if "template" in path.parts:
            continue
        text, place = path.read_text(), path.relative_to(PACKAGE).as_posix()
        if text.count("\n") > MAX_MODULE_LINES:
            modules.add(place)
        for name, lines in functions(ast.parse(text)):
            if lines > MAX_FUNCTION_LINES:
                found.add(f"{place} {name}")
    assert modules == set(MODULES)
    assert found == set(FUNCTIONS)
