"""Measure the ledger and the DORA keys on a long history, from commits in memory and from Git.

    python -m tests.benchmarks.dora [--acts N] [--rounds N]

The history is of direct promotions, each 20th of them rolled back: an act a commit. The repository
is made by `git fast-import`, and read as the kit reads it, through a cache of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops_kit.releases import dora, ledger
from mlops_kit.releases.ledger import Commit
from mlops_kit.releases.repository import GitOpsRepository

PATH = "envs/prod/release.yaml"
START = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> int:
    """Measure, and print a table; 1 if the numbers are not those of the history."""
    options = _options()
    commits = tuple(history(options.acts))[::-1]
    with tempfile.TemporaryDirectory() as scratch:
        remote = Path(scratch, "gitops.git")
        write(remote, commits)
        repository = GitOpsRepository(remote, Path(scratch, "cache"), timeout=600)
        repository.head()
        measured = {
            "ledger and keys, from commits in memory": lambda: found(commits),
            "git log, ledger and keys, from a repository": lambda: found(repository.log(PATH)),
        }
        best = f"best of {options.rounds}"
        print(f"| {options.acts:,} promotions and rollbacks | seconds, {best} | its own CPU |")
        print("| --- | ---: | ---: |")
        keys = {name: _measure(name, act, options.rounds) for name, act in measured.items()}
    first, second = keys.values()
    print("\n" + "\n".join(first.lines))
    returns = options.acts // 20
    right = (first.keys[0].deployments, first.keys[0].returns) == (options.acts - returns, returns)
    return 0 if right and first == second else 1


def history(acts: int) -> Iterator[Commit]:
    """Yield the commits of a history, the oldest first."""
    champions = ["0"]
    for number in range(acts):
        when = START + timedelta(minutes=30 * number)
        back = number % 20 == 19
        before = champions.pop() if back else champions[-1]
        version = champions[-1] if back else str(number + 1)
        if not back:
            champions = [before, version]
        said = {
            "action": "rollback" if back else "promote",
            "model": "fraud",
            "environment": "prod",
            "version": version,
            "digest": f"sha256:{version:0>64}",
            "origin": before,
            "champion": version,
            "weight": "0",
            "rollout": "" if back else f"fraud-{version}-3f2a9c1be07d",
            "run": "" if back else f"fraud-training-20260101-{number:06}",
            "evidence": f"evidence/prod/fraud-{version}-3f2a9c1be07d",
            "rolled_back": f"sha256:{before:0>64}" if back else "",
            "committed_at": "" if back else (when - timedelta(minutes=12)).isoformat(),
            "who": "ana",
            "why": "too many errors" if back else "recall up, cost down",
        }
        trailers = {ledger.TRAILERS[name]: text for name, text in said.items() if text}
        subject = f"{'Roll back' if back else 'Promote'} fraud {version} in prod"
        yield Commit(f"{number:040x}", when, "mlops-kit <mlops-kit@localhost>", subject, trailers)


def write(remote: Path, commits: tuple[Commit, ...]) -> None:
    """Make a bare repository with these commits, given the newest first."""
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", remote], check=True)
    words = ["git", f"--git-dir={remote}", "fast-import", "--quiet"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for commit in reversed(commits):
            process.stdin.write(_imported(commit))
        process.stdin.close()
    if process.returncode:
        raise SystemExit(f"git fast-import ended with {process.returncode}")


def found(commits: tuple[Commit, ...]) -> dora.Dora:
    """Return the keys of the commits."""
    return dora.keys(ledger.history(commits))


def _imported(commit: Commit) -> bytes:
    text = ledger.message(commit.subject, "", commit.trailers).encode()
    content = f"champion: {commit.revision}\n".encode()
    who = f"mlops-kit <mlops-kit@localhost> {int(commit.time.timestamp())} +0000"
    head = f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {len(text)}\n"
    return b"%s%s\nM 100644 inline %s\ndata %d\n%s\n" % (
        head.encode(),
        text,
        PATH.encode(),
        len(content),
        content,
    )


def _measure(name: str, act: Callable[[], dora.Dora], rounds: int) -> dora.Dora:
    seconds = []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        result = act()
        seconds.append((time.perf_counter() - start, time.process_time() - used))
    elapsed, cpu = map(min, zip(*seconds, strict=True))
    print(f"| {name} | {elapsed:.2f} | {cpu:.2f} |", flush=True)
    return result


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="tests.benchmarks.dora")
    options.add_argument("--acts", type=int, default=100_000, help="how long the history is")
    options.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
