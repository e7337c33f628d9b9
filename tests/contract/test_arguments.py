"""A public function with many parameters says what each is for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mlops_kit"
MAX_UNEXPLAINED = 4
# Click shows the help of each option, which is where a command says it.
COMMAND = "click.command"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(
    body: list[ast.stmt], is_public: bool = True, place: str = ""
) -> Iterator[tuple[str, Function]]:
    """Yield the public functions and methods of a module; those of private classes aren't."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            named = is_public and not node.name.startswith("_")
            yield from functions(node.body, named, f"{place}{node.name}.")
        elif isinstance(node, Function) and is_public and is_called(node):
            yield f"{place}{node.name}", node


def is_called(node: Function) -> bool:
    """Return whether a function is for its users, who may be sent to another one."""
    if node.name == "__init__":
        return not (ast.get_docstring(node) or "").startswith("Use `")
    return not node.name.startswith("_")


def parameters(node: Function) -> list[str]:
    """Return the names of a function's parameters, without `self` and the like."""
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    every += [each for each in (given.vararg, given.kwarg) if each is not None]
    return [each.arg for each in every if each.arg not in ("self", "cls")]


def unexplained(node: Function) -> list[str]:
    """Return the parameters that a function's `Args:` lacks, if it has too many of them."""
    names = parameters(node)
    if len(names) <= MAX_UNEXPLAINED or any(COMMAND in ast.unparse(d) for d in node.decorator_list):
        return []
    _, _, told = (ast.get_docstring(node) or "").partition("Args:\n")
    return [name for name in names if not re.search(rf"(?m)^    [\w, ]*\b{name}\b[\w, ]*:", told)]


def test_many_parameters_are_explained() -> None:
    found = {
        f"{path.relative_to(PACKAGE).as_posix()} {name}": lacking
        for path in sorted(PACKAGE.rglob("*.py"))
        if "template" not in path.parts
        for name, node in functions(ast.parse(path.read_text()).body)
        if (lacking := unexplained(node))
    }
    assert found == {}
