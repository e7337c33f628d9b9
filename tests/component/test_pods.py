"""The replay test: each rendered container's command, run as a process, does as the local run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_kit import Workspace, projects
from tests.component.test_second_model import (
    EVALUATE,
    TRAIN,
    WORKFLOW,
    add_environment,
    write_notebook,
)
from tests.controller import Controller, Node


def made(folder: Path, pods: str) -> Path:
    """Make a project with the small pipeline of another model."""
    projects.create(folder)
    write_notebook(folder / "notebooks" / "train_churn.ipynb", TRAIN)
    write_notebook(folder / "notebooks" / "evaluate_churn.ipynb", EVALUATE)
    text = WORKFLOW.replace("release))", f'release), pods="{pods}")')
    assert text != WORKFLOW
    (folder / "workflows" / "churn_training.py").write_text(text)
    add_environment(folder, "churn")
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, mlops_kit_command: str) -> Workspace:
    """A local run of the pipeline."""
    project = made(tmp_path_factory.mktemp("local") / "project", "step")
    command = [mlops_kit_command, "run", "churn-training", "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Workspace.open(project)


def controller(folder: Path, pods: str) -> Controller:
    project = made(folder / "project", pods)
    rendered = Workspace.open(project).rendered()["pipelines/churn-training.yaml"]
    environment = {"MLOPS_KIT_COLD": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return Controller(yaml.safe_load(rendered), project, folder / "cluster", environment)


def shared(cluster: Controller, mp_project: Path) -> Workspace:
    """The workspace over what the pods shared."""
    state = mp_project / ".mlops-kit"
    if not state.exists():
        state.symlink_to(cluster.folder / "state")
    return Workspace.open(mp_project)


def evidence(workspace: Workspace) -> dict[str, bytes]:
    """What stands in Git for the release: the evidence by its file's name."""
    (champion,) = [workspace.release("churn", "churn").champion]
    assert champion is not None
    found = workspace.repository.list(champion.evidence)
    return {Path(path).name: workspace.repository.read(path) or b"" for path in found}


def outputs(node: Node, prefix: str = "") -> dict[str, Any]:
    """A pod's outputs as data, without what differs from run to run."""
    return {name: text for name, text in node.parameters.items() if name.startswith(prefix)}


@pytest.mark.parametrize("pods", ["step", "fused"])
def test_pods_publish_and_promote_what_a_local_run_does(
    local: Workspace, tmp_path: Path, pods: str
) -> None:
    cluster = controller(tmp_path, pods)
    nodes = cluster.submit("churn-training-abc12")
    logs = "\n".join(node.log for node in nodes.values())
    assert {node.phase for node in nodes.values()} == {"Succeeded"}, logs
    (execution,) = local.executions.all()
    expected = {
        "version": execution.value("train", "version"),
        "verdict": execution.value("evaluate", "verdict"),
    }
    found = {
        name.rpartition("-")[2]: text
        for node in nodes.values()
        for name, text in outputs(node).items()
    }
    assert {name: found[name] for name in expected} == expected
    judged = next(
        path / "evaluation.json"
        for node in nodes.values()
        for name, path in node.artifacts.items()
        if name.rpartition("-")[2] == "evaluation"
    )
    evaluation = json.loads(judged.read_bytes())
    assert evaluation["verdict"] == execution.value("evaluate", "evaluation")["verdict"]
    there = shared(cluster, cluster.project)
    assert found["revision"] == there.repository.head()
    assert evidence(there).keys() == evidence(local).keys()
    newest = there.repository.log()[0]
    assert newest.trailers["Mlops-Run"] == "churn-training-abc12"


def test_a_gate_that_says_no_leaves_out_the_promotion(tmp_path: Path) -> None:
    cluster = controller(tmp_path, "step")
    book = cluster.project / "notebooks" / "evaluate_churn.ipynb"
    book.write_text(book.read_text().replace("verdict=verdict.status", "verdict='fail'"))
    nodes = cluster.submit("churn-training-def34")
    assert {name: node.phase for name, node in nodes.items()} == {
        "train": "Succeeded",
        "evaluate": "Succeeded",
        "promote": "Skipped",
    }
    assert shared(cluster, cluster.project).release("churn", "churn").champion is None


def test_a_failed_cell_keeps_its_notebook_and_ends_the_workflow(tmp_path: Path) -> None:
    cluster = controller(tmp_path, "step")
    book = cluster.project / "notebooks" / "train_churn.ipynb"
    book.write_text(book.read_text().replace("customers[:3000]", "customers[:3000].nothing"))
    nodes = cluster.submit("churn-training-fed56")
    assert [node.phase for node in nodes.values()] == ["Failed", "Omitted", "Omitted"]
    assert nodes["train"].parameters == {"version": "-absent-"}
    assert 0 < (nodes["train"].code or 0) < 130
    (executed,) = nodes["train"].artifacts["notebook"].iterdir()
    assert "AttributeError" in executed.read_text()
    assert os.environ.get("MLOPS_KIT_COLD") is None
