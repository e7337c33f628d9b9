"""Run every check, those of the source beside the tests, and close with a line of counts.

`python -m tests.check --quick` leaves out the tests of real things: an answer within a minute.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "notebooks": ["nbstripout", "--verify", "--keep-id", *map(str, ROOT.glob("notebooks/*.ipynb"))],
    "layers": ["lint-imports", "--no-cache"],
    "types": ["mypy"],
}
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|error)")
# More than the two cores, as many tests wait for a server, a rollout or a browser.
PROCESSES = 4
QUICK = ("tests/unit", "tests/contract")


def main() -> int:
    """Run all, also after one has failed; 0 only if none has."""
    quick = "--quick" in sys.argv
    given = [word for word in sys.argv[1:] if word != "--quick"]
    with ThreadPoolExecutor(1) as pool:
        checks = {name: pool.submit(check, command) for name, command in CHECKS.items()}
        counts = run_tests([*(QUICK if quick else ()), *given])
        broken = [name for name, future in checks.items() if not reported(name, future)]
    if not counts.get("passed"):
        broken.append("tests")
    failed = counts.get("failed", 0) + counts.get("error", 0) + len(broken)
    passed = counts.get("passed", 0) + len(CHECKS) - len(set(broken) - {"tests"})
    print(f"{passed} passed, {failed} failed, {counts.get('skipped', 0)} skipped")
    return 1 if failed else 0


def check(command: list[str]) -> tuple[int, str, float]:
    """Run one check of the source; return its exit code, what it said and the seconds it took."""
    start = time.monotonic()
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - start


def reported(name: str, future: Future[tuple[int, str, float]]) -> bool:
    """Print how a check ended, and what it said where it found something."""
    code, said, seconds = future.result()
    print(f"{name:<10} {'FAILED' if code else 'ok'}  {seconds:.1f} s", flush=True)
    if code:
        print(said)
    return code == 0


def run_tests(given: list[str]) -> dict[str, int]:
    """Run pytest, shown as it goes, and return its counts."""
    options = [
        *("-q", "-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder"),
        *("--durations", "10", *given),
    ]
    command = [sys.executable, "-m", "pytest", *options]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if line.strip() else last
    found = {word: int(count) for count, word in COUNTS.findall(last)}
    if process.returncode and not found.get("failed"):
        found["error"] = found.get("error", 0) or 1
    return found


if __name__ == "__main__":
    sys.exit(main())
