"""What was measured, as a table; and how much of the machine others used meanwhile."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.contenders import Contender

# Above this share of the machine's CPU, somebody else's work is in the seconds.
MOST_FOREIGN = 0.12
# The contender that the others of its group are compared with.
BASES = {"pipeline": "papermill", "one cell": "one-cli", "--help": "help-papermill"}
LIBRARIES = ("papermill", "nbclient", "ipykernel", "mlflow", "scikit-learn", "pandas")


@dataclass(frozen=True)
class Run:
    """One measurement: which contender, in seconds, with the share of CPU that others used."""

    key: str
    seconds: float
    foreign: float


class Machine:
    """The CPU time of this machine since now, and the part that was ours."""

    def __init__(self, zygote: int) -> None:
        """`zygote` is nobody's child, but ours; 0 where there is none."""
        self.before = (time.monotonic(), _busy(), _own(), _of(zygote))

    def foreign(self, zygote: int) -> float:
        """Return the share of all cores that others used, a hypervisor's other guests included."""
        start, busy, own, warm = self.before
        cores = os.cpu_count() or 1
        # A zygote that was started in between has all of its time from in between.
        ours = _own() - own + max(0.0, _of(zygote) - warm)
        return max(0.0, (_busy() - busy - ours) / ((time.monotonic() - start) * cores))


def facts() -> str:
    """Return what the seconds depend on, without names of machines or people."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{libraries}; JupyterLab installed: {'yes' if _has('jupyterlab') else 'no'}; "
        "bytecode compiled; OMP_NUM_THREADS unset, alike for all."
    )


def markdown(contenders: Sequence[Contender], runs: Sequence[Run]) -> str:
    """Return the table: median, span, how often, ratio to papermill's command line, target."""
    lines: list[str] = []
    for group in dict.fromkeys(each.group for each in contenders):
        rows = [
            _row(each, runs) for each in contenders if each.group == group and _of_key(each, runs)
        ]
        if rows:
            lines += [
                "",
                f"| {group} | median s | min–max | n | papermill's / this | target |",
                "|---|---:|---:|---:|---:|---|",
                *rows,
            ]
    return "\n".join([*lines, "", *_closing(runs)])


def median(key: str, runs: Sequence[Run]) -> float | None:
    """Return a contender's median in seconds, or None if it wasn't measured."""
    taken = [run.seconds for run in runs if run.key == key]
    return statistics.median(taken) if taken else None


def _row(contender: Contender, runs: Sequence[Run]) -> str:
    taken = [run.seconds for run in _of_key(contender, runs)]
    middle = statistics.median(taken)
    base = median(BASES[contender.group], runs)
    ratio = f"{base / middle:.1f}x" if base else "–"
    digits = 1 if contender.group == "pipeline" and middle >= 10 else 2
    span = f"{min(taken):.{digits}f}–{max(taken):.{digits}f}"
    return (
        f"| {contender.title} | {middle:.{digits}f} | {span} | {len(taken)} "
        f"| {ratio} | {contender.target} |"
    )


def _closing(runs: Sequence[Run]) -> list[str]:
    lines = []
    cold, script = median("cold", runs), median("script", runs)
    if cold and script:
        lines.append(f"mlops-kit run, cold, takes {cold / script:.2f} of the plain script's time.")
    disturbed = [run for run in runs if run.foreign > MOST_FOREIGN]
    if disturbed:
        worst = max(run.foreign for run in disturbed)
        lines.append(
            f"WARNING: during {len(disturbed)} of {len(runs)} measurements others used more than "
            f"{MOST_FOREIGN:.0%} of the CPU ({worst:.0%} at most): read ratios, not seconds."
        )
    return lines


def _of_key(contender: Contender, runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.key == contender.key]


def _busy() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _of(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _has(distribution: str) -> bool:
    try:
        return bool(version(distribution))
    except ModuleNotFoundError:
        return False
