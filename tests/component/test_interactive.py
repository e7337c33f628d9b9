"""What a data scientist does from a cell: run a pipeline, fill in a form, compare, test."""

from __future__ import annotations

import dataclasses
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlops_kit import Workspace, compare, form, run
from mlops_kit.jupyter.forms import PipelineForm
from mlops_kit.jupyter.html import form as fields
from mlops_kit.jupyter.html import pipeline
from mlops_kit.kernels.zygote_client import Zygote
from mlops_kit.pytest_plugin import NotebookRunner
from tests.conftest import write_notebook
from tests.failures import fails

PIPELINE = """
from mlops_kit import Input, Pipeline, Step
first = Step("first", "first.ipynb", {"count": Input("count")}, {"said": str})
second = Step("second", "second.ipynb", {"text": first.output("said")}, {"length": int})
PIPELINE = Pipeline("two", (first, second), inputs={"count": 2})
"""
FIRST = (
    "# parameters\ncount: int = 1  # how often\nslow: float = 0.0  # seconds",
    "import time\nfrom mlops_kit import publish\ntime.sleep(slow)",
    "publish(said='<b>' * count)",
)
SECOND = (
    "# parameters\ntext: str = ''  # to measure",
    "from mlops_kit import publish\npublish(length=len(text))",
)


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels that outlive a run, for all runs of this file: libraries are imported once."""
    with (
        tempfile.TemporaryDirectory(prefix="warm-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(tempfile, "tempdir", folder)
        zygote = Zygote.start(idle=60.0)
        yield
        zygote.stop()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A project with one pipeline of two notebooks."""
    write_notebook(tmp_path / "notebooks" / "first.ipynb", *FIRST)
    write_notebook(tmp_path / "notebooks" / "second.ipynb", *SECOND)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "two.py").write_text(PIPELINE)
    (tmp_path / "mlops-kit.toml").write_text("keep_warm = 60.0\n")
    return Workspace.open(tmp_path)


def test_a_run_returns_at_once_and_its_view_ends_as_a_table(workspace: Workspace) -> None:
    live = run("two", workspace=workspace, count=3)
    assert not live.view.is_over, "it returns before the pipeline has run"
    execution = live.wait(60)
    assert execution.value("second", "length") == 9
    assert [step.state for step in live.view.steps] == ["succeeded", "succeeded"]
    assert live.view.steps[1].after == ("first",)
    assert "| second | succeeded |" in pipeline.as_markdown(live.view)
    live.act("choose", {"step": "first"})
    assert "first.ipynb" in pipeline.page(live.view)


def test_a_failed_step_shows_its_cell_and_how_to_come_back(workspace: Workspace) -> None:
    broken = "raise ValueError('<img src=x>')"
    write_notebook(workspace.project / "notebooks" / "second.ipynb", SECOND[0], broken)
    live = run("two", workspace=workspace)
    with fails("step.cell", "second"):
        live.wait(60)
    live.act("choose", {"step": "second"})
    shown = pipeline.page(live.view)
    assert "cell-1, line 1" in shown
    assert "ValueError: &lt;img src=x&gt;" in shown
    assert "mlops-kit debug two-" in shown
    assert live.view.sentence == "second failed."
    assert live.view.chosen == "second", "nobody has to look for it"


def test_a_view_that_fails_says_so_and_the_run_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_view: object) -> None:
        raise ValueError("<no page>")

    monkeypatch.setattr(pipeline, "page", fail)
    shown: list[str] = []
    live = run("two", workspace=workspace)
    live.shown_by(SimpleNamespace(show=lambda markup, _document="": shown.append(markup)))
    assert live.wait(60).value("second", "length") == 6
    assert 'role="alert"' in shown[-1]
    assert "ValueError: &lt;no page&gt;" in shown[-1]


def test_a_cancelled_run_ends_and_can_be_resumed(workspace: Workspace) -> None:
    slow = FIRST[0].replace("0.0", "60.0")
    write_notebook(workspace.project / "notebooks" / "first.ipynb", slow, *FIRST[1:])
    live = run("two", workspace=workspace)
    while not live.view.steps[0].cell:
        time.sleep(0.05)
    began = time.monotonic()
    live.act("cancel", {})
    with fails("project", "two"):
        live.wait(30)
    assert time.monotonic() - began < 20
    assert live.view.state == "stopped"
    assert workspace.executions.last_unfinished("two").seen_state == "interrupted"


def test_a_wrong_input_is_answered_before_anything_starts(workspace: Workspace) -> None:
    with fails("parameter", "count", "many"):
        run("two", workspace=workspace, count="many")
    with fails("project", "tow"):
        run("tow", workspace=workspace)
    assert list(workspace.executions.all()) == []


def test_a_form_runs_a_notebook_with_what_was_entered(workspace: Workspace) -> None:
    filled = form("first", workspace=workspace)
    assert 'type="number"' in filled.page()
    assert "how often" in filled.page()
    filled.act("run", {"count": "4", "slow": "0"})
    assert filled.wait(60) == {"said": "<b>" * 4}
    assert filled.state == "succeeded"
    assert "&lt;b&gt;&lt;b&gt;" in filled.page()


def test_a_form_says_what_is_wrong_and_runs_nothing(workspace: Workspace) -> None:
    filled = form("first", workspace=workspace)
    filled.act("run", {"count": "<many>", "slow": "0"})
    assert all(fact in filled.fault for fact in ("'count'", "'<many>'", "int", "how often"))
    assert "&lt;many&gt;" in filled.page()
    assert filled.state == ""
    with fails("notebook", "frist"):
        form("frist", workspace=workspace)


