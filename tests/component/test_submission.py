"""A workflow from the laptop: submitted, followed, read and brought back, by both ways in."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from mlops_kit import Workspace, follow
from mlops_kit.argo import submission
from mlops_kit.jupyter.html import pipeline
from mlops_kit.project import argo as project_argo
from tests.argo_server import TOKEN, ArgoServer, kubeconfig, serving
from tests.commands import called
from tests.conftest import write_notebook
from tests.controller import Controller
from tests.failures import fails

WORKFLOW = """\
from pathlib import Path

from mlops_kit import Condition, Input, Pipeline, Step

make = Step("make", "make.ipynb", {"text": Input("text")}, {"verdict": str, "data": Path})
passed = Condition(make.output("verdict"), equals="pass")
use = Step("use", "use.ipynb", {"data": make.output("data")}, {"length": int}, passed)
PIPELINE = Pipeline("small", (make, use), {"text": "pass"})
"""
MAKE = (
    "# parameters\ntext: str = ''  # the verdict",
    "from pathlib import Path\nfrom mlops_kit import publish",
    "file = Path('data.txt').absolute()\n_ = file.write_text('twelve bytes')",
    "publish(verdict=text, data=file)",
)
USE = (
    "# parameters\ndata: str = ''  # a file",
    "from pathlib import Path\nfrom mlops_kit import publish",
    "length = len(Path(data).read_text())",
    "publish(length=length // (length - 12))",
)
SHA = "0123456789abcdef0123456789abcdef01234567"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def small(project: Path, tmp_path: Path) -> Path:
    """Make the project's pipeline a small one, whose second step fails."""
    (project / "workflows" / "fraud_training.py").unlink()
    (project / "workflows" / "small.py").write_text(WORKFLOW)
    for name, cells in {"make": MAKE, "use": USE}.items():
        write_notebook(project / "notebooks" / f"{name}.ipynb", *cells)
    return project


@pytest.fixture
def argo(small: Path, tmp_path: Path) -> Iterator[tuple[ArgoServer, str]]:
    """Serve the pipeline as Argo does."""
    rendered = project_argo.rendered(Workspace.open(small))["pipelines/small.yaml"]
    environment = {name: os.environ[name] for name in ("HOME", "MLOPS_KIT_KEEP_WARM")}
    controller = Controller(yaml.safe_load(rendered), small, tmp_path / "pods", environment)
    server = ArgoServer(controller)
    with serving(server) as address:
        yield server, address


