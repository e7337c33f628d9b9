"""Green is: every cell ran, every output is there; a failure is saved, then told."""

import json
import threading
import time
from pathlib import Path

import pytest

from mlops_kit import errors
from mlops_kit.pipelines import notebooks, values
from mlops_kit.pipelines.notebooks import Job
from tests.failures import fails

PUBLISH = "from mlops_kit import publish\n"


@pytest.fixture
def execute(kernel, tmp_path):
    def run(notebook, *, given=None, outputs=None, timeout=60.0, **observers):
        job = Job(notebook, tmp_path / "out", given or {}, outputs or {}, timeout)
        with kernel(1) as manager:
            return notebooks.execute(job, manager, **observers)

    return run


def cells(tmp_path):
    return json.loads((tmp_path / "out" / "example.ipynb").read_text())["cells"]


def statuses(tmp_path):
    return [
        cell["metadata"]["papermill"]["status"]
        for cell in cells(tmp_path)
        if cell["cell_type"] == "code"
    ]


def test_published_values_come_back_with_their_types(notebook, execute, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    source = notebook(
        PUBLISH + "from pathlib import Path\nimport numpy as np",
        "publish(text='007', whole=3, share=np.float64(0.5), yes=True, names=['a'])",
        "publish(scores={'a': 1})",
        "publish(table=Path('table.csv'))",
    )
    kinds = {"text": str, "whole": int, "share": float, "yes": bool, "names": list, "scores": dict}
    found = execute(source, outputs={**kinds, "table": Path})
    assert {name: found[name].data for name in kinds} == {
        "text": "007", "whole": 3, "share": 0.5, "yes": True, "names": ["a"], "scores": {"a": 1},
    }  # fmt: skip
    assert found["table"].file.read_text() == "a,b\n1,2\n"
    assert found["table"].digest == values.file_digest(tmp_path / "table.csv")


def test_parameters_are_injected_after_the_defaults(notebook, execute):
    source = notebook("# parameters\nx: str = 'a'  # x", PUBLISH + "publish(x=x)")
    assert execute(source, given={"x": "007"}, outputs={"x": str})["x"].data == "007"
    assert execute(source, outputs={"x": str})["x"].data == "a"


def test_a_value_over_100_kb_travels_as_a_file(notebook, execute, tmp_path):
    found = execute(notebook(PUBLISH + "publish(big=['x' * 1000] * 200)"), outputs={"big": list})
    assert found["big"].data is None
    assert json.loads(Path(found["big"].argument).read_text()) == ["x" * 1000] * 200


def test_a_wrong_parameter_is_refused_before_a_kernel_starts(notebook, tmp_path):
    source = notebook("# parameters\nrows: int = 1  # rows")
    with fails("parameter.type", "'rows'", "int"):
        notebooks.execute(Job(source, tmp_path / "out", {"rows": "many"}), kernel_manager=None)
    with fails("parameter.unknown", "'row'", "'rows'"):
        notebooks.execute(Job(source, tmp_path / "out", {"row": 1}), kernel_manager=None)


def test_a_failing_cell_is_saved_then_told_with_cell_line_and_parameters(
    notebook, execute, tmp_path
):
    source = notebook("# parameters\nx: int = 1  # x", "a = 1\nb = a / 0\n", "c = 1")
    with pytest.raises(errors.CellError) as raised:
        execute(source, given={"x": "5"})
    error = raised.value
    assert (error.notebook, error.cell, error.line) == ("example.ipynb", "cell-1", 2)
    assert error.reason == "ZeroDivisionError: division by zero"
    assert "x=5" in str(error)
    assert "completed failed pending" in " ".join(statuses(tmp_path))


def test_a_syntax_error_names_its_line(notebook, execute):
    with fails("step.cell", "SyntaxError") as raised:
        execute(notebook("a = 1\nb = = 2"))
    assert raised.value.line == 2


@pytest.mark.parametrize(
    "leave", ["import sys; sys.exit(0)", "raise SystemExit", "sys_exit = 1; raise SystemExit('')"]
)
def test_leaving_early_is_a_failure(notebook, execute, leave):
    with pytest.raises(errors.EarlyExitError) as raised:
        execute(notebook(leave, PUBLISH + "publish(x=1)"), outputs={"x": int})
    assert raised.value.cell == "cell-0"


def test_a_kernel_that_ends_itself_is_a_failure(notebook, execute):
    with pytest.raises(errors.KernelDiedError) as raised:
        execute(notebook("import os; os._exit(0)", "a = 1"))
    assert raised.value.cell == "cell-0"


def test_an_exit_code_is_an_early_exit_too(notebook, execute):
    with pytest.raises(errors.EarlyExitError):
        execute(notebook("import sys", "sys.exit(3)"))


def test_a_killed_kernel_is_said_to_be_killed(notebook, execute, tmp_path):
    source = notebook("a = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "b = 2")
    with fails("step.kernel-died", "SIGKILL") as raised:
        execute(source)
    assert raised.value.exit_code == 137
    assert statuses(tmp_path) == ["completed", "failed", "pending"]


def test_a_step_past_its_deadline_is_stopped(notebook, execute, tmp_path):
    start = time.monotonic()
    with fails("step.timeout", "1.5 s") as raised:
        execute(notebook("import time", "time.sleep(60)"), timeout=1.5)
    assert time.monotonic() - start < 20
    assert raised.value.cell == "cell-1"
    assert statuses(tmp_path)[1] == "failed"


def test_the_deadline_is_the_steps_not_each_cells(notebook, execute):
    with pytest.raises(errors.StepTimeoutError):
        execute(notebook(*["import time; time.sleep(0.7)"] * 5), timeout=2.0)


def test_a_missing_output_names_what_was_published(notebook, execute):
    with fails("step.output.missing", "'verdict'", "['verdcit']"):
        execute(notebook(PUBLISH + "publish(verdcit='pass')"), outputs={"verdict": str})


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", str), ("'1'", int), ("True", int), ("1.5", int), ("[]", dict), ("'a.csv'", Path)],
)
def test_an_output_of_another_type_is_refused(notebook, execute, value, kind):
    with fails("step.output.type", "'x'", kind.__name__):
        execute(notebook(PUBLISH + f"publish(x={value})"), outputs={"x": kind})


@pytest.mark.parametrize("value", ["object()", "float('nan')", "Path('absent.csv')", "{1, 2}"])
def test_what_cannot_travel_is_refused_in_the_cell(notebook, execute, value):
    source = notebook(PUBLISH + f"from pathlib import Path\npublish(x={value})")
    with fails("step.cell", "ParameterError"):
        execute(source, outputs={"x": str})


def test_a_file_that_changes_after_it_was_published_is_refused(notebook, execute, tmp_path):
    (tmp_path / "a.txt").write_text("before")
    source = notebook(
        PUBLISH + "from pathlib import Path\npublish(x=Path('a.txt'))",
        "open('a.txt', 'w').write('after')",
    )
    with fails("step.output.not-kept", "'x'"):
        execute(source, outputs={"x": Path})


def test_cells_tagged_as_allowed_to_raise_may(notebook, execute, tmp_path):
    source = notebook({"source": "1 / 0", "tags": ["raises-exception"]}, PUBLISH + "publish(x=1)")
    assert execute(source, outputs={"x": int})["x"].data == 1
    assert [cell["id"] for cell in cells(tmp_path)] == ["cell-0", "cell-1"]


def test_cells_tagged_to_be_skipped_are_skipped(notebook, execute):
    source = notebook(
        {"source": "raise ValueError", "tags": ["skip-execution"]}, "", PUBLISH + "publish(x=1)"
    )
    assert execute(source, outputs={"x": int})["x"].data == 1


def test_each_code_cell_is_told_as_it_starts(notebook, execute):
    told = []
    execute(notebook("a = 1", "b = 2"), on_cell=lambda *cell: told.append(cell))
    assert told == [(0, 2, "cell-0"), (1, 2, "cell-1")]


def test_the_source_notebook_is_never_written(notebook, execute):
    source = notebook("# parameters\nx: int = 1  # x", "x")
    before = source.read_bytes()
    execute(source, given={"x": 2})
    assert source.read_bytes() == before


def test_a_run_leaves_no_old_notebook_behind(notebook, execute, tmp_path):
    execute(notebook("a = 1"))
    source = notebook("# parameters\nx: int = 1  # x", name="example.ipynb")
    with pytest.raises(errors.ParameterError):
        execute(source, given={"x": "no"})
    execute(source)
    assert len(cells(tmp_path)) == 1


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"nbformat": 3, "cells": []}', '{"nbformat": 4, "cells": [1]}',
     '{"nbformat": 4, "cells": [{"source": 1}]}', "\x00", '{"nbformat": 4}', "null",
     '\ufeff{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}'],
)  # fmt: skip
def test_a_file_that_is_no_notebook_is_a_kit_error(tmp_path, execute, content):
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    with fails("notebook", "broken.ipynb"):
        execute(path)


