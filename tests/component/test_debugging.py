"""A failed step comes back as a notebook that stops right before the failing cell."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_kit import errors
from mlops_kit.pipelines import debugging, notebooks
from mlops_kit.pipelines.definition import Input, Pipeline, Step
from mlops_kit.pipelines.executions import Execution, Executions
from mlops_kit.pipelines.local import Runner
from tests.failures import fails

Kernel = Callable[[int], Any]
Notebook = Callable[..., Path]
Failed = Callable[..., Execution]


@pytest.fixture
def failed(kernel: Kernel, notebook: Notebook, tmp_path: Path) -> Failed:
    """Run a notebook with a parameter `x` as the only step of a pipeline."""

    def run(*cells: str, x: object = 1) -> Execution:
        notebook("# parameters\nx: int = 0  # x", *cells, name="step.ipynb")
        step = Step("step", "step.ipynb", {"x": Input("x")})
        pipeline = Pipeline("p", (step,), inputs={"x": 1})
        execution = Executions(tmp_path / "executions").create("p", {"x": x}, ["step"])
        try:
            Runner(tmp_path, kernel).run(pipeline, execution)
        except errors.StepError:
            pass
        finally:
            execution.release()
        return execution

    return run


def executed(path: Path, kernel: Kernel, folder: Path) -> errors.StepError:
    """Execute a notebook that has to fail, and return how."""
    with kernel(1) as manager, pytest.raises(errors.StepError) as raised:
        notebooks.execute(notebooks.Job(path, folder), manager)
    return raised.value


def cells_of(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["cells"])


def test_it_stops_before_the_failing_cell_and_fails_again_without_the_stop(
    failed: Failed, kernel: Kernel, tmp_path: Path
) -> None:
    (tmp_path / "data.txt").write_text("from the project's folder")
    before = "from pathlib import Path\nread = Path('data.txt').read_text()"
    execution = failed(before, "y = 10 / (x - 7)", "z = y", x="7")
    target = tmp_path / "elsewhere" / "debug.ipynb"
    cell = debugging.failing_notebook(execution, "step", target, folder=tmp_path)
    assert cell == "cell-2"

    stopped = executed(target, kernel, tmp_path / "first")
    assert (stopped.cell, stopped.reason.partition(":")[0]) == (debugging.STOP, "RuntimeError")
    assert "'cell-2', failed: ZeroDivisionError: division by zero." in stopped.reason

    content = json.loads(target.read_text())
    content["cells"] = [each for each in content["cells"] if each["id"] != debugging.STOP]
    target.write_text(json.dumps(content))
    again = executed(target, kernel, tmp_path / "second")
    assert (again.cell, again.reason) == ("cell-2", "ZeroDivisionError: division by zero")


def test_it_is_clean_and_valid(failed: Failed, tmp_path: Path) -> None:
    import nbformat

    execution = failed("print('said')", "1 / 0")
    target = tmp_path / "debug.ipynb"
    debugging.failing_notebook(execution, "step", target, folder=tmp_path)
    nbformat.validate(nbformat.read(target, as_version=4))
    text = target.read_text()
    assert "papermill" not in text.replace('"injected-parameters"', "")
    assert "said" not in json.dumps([each["outputs"] for each in cells_of(target)])
    tags = [tag for each in cells_of(target) for tag in each["metadata"]["tags"]]
    assert "injected-parameters" in tags
    assert "papermill-error-cell-tag" not in tags


HOSTILE = [
    '"); import os; os.system("touch owned"); ("',
    "'''\"\"\"\n!touch owned\n%cd /\nimport os",
    "\\",
    "\\N{BELL} \\u0022 {x} %s",
    "a\u2028b\x85c\rd\x0c\x00",
    "\U0001f600 \ud800 ?",
    "x" * 5000 + '"',
]


@pytest.mark.parametrize("message", HOSTILE)
def test_no_error_message_becomes_code(tmp_path: Path, message: str) -> None:
    cell = {
        "cell_type": "code",
        "id": "bad",
        "metadata": {"papermill": {"status": "failed"}},
        "source": "1 / 0",
        "outputs": [],
    }
    execution = Executions(tmp_path / "executions").create("p", {}, ["step"])
    execution.set_step("step", state="failed", error={"reason": message})
    folder = execution.step_folder("step")
    folder.mkdir()
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "n.ipynb").write_text(json.dumps(content))
    target = tmp_path / "debug.ipynb"
    hostile_folder = tmp_path / "a'; import os; '"
    debugging.failing_notebook(execution, "step", target, folder=hostile_folder)
    place, stop, _ = cells_of(target)
    (said,) = ast.parse(stop["source"]).body
    assert isinstance(said, ast.Raise)
    assert isinstance(said.exc, ast.Call)
    (argument,) = said.exc.args
    assert isinstance(argument, ast.Constant)
    assert message[:300] in argument.value
    assert len(ast.parse(place["source"]).body) == 2
    # IPython's own syntax works on lines, and there is only one.
    assert len(stop["source"].splitlines()) == 1
    assert stop["source"].isascii()


def test_somebodys_work_on_it_is_never_overwritten(failed: Failed, tmp_path: Path) -> None:
    execution = failed("1 / 0")
    target = tmp_path / "debug.ipynb"
    for _ in range(2):  # as it was written, it may be written again
        assert debugging.failing_notebook(execution, "step", target, folder=tmp_path) == "cell-1"
    target.write_text(target.read_text().replace("1 / 0", "1 / 2"))
    with fails("project.file-exists", target):
        debugging.failing_notebook(execution, "step", target, folder=tmp_path)
    assert "1 / 2" in target.read_text()


def test_a_step_that_ended_well_is_opened_without_a_stop(failed: Failed, tmp_path: Path) -> None:
    execution = failed("y = x")
    target = tmp_path / "debug.ipynb"
    assert debugging.failing_notebook(execution, "step", target, folder=tmp_path) == ""
    assert debugging.STOP not in [each["id"] for each in cells_of(target)]


def test_an_early_exit_and_a_killed_kernel_have_their_cell(failed: Failed, tmp_path: Path) -> None:
    for name, source in {
        "exit": "import sys; sys.exit(0)",
        "kill": "import os; os.abort()",
    }.items():
        execution = failed("y = x", source)
        target = tmp_path / f"{name}.ipynb"
        assert debugging.failing_notebook(execution, "step", target, folder=tmp_path) == "cell-2"


def test_what_is_not_there_is_said(failed: Failed, tmp_path: Path) -> None:
    execution = failed("y = x")
    target = tmp_path / "debug.ipynb"
    with fails("project.no-step", "['step']", "'stpe'"):
        debugging.failing_notebook(execution, "stpe", target, folder=tmp_path)
    with fails("project.no-step", "['step']"):
        debugging.failing_notebook(execution, "", target, folder=tmp_path)
    next(execution.step_folder("step").glob("*.ipynb")).unlink()
    with fails("project.no-notebook", "'step'", "succeeded"):
        debugging.failing_notebook(execution, "step", target, folder=tmp_path)
    assert not target.exists()
