"""A second model is two notebooks, a page of workflow and a folder of envs/: nothing of the kit."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mlops_kit import Workspace
from mlops_kit.project import argo, candidates, releases, scaffold
from tests.controller import Controller

PARAMETERS = """
model: str = "churn"  # the registered name
seed: int = 7  # of the data
"""
TABLE = """\
import pandera.pandas as pa

from mlops_kit import declare_table

FEATURES = {name: pa.Column(float) for name in "abcdef"}
SCHEMA = pa.DataFrameSchema({**FEATURES, "left": pa.Column(int, pa.Check.isin([0, 1]))})
TABLE = declare_table("churn", SCHEMA, label="left", positive=1)
"""
DATA = """
X, y = make_classification(4000, 6, weights=[0.8], class_sep=1.5, random_state=seed)
customers = pd.DataFrame(X, columns=[*"abcdef"]).assign(left=y)
past, later = customers[:3000], customers[3000:]
"""
TRAIN = {
    "title": "# Who will leave?",
    "parameters": PARAMETERS,
    "setup": """
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from mlops_kit import Workspace, publish, training

workspace = Workspace.open()
table = workspace.table(model)
""",
    "data": DATA,
    "register": """
fitted = LogisticRegression().fit(table.inputs(past), table.labels(past))
tags = workspace.lineage_tags("train_churn.ipynb")
version = training.register(
    workspace.registry, model, fitted, past, table, role="candidate", tags=tags
)
""",
    "publish": "publish(version=version.version)",
}
EVALUATE = {
    "title": "# Do we know better who will leave than a guess would?",
    "parameters": f'candidate: str = ""  # version to judge; empty: the newest\n{PARAMETERS}',
    "setup": """
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier

from mlops_kit import Workspace, evaluation, publish

workspace = Workspace.open()
table, rules = workspace.table(model), workspace.rules(model)
""",
    "data": DATA,
    "compare": """
challenger = workspace.model_version(model, candidate)
compared = evaluation.compare(
    workspace.registry.load(challenger, challenger.digest),
    DummyClassifier(strategy="stratified", random_state=7).fit(
        table.inputs(past), table.labels(past)
    ),
    later,
    table,
    names={"candidate": str(challenger), "reference": "a guess"},
    costs=workspace.costs(model),
    rules=rules,
)
compared
""",
    "judge": "verdict = evaluation.judge(compared, rules)\nverdict",
    "publish": (
        "summary = compared.summary(verdict, challenger)\n"
        "publish(verdict=verdict.status, evaluation=summary.data())"
    ),
}
WORKFLOW = """\
from mlops_kit import Condition, Input, Pipeline, Step