def test_a_missing_notebook_is_told_with_the_nearest_name(notebook, execute, tmp_path):
    notebook("a = 1", name="train.ipynb")
    with fails("notebook", "trian.ipynb", "'train.ipynb'"):
        execute(tmp_path / "trian.ipynb")


@pytest.mark.parametrize("call", ["exit()", "exit(1)", "quit()", "get_ipython().ask_exit()"])
def test_exit_of_ipython_is_a_failure_and_no_cell_runs_after_it(notebook, execute, tmp_path, call):
    source = notebook(call, PUBLISH + "publish(done='yes')")
    with fails("step.early-exit") as raised:
        execute(source, outputs={"done": str})
    assert raised.value.cell == "cell-0"
    assert statuses(tmp_path) == ["failed", "pending"]


def test_an_error_that_ipython_only_prints_keeps_its_reason(notebook, execute, tmp_path):
    with fails("step.cell", "UsageError", "%nosuchmagic") as raised:
        execute(notebook("%nosuchmagic\nx = 1", "y = 1"))
    assert raised.value.cell == "cell-0"
    printed = [o for cell in cells(tmp_path) for o in cell.get("outputs", ())]
    [error] = [output for output in printed if output["output_type"] == "error"]
    assert error["ename"] == "UsageError"
    assert statuses(tmp_path) == ["failed", "pending"]


