"""Deliver models on one laptop, good and bad ones, and print the four keys.

    python -m tests.benchmarks.delivery [--rounds N] [--place FOLDER]

A new project runs its pipeline: good candidates, one that fails on live traffic, and a completed
release that is taken back. The keys are what `mlops-kit dora` reads from the commits; the seconds
from a commit to its being served are measured beside, by asking the server.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_kit import Workspace
from mlops_kit.project import local_server
from mlops_kit.releases import promotion, release
from mlops_kit.releases.request import PromotionRequest, Signoff
from mlops_kit.serving import daemon


def main() -> int:
    """Deliver and print; 1 where a run ended otherwise than it should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2, help="good deliveries")
    parser.add_argument("--place", type=Path, default=None)
    options = parser.parse_args()
    place = options.place or Path(tempfile.mkdtemp(prefix="mlops-kit-delivery-")) / "project"
    kit("new", str(place.resolve()), place=place.parent)
    ended = [run(place, "good", [], 0)]
    for number in range(options.rounds - 1):
        ended.append(run(place, f"good again, {number + 2}", ["--fresh"], 0))
    ended.append(run(place, "slow on live traffic", ["-p", "candidate_defect", "latency"], 5))
    kit("rollback", "--reason", "a complaint", place=place)
    print("\n| delivery | seconds, all steps | ended | by weight |\n|---|---:|---|---|")
    for name, seconds, found in ended:
        path = " → ".join(map(str, found["rollout"]["weights"]))
        print(f"| {name} | {seconds:.0f} | {found['rollout']['outcome']} | {path} |")
    bad = ended[-1][2]["rollout"]["steps"]
    exposed = [step for step in bad if step["act"] == "shift"]
    if exposed:
        gone = seconds_between(exposed[0]["when"], bad[-1]["when"])
        print(f"\nBad release: {gone:.0f} s from its first traffic to the commit that ended it.")
    took = served_after(place)
    print(f"Commit to served: {statistics.median(took):.2f} s, at most {max(took):.2f} s.\n")
    print(kit("dora", place=place).stdout)
    return 0


def run(place: Path, name: str, options: list[str], expected: int) -> tuple[str, float, Any]:
    """Run the pipeline and return its name, seconds and outcome."""
    start = time.monotonic()
    done = kit("run", "fraud-training", "--json", *options, place=place, codes=(expected,))
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return name, time.monotonic() - start, json.loads(done.stdout)


def served_after(place: Path, times: int = 10) -> list[float]:
    """Return the seconds from a commit's push to the server's answering by it."""
    workspace = Workspace.open(place)
    where = ("fraud", "prod")
    took = []
    kit("serve", "--detach", place=place)
    try:
        folder = local_server.folder(workspace, where[1])
        now = workspace.release(*where)
        assert now.champion is not None
        versions = workspace.registry.versions("fraud")
        other = next(v for v in versions if v.version != now.champion.version)
        candidate = release.ServedModel(other.version, other.uri, other.digest)
        signoff = Signoff("benchmark", "measuring", "inconclusive")
        request = PromotionRequest(
            *where,
            candidate,
            f"delivery-{time.time_ns()}",
            Signoff("benchmark"),
            override="benchmark: measures how soon a commit is served",
        )
        made = promotion.promote(workspace.repository, request)
        for number in range(times):
            start = time.monotonic()
            while (found := daemon.running(folder)) is None or found.revision != made.revision:
                time.sleep(0.01)
            took.append(time.monotonic() - start)
            made = promotion.advance(
                workspace.repository,
                made.release,
                release.Shift(10 + number) if number < times - 1 else release.Abort(),
                signoff,
            )
    finally:
        kit("serve", "stop", place=place)
    return took


def seconds_between(first: str, last: str) -> float:
    """Return the seconds between two moments in ISO 8601."""
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def kit(
    *words: str, place: Path, codes: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run a command of the kit; raises SystemExit when it ends otherwise than expected."""
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlops_kit", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise SystemExit(
            f"{words} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done


if __name__ == "__main__":
    sys.exit(main())
