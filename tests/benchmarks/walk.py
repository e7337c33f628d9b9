"""Walk a pipeline step by step, with whatever executes one notebook; and write it as one script."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlops_kit import Input, Pipeline, Step
from mlops_kit.pipelines import parameters, values
from mlops_kit.pipelines.definition import NOTEBOOK, Output

# Executes one notebook with given parameters, and writes the executed one.
Execute = Callable[[Path, Path, Mapping[str, Any]], None]
# Makes a value visible as a kernel would, for its cost, and throws it away.
SHOW = """
import time

from IPython.core.formatters import DisplayFormatter

formatter = DisplayFormatter()


def show(value):
    if value is not None:
        formatter.format(value)
"""


class Values:
    """What the steps have published so far, and so what the next one is given."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.inputs = {**pipeline.inputs, "execution": "benchmark"}
        self.published: dict[tuple[str, str], Any] = {}

    def of(self, step: Step) -> dict[str, Any]:
        """Return a step's parameters."""
        return {name: self._value(argument) for name, argument in step.parameters.items()}

    def keep(self, step: Step, found: Mapping[str, Any], executed: Path) -> None:
        """Take in what a step has published; raises KeyError for an output that is missing."""
        for name in step.outputs:
            data = found[name]
            self.published[step.name, name] = data["file"] if values.is_file(data) else data
        self.published[step.name, NOTEBOOK] = str(executed)

    def _value(self, argument: object) -> Any:
        match argument:
            case Input(name=name):
                return self.inputs[name]
            case Output(step=step, name=name):
                return self.published[step.name, name]
            case list() | tuple():
                return [self._value(item) for item in argument]
        return argument


def walk(pipeline: Pipeline, project: Path, execute: Execute) -> None:
    """Run all steps one after another; values are read from the notebook that was written."""
    known = Values(pipeline)
    for step in pipeline.ordered:
        executed = project / "executed" / step.name / step.notebook
        executed.parent.mkdir(parents=True, exist_ok=True)
        execute(project / "notebooks" / step.notebook, executed, known.of(step))
        known.keep(step, values.published(json.loads(executed.read_bytes())["cells"]), executed)


def script(pipeline: Pipeline, project: Path, evidence: Path) -> str:
    """Return the pipeline as one plain Python file: a function a notebook, and a call a step.

    What a cell would show is rendered by IPython's own formatter. `evidence` holds executed
    notebooks, in a folder a step: a script makes none, and promotes with these.
    """
    notebooks = dict.fromkeys(step.notebook for step in pipeline.ordered)
    lines = [SHOW, *(_function(project / "notebooks" / each) for each in notebooks)]
    calls = []
    for step in pipeline.ordered:
        arguments = ", ".join(
            f"{name}={_argument(argument, pipeline, evidence)}"
            for name, argument in step.parameters.items()
        )
        calls += [
            "start = time.perf_counter()",
            f"{_name(step.name)} = {_name(step.notebook[:-6])}_({arguments})",
            f"taken[{step.name!r}] = time.perf_counter() - start",
        ]
    body = "\n    ".join(["taken = {}", *calls, "return taken"])
    lines.append(f"def main():\n    {body}\n")
    return "\n".join([*lines, 'if __name__ == "__main__":\n    main()\n'])


def _function(notebook: Path) -> str:
    cells = json.loads(notebook.read_bytes())["cells"]
    declared = parameters.signature(cells, notebook=notebook.name)
    arguments = ", ".join(f"{each.name}={each.default!r}" for each in declared)
    tree = ast.parse(f"def {_name(notebook.stem)}_({arguments}):\n    pass")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = []
    for cell in cells:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", ()):
            function.body += _shown(ast.parse("".join(cell["source"])).body)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _shown(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return a cell's statements: its last expression is shown, `publish` returns."""
    *before, last = body
    match last:
        case ast.Expr(value=ast.Call(func=ast.Name(id="publish"), keywords=keywords)):
            made = ast.Call(ast.Name("dict", ast.Load()), [], keywords)
            return [*before, ast.Return(made)]
        case ast.Expr(value=value):
            return [*before, ast.Expr(ast.Call(ast.Name("show", ast.Load()), [value], []))]
    return body


def _argument(argument: object, pipeline: Pipeline, evidence: Path) -> str:
    match argument:
        case Input(name=name):
            return repr({**pipeline.inputs, "execution": "benchmark"}[name])
        case Output(step=step, name=name) if name == NOTEBOOK:
            return repr(str(evidence / step.name / step.notebook))
        case Output(step=step, name=name):
            read = f"{_name(step.name)}[{name!r}]"
            return f"str({read})" if step.outputs[name] is Path else read
        case list() | tuple():
            return f"[{', '.join(_argument(item, pipeline, evidence) for item in argument)}]"
    return repr(argument)


def _name(text: str) -> str:
    return text.replace("-", "_")