def test_widgets_that_capture_output_run_and_leave_no_state_in_the_notebook(
    notebook, execute, tmp_path
):
    source = notebook(
        "import ipywidgets\nout = ipywidgets.Output()\nout",
        "with out:\n    print('captured')\n    1 / 1\nout.clear_output()",
        "ipywidgets.interact(lambda x: print(x), x=(0, 3))",
        PUBLISH + "publish(done='yes')",
    )
    assert execute(source, outputs={"done": str})["done"].data == "yes"
    content = json.loads((tmp_path / "out" / "example.ipynb").read_text())
    assert "widgets" not in content["metadata"]


@pytest.mark.parametrize("folder", ["a{b}c", "{", "}", "{0}", "{{rows}}", "{rows}"])
def test_braces_in_a_path_stay_braces(notebook, kernel, tmp_path, folder):
    source = notebook("# parameters\nrows: int = 1  # rows", PUBLISH + "publish(rows=rows)")
    (tmp_path / folder).mkdir()
    source = source.rename(tmp_path / folder / "t{rows}.ipynb")
    job = Job(source, tmp_path / folder / "out", {"rows": 2}, {"rows": int})
    with kernel(1) as manager:
        assert notebooks.execute(job, manager)["rows"].data == 2
    assert job.executed.is_file()


@pytest.mark.parametrize(
    "metadata",
    [{"kernelspec": {"name": "ir", "language": "R"}}, {"language_info": {"name": "julia"}}],
)
def test_a_notebook_of_another_language_is_refused_before_a_kernel_starts(
    notebook, tmp_path, metadata
):
    source = notebook("x = 1")
    content = json.loads(source.read_text()) | {"metadata": metadata}
    source.write_text(json.dumps(content))
    language = next(iter(metadata.values())).get("language", "julia")
    with fails("notebook.language", "example.ipynb", language):
        notebooks.execute(Job(source, tmp_path / "out"), kernel_manager=None)


def test_two_notebooks_at_once_do_not_meet(notebook, kernel, tmp_path):
    source = notebook("# parameters\nx: int = 1  # x", "y = x * 10", PUBLISH + "publish(y=y)")
    found = {}

    def run(number):
        job = Job(source, tmp_path / f"out-{number}", {"x": number}, {"y": int})
        with kernel(1) as manager:
            found[number] = notebooks.execute(job, manager)["y"].data

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 0, 1: 10, 2: 20, 3: 30}


def test_a_running_cell_tells_whoever_watches_and_keeps_the_last_word(notebook, execute, tmp_path):
    told = []
    source = notebook(
        "from mlops_kit.pipelines.values import Teller, in_kernel\n"
        "tell, other = Teller(), Teller()\n"
        "tell(['10 %', 'no harm'])\n"
        "other([f'{in_kernel()}'])\n"
        "tell(['20 %', 'proved'])"
    )
    execute(source, on_told=told.append)
    assert told == [("10 %", "no harm"), ("True",), ("20 %", "proved")]
    left = ["".join(output["data"]["text/plain"]) for output in cells(tmp_path)[0]["outputs"]]
    assert left == ["20 %\nproved", "True"]