train = Step("train", "train_churn.ipynb", outputs={"version": str})
about = {"candidate": train.output("version"), "model": "churn"}
judge = Step("evaluate", "evaluate_churn.ipynb", about, {"verdict": str, "evaluation": dict})
passed = Condition(judge.output("verdict"), equals="pass")
papers = {"evaluation": judge.output("evaluation"), "execution": Input("execution")}
papers |= {"environment": "churn", "notebooks": [s.output("notebook") for s in (train, judge)]}
release = Step("promote", "promote.ipynb", about | papers, {"revision": str}, passed, cache=False)
PIPELINE = Pipeline("churn-training", (train, judge, release))
"""


def write_notebook(path: Path, sources: dict[str, str]) -> None:
    cells = []
    for name, source in sources.items():
        cell = {"id": name, "metadata": {}, "source": source.strip()}
        if name == "title":
            cells.append({**cell, "cell_type": "markdown"})
            continue
        tags = {"tags": ["parameters"]} if name == "parameters" else {}
        code = {"cell_type": "code", "outputs": [], "execution_count": None, "metadata": tags}
        cells.append({**cell, **code})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(
        json.dumps(
            {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        )
    )


def add_environment(project: Path, name: str) -> None:
    """Do as a user does: copy an environment of the seed, and give it its name."""
    envs = project / "workflows" / "gitops" / "envs"
    shutil.copytree(envs / "dev", envs / name)
    release = envs / name / "release.yaml"
    text = release.read_text().replace("environment: dev", f"environment: {name}")
    release.write_text(text.replace("host: dev.local", f"host: {name}.local"))


def made(folder: Path, pods: str = "step") -> Path:
    """Make a project with the second model beside the first."""
    scaffold.create(folder)
    write_notebook(folder / "notebooks" / "train_churn.ipynb", TRAIN)
    write_notebook(folder / "notebooks" / "evaluate_churn.ipynb", EVALUATE)
    (folder / "workflows" / "tables" / "churn.py").write_text(TABLE)
    text = WORKFLOW.replace("release))", f'release), pods="{pods}")')
    (folder / "workflows" / "churn_training.py").write_text(text)
    add_environment(folder, "churn")
    return folder


@pytest.fixture(scope="module")
def local(
    tmp_path_factory: pytest.TempPathFactory,
    mlops_kit_command: str,
    prepare_store: Callable[[Path], None],
) -> Workspace:
    """What a run on this machine left."""
    project = made(tmp_path_factory.mktemp("local") / "project")
    prepare_store(project)
    words = [mlops_kit_command, "run", "churn-training", "--json"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["verdict"] == "pass"
    assert set(result["steps"].values()) == {"succeeded"}
    return Workspace.open(project)


def test_a_second_model_needs_two_notebooks_and_a_page(local: Workspace) -> None:
    lines = [line for line in WORKFLOW.splitlines() if line.strip() and line.strip()[0] != "#"]
    assert len(lines) < 10
    assert max(map(len, lines)) <= 100
    workspace = local
    found = releases.status(workspace, "churn", "churn")
    (execution,) = local.executions.all()
    revision = execution.value("promote", "revision")
    assert (found.champion, found.alias, found.revision) == ("1", "1", revision)
    assert found.release.champion
    evidence = found.release.champion.evidence
    assert {Path(path).name for path in workspace.repository.list(evidence)} == {
        "report.md",
        "gates.svg",
        "train.ipynb",
        "evaluate.ipynb",
    }
    report = workspace.repository.read(f"{evidence}/report.md")
    assert report
    assert report.startswith(b"# churn v1 to churn: PASS")
    assert releases.status(workspace, "fraud", "prod").champion == "", "the first is untouched"
    # The newest execution judged churn: it must not speak for a model of another name.
    assert candidates.find(workspace, "churn").version.version == "1"


def evidence(workspace: Workspace) -> set[str]:
    """The files that stand in Git for the release."""
    champion = workspace.release("churn", "churn").champion
    assert champion is not None
    return {Path(path).name for path in workspace.repository.list(champion.evidence)}


@pytest.mark.parametrize("pods", ["step", "fused"])
def test_its_pods_publish_and_promote_what_the_local_run_does(
    local: Workspace, tmp_path: Path, pods: str
) -> None:
    project = made(tmp_path / "project", pods)
    rendered = yaml.safe_load(
        argo.rendered(Workspace.open(project))["pipelines/churn-training.yaml"]
    )
    # A kernel that imports what one notebook needs is ready sooner than one for all of them.
    environment = {"MLOPS_KIT_COLD": "true"} if pods == "step" else {}
    cluster = Controller(rendered, project, tmp_path / "cluster", environment)
    nodes = cluster.submit("churn-training-abc12")
    assert {node.phase for node in nodes.values()} == {"Succeeded"}, [n.log for n in nodes.values()]
    texts = {n.rpartition("-")[2]: v for node in nodes.values() for n, v in node.parameters.items()}
    files = {n.rpartition("-")[2]: v for node in nodes.values() for n, v in node.artifacts.items()}
    (execution,) = local.executions.all()
    assert texts["version"] == execution.value("train", "version")
    assert texts["verdict"] == execution.value("evaluate", "verdict")
    found = json.loads((files["evaluation"] / "evaluation.json").read_bytes())
    expected = execution.value("evaluate", "evaluation")
    for judged in (found, expected):
        # How long it took is measured, and the bytes of a model have their own digest.
        judged["scores"] = [row for row in judged["scores"] if "latency" not in row["metric"]]
    for part in ("names", "rows", "counts", "scores", "slices"):
        assert found.get(part) == expected.get(part)
    assert found["verdict"]["status"] == expected["verdict"]["status"]
    (project / ".mlops-kit").symlink_to(tmp_path / "cluster" / "state")
    there = Workspace.open(project)
    assert texts["revision"] == there.repository.head()
    assert evidence(there) == evidence(local)
    assert there.repository.log()[0].trailers["Mlops-Run"] == "churn-training-abc12"
