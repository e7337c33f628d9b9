"""Every error has a code of its own, which docs/error-codes.md explains and something raises."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mlops_kit import errors

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mlops_kit"
CLASSES = {
    each.__name__: each
    for each in vars(errors).values()
    if inspect.isclass(each) and issubclass(each, errors.KitError)
}
# What the command line says of exceptions that aren't the kit's.
FOREIGN = {"system.memory": "MemoryError", "stopped": "Stopped", "system": "OSError"}
ROW = re.compile(r"\| `([a-z.-]+)` \| `(\w+)` \| (\S.*\S) \|")
CODE = re.compile(r"[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)*")


def table() -> list[tuple[str, str]]:
    """Return code and class of each row."""
    lines = (ROOT / "docs" / "error-codes.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    found = [ROW.fullmatch(row) for row in rows]
    assert all(found), rows
    return [(each[1], each[2]) for each in found if each]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        if not module.startswith("template/") and module != "errors.py":
            yield module, ast.parse(path.read_text())


def special(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the code that a fault is given beside its class's, and that class."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        names = [ast.unparse(each) for each in (node.func, *node.args)]
        kinds = [name.rpartition(".")[2] for name in names]
        kind = next((name for name in kinds if name in CLASSES), None)
        for keyword in node.keywords:
            match keyword.value:
                case ast.Constant(value=str(code)) if keyword.arg == "code" and kind:
                    yield code, kind


@cache
def given() -> list[tuple[str, str]]:
    """Return each code that is longer than its class's, and that class."""
    return sorted({found for _, tree in sources() for found in special(tree)})


def test_every_code_stands_once_in_the_table_with_its_class() -> None:
    codes = [code for code, _ in table()]
    assert len(codes) == len(set(codes))
    own = [(each.code, name) for name, each in CLASSES.items()]
    assert sorted(table()) == sorted([*own, *given(), *((c, n) for c, n in FOREIGN.items())])


@pytest.mark.parametrize("each", CLASSES.values(), ids=CLASSES)
def test_a_class_has_a_code_of_its_own(each: type[errors.KitError]) -> None:
    assert "code" in vars(each), "it has the code of its parent"
    assert CODE.fullmatch(each.code)


def test_a_longer_code_is_below_that_of_its_class() -> None:
    assert given()
    for code, name in given():
        assert CODE.fullmatch(code)
        assert code.startswith(f"{CLASSES[name].code}.")
        assert code not in {each.code for each in CLASSES.values()}


def test_every_class_is_raised() -> None:
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Name, ast.Attribute))
    }
    assert CLASSES.keys() - used == set()


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_keeps_the_code_that_it_is_given(name: str) -> None:
    each = CLASSES[name]
    more = {"notebook": "train.ipynb"} if issubclass(each, errors.StepError) else {}
    assert each("Why.", **more).code == each.code
    assert each("Why.", code=f"{each.code}.special", **more).code == f"{each.code}.special"
    assert each("Why.", **more).code == each.code


def test_a_code_is_found_where_a_fault_is_given_one() -> None:
    text = (
        "raise errors.DataError('x', code='data.a')\nfault(OutputError, 'x', code='step.output.b')"
    )
    assert [*special(ast.parse(text))] == [
        ("data.a", "DataError"),
        ("step.output.b", "OutputError"),
    ]
    assert [*special(ast.parse("raise DataError('x', code=error.code)\nf(code='x')"))] == []
