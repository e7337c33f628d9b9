"""The notebooks in a real JupyterLab: what a person sees after Run All."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import warm
from tests.conftest import write_notebook

# One server, and one run of the tour, for all of them.
pytestmark = [pytest.mark.browser, pytest.mark.story]

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
    execution = tour.output("training = run(")
    rows = [row.split("\t") for row in execution.locator("tbody tr").all_inner_texts()]
    assert [(name.strip(), state.strip()) for name, state, *_ in rows] == [
        (step, "succeeded") for step in STEPS
    ]
    graph = execution.locator(".steps button").all_inner_texts()
    assert [text.split("\n")[0] for text in graph] == list(STEPS)


def test_the_tour_shows_scores_and_the_gates_as_a_picture_that_fits(tour: Any) -> None:
    scores = tour.output("reports.Report(judged")
    assert "fraud v2 to prod: PASS" in scores.inner_text()
    assert "average precision" in scores.inner_text()
    picture = tour.output("reports.gates_chart(").locator("img")
    assert_fits(picture)


def test_the_tour_leaves_the_next_candidate_to_a_person(tour: Any, lab: Any) -> None:
    panel = tour.output("PromotionPanel(")
    assert panel.locator("[data-standing=pass][data-version='4']").is_visible()
    assert panel.get_by_role("button", name="Promote v4 to prod…").is_visible()
    watched = tour.output('watch("fraud"').last
    ended = ".mlops-kit [data-key=sentence][data-state=succeeded]"
    watched.locator(ended, has_text="fraud 2").wait_for(timeout=60_000)


def test_the_tour_ends_with_the_commit_that_is_in_git(tour: Any, lab: Any) -> None:
    status = tour.output("release_status(workspace").inner_text()
    assert "fraud v2 serves prod." in status
    table = tour.output("PromotionPanel(").locator("table", has_text="History")
    history = table.locator("tbody tr").first.inner_text()
    when, act, version, *_, commit, _look = (cell.strip() for cell in history.split("\t"))
    assert (act, version) == ("retire", "v2"), "the last act of a rollout that completed"
    assert git(lab, "cat-file", "-t", commit).strip() == "commit"
    assert git(lab, "show", "-s", "--format=%cd", "--date=format:%Y", commit)[:4] == when[:4]
    assert "Mlops-Version: 2" in git(lab, "show", "-s", "--format=%B", "HEAD")
    assert "version: '2'" in git(lab, "show", "HEAD:envs/prod/release.yaml")
    evidence = git(lab, "ls-tree", "-r", "--name-only", "HEAD", "evidence/prod").split()
    names = {Path(path).name for path in evidence}
    assert {"report.md", "gates.svg", "evaluate.ipynb", "train-candidate.ipynb"} <= names


def test_the_executed_evaluation_opens_with_its_figures(tour: Any, lab: Any) -> None:
    path = sorted(lab.project.glob(".mlops-kit/executions/*/evaluate/evaluate.ipynb"))[0]
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
    assert "version = '5'" in train.output("publish(version").inner_text()
    assert lab.complaints == []


def test_mlflow_is_one_click_away(tour: Any, lab: Any) -> None:
    page = lab.browser.new_page()
    page.goto(f"{lab.address}/lab?reset&token={lab.token}")
    with page.context.expect_page(timeout=180_000) as opened:
        page.locator(".jp-LauncherCard", has_text="MLflow").click(timeout=60_000)
    # The proxy waits for the server so long before it gives up.
    opened.value.get_by_text("Experiments").first.wait_for(timeout=200_000)
    opened.value.goto(f"{lab.address}/mlflow/#/experiments")
    opened.value.get_by_text("fraud", exact=True).first.wait_for(timeout=60_000)


@pytest.mark.parametrize(
    ("tile", "words"),
    [("Promotion panel", "fraud v4"), ("Run a pipeline", "fraud-training")],
)
def test_a_page_is_one_click_away(tour: Any, lab: Any, tile: str, words: str) -> None:
    page = lab.watched(lab.browser.new_page(), tile)
    page.goto(f"{lab.address}/lab?reset&token={lab.token}")
    card = page.locator(".jp-LauncherCard", has_text=tile)
    card.locator("img").wait_for(timeout=60_000)
    card.click()
    heading = page.frame_locator("iframe").locator(".mlops-kit h2", has_text=words)
    heading.wait_for(timeout=60_000)
    assert lab.complaints == []
    page.close()


@pytest.mark.parametrize("step", STEPS)
def test_an_executed_notebook_is_readable_without_a_kernel(
    tour: Any, lab: Any, step: str, tmp_path: Path
) -> None:
    from mlops_kit.reporting.notebooks import git_safe

    path = sorted(lab.project.glob(f".mlops-kit/executions/*/{step}/*.ipynb"))[0]
    safe = tmp_path / "safe.ipynb"
    safe.write_bytes(git_safe.git_safe(path))
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


@pytest.mark.parametrize(
    "name", ["validate_data", "evaluate", "watch_rollout", "panel", "pipeline", "promote"]
)
def test_a_notebook_runs_from_top_to_bottom(tour: Any, lab: Any, name: str) -> None:
    notebook = lab.open(f"notebooks/{name}.ipynb")
    notebook.run()
    assert notebook.errors == []
    assert notebook.stderr == []
    assert lab.complaints == []
    notebook.page.close()


ROLLOUT = (
    "from mlops_kit import PromotionPanel, watch\nPromotionPanel(every=1)",
    'watch(traffic="simulated", seed=8)',
)


@pytest.fixture(scope="module")
def rollout(tour: Any, lab: Any) -> Any:
    """The rollout that the notebook promote began, under traffic, and the panel beside it."""
    settings = lab.project / "mlops-kit.toml"
    # So few slow requests take a minute to be proved.
    text = settings.read_text().replace("slow_share = 0.01", "slow_share = 0.0005")
    settings.write_text(text)
    assert "0.0005" in text
    warm(write_notebook(lab.project / "rollout.ipynb", *ROLLOUT))
    notebook = lab.open("rollout.ipynb")
    notebook.run()
    return notebook


def headings(notebook: Any, words: str) -> Any:
    """The sentences of our pages that have these words."""
    return notebook.page.locator(".mlops-kit h2", has_text=re.compile(words))


def test_a_rollout_under_traffic_shows_its_evidence_in_panel_and_watch(rollout: Any) -> None:
    headings(rollout, r"\b50 %").nth(1).wait_for(timeout=90_000)
    panel, watched = (rollout.output(source) for source in ("PromotionPanel", "watch(traffic"))
    rollout.press(panel.locator("summary", has_text="Evidence over time"))
    for shown in (panel, watched):
        strip = shown.locator("svg[aria-label^='errors: evidence over time']")
        # Evidence that isn't there is a flat line, which has no height to be seen by.
        strip.locator("polyline").nth(1).wait_for(state="attached", timeout=30_000)
        strip.get_by_text("20x = proved").wait_for()
    assert rollout.axe() == []
    rollout.picture("watch")
    rollout.picture("panel-rollout", 0)


def test_two_panels_agree_and_either_aborts_what_runs(rollout: Any, lab: Any) -> None:
    other = lab.open("notebooks/panel.ipynb")
    other.run()
    headings(other, r"4 .*\b50 %").wait_for(timeout=30_000)
    other.press(other.page.get_by_role("button", name="Abort v4…"))
    dialog = other.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("customers complain")
    dialog.get_by_role("button", name="Abort v4").click()
    other.page.locator(".mlops-kit [data-standing=fail]", has_text="v4").wait_for(timeout=30_000)
    headings(rollout, "v4 .*: customers complain").wait_for(timeout=15_000)
    headings(rollout, "customers complain.*fraud 2").wait_for(timeout=30_000)
    assert "Mlops-Action: abort" in git(lab, "show", "-s", "--format=%B", "HEAD")
    # What needs no kernel: how it ended, its evidence, and the evidence over time as a picture.
    left = rollout.output("watch(traffic")
    left.locator("strong", has_text="ABORTED").wait_for(timeout=30_000)
    left.locator("table", has_text="evidence / needs").last.wait_for()
    left.locator("img.plot-img").wait_for(timeout=30_000)
    other.page.close()


def test_a_kernel_that_stopped_is_said_and_found_again(rollout: Any, lab: Any) -> None:
    page = rollout.page
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Restart Kernel…", exact=True).click()
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    said = page.get_by_text("The kernel has stopped. Run the cell again.")
    said.nth(1).wait_for(timeout=30_000)
    assert page.locator(".mlops-kit button:enabled").count() == 0
    page.get_by_text("| Idle").first.wait_for(timeout=30_000)
    page.locator(".jp-Notebook .jp-Cell").first.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    # What the first cell shows is alive again, what the second one shows is not.
    page.locator(".mlops-kit button:enabled", has_text="Refresh").wait_for(timeout=60_000)
    page.locator(".mlops-kit [data-standing=fail]").first.wait_for(timeout=30_000)
    assert said.count() == 1
    assert lab.complaints == []


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
