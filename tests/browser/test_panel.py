"""The promotion panel in a real JupyterLab: each act ends as a commit, or says why it did not."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from mlops_kit import Workspace
from mlops_kit.project import candidates, local_runs, releases, rollouts
from mlops_kit.releases import promotion, release
from mlops_kit.releases.request import Signoff
from tests.browser.conftest import HIGH, SCREENSHOTS, WIDE, free_port, warm
from tests.conftest import LOOSE, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.story]

CELL = "from mlops_kit import PromotionPanel\nPromotionPanel(every=3600)"


def git(lab: Any, *arguments: str) -> str:
    repository = lab.project / ".mlops-kit" / "gitops.git"
    command = ["git", f"--git-dir={repository}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def newest(lab: Any) -> str:
    """The message of the newest commit."""
    return git(lab, "show", "-s", "--format=%B", "main")


@pytest.fixture(scope="module")
def judged(lab: Any) -> Workspace:
    """v2 serves; v4 and v6 wait, both with a verdict of pass."""
    settings = lab.project / "mlops-kit.toml"
    text = settings.read_text().partition("[models.")[0]
    settings.write_text('strategy = "direct"\napprover = "ana"\n' + text + LOOSE)
    workspace = Workspace.open(lab.project)
    given = {"rows": 16_000, "traffic": "live"}
    local_runs.run(workspace, workspace.pipeline("fraud-training"), given, observer=lambda _: None)
    for seed in (8, 9):
        more = {**given, "seed": seed, "promotion": "manual"}
        local_runs.run(
            workspace, workspace.pipeline("fraud-training"), more, observer=lambda _: None
        )
    settings.write_text('strategy = "canary"\napprover = "ana"\n' + text + LOOSE)
    warm(write_notebook(lab.project / "panel-here.ipynb", CELL))
    return Workspace.open(lab.project)


@pytest.fixture(scope="module")
def panel(judged: Workspace, lab: Any) -> Any:
    notebook = lab.open("panel-here.ipynb")
    notebook.run()
    notebook.page.locator(".mlops-kit h2").wait_for(timeout=60_000)
    return notebook


def state(panel: Any, standing: str, version: str = "", fact: str = "") -> str:
    """Wait until the panel has this standing, for this version, and return its sentence."""
    chosen = f'[data-version="{version}"]' if version else ""
    place = f".mlops-kit [data-key=sentence][data-standing={standing}]{chosen}"
    return awaited(panel, panel.page.locator(place, has_text=fact))


def awaited(panel: Any, found: Any) -> str:
    """Wait for what an act leads to; say what the panel shows where it doesn't come."""
    from playwright.sync_api import Error

    try:
        found.wait_for(timeout=30_000)
    except Error:
        pytest.fail(panel.page.locator(".mlops-kit").inner_text()[:1500])
    return str(found.inner_text())


def do(panel: Any, button: str, reason: str | None = None) -> None:
    """Press a button, give the reason in its dialog, and confirm."""
    panel.page.get_by_role("button", name=f"{button}…").click()
    dialog = panel.page.get_by_role("dialog", name=button)
    if reason is not None:
        dialog.get_by_role("textbox").fill(reason)
    dialog.get_by_role("button", name=button).click()


def notice(panel: Any, act: str, fault: str = "") -> str:
    """Wait for the outcome of an action: that it is done, or the code of its fault."""
    outcome = f'[data-fault="{fault}"]' if fault else ".done"
    return awaited(panel, panel.page.locator(f"[role=alert][data-about={act}]{outcome}"))


def test_it_shows_the_candidate_its_verdict_and_the_commit(panel: Any) -> None:
    said = state(panel, "pass", "6")
    assert "fraud v6" in said
    assert "PASS" in said
    assert "replay" in said
    text = panel.page.locator(".mlops-kit").inner_text()
    assert "champion v2" in text
    assert "+    version: '6'" in text
    panel.picture("panel-waiting")


def test_nothing_is_found_that_keeps_people_out(panel: Any) -> None:
    for summary in panel.page.locator(".mlops-kit summary").all():
        summary.click()
    assert panel.axe() == []
    panel.page.get_by_role("button", name="Promote v6 to prod…").click()
    assert panel.axe() == []
    panel.page.keyboard.press("Escape")


