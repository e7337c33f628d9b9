"""The commands around a cluster, as a stranger types them; none of them needs one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_kit import Workspace
from tests.commands import called

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(project: Path) -> Run:
    """Run a command of the kit in a new project."""
    return lambda *words: called(words, project, {})


def test_render_commits_once_and_check_says_what_is_stale(project: Path, run: Run) -> None:
    assert run("render", "--check").returncode == 1
    done = run("render")
    assert done.returncode == 0, done.stderr
    assert "written  pipelines/fraud-training.yaml" in done.stdout
    repository = Workspace.open(project).repository
    head = repository.head()
    newest = repository.log("pipelines")[0]
    assert newest.trailers == {"Mlops-Action": "render"}
    for words in (("render",), ("render", "--check")):
        assert run(*words).returncode == 0
    assert repository.head() == head, "the same again is no commit"
    workflow = project / "workflows" / "fraud_training.py"
    workflow.write_text(workflow.read_text().replace('"rows": 120_000', '"rows": 7'))
    stale = run("render", "--check", "--json")
    assert stale.returncode == 1
    assert json.loads(stale.stdout)["stale"] == ["pipelines/fraud-training.yaml"]
    assert repository.head() == head
    assert run("history").stdout == "", "a rendering is no act on a release"


def test_a_pipeline_that_is_gone_is_removed(project: Path, run: Run) -> None:
    run("render")
    (project / "workflows" / "fraud_training.py").unlink()
    done = run("render")
    assert "removed  pipelines/fraud-training.yaml" in done.stdout
    assert "pipelines/fraud-training.yaml" not in Workspace.open(project).repository.list(
        "pipelines"
    )


def test_render_writes_into_a_folder_without_any_repository(project: Path, run: Run) -> None:
    assert run("render", "--output", "out").returncode == 0
    assert run("render", "--output", "out", "--check").returncode == 0
    assert not (project / ".mlops-kit" / "gitops.git").exists()
    file = project / "out" / "pipelines" / "fraud-training.yaml"
    file.write_text(file.read_text().replace("fraud", "freud"))
    assert run("render", "--output", "out", "--check").returncode == 1


def test_lint_reads_the_gitops_repository_or_what_it_is_given(project: Path, run: Run) -> None:
    run("render")
    clean = run("lint")
    assert (clean.returncode, clean.stdout) == (0, "")
    bad = project / "bad.yaml"
    bad.write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: hunter2}\n")
    found = run("lint", "bad.yaml")
    assert found.returncode == 1
    assert found.stdout.startswith("bad.yaml:4: ")
    assert "Secret 'a'" in found.stdout
    (finding,) = json.loads(run("lint", "--json", ".").stdout)
    assert (finding["rule"], finding["line"]) == ("secret-in-the-clear", 4)
    assert run("lint", "nothing.yaml").returncode == 2


def test_report_names_what_failed_and_how_to_look_at_it(run: Run) -> None:
    failures = json.dumps(json.dumps([{"displayName": "train", "message": "exit code 1"}]))
    done = run("report", "fraud-abc", "Failed", "--failures", failures)
    assert done.returncode == 0, "a report that fails would fail a workflow that ended well"
    assert "fraud-abc: Failed" in done.stdout
    assert "mlops-kit debug fraud-abc/train" in done.stdout
    for odd in ('"null"', "null", "", "{", "5", "[5]"):
        assert run("report", "w", "Succeeded", "--failures", odd).returncode == 0


def test_webhook_says_what_to_enter_and_names_no_secret(run: Run) -> None:
    said = run("webhook").stdout
    assert "/api/v1/events/argowf/mlops-kit" in said
    assert "application/json" in said
    assert "$WEBHOOK_SECRET" in said


def test_a_condition_that_argo_can_t_decide_safely_is_refused(project: Path, run: Run) -> None:
    workflow = project / "workflows" / "fraud_training.py"
    workflow.write_text(workflow.read_text().replace('equals="promote"', 'equals="it\'s fine"'))
    done = run("render")
    assert done.returncode == 1
    assert done.stderr.startswith("DefinitionError: ")
    assert "it's fine" in done.stderr