def test_a_box_that_is_not_ticked_is_false(tmp_path: Path) -> None:
    from mlops_kit.pipelines import notebooks

    path = tmp_path / "a.ipynb"
    source = "# parameters\nfrom typing import Literal\nready: bool = True  # so?\n"
    write_notebook(path, f"{source}kind: Literal['a', 'b'] = 'b'  # which\nmore: dict = {{}}  # x")
    found = notebooks.signature(path)
    assert fields.entered(found, {"kind": "a", "more": "{x: 1}"})["ready"] is False
    shown = fields.form("a", found, {})
    assert '<option value="b" selected>' in shown
    assert '<input type="checkbox" value="true" checked' in shown
    assert "<textarea" in shown


def test_a_step_that_has_ended_shows_its_executed_notebook(workspace: Workspace) -> None:
    live = run("two", workspace=workspace, count=3)
    live.wait(60)
    assert live.document == "", "nothing travels before somebody asks for it"
    live.act("choose", {"step": "first"})
    assert "&lt;b&gt;&lt;b&gt;&lt;b&gt;" in live.document
    assert "<b>" not in live.document
    assert 'sandbox=""' in live.page()
    live.act("choose", {"step": "no such step"})
    assert live.document == ""


def test_who_interrupts_the_waiting_cancels_the_run(workspace: Workspace) -> None:
    slow = FIRST[0].replace("0.0", "60.0")
    write_notebook(workspace.project / "notebooks" / "first.ipynb", slow, *FIRST[1:])
    live = run("two", workspace=workspace)
    while not live.view.steps[0].cell:
        time.sleep(0.05)
    here = threading.get_ident()
    # As the kernel is interrupted, by the signal.
    threading.Timer(0.2, signal.pthread_kill, [here, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        live.wait()
    with fails("project", "two"):
        live.wait(30)
    assert live.view.state == "stopped"


def test_a_pipelines_form_runs_it_with_what_was_entered(workspace: Workspace) -> None:
    other = PIPELINE.replace('"two"', '"another"')
    (workspace.project / "workflows" / "another.py").write_text(other)
    filled = form("two", workspace=workspace)
    assert isinstance(filled, PipelineForm)
    shown = filled.page()
    assert 'type="number"' in shown
    assert 'value="2"' in shown, "the pipeline's default, not the notebook's"
    assert "how often" in shown
    filled.act("run", {"count": "<many>"})
    assert "&lt;many&gt;" in filled.page()
    assert filled.live is None
    filled.act("run", {"count": "4"})
    assert filled.live is not None
    assert filled.live.wait(60).value("second", "length") == 12
    filled.act("choose", {"step": "second"})
    assert "length = 12" in filled.live.document
    filled.act("pipeline", {"value": "another"})
    assert "<h2>another</h2>" in filled.page()


def test_two_executions_are_compared_by_value_and_by_cell(workspace: Workspace) -> None:
    one = run("two", workspace=workspace).wait(60)
    changed = SECOND[1].replace("len(text))", "2 * len(text))  # ````` and <b>")
    write_notebook(workspace.project / "notebooks" / "second.ipynb", SECOND[0], changed)
    two = run("two", workspace=workspace, count=3).wait(60)
    found = compare(one.name, two, workspace=workspace)
    differing = {each.name: (each.before, each.after) for each in found.differences}
    assert differing["count"] == ("2", "3")
    assert differing["second.length"] == ("6", "18")
    (cell,) = found.cells
    assert (cell.step, cell.cell) == ("second", "cell-1")
    text = found._repr_markdown_()
    assert "3 values and 1 code cell differ." in text
    assert "``````diff" in text, "a fence longer than any in the code"
    with fails("project", "no-such"):
        compare("no-such", two, workspace=workspace)


def test_the_kit_for_tests_runs_a_notebook_and_checks_the_next(
    run_notebook: NotebookRunner, workspace: Workspace
) -> None:
    mine = dataclasses.replace(run_notebook, project=workspace.project)
    said = mine("first", count=3)
    assert said["said"] == "<b><b><b>"
    assert mine.accepts("second", text=said["said"]) == {"text": "<b><b><b>"}
    with fails("parameter", "text"):
        mine.accepts("second", text=7)
    with pytest.raises(KeyError, match=r"published \['said'\]"):
        said["sad"]
    with fails("parameter", "cuont"):
        mine("first", cuont=3)


SIX = """
import numpy as np
from mlops_kit import charts, figures
def curve(number):
    x = np.linspace(0, 1, 20_000)
    pair = (("champion", 1.0), ("candidate", 1.1))
    lines = (charts.Series(name, x, x ** (by + number)) for name, by in pair)
    return figures.explore(charts.Lines(f"chart {number}", tuple(lines)))
"""


def test_an_executed_notebook_with_six_charts_stays_small_and_readable(
    run_notebook: NotebookRunner, workspace: Workspace
) -> None:
    from nbconvert import MarkdownExporter

    cells = (f"curve({number})" for number in range(6))
    end = "from mlops_kit import publish\npublish(done=True)"
    write_notebook(workspace.project / "notebooks" / "six.ipynb", SIX, *cells, end)
    executed = dataclasses.replace(run_notebook, project=workspace.project)("six").notebook
    assert executed.stat().st_size <= 500_000
    text, resources = MarkdownExporter().from_filename(str(executed))
    pictures = [name for name in resources["outputs"] if name.endswith(".png")]
    assert len(pictures) == 6
    assert text.count("![png]") == 6
    assert "plotly" not in text
