"""The notebooks in a real JupyterLab: what a person sees after Run All."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

# One server, and one run of the tour, for all of them.
pytestmark = pytest.mark.browser

STEPS = (
    "validate-data",
    "train-baseline",
    "train-candidate",
    "evaluate",
    "promote",
    "watch-rollout",
)


def git(lab: Any, *arguments: str) -> str:
    """Ask the bare repository of the project."""
    repository = lab.project / ".mlops-kit" / "gitops.git"
    command = ["git", f"--git-dir={repository}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def tour(lab: Any) -> Any:
    """The tour, run from top to bottom."""
    notebook = lab.open("notebooks/tour.ipynb")
    notebook.run()
    notebook.screenshot("tour")
    return notebook


def test_the_tour_runs_to_its_end_without_an_error(tour: Any, lab: Any) -> None:
    assert tour.errors == []
    assert tour.stderr == []
    assert lab.complaints == []


def test_the_tour_shows_the_pipeline_and_how_each_step_ended(tour: Any) -> None:
    pipeline = tour.output('workspace.pipeline("fraud-training")').inner_text()
    assert all(step in pipeline for step in STEPS)
    assert "decision is promote" in pipeline
    execution = tour.output("workspace.run(pipeline").last
    rows = [row.split("\t") for row in execution.locator("tbody tr").all_inner_texts()]
    assert [(name.strip(), state.strip()) for name, state, *_ in rows] == [
        (step, "succeeded") for step in STEPS
    ]


def test_the_tour_shows_scores_and_the_gates_as_a_picture_that_fits(tour: Any) -> None:
    scores = tour.output("reports.Report(evaluation")
    assert "fraud v2 to prod: PASS" in scores.inner_text()
    assert "average precision" in scores.inner_text()
    picture = tour.output("reports.gates_chart(").locator("img")
    assert_fits(picture)


def test_the_tour_ends_with_the_commit_that_is_in_git(tour: Any, lab: Any) -> None:
    status = tour.output("releasing.status(workspace").inner_text()
    assert "fraud v2 serves prod." in status
    history = tour.output("releasing.history(workspace").locator("tbody tr").first.inner_text()
    when, act, version, *_, commit = (cell.strip() for cell in history.split("\t"))
    assert (act, version) == ("retire", "2"), "the last act of a rollout that completed"
    assert git(lab, "cat-file", "-t", commit).strip() == "commit"
    assert git(lab, "show", "-s", "--format=%cd", "--date=format:%Y", commit)[:4] == when[:4]
    assert "Mlops-Version: 2" in git(lab, "show", "-s", "--format=%B", "HEAD")
    assert "version: '2'" in git(lab, "show", "HEAD:envs/prod/release.yaml")
    evidence = git(lab, "ls-tree", "-r", "--name-only", "HEAD", "evidence/prod").split()
    names = {Path(path).name for path in evidence}
    assert {"report.md", "gates.svg", "evaluate.ipynb", "train-candidate.ipynb"} <= names


def test_the_executed_evaluation_opens_with_its_figures(tour: Any, lab: Any) -> None:
    (path,) = lab.project.glob(".mlops-kit/executions/*/evaluate/evaluate.ipynb")
    evaluate = lab.open(str(path.relative_to(lab.project)))
    pictures = evaluate.page.locator("img.plot-img")
    pictures.nth(2).wait_for(timeout=30_000)
    assert pictures.count() == 3
    for number in range(3):
        assert_fits(pictures.nth(number))
    evaluate.screenshot("evaluate")
    assert evaluate.errors == []
    pictures.first.dispatch_event("mouseenter")
    evaluate.page.locator(".js-plotly-plot .legend").first.wait_for(timeout=30_000)
    assert lab.complaints == []


def test_a_training_runs_by_hand_with_its_defaults(tour: Any, lab: Any) -> None:
    train = lab.open("notebooks/train.ipynb")
    train.run()
    train.screenshot("train")
    assert train.errors == []
    assert train.stderr == []
    assert "costs least" in train.output("threshold = training").inner_text()
    assert "version = '3'" in train.output("publish(version").inner_text()
    assert lab.complaints == []


def test_mlflow_is_one_click_away(tour: Any, lab: Any) -> None:
    page = lab.browser.new_page()
    page.goto(f"{lab.address}/lab?reset&token={lab.token}")
    with page.context.expect_page(timeout=60_000) as opened:
        page.locator(".jp-LauncherCard", has_text="MLflow").click(timeout=60_000)
    opened.value.get_by_text("Experiments").first.wait_for(timeout=90_000)
    opened.value.goto(f"{lab.address}/mlflow/#/experiments")
    opened.value.get_by_text("fraud", exact=True).first.wait_for(timeout=60_000)


@pytest.mark.parametrize("step", STEPS)
def test_an_executed_notebook_is_readable_without_a_kernel(
    tour: Any, lab: Any, step: str, tmp_path: Path
) -> None:
    from mlops_kit.views import records

    (path,) = lab.project.glob(f".mlops-kit/executions/*/{step}/*.ipynb")
    safe = tmp_path / "safe.ipynb"
    safe.write_bytes(records.git_safe(path))
    figures = path.read_text().count('"application/vnd.plotly.v1+json"')
    counts = {"validate-data": 1, "evaluate": 3, "promote": 0, "watch-rollout": 1}
    assert figures == counts.get(step, 2)
    for notebook in (path, safe):
        assert notebook.stat().st_size <= 500_000
        text, pictures = exported(notebook, tmp_path / notebook.stem)
        assert len(pictures) == figures
        assert all(width(picture) >= 700 for picture in pictures)
        assert "| ---" in text or "|---" in text
        assert "plotly" not in text
    assert "vnd.plotly" not in safe.read_text()


def exported(notebook: Path, folder: Path) -> tuple[str, list[Path]]:
    """Return a notebook as Markdown, and its pictures."""
    import nbformat
    from nbconvert import MarkdownExporter

    content = nbformat.read(notebook, as_version=4)
    text, resources = MarkdownExporter().from_notebook_node(content)
    folder.mkdir()
    pictures = []
    for name, content in resources["outputs"].items():
        (folder / name).write_bytes(content)
        pictures.append(folder / name)
    return text, pictures


def width(picture: Path) -> int:
    """Return the width of a PNG in dots."""
    start = picture.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n"
    found: int = struct.unpack(">I", start[16:20])[0]
    return found


def assert_fits(picture: Any) -> None:
    """Fail unless the picture is loaded, and none of it lies outside of its output."""
    picture.scroll_into_view_if_needed()
    shown, room = picture.evaluate(
        "img => [img.complete && img.naturalWidth > 0 ? img.getBoundingClientRect().width : 0, "
        "img.closest('.jp-OutputArea-output').getBoundingClientRect().width]"
    )
    assert 600 < shown <= room