def test_the_slider_moves_the_curve_and_the_counts(panel: Any) -> None:
    slider = panel.page.get_by_role("slider")
    line = panel.page.locator("line[data-follows=threshold]")
    cell = panel.page.locator("tr", has_text="fraud v6").locator("span[data-follows]").first
    before = line.get_attribute("x1"), cell.inner_text()
    slider.focus()
    for _ in range(60):
        panel.page.keyboard.press("ArrowLeft")
    assert (line.get_attribute("x1"), cell.inner_text()) != before
    assert float(str(line.get_attribute("x1"))) < float(str(before[0]))


def test_no_key_reaches_the_notebook(panel: Any) -> None:
    cells = panel.page.locator(".jp-Notebook .jp-Cell").count()
    for control in panel.page.locator(
        ".mlops-kit button:visible, .mlops-kit summary:visible, .mlops-kit select:visible,"
        " .mlops-kit input:visible"
    ).all():
        control.focus()
        panel.page.keyboard.press("b")
    assert panel.page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_a_rejection_needs_a_reason_and_is_a_commit(panel: Any, lab: Any) -> None:
    do(panel, "Reject v6", "its slices are odd <b>&</b>")
    said = notice(panel, "reject")
    assert "v6" in said
    assert "Mlops-Action: reject" in newest(lab)
    assert git(lab, "rev-parse", "--short=10", "main").strip() in said
    text = panel.page.locator(".mlops-kit").inner_text()
    assert re.search(r"ana at \d\d:\d\d", text)
    assert "its slices are odd <b>&</b>" in text
    assert panel.page.get_by_role("button", name="Promote v6 to prod…").count() == 0


def test_it_promotes_by_keyboard_alone(panel: Any, lab: Any) -> None:
    panel.page.locator("[data-act=choose][data-version='4']").focus()
    panel.page.keyboard.press("Enter")
    state(panel, "pass", "4")
    panel.page.get_by_role("button", name="Promote v4 to prod…").focus()
    panel.page.keyboard.press("Enter")
    panel.page.keyboard.type("recall is up")
    panel.page.keyboard.press("Enter")
    assert "v4" in notice(panel, "promote")
    assert "Mlops-Action: promote" in newest(lab)
    assert "Mlops-Reason: recall is up" in newest(lab)
    assert "Mlops-Approved-By: ana" in newest(lab)


def test_while_a_rollout_runs_it_can_be_held_and_resumed(panel: Any, lab: Any) -> None:
    assert "replayed" in state(panel, "running", "4")
    do(panel, "Hold v4", "checking a call")
    assert "0 %" in state(panel, "running", "4", "by ana")
    assert "Mlops-Action: hold" in newest(lab)
    assert panel.axe() == []
    panel.picture("panel-held")
    do(panel, "Resume v4")
    state(panel, "running", "4", "replayed")
    assert "Mlops-Action: resume" in newest(lab)


def test_whoever_was_second_is_told_so(panel: Any, lab: Any, judged: Workspace) -> None:
    panel.page.get_by_role("button", name="Abort v4…").click()
    with rollouts.open_observer(judged, "fraud", "prod") as observer:
        seen = observer.observe()
    promotion.advance(
        judged.repository,
        seen.release,
        release.Abort(),
        Signoff("ben", "ben was first", "inconclusive"),
    )
    before = git(lab, "rev-parse", "main")
    panel.page.get_by_role("dialog").get_by_role("button", name="Abort v4").click()
    said = notice(panel, "abort", "gitops.lost-race")
    assert "ben" in said
    assert "abort v4" in said
    assert git(lab, "rev-parse", "main") == before


def test_a_rejected_one_can_be_approved_again_promoted_and_aborted(panel: Any, lab: Any) -> None:
    state(panel, "pass", "6")
    do(panel, "Approve v6", "looked again")
    assert "v6" in notice(panel, "approve")
    do(panel, "Promote v6 to prod", "cost is down")
    assert "v6" in notice(panel, "promote")
    state(panel, "running", "6")
    do(panel, "Abort v6")
    assert "v6" in notice(panel, "abort")
    assert re.search(r"v6 .* \d\d:\d\d UTC by ana", state(panel, "fail"))
    assert "Mlops-Action: abort" in newest(lab)
    assert "absent: true" in git(lab, "show", "main:envs/prod/release.yaml")