@pytest.fixture(params=["kubeconfig", "server"])
def run(
    request: pytest.FixtureRequest,
    argo: tuple[ArgoServer, str],
    small: Path,
    tmp_path: Path,
    mlops_kit_command: str,
) -> Run:
    """Run a command of the kit against that, by the cluster's API or by Argo's server."""
    address = argo[1]
    if request.param == "server":
        context = address
        environment = {"ARGO_SERVER": address, "ARGO_TOKEN": TOKEN, "ARGO_SECURE": "false"}
    else:
        context = "small"
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path, address))}
    with (small / "mlops-kit.toml").open("a") as file:
        file.write(f'\n[argo]\ncontexts = ["{context}"]\n')
    if request.param == "server":
        return lambda *words, **more: called(words, small, {**environment, **more})
    # The Kubernetes client reads KUBECONFIG once, when it is imported.
    return lambda *words, **more: subprocess.run(
        [mlops_kit_command, *words],
        cwd=small,
        env={**os.environ, **environment, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_workflow_is_submitted_followed_and_read(
    run: Run, request: pytest.FixtureRequest
) -> None:
    done = run("submit", "small", "--revision", SHA)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Context "), "said before the write"
    name = done.stdout.split()[1]
    watched = run("watch", name)
    assert watched.returncode == 1
    assert "make  succeeded" in watched.stderr
    assert "use  failed" in watched.stderr
    assert "verdict = pass" in watched.stdout
    assert f"mlops-kit debug {name}/use" in watched.stdout
    said = run("logs", f"{name}/use")
    assert said.returncode == 0, said.stderr
    assert all(line.startswith("use  ") for line in said.stdout.splitlines())
    assert "ZeroDivisionError" in said.stdout
    assert "sub-process" not in said.stdout, "Argo's own lines share the container's log"
    assert "make  " in run("logs", name).stdout
    assert "Did you mean 'make'?" in run("logs", f"{name}/maek").stderr


def test_a_fresh_one_has_a_cache_of_its_own(run: Run, argo: tuple[ArgoServer, str]) -> None:
    keys = []
    for more in ([], ["--fresh"], ["--fresh"]):
        done = run("submit", "small", "--revision", SHA, "--json", *more)
        assert done.returncode == 0, done.stderr
        spec = argo[0].workflows[json.loads(done.stdout)["workflow"]]["spec"]
        given = {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}
        keys.append(given.get("cache-key"))
    assert keys[0] is None
    assert len(set(keys)) == 3


def test_the_view_of_a_notebook_follows_a_workflow(
    argo: tuple[ArgoServer, str], small: Path
) -> None:
    environment = {"ARGO_SERVER": argo[1], "ARGO_TOKEN": TOKEN, "ARGO_SECURE": "false"}
    with (small / "mlops-kit.toml").open("a") as file:
        file.write(f'\n[argo]\ncontexts = ["{argo[1]}"]\n')
    os.environ.update(environment)
    workspace = Workspace.open(small)
    where = project_argo.cluster(workspace)
    name = submission.submit(
        where, workspace.project / "notebooks", workspace.pipeline("small"), {}, SHA
    )
    live = follow(name, workspace=workspace)
    with fails("cluster", name, "Failed"):
        live.wait(120)
    assert {step.name: step.state for step in live.view.steps} == {
        "make": "succeeded",
        "use": "failed",
    }
    assert live.view.steps[1].after == ("make",)
    assert "Cancel" not in pipeline.page(live.view)


def test_a_failed_step_comes_back_with_what_it_read(run: Run, small: Path) -> None:
    done = run("submit", "small", "--revision", SHA, "--watch", "--json")
    assert done.returncode == 1, done.stderr
    name = json.loads(done.stdout)["workflow"]
    back = run("debug", name)
    if "KUBECONFIG" in str(run.__closure__ and [c.cell_contents for c in run.__closure__]):
        assert back.returncode == 1
        assert "set ARGO_SERVER and ARGO_TOKEN" in back.stderr
        return
    assert back.returncode == 0, back.stderr
    assert "stops before cell 'cell-3'" in back.stdout
    notebook = json.loads((small / "notebooks" / f"debug-{name}-use.ipynb").read_text())
    (given,) = (
        "".join(cell["source"])
        for cell in notebook["cells"]
        if "injected-parameters" in cell["metadata"]["tags"]
    )
    file = Path(given.split('"')[1])
    assert file.read_text() == "twelve bytes", "the pod's path has become one of this machine"
    assert "0123456789ab" in back.stderr
    assert run("debug", f"{name}/make").returncode == 0, "a step that ended well comes too"
    assert "Did you mean 'use'?" in run("debug", f"{name}/used").stderr


def test_what_the_settings_don_t_name_is_not_written_to(run: Run, small: Path) -> None:
    settings = small / "mlops-kit.toml"
    settings.write_text(settings.read_text().replace("contexts = [", 'contexts = ["another"]#'))
    done = run("submit", "small", "--revision", SHA)
    assert done.returncode == 1
    assert "['another']" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("small", "--revision", "main"), "parameter", "'main'"),
        (("small",), "project", "--revision"),
        (("small", "--revision", SHA, "-p", "txt", "x"), "parameter.unknown", "'text'"),
        (("smal", "--revision", SHA), "project", "'small'"),
    ],
)
def test_wrong_words_start_nothing(
    run: Run, argo: tuple[ArgoServer, str], words: tuple[str, ...], code: str, fact: str
) -> None:
    done = run("submit", *words, "--json")
    told = json.loads(done.stdout)
    assert (told["code"], fact in told["message"]) == (code, True), told
    assert done.returncode == told["exit_code"] > 0
    assert argo[0].workflows == {}


def test_an_older_template_on_the_cluster_is_refused(run: Run, small: Path) -> None:
    workflow = small / "workflows" / "small.py"
    workflow.write_text(
        workflow.read_text().replace('{"text": "pass"}', '{"text": "pass", "n": 1}')
    )
    done = run("submit", "small", "--revision", SHA)
    assert "['n']" in done.stderr
    workflow.write_text(workflow.read_text().replace('"small"', '"other"'))
    assert "WorkflowTemplate 'other'" in run("submit", "other", "--revision", SHA).stderr


def test_a_refusal_says_what_was_asked_and_where(run: Run) -> None:
    missing = run("watch", "small-nothing")
    assert missing.returncode == 1
    for fact in ("workflow 'small-nothing'", "namespace 'argowf'", "(404)"):
        assert fact in missing.stderr


def test_a_wrong_token_and_a_cluster_that_is_not_there_are_sentences(
    argo: tuple[ArgoServer, str], small: Path
) -> None:
    def asked(**environment: str) -> str:
        done = called(("watch", "small-x", "--json"), small, environment)
        told = json.loads(done.stdout)
        assert told["code"] == "cluster"
        return str(told["message"])

    plain = {"ARGO_SERVER": argo[1], "ARGO_SECURE": "false"}
    assert "(401)" in asked(**plain, ARGO_TOKEN="wrong")
    assert "KUBECONFIG" in asked(KUBECONFIG="/nowhere")


def test_a_silent_server_is_asked_again_for_a_minute(argo: tuple[ArgoServer, str]) -> None:
    from mlops_kit.argo.argo_server_client import ArgoServer as Client

    server, address = argo
    server.workflows["w"] = {"status": {"phase": "Succeeded"}}
    client = Client(address, TOKEN, "argowf", secure=False)
    server.silences = 3
    waits: list[float] = []
    ending = submission.follow(client, "w", lambda _: None, wait=waits.append, clock=lambda: 0.0)
    assert (ending.phase, len(waits)) == ("Succeeded", 3)
    server.silences = 10
    with fails("cluster", address):
        submission.follow(client, "w", print, wait=waits.append, clock=iter((0, 61, 99)).__next__)
