"""Notebooks keep the grammar that makes them readable as a page, and runnable as a step."""

from __future__ import annotations

import ast
import json
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_kit import Pipeline

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[!.]*.ipynb"))
WORKFLOWS = sorted((ROOT / "workflows").glob("*.py"))
MOST_LINES, MOST_CELLS = 14, 12

_STATEMENTS = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
_NEVER = (
    ast.Lambda,
    ast.IfExp,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.NamedExpr,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
)
_CALLS = {"print", "open", "exec", "eval", "input", "exit", "quit", "display", "Path", "__import__"}
_MODULES = {"os", "sys", "subprocess", "shutil", "pathlib", "papermill", "mlflow", "builtins"}
_PATH = re.compile(r"[/\\]|^~|^\.{1,2}$|\.(csv|gz|parquet|json|ya?ml|toml|db|py|skops|pkl)$")


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def offences(notebook: dict[str, Any]) -> list[str]:
    cells = notebook["cells"]
    found = [*order(cells), *unstripped(notebook)]
    for cell in cells:
        if cell["cell_type"] == "code":
            found += [f"{cell.get('id')}: {said}" for said in offences_of_code(cell)]
    return found


def order(cells: list[dict[str, Any]]) -> Iterator[str]:
    ids = [cell.get("id") for cell in cells]
    if not all(ids) or len(set(ids)) != len(ids):
        yield f"ids are absent or doubled: {ids}"
    if ids[:3] != ["title", "parameters", "setup"] or ids[-1] != "publish":
        yield f"the order is {ids}; expected title, parameters, setup, ..., publish"
    if cells[0]["cell_type"] != "markdown" or not source(cells[0]).startswith("# "):
        yield "the first cell is no title"
    if "?" not in source(cells[0]).partition("\n")[0]:
        yield "the title asks no question"
    tagged = [cell.get("id") for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if tagged != ["parameters"]:
        yield f"tagged as parameters are {tagged}; expected the cell of that name"
    if sum(cell["cell_type"] == "code" for cell in cells) > MOST_CELLS:
        yield f"more than {MOST_CELLS} cells of code"


def unstripped(notebook: dict[str, Any]) -> Iterator[str]:
    metadata = set(notebook["metadata"]) - {"kernelspec", "language_info"}
    if metadata or set(notebook["metadata"].get("language_info", {})) - {"name"}:
        yield f"the notebook has metadata of a machine: {sorted(notebook['metadata'])}"
    for cell in notebook["cells"]:
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"{cell.get('id')}: has outputs or a count"
        if set(cell["metadata"]) - {"tags"}:
            yield f"{cell.get('id')}: has metadata {sorted(cell['metadata'])}"


def offences_of_code(cell: dict[str, Any]) -> Iterator[str]:
    text = source(cell)
    if len(text.splitlines()) > MOST_LINES:
        yield f"more than {MOST_LINES} lines"
    if not text.strip():
        yield "is empty"
    try:
        tree = ast.parse(text)
    except SyntaxError:
        yield "is no Python: a magic or a shell command?"
        return
    if cell.get("id") == "parameters":
        yield from offences_of_parameters(tree, text.splitlines())
    if cell.get("id") == "publish" and not text.lstrip().startswith("publish("):
        yield "publishes nothing"
    for statement in tree.body:
        if not isinstance(statement, _STATEMENTS):
            yield f"has a {type(statement).__name__}"
    for node in ast.walk(tree):
        yield from offences_of_node(node, is_parameter=cell.get("id") == "parameters")


def offences_of_node(node: ast.AST, *, is_parameter: bool) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield f"calls {name}"
        case ast.Import(names=names):
            yield from (f"imports {n.name}" for n in names if n.name.split(".")[0] in _MODULES)
        case ast.ImportFrom(module=module) if str(module).split(".")[0] in _MODULES:
            yield f"imports {module}"
        case ast.Constant(value=str(text)) if not is_parameter and _PATH.search(text):
            yield f"has a path: {text!r}"
        case ast.Attribute(attr="environ"):
            yield "reads the environment"
        case node if isinstance(node, _NEVER):
            yield f"has a {type(node).__name__}"


def offences_of_parameters(tree: ast.Module, lines: list[str]) -> Iterator[str]:
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "typing":
            continue
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            yield f"{ast.unparse(statement)!r} is no annotated assignment"
        elif "  # " not in lines[statement.end_lineno - 1][statement.end_col_offset :]:  # type: ignore[operator]
            yield f"{ast.unparse(statement.target)} has no comment"
    if all(isinstance(statement, ast.ImportFrom) for statement in tree.body):
        yield "there are no parameters"


def parameters(notebook: str) -> set[str]:
    cells = json.loads((ROOT / "notebooks" / notebook).read_text())["cells"]
    cell = next(cell for cell in cells if cell.get("id") == "parameters")
    body = ast.parse(source(cell)).body
    return {ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_keeps_the_grammar(path: Path) -> None:
    assert offences(json.loads(path.read_text())) == []


def test_the_notebooks_and_the_pipelines_are_found() -> None:
    assert {"validate_data", "train", "evaluate", "promote", "tour"} <= {p.stem for p in NOTEBOOKS}
    assert [path.stem for path in WORKFLOWS if path.stem == "fraud_training"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_pipeline_passes_only_parameters_that_its_notebooks_have(path: Path) -> None:
    pipelines = [p for p in runpy.run_path(str(path)).values() if isinstance(p, Pipeline)]
    steps = [step for pipeline in pipelines for step in pipeline.steps]
    assert steps, "a file of workflows/ defines a pipeline"
    for step in steps:
        assert set(step.parameters) <= parameters(step.notebook), step.name


@pytest.mark.parametrize(
    ("cell", "text", "said"),
    [
        ("data", "for row in data:\n    row", "has a For"),
        ("data", "def f():\n    return 1", "has a FunctionDef"),
        ("data", "class A:\n    pass", "has a ClassDef"),
        ("data", "if split:\n    split", "has a If"),
        ("data", "try:\n    split\nexcept ValueError:\n    split", "has a Try"),
        ("data", "with split:\n    split", "has a With"),
        ("data", "while split:\n    split", "has a While"),
        ("data", "assert split", "has a Assert"),
        ("data", "del split", "has a Delete"),
        ("data", "split += 1", "has a AugAssign"),
        ("data", "key = lambda row: row", "has a Lambda"),
        ("data", "[row for row in split]", "has a ListComp"),
        ("data", "any(row for row in split)", "has a GeneratorExp"),
        ("data", "a = 1 if split else 2", "has a IfExp"),
        ("data", "print(split)", "calls print"),
        ("data", "frame = read(Path('x'))", "calls Path"),
        ("data", "%matplotlib inline", "magic"),
        ("data", "!ls", "magic"),
        ("data", "import os", "imports os"),
        ("data", "from mlflow.sklearn import load_model", "imports mlflow.sklearn"),
        ("data", "frame = read('data/a')", "has a path"),
        ("data", "frame = read('a.csv')", "has a path"),
        ("data", "frame = read(f'{folder}/a')", "has a path"),
        ("data", "split.environ", "environment"),
        ("data", "split\n" * 15, "more than 14 lines"),
        ("data", "", "is empty"),
        ("parameters", "dataset = 'x'  # the data", "no annotated assignment"),
        ("parameters", "dataset: str  # the data", "no annotated assignment"),
        ("parameters", "dataset: str = '#'", "has no comment"),
        ("parameters", "from typing import Literal", "no parameters"),
        ("publish", "split", "publishes nothing"),
    ],
)
def test_an_offence_in_a_cell_is_seen(cell: str, text: str, said: str) -> None:
    notebook = json.loads((ROOT / "notebooks" / "train.ipynb").read_text())
    next(each for each in notebook["cells"] if each["id"] == cell)["source"] = text
    found = offences(notebook)
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cells: cells[-1].pop("id"), "absent or doubled"),
        (lambda cells: cells[4].update(id="setup"), "absent or doubled"),
        (lambda cells: cells.reverse(), "the order is"),
        (lambda cells: cells.append(dict(cells[3], id="more")), "the order is"),
        (lambda cells: cells[0].update(cell_type="raw"), "no title"),
        (lambda cells: cells[0].update(source="# No question"), "asks no question"),
        (lambda cells: cells[1]["metadata"].clear(), "tagged as parameters"),
        (lambda cells: cells[2]["metadata"].update(tags=["parameters"]), "tagged as parameters"),
        (lambda cells: cells[2].update(execution_count=1), "outputs or a count"),
        (lambda cells: cells[2].update(outputs=[{"output_type": "stream"}]), "outputs or a count"),
        (lambda cells: cells[2]["metadata"].update(execution={"iopub": "now"}), "has metadata"),
        (lambda cells: many(cells), "more than 12 cells"),
    ],
)
def test_an_offence_of_the_notebook_is_seen(
    change: Callable[[list[dict[str, Any]]], object], said: str
) -> None:
    notebook = json.loads((ROOT / "notebooks" / "train.ipynb").read_text())
    change(notebook["cells"])
    assert any(said in offence for offence in offences(notebook)), offences(notebook)


def many(cells: list[dict[str, Any]]) -> None:
    cells[3:3] = [{**cells[2], "id": f"more-{index}"} for index in range(12)]


def test_metadata_of_a_machine_are_seen() -> None:
    notebook = json.loads((ROOT / "notebooks" / "train.ipynb").read_text())
    notebook["metadata"]["papermill"] = {"output_path": "/home/ana/out.ipynb"}
    assert offences(notebook) == [
        "the notebook has metadata of a machine: ['kernelspec', 'language_info', 'papermill']"
    ]
