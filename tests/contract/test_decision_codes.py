"""Every decision has a code, which docs/decision-codes.md explains and something gives."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import get_args

from mlops_kit.rollouts.decision_codes import DecisionCode
from mlops_kit.rollouts.state import DecisionKind

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "mlops_kit" / "rollouts"
CODES: tuple[str, ...] = get_args(DecisionCode)
ROW = re.compile(r"\| `([a-z.-]+)` \| (\w+) \| (\S.*\S) \|")
CODE = re.compile(r"[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)?")


def table() -> list[tuple[str, str]]:
    """Return code and act of each row."""
    lines = (ROOT / "docs" / "decision-codes.md").read_text().splitlines()
    found = [ROW.fullmatch(line) for line in lines if line.startswith("| `")]
    assert all(found)
    return [(each[1], each[2]) for each in found if each]


def given(tree: ast.AST) -> list[str]:
    """Return the codes that a module gives to decisions and reasons."""
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Reason" | "Decision"), args=[code, *_]):
                found += [each.value for each in ast.walk(code) if isinstance(each, ast.Constant)]
            case (
                ast.keyword(arg="code", value=code)
                | ast.AnnAssign(target=ast.Name(id="code"), value=ast.expr() as code)
            ):
                found += [each.value for each in ast.walk(code) if isinstance(each, ast.Constant)]
    return [each for each in found if isinstance(each, str)]


def test_the_table_has_each_code_once_with_a_kind_of_decision() -> None:
    assert [code for code, _ in table()] == list(CODES)
    assert max(Counter(CODES).values()) == 1
    assert {act for _, act in table()} == set(get_args(DecisionKind))
    assert all(CODE.fullmatch(code) for code in CODES)


def test_each_code_is_given_and_no_other() -> None:
    modules = sorted(ROOM.glob("*.py"))
    found = {code for path in modules for code in given(ast.parse(path.read_text()))}
    assert found == set(CODES)


def test_a_code_is_found_where_one_is_given() -> None:
    text = """
Reason("a", "x")
Decision("b" if x else "c", "hold")
replace(decision, code="d", act="hold")
code: DecisionCode = "e" if weight else "f"
"""
    assert sorted(given(ast.parse(text))) == list("abcdef")