def test_it_rolls_back(panel: Any, lab: Any, judged: Workspace) -> None:
    direct = Workspace(judged.settings.model_copy(update={"strategy": "direct"}))
    again = replace(candidates.find(direct, "fraud", "6"), execution="once-more")
    releases.promote(direct, again, environment="prod", override="ben: for the test")
    panel.page.get_by_role("button", name="Refresh").click()
    panel.page.locator(".mlops-kit .bar", has_text="champion v6").wait_for(timeout=30_000)
    do(panel, "Roll back", "customers complain")
    assert "v2" in notice(panel, "rollback")
    refresh = panel.page.get_by_role("button", name="Refresh")
    panel.page.wait_for_function("() => !document.querySelector('.mlops-kit [aria-busy]')")
    assert refresh.get_attribute("aria-busy") is None, "it can be pressed again"
    assert "fraud v6" in state(panel, "fail")
    assert "Mlops-Action: rollback" in newest(lab)
    panel.picture("panel-rolled-back")


def test_a_pipeline_shows_itself_while_it_runs_and_leaves_a_table(judged: Any, lab: Any) -> None:
    cell = 'from mlops_kit import run\nrun("fraud-training", rows=16_000, promotion="manual")'
    warm(write_notebook(lab.project / "live.ipynb", cell))
    notebook = lab.open("live.ipynb")
    notebook.run()
    page = notebook.page
    step = page.get_by_role("button", name=re.compile("^evaluate: "))
    step.wait_for(timeout=30_000)
    page.locator(".mlops-kit [role=status][data-state=succeeded]").wait_for(timeout=120_000)
    step.click()
    page.locator(".mlops-kit code", has_text="evaluate.ipynb").wait_for(timeout=30_000)
    inside = page.frame_locator(".mlops-kit iframe")
    inside.get_by_text("Is the candidate good enough to serve?").wait_for(timeout=30_000)
    assert notebook.axe() == []
    page.locator("table", has_text="train-candidate").last.wait_for(timeout=30_000)
    notebook.picture("pipeline")
    assert notebook.errors == []


def test_a_step_that_fails_opens_at_its_error(judged: Any, lab: Any) -> None:
    cell = 'from mlops_kit import run\nrun("fraud-training", data="no-such.csv")'
    warm(write_notebook(lab.project / "failing.ipynb", cell))
    notebook = lab.open("failing.ipynb")
    notebook.run()
    page = notebook.page
    failed = page.locator(".mlops-kit [role=status][data-state=failed]", has_text="validate-data")
    failed.wait_for(timeout=60_000)
    detail = page.locator(".mlops-kit section").inner_text()
    assert re.search(r"cell \w+", detail)
    assert "no-such.csv" in detail
    assert "mlops-kit debug fraud-training-" in detail
    inside = page.frame_locator(".mlops-kit iframe")
    inside.locator("a[href='#failed']").click()
    page.wait_for_timeout(500)
    assert inside.locator("#failed").is_visible()
    assert notebook.axe() == []


def test_a_form_runs_a_notebook_from_its_own_parameters(judged: Any, lab: Any) -> None:
    warm(
        write_notebook(
            lab.project / "form.ipynb", 'from mlops_kit import form\nform("validate_data")'
        )
    )
    notebook = lab.open("form.ipynb")
    notebook.run()
    page = notebook.page
    page.get_by_label("rows (int)").fill("2000")
    assert notebook.axe() == []
    page.get_by_role("button", name="Run validate_data").click()
    page.locator(".mlops-kit td", has_text="parquet").wait_for(timeout=90_000)
    notebook.picture("form")


def test_the_same_page_is_served_without_a_notebook(judged: Any, lab: Any) -> None:
    port = str(free_port())
    command = [sys.executable, "-m", "mlops_kit", "panel", "--no-browser", "--port", port]
    served = subprocess.Popen(
        command, cwd=lab.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert served.stdout is not None
        found = (re.search(r"http://\S+token=\w+", line) for line in served.stdout)
        address = next(match.group() for match in found if match)
        page = lab.browser.new_page()
        page.set_viewport_size({"width": WIDE, "height": HIGH})
        page.goto(address)
        page.locator(".mlops-kit h2").wait_for(timeout=90_000)
        assert "champion v2" in page.locator(".mlops-kit .bar").inner_text()
        if lab.takes_pictures:
            page.screenshot(path=SCREENSHOTS / "panel-page.png")
        page.goto(address.partition("?")[0])
        assert "Log" in page.title() or page.locator(".mlops-kit").count() == 0
    finally:
        served.terminate()
        served.wait(timeout=20)


def test_nothing_was_complained_of(panel: Any, lab: Any) -> None:
    assert panel.errors == []
    assert lab.complaints == []
