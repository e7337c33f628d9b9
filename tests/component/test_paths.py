"""Paths and modules beside a notebook are found alike: by Jupyter, a run, a pod, and its replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from mlops_kit import Workspace, compare
from mlops_kit.errors import StepError
from mlops_kit.kernels import provisioner
from mlops_kit.pipelines import notebooks, values
from mlops_kit.pipelines.cache import Cache
from mlops_kit.pipelines.executions import Execution
from mlops_kit.pipelines.local import Runner
from mlops_kit.pipelines.notebooks import Job
from mlops_kit.project import argo, local_runs
from mlops_kit.pytest_plugin import NotebookRunner
from tests.commands import called
from tests.conftest import write_notebook
from tests.controller import Controller
from tests.failures import fails

Run = Callable[[], Execution]

PIPELINE = """
from pathlib import Path
from mlops_kit import Input, Pipeline, Step
reads = Step("reads", "deep/reads.ipynb", {"data": Input("data")}, {"found": dict, "made": Path})
PIPELINE = Pipeline("paths", (reads,), inputs={"data": "rows.txt"})
"""
READS = (
    "# parameters\ndata: str = 'rows.txt'  # a file beside the notebook",
    "from pathlib import Path\nfrom mlops_kit import Workspace, publish",
    "workspace = Workspace.open()",
    "import features, helper\n%run ./part.py",
    "Path('made.txt').write_text('made')",
    "publish(made=Path('made.txt'), found={'rows': open(data).read(), 'helper': helper.VALUE,"
    " 'part': PART, 'features': features.VALUE, 'project': str(workspace.project)})",
)
FILES = {
    "notebooks/deep/rows.txt": "1",
    "notebooks/deep/helper.py": "VALUE = 'helper'",
    "notebooks/deep/part.py": "PART = 'part'",
    "features.py": "VALUE = 'features'",
    # What a path from the project's folder would find.
    "rows.txt": "none",
    "helper.py": "VALUE = 'none'",
    "part.py": "PART = 'none'",
    "limits.json": "1",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    project = tmp_path / "project"
    write_notebook(project / "notebooks" / "deep" / "reads.ipynb", *READS)
    (project / "workflows").mkdir()
    (project / "workflows" / "paths.py").write_text(PIPELINE)
    for name, text in FILES.items():
        (project / name).write_text(text)
    (project / "mlops-kit.toml").write_text("cold = true\n")
    return Workspace.open(project)


@pytest.fixture
def run(workspace: Workspace, zygote: provisioner.Zygote) -> Run:
    """Run the pipeline as `local_runs` does, on the kernels of these tests."""
    project = workspace.project

    def start() -> Execution:
        pipeline = workspace.pipeline("paths")
        execution = workspace.executions.create("paths", dict(pipeline.inputs), ["reads"])
        runner = Runner(
            project / "notebooks",
            lambda threads, folder: provisioner.manager(
                zygote=zygote, cwd=folder, project=project, threads=threads
            ),
            Cache(workspace.settings.state_folder / "cache", project=project),
            project=project,
        )
        try:
            return runner.run(pipeline, execution)
        finally:
            execution.release()

    return start


def expected(project: Path) -> dict[str, str]:
    found = {"rows": "1", "helper": "helper", "part": "part", "features": "features"}
    return found | {"project": str(project)}


def as_jupyter(notebook: Path) -> dict[str, Any]:
    """Run a notebook as JupyterLab does, on a plain kernel; return what it published."""
    place = {"metadata": {"path": str(notebook.parent)}}
    node = nbformat.read(notebook, as_version=4)
    done = NotebookClient(node, kernel_name="python3", resources=place).execute()
    return values.published(done.cells)


def test_jupyter_a_run_and_the_kit_for_tests_find_the_same(
    workspace: Workspace, zygote: provisioner.Zygote, tmp_path: Path
) -> None:
    source = workspace.project / "notebooks" / "deep" / "reads.ipynb"
    assert as_jupyter(source)["found"] == expected(workspace.project)
    pipeline = workspace.pipeline("paths")
    execution = local_runs.run(workspace, pipeline, {}, observer=lambda _: None)
    assert execution.value("reads", "found") == expected(workspace.project)
    assert Path(execution.value("reads", "made")).read_text() == "made"
    forked = NotebookRunner(workspace.project, tmp_path, zygote)("deep/reads")
    assert forked["found"] == expected(workspace.project)


def test_run_also_finds_what_lies_in_the_project(
    workspace: Workspace, zygote: provisioner.Zygote, tmp_path: Path
) -> None:
    (workspace.project / "tools").mkdir()
    (workspace.project / "tools" / "part.py").write_text("PART = 'of the project'")
    cells = ("%run tools/part.py", "from mlops_kit import publish\npublish(part=PART)")
    write_notebook(workspace.project / "notebooks" / "deep" / "tool.ipynb", *cells)
    forked = NotebookRunner(workspace.project, tmp_path, zygote)("deep/tool")
    assert forked["part"] == "of the project"
    write_notebook(workspace.project / "notebooks" / "deep" / "tool.ipynb", "%run tools/none.py")
    with fails("step.cell", "tools/none.py"):
        NotebookRunner(workspace.project, tmp_path, zygote)("deep/tool")


def test_a_pod_finds_the_same(workspace: Workspace, tmp_path: Path) -> None:
    rendered = argo.rendered(workspace)["pipelines/paths.yaml"]
    cluster = Controller(yaml.safe_load(rendered), workspace.project, tmp_path / "cluster", {})
    node = cluster.submit("paths-1")["reads"]
    assert node.phase == "Succeeded", node.log
    (file,) = node.artifacts["found"].iterdir()
    assert json.loads(file.read_text()) == expected(tmp_path / "cluster/paths-1/reads/code")


def test_a_failed_step_comes_back_where_it_ran(
    workspace: Workspace, run: Run, kernel: Callable[..., Any], tmp_path: Path
) -> None:
    source = workspace.project / "notebooks" / "deep" / "reads.ipynb"
    write_notebook(source, *READS[:-1], "open('limits.json')")
    with fails("step.cell", "limits.json", "'../../limits.json'"):
        run()
    execution = next(iter(workspace.executions.all()))
    done = called(("debug", execution.name, "--json"), workspace.project, {})
    target = Path(json.loads(done.stdout)["notebook"])
    content = json.loads(target.read_text())
    content["cells"] = [each for each in content["cells"] if each["id"] != "stop-here"]
    target.write_text(json.dumps(content))
    with kernel(1, tmp_path) as manager, pytest.raises(StepError) as raised:
        notebooks.execute(Job(target, tmp_path / "again"), manager)
    assert raised.value.cell == json.loads(done.stdout)["cell"], raised.value


def test_changed_code_and_files_are_listed(workspace: Workspace, run: Run) -> None:
    source = workspace.project / "notebooks" / "deep" / "reads.ipynb"
    # A file that a step writes beside its notebook would be one that it could read.
    write_notebook(source, *READS[:4], READS[-1].replace("made=Path('made.txt'), ", ""))
    workflow = workspace.project / "workflows" / "paths.py"
    workflow.write_text(PIPELINE.replace(', "made": Path', ""))
    first = run()
    (workspace.project / "features.py").write_text("VALUE = 'other'")
    (workspace.project / "notebooks" / "deep" / "rows.txt").write_text("2")
    (workspace.project / "more.py").touch()
    second = run()
    found = compare(first, second, workspace=workspace)
    assert found.changed == (
        "code: features.py changed",
        "code: more.py added",
        "file: notebooks/deep/rows.txt changed",
    )
    assert second.value("reads", "found")["rows"] == "2"
    assert found.sentence == "1 value, 2 modules and 1 file differ."
    third = run()
    assert third.state.steps["reads"].state == "cached"
    assert compare(second, third).sentence == "Nothing differs."
