"""A project, a JupyterLab that serves it, and Debian's Chromium to open it with."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlops_kit.project import scaffold

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CHROMIUM = shutil.which("chromium") or ""
SCREENSHOTS = Path(__file__).parent / "screenshots"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
# Settings of a first start: nothing is fetched, and every cell is in the page.
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
# These run on the kernel that the notebooks name; the others are forked, which is sooner.
COLD = ("tour", "train")
WIDE, HIGH, HIGHEST = 1180, 900, 14_000
STARTS_WITHIN, RUNS_WITHIN = 120.0, 600.0
# A server whose tests were killed ends by itself.
ALONE_FOR = 300

ENDED = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')]
    const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]')
    return failed || prompts.every(one => /^\\[\\d+\\]:$/.test(one.textContent.trim()))
}"""
TOP = """() => {
    const panel = document.querySelector('.jp-WindowedPanel-outer')
    panel.scrollTop = 0
    return document.querySelector('.jp-WindowedPanel-viewport').offsetHeight
}"""


@dataclass
class Lab:
    """A running JupyterLab, and what the pages in it complained about."""

    project: Path
    address: str
    token: str
    browser: BrowserContext
    takes_pictures: bool = False
    complaints: list[str] = field(default_factory=list)

    def open(self, notebook: str) -> Notebook:
        """Open a notebook in a page of its own; `notebook` is relative to the project."""
        page = self.watched(self.browser.new_page(), notebook)
        page.goto(f"{self.address}/lab/tree/{notebook}?reset&token={self.token}")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=STARTS_WITHIN * 1000)
        # The browser of files takes a quarter of the width.
        page.get_by_role("tab", name="File Browser").first.click()
        # A figure under the pointer would come to life.
        page.mouse.move(0, 0)
        return Notebook(page, self.takes_pictures)

    def watched(self, page: Page, name: str) -> Page:
        """Return the page, of usual size, whose complaints are kept."""
        page.set_viewport_size({"width": WIDE, "height": HIGH})
        page.on("pageerror", lambda error: self.complaints.append(f"{name}: {error}"))
        page.on("console", lambda message: self._hear(name, message))
        return page

    def _hear(self, notebook: str, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{notebook}: {message.text} ({message.location.get('url')})")


@dataclass
class Notebook:
    """A notebook open in JupyterLab, as a person uses it."""

    page: Page
    takes_pictures: bool = False

    def run(self) -> None:
        """Run all cells, and wait until the last has run or one has failed."""
        # The dot in the toolbar says idle before there is a kernel; the status bar doesn't.
        self.page.get_by_text("| Idle").first.wait_for(timeout=STARTS_WITHIN * 1000)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        self.page.wait_for_function(ENDED, timeout=RUNS_WITHIN * 1000)
        # The last outputs may come after their prompt.
        self.page.wait_for_timeout(1_000)

    @property
    def errors(self) -> list[str]:
        """The text of each output that is an error."""
        kind = "application/vnd.jupyter.error"
        return self.page.locator(f'.jp-Notebook [data-mime-type="{kind}"]').all_inner_texts()

    @property
    def stderr(self) -> list[str]:
        """What the cells wrote to standard error."""
        kind = "application/vnd.jupyter.stderr"
        return self.page.locator(f'.jp-Notebook [data-mime-type="{kind}"]').all_inner_texts()

    def output(self, source: str) -> Any:
        """Return the outputs of the cell whose source contains the text."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").filter(
            has=self.page.locator(".jp-InputArea-editor", has_text=source)
        )
        return cell.locator(".jp-OutputArea")

    def press(self, control: Any) -> None:
        """Click on what may be far away: the page has to stand still before."""
        control.scroll_into_view_if_needed()
        self.page.wait_for_timeout(500)
        control.click()

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme by its menu."""
        labels = self.page.locator(".lm-Menu-itemLabel")
        self.page.get_by_role("menuitem", name="Settings", exact=True).click()
        labels.get_by_text("Theme", exact=True).hover()
        labels.get_by_text(name, exact=True).click()
        is_light = "true" if name.endswith("Light") else "false"
        self.page.locator(f"body[data-jp-theme-light={is_light}]").wait_for(state="attached")
        self.page.wait_for_timeout(500)

    def picture(self, name: str, which: int = -1) -> None:
        """Keep a picture of one of our pages, light and dark, where `make pictures` asks."""
        if not self.takes_pictures:
            return
        SCREENSHOTS.mkdir(exist_ok=True)
        shown = self.page.locator(".mlops-kit").nth(which)
        high = round(shown.bounding_box()["height"])
        # Else what is higher than the window lies under JupyterLab's menus.
        self.page.set_viewport_size({"width": WIDE, "height": high + 400})
        for theme in ("Dark", "Light"):
            self.theme(f"JupyterLab {theme}")
            shown.screenshot(path=SCREENSHOTS / f"{name}-{theme.lower()}.png")
        self.page.set_viewport_size({"width": WIDE, "height": HIGH})

    def axe(self) -> list[str]:
        """What axe finds in our pages, as sentences."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, context=".mlops-kit").response["violations"]
        return [f"{each['id']}: {json.dumps(each['nodes'][0]['html'])[:200]}" for each in found]

    def screenshot(self, name: str) -> None:
        """Keep a picture of the whole notebook, where `make pictures` asks."""
        if not self.takes_pictures:
            return
        SCREENSHOTS.mkdir(exist_ok=True)
        high = self.page.evaluate(TOP)
        self.page.set_viewport_size({"width": WIDE, "height": min(HIGHEST, high + 160)})
        self.page.wait_for_timeout(500)
        self.page.locator(".jp-Notebook").screenshot(path=SCREENSHOTS / f"{name}.png")
        self.page.set_viewport_size({"width": WIDE, "height": HIGH})


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    if not CHROMIUM:
        pytest.skip("no chromium on this machine; install Debian's package of that name")
    from playwright.sync_api import sync_playwright

    # Not for the whole session: while it runs, no other test here can start an event loop.
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        # One for all pages: each of its own would fetch and compile JupyterLab again.
        yield started.new_context(reduced_motion="reduce")
        started.close()


@pytest.fixture(scope="module")
def lab(
    browser: BrowserContext,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    prepare_store: Callable[[Path], None],
) -> Iterator[Lab]:
    """A project as `mlops-kit new` makes it, open in JupyterLab."""
    home = tmp_path_factory.mktemp("lab")
    project = home / "fraud"
    scaffold.create(project)
    prepare_store(project)
    settings = project / "mlops-kit.toml"
    # Of two trainings at once either may be registered first, and versions are named in the tests.
    text = settings.read_text().replace("interval = 1.0", "interval = 0.4")
    settings.write_text("workers = 1\n" + text.replace("baking = 3.0", "baking = 1.0"))
    for notebook in (project / "notebooks").glob("*.ipynb"):
        if notebook.stem not in COLD:
            warm(notebook)
    with serving(project, home) as (address, token):
        yield Lab(project, address, token, browser, request.config.getoption("--pictures"))


def warm(notebook: Path) -> Path:
    """Choose the kit's warm kernel for a notebook, as a person does in JupyterLab."""
    content = json.loads(notebook.read_text())
    content["metadata"]["kernelspec"] = {"name": "mlops-kit", "display_name": "warm"}
    notebook.write_text(json.dumps(content))
    return notebook


@contextmanager
def serving(project: Path, home: Path) -> Iterator[tuple[str, str]]:
    """Serve a project by JupyterLab, with settings in `home`; yield its address and its token."""
    port, token = free_port(), secrets.token_hex(16)
    with (home / "jupyter.log").open("w+") as log:
        server = subprocess.Popen(
            _command(port, token),
            cwd=project,
            env=_environment(home),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/api?token={token}", server, Path(log.name))
            yield address, token
        finally:
            _stop(server)


def _command(port: int, token: str) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", "--LabApp.news_url="),
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        # Executions lie in a hidden folder.
        "--ContentsManager.allow_hidden=True",
        f"--ServerApp.shutdown_no_activity_timeout={ALONE_FOR}",
        f"--MappingKernelManager.cull_idle_timeout={ALONE_FOR}",
        "--MappingKernelManager.cull_connected=True",
    ]


def _environment(home: Path) -> dict[str, str]:
    for path, text in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{path}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    folders = {
        "HOME": "",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return os.environ | {name: str(home / folder) for name, folder in folders.items()}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab doesn't answer; its log:\n{log.read_text()}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its kernels, by asking first."""
    server.terminate()
    try:
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
