"""Measure the panel in a real JupyterLab: first paint, bytes, the slider, the heap, a form.

The paint is the median of five pages, each in a new kernel that has imported what it needs and
asked the registry once.

    python -m tests.benchmarks.panel [--updates N]

200 candidates, 2,000 acts in the history, an evaluation of 100,000 rows: the panel on a real
repository and registry, its page made of values as large, and plotly's FigureWidgets with the
same six curves, in one run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.benchmarks import scenes, table
from tests.browser import conftest as lab
from tests.conftest import write_notebook

WARM = (
    "import mlops_kit.jupyter.panel.panel, mlops_kit.jupyter.widget, mlops_kit.jupyter.forms\n"
    "import mlops_kit.models.registry\n"
    "import mlops_kit.serving.daemon, mlops_kit.prediction_log.log\n"
    "import plotly.graph_objects, numpy, anywidget, tests.benchmarks.scenes\n"
    "from mlops_kit import Workspace\n"
    "len(Workspace.open().registry.versions('fraud'))"
)
REAL = "from mlops_kit import PromotionPanel\nPromotionPanel()"
PANEL = """\
from tests.benchmarks.scenes import board
from mlops_kit.jupyter.panel import page
from mlops_kit.jupyter.widget import View
made = board()
view = View(page.page(made))
view"""
UPDATE = """\
import dataclasses
for number in range(%d):
    view.show(page.page(dataclasses.replace(made, checked=str(number))))"""
FORM = 'from mlops_kit import form\nform("train")'
STOCK = """\
import plotly.graph_objects as go, ipywidgets
from tests.benchmarks.scenes import board
found = board().evaluation.curves
model = found["models"]["candidate"]
figures = [go.FigureWidget(go.Scatter(x=found["thresholds"], y=model["cost"])) for _ in range(6)]
ipywidgets.VBox(figures)"""
ROUNDS = 5
HEAP = "() => { gc(); gc(); return performance.memory.usedJSHeapSize }"
RAN = """(n) => {
    const prompt = document.querySelectorAll('.jp-InputArea-prompt')[n]
    return /^\\[\\d+\\]:$/.test(prompt.textContent)
}"""


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, default=1000)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kit-panel-"))
    project = place / "project"
    scenes.project(project)
    # A notebook a round, so that each has a kernel of its own.
    for number in range(ROUNDS):
        write_notebook(project / f"real-{number}.ipynb", WARM, REAL)
        write_notebook(project / f"form-{number}.ipynb", WARM, FORM)
    write_notebook(project / "panel-0.ipynb", WARM, PANEL, UPDATE % options.updates)
    write_notebook(project / "stock-0.ipynb", WARM, STOCK)
    # The notebooks take the scene from here.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    with lab.serving(project, place) as (address, token), sync_playwright() as playwright:
        flags = [*lab.QUIET, "--js-flags=--expose-gc", "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=lab.CHROMIUM, args=flags)
        found = {
            "the panel": _shown(browser, address, token, "real", ".mlops-kit h2"),
            "its page, made of values": _panel(browser, address, token, options.updates),
            "a form": _shown(browser, address, token, "form", ".mlops-kit form"),
            "six FigureWidgets": _shown(browser, address, token, "stock", ".main-svg", 6 * 3, 1),
        }
    print(
        table.facts()
        + "\n\n| | cell to paint, s | MB over the socket | more |\n|---|---:|---:|---|"
    )
    for name, (seconds, size, more) in found.items():
        print(f"| {name} | {seconds:.2f} | {size / 1e6:.2f} | {more} |")
    return 0


def _open(browser: Any, address: str, token: str, name: str) -> tuple[Any, list[int]]:
    page = browser.new_page(viewport={"width": lab.WIDE, "height": lab.HIGH})
    received: list[int] = []

    def listen(socket: Any) -> None:
        socket.on("framereceived", lambda payload: received.append(len(payload)))

    page.on("websocket", listen)
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset&token={token}")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.get_by_text("| Idle").first.wait_for(timeout=60_000)
    _run(page, 0)
    return page, received


def _run(page: Any, cell: int) -> None:
    """Run one cell, and wait for its prompt."""
    page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(RAN, arg=cell, timeout=240_000)


def _painted(page: Any, received: list[int], what: str, count: int = 1) -> tuple[float, int]:
    """Return seconds from the second cell's start until it is painted, and the bytes of it."""
    page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".cm-content").click()
    received.clear()
    began = time.perf_counter()
    page.keyboard.press("Control+Enter")
    page.locator(what).nth(count - 1).wait_for(timeout=120_000)
    return time.perf_counter() - began, sum(received)


def _shown(
    browser: Any,
    address: str,
    token: str,
    name: str,
    what: str,
    count: int = 1,
    rounds: int = ROUNDS,
) -> tuple[float, float, str]:
    found = []
    for number in range(rounds):
        page, received = _open(browser, address, token, f"{name}-{number}")
        found.append(_painted(page, received, what, count))
        page.close()
    seconds, size = (statistics.median(each) for each in zip(*found, strict=True))
    return seconds, size, ""


def _panel(browser: Any, address: str, token: str, updates: int) -> tuple[float, float, str]:
    page, received = _open(browser, address, token, "panel-0")
    seconds, size = _painted(page, received, ".mlops-kit h2")
    page.locator(".mlops-kit summary", has_text="Curves").click()
    slider = page.get_by_role("slider")
    slider.focus()
    moved = page.evaluate(
        """() => {
            const slider = document.querySelector('.mlops-kit input[type=range]')
            const taken = []
            for (let at = 0; at < 50; at++) {
                const start = performance.now()
                slider.value = at
                slider.dispatchEvent(new Event('input', {bubbles: true}))
                document.querySelector('.mlops-kit svg').getBoundingClientRect()
                taken.push(performance.now() - start)
            }
            return taken.sort((a, b) => a - b)[25]
        }"""
    )
    heaps = []
    for _ in range(3):
        _run(page, 2)
        page.locator(".mlops-kit", has_text=f"checked {updates - 1}").wait_for(timeout=120_000)
        page.wait_for_timeout(4_000)
        heaps.append(page.evaluate(HEAP) / 1e6)
    # The first thousand also warms JupyterLab itself.
    more = (
        f"slider to curve {moved:.0f} ms; heap after {updates}, twice and thrice as many updates: "
    )
    return seconds, size, more + ", ".join(f"{each:.1f} MB" for each in heaps)


if __name__ == "__main__":
    sys.exit(main())
