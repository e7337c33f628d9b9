"""Measure pipelines on a real cluster, from submit to the last step's end, and print a table.

    python -m tests.benchmarks.cluster --context CONTEXT --project FOLDER PIPELINE …

The project's templates must be on the cluster, and its settings name the context. Rounds are
interleaved; nothing is taken from Argo's cache. What the onExit report takes comes after.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_kit import Workspace
from mlops_kit.argo import submission, workflow_status
from mlops_kit.project import argo


@dataclass(frozen=True)
class Taken:
    """Seconds of one workflow: until its last step ended, within its pods, and their number."""

    total: float
    pods: float
    count: int


def main() -> int:
    """Measure, and print; 1 if a workflow did not succeed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pipelines", nargs="+")
    parser.add_argument("--context", required=True)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    where = argo.cluster(Workspace.open(options.project), options.context)
    found: dict[str, list[Taken]] = {name: [] for name in options.pipelines}
    for _ in range(options.rounds):
        for name, taken in found.items():
            workflow = _ended(where, _submitted(name, options))
            if workflow_status.phase(workflow) != "Succeeded":
                print(f"{name}: {workflow_status.phase(workflow)} {workflow_status.said(workflow)}")
                return 1
            taken.append(_taken(workflow))
    print(
        "| pipeline | pods | submit to the last step's end, median s | min–max | in pods, s | n |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name, taken in found.items():
        totals = [each.total for each in taken]
        inside = statistics.median(each.pods for each in taken)
        print(
            f"| {name} | {taken[0].count} | {statistics.median(totals):.0f} "
            f"| {min(totals):.0f}–{max(totals):.0f} | {inside:.0f} | {len(taken)} |"
        )
    return 0


def _submitted(name: str, options: argparse.Namespace) -> str:
    words = ("submit", name, "--context", options.context, "--fresh", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "mlops_kit", *words],
        cwd=options.project,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return str(json.loads(done.stdout)["workflow"])


def _ended(where: submission.Cluster, name: str) -> Mapping[str, Any]:
    while True:
        workflow = where.workflow(name)
        if workflow_status.phase(workflow) in workflow_status.ENDED:
            return workflow
        time.sleep(2)


def _taken(workflow: Mapping[str, Any]) -> Taken:
    nodes = workflow["status"]["nodes"].values()
    pods = [n for n in nodes if n["type"] == "Pod" and not n["name"].endswith(".onExit")]
    begun = _moment(workflow["metadata"]["creationTimestamp"])
    inside = sum(_moment(n["finishedAt"]) - _moment(n["startedAt"]) for n in pods)
    return Taken(max(_moment(n["finishedAt"]) for n in pods) - begun, inside, len(pods))


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    sys.exit(main())
