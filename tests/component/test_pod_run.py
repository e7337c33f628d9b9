"""What a rendered workflow does where something goes wrong, each container run as a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_kit import Workspace
from mlops_kit.project import argo
from tests.conftest import write_notebook
from tests.controller import Controller

WORKFLOW = """\
from mlops_kit import Condition, Input, Pipeline, Step

judge = Step("judge", "judge.ipynb", {"text": Input("text")}, {"verdict": str, "facts": dict})
passed = Condition(judge.output("verdict"), equals="pass")
said = {"facts": judge.output("facts"), "verdict": judge.output("verdict")}
act = Step("act", "act.ipynb", said, {"done": str}, passed)
after = Step("after", "after.ipynb", {"done": act.output("done")}, {"end": bool})
PIPELINE = Pipeline("small", (judge, act, after), {"text": "fail"})
"""
JUDGE = (
    "# parameters\ntext: str = ''  # the verdict",
    "from mlops_kit import publish",
    "publish(verdict=text, facts={'text': text})",
)
ACT = (
    "# parameters\nfacts: dict = {}  # of the judge\nverdict: str = ''  # its",
    "from mlops_kit import publish",
    "publish(done=facts['text'] + verdict)",
)
AFTER = (
    "# parameters\ndone: str = ''  # by whom",
    "from mlops_kit import publish",
    "publish(end=done == 'passpass')",
)


@pytest.fixture
def small(project: Path, tmp_path: Path) -> Callable[..., Controller]:
    """Make a controller over three notebooks that import nothing heavy."""

    def make(**changed: tuple[str, ...]) -> Controller:
        books = {"judge": JUDGE, "act": ACT, "after": AFTER, **changed}
        for name, cells in books.items():
            write_notebook(project / "notebooks" / f"{name}.ipynb", *cells)
        (project / "workflows" / "small.py").write_text(WORKFLOW)
        rendered = argo.rendered(Workspace.open(project))["pipelines/small.yaml"]
        environment = {name: os.environ[name] for name in ("HOME", "MLOPS_KIT_KEEP_WARM")}
        return Controller(yaml.safe_load(rendered), project, tmp_path / "cluster", environment)

    return make


def phases(nodes: dict[str, Any]) -> dict[str, str]:
    return {name: node.phase for name, node in nodes.items()}


def test_a_gate_that_says_yes_lets_everything_run(small: Callable[..., Controller]) -> None:
    nodes = small().submit("small-1", text="pass")
    assert set(phases(nodes).values()) == {"Succeeded"}, [node.log for node in nodes.values()]
    assert nodes["after"].parameters == {"end": "true"}


@pytest.mark.parametrize("text", ["fail", "pass == pass || x", "b64.", ""])
def test_a_gate_that_says_no_leaves_out_what_it_guards(
    small: Callable[..., Controller], text: str
) -> None:
    nodes = small().submit("small-2", text=text)
    assert phases(nodes) == {"judge": "Succeeded", "act": "Skipped", "after": "Omitted"}


def test_a_failed_cell_keeps_its_notebook_and_ends_the_workflow(
    small: Callable[..., Controller],
) -> None:
    nodes = small(judge=(JUDGE[0], "x = 1", "x.nothing")).submit("small-3")
    assert phases(nodes) == {"judge": "Failed", "act": "Omitted", "after": "Omitted"}
    assert nodes["judge"].parameters == {"verdict": "-absent-", "facts-sha-256": "-absent-"}
    assert "facts" not in nodes["judge"].artifacts
    (executed,) = nodes["judge"].artifacts["notebook"].iterdir()
    assert "AttributeError" in executed.read_text()
    page = (nodes["judge"].artifacts["notebook-page"] / "index.html").read_text()
    assert "AttributeError" in page
    assert 'href="#failed"' in page


def test_what_follows_from_the_same_values_runs_once(small: Callable[..., Controller]) -> None:
    cluster = small()
    assert not any(node.memoized for node in cluster.submit("memo-1", text="pass").values())
    again = cluster.submit("memo-2", text="pass")
    # The judge reads nothing of another's: what it reads of the world may have changed.
    assert {name for name, node in again.items() if node.memoized} == {"act", "after"}
    assert again["after"].parameters == {"end": "true"}
    fresh = cluster.submit("memo-3", text="pass", **{"cache-key": "mine"})
    assert not any(node.memoized for node in fresh.values())


def test_other_content_of_a_file_is_not_taken_for_the_same(
    small: Callable[..., Controller],
) -> None:
    said = "publish(verdict='pass', facts={'text': text})"
    cluster = small(judge=(*JUDGE[:2], said), act=(*ACT[:2], "publish(done=facts['text'])"))
    one, other = (cluster.submit(f"memo-{text}", text=text) for text in ("one", "other"))
    assert (one["act"].parameters["done"], other["act"].parameters["done"]) == ("one", "other")
    assert not other["act"].memoized


def test_a_pod_that_starts_again_publishes_nothing_of_before(
    small: Callable[..., Controller],
) -> None:
    cluster = small()
    first = cluster.submit("small-5", text="fail")
    assert first["judge"].parameters["verdict"] == "fail"
    pod = cluster.folder / "small-5" / "judge"
    notebook = pod / "code" / "notebooks" / "judge.ipynb"
    notebook.write_text(notebook.read_text().replace("publish(verdict", "publish(other"))
    (template,) = (t for t in cluster.template["spec"]["templates"] if t["name"] == "judge")
    given = {f"workflow.parameters.{key}": "fail" for key in ("text", "revision")}
    again = cluster.run(template, {**given, "workflow.name": "small-5"}, pod)
    assert again.phase == "Failed"
    assert again.parameters == {"verdict": "-absent-", "facts-sha-256": "-absent-"}


def test_a_killed_kernel_has_no_exit_code_that_argo_takes_for_a_lost_pod(
    small: Callable[..., Controller],
) -> None:
    killed = (JUDGE[0], "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    nodes = small(judge=killed).submit("small-4")
    assert nodes["judge"].code not in (0, 137, 143)
    assert "killed" in nodes["judge"].log
