"""Run every check in the order of their cost, and close with a line of counts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "notebooks": ["nbstripout", "--verify", "--keep-id", *map(str, ROOT.glob("notebooks/*.ipynb"))],
    "types": ["mypy"],
    "layers": ["lint-imports", "--no-cache"],
}
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|error)")


def main() -> int:
    """Run all, also after one has failed; 0 only if none has."""
    broken = []
    for name, command in CHECKS.items():
        start = time.monotonic()
        done = subprocess.run(
            [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        how = "ok" if done.returncode == 0 else "FAILED"
        print(f"{name:<10} {how}  {time.monotonic() - start:.1f} s", flush=True)
        if done.returncode:
            print(done.stdout, done.stderr)
            broken.append(name)
    counts = run_tests()
    if not counts.get("passed"):
        broken.append("tests")
    failed = counts.get("failed", 0) + counts.get("error", 0) + len(broken)
    passed = counts.get("passed", 0) + len(CHECKS) - len(broken)
    print(f"{passed} passed, {failed} failed, {counts.get('skipped', 0)} skipped")
    return 1 if failed else 0


def run_tests() -> dict[str, int]:
    """Run pytest on two processes, shown as it goes, and return its counts."""
    options = [
        "-q",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
        "--durations",
        "8",
        *sys.argv[1:],
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
