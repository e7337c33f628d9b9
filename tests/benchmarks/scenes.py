"""A large project, and a large board: 200 candidates, 2,000 acts, an evaluation of 100,000 rows."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from mlflow.tracking import MlflowClient

from mlops_kit import Workspace
from mlops_kit.jupyter.panel.state import Board, Candidate, Offer
from mlops_kit.models import operating_points
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.models.metric_sums import Judged
from mlops_kit.project import local_runs, scaffold
from mlops_kit.releases.ledger import Entry
from tests.conftest import LOOSE

ROWS = 100_000
VERSIONS, ACTS = 200, 2_000


def project(folder: Path) -> None:
    """Make a project whose newest candidate waits, with as many versions and acts.

    One pipeline ran for its champion and one for its candidate; what is many is copied from these
    into the registry and, as commits, into the repository.
    """
    scaffold.create(folder)
    settings = folder / "mlops-kit.toml"
    settings.write_text(
        'strategy = "direct"\n' + settings.read_text().partition("[models.")[0] + LOOSE
    )
    workspace = Workspace.open(folder)
    pipeline = workspace.pipeline("fraud-training")
    given = {"rows": ROWS, "traffic": "live"}
    local_runs.run(workspace, pipeline, given, observer=lambda _: None)
    _repeat(workspace.settings.state_folder / "gitops.git")
    one = workspace.registry.versions("fraud")[0]
    client = MlflowClient(workspace.settings.registry_uri)
    for _ in range(VERSIONS):
        client.create_model_version("fraud", one.uri, tags=dict(one.tags))
    given |= {"seed": 8, "promotion": "manual"}
    local_runs.run(workspace, pipeline, given, observer=lambda _: None)


def _repeat(repository: Path) -> None:
    """Commit the last act again and again, each with another release name."""
    git = ["git", f"--git-dir={repository}"]

    def said(*words: str) -> bytes:
        return subprocess.run([*git, *words], capture_output=True, check=True).stdout

    path = "envs/prod/release.yaml"
    message, content = said("show", "-s", "--format=%B", "main"), said("show", f"main:{path}")
    stream = []
    for number in range(ACTS):
        # Another text each time, as a commit without a change is none of this file.
        text = content + b"# %d\n" % number if number < ACTS - 1 else content
        who = b"committer mlops-kit <mlops-kit@localhost> %d +0000\n" % (1_790_000_000 + number)
        parent = b"from refs/heads/main^0\n" if not number else b""
        stream += [
            b"commit refs/heads/main\n" + who + b"data %d\n" % len(message) + message + parent,
            b"M 100644 inline " + path.encode() + b"\ndata %d\n" % len(text) + text + b"\n",
        ]
    subprocess.run([*git, "fast-import", "--quiet"], input=b"".join(stream), check=True)


def board() -> Board:
    """Return it; the same each time."""
    random = np.random.default_rng(7)
    labels = (random.random(ROWS) < 0.005).astype(int)
    judged = {}
    for role, shift in (("candidate", 6.0), ("reference", 5.0)):
        scores = 1 / (1 + np.exp(6 - shift * labels - random.normal(size=ROWS)))
        judged[role] = Judged(labels, scores, (scores > 0.2).astype(int), np.zeros(ROWS))
    costs = np.vstack([np.full(ROWS, 120.0), np.full(ROWS, 5.0)])
    number = {"value": 0.9, "low": 0.85, "high": 0.95, "n": 500}
    row = {
        "name": "recall",
        "metric": "recall",
        "candidate": number,
        "reference": number,
        "difference": number,
    }
    gate = {"name": "recall", "status": "pass", "estimate": number, "side": "at_least"}
    part = {"metric": "recall", "candidate": number, "reference": number}
    named = {f.name: "text" for f in dataclasses.fields(Entry) if f.type == "str"}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [
        Entry(**{**named, "when": start - timedelta(hours=i), "weight": 10}) for i in range(2_000)
    ]
    return Board(
        model="fraud",
        environment="prod",
        environments=("dev", "prod"),
        headline="champion v12",
        checked="0",
        standing="pass",
        sentence="v13 passes all 16 gates.",
        offers=(Offer("promote", "Promote v13 to prod", "It is replayed.", "", "required", True),),
        candidates=tuple(Candidate(str(i), "pass") for i in range(200)),
        chosen="13",
        evaluation=EvaluationSummary.model_validate(
            {
                "candidate": {"model": "fraud", "version": "13", "digest": "sha256:13"},
                "reference": {"model": "fraud", "version": "12", "digest": "sha256:12"},
                "names": {"candidate": "fraud v13", "reference": "fraud v12"},
                "rows": ROWS,
                "task": "binary",
                "classes": ["0", "1"],
                "counts": [int((labels == 0).sum()), int(labels.sum())],
                "note": "",
                "scores": [row] * 6,
                "slices": [{"name": f"slice {i}", **part} for i in range(9)],
                "verdict": {
                    "status": "pass",
                    "sentence": "v13 passes all 16 gates.",
                    "reasons": [],
                    "gates": [{**gate, "bound": 0.7}] * 16,
                },
                "curves": operating_points.curves(judged, costs),
            }
        ),
        change=("--- a", "+++ b", "-  version: '12'", "+  version: '13'"),
        history=tuple(entries),
    )
