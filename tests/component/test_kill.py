"""Whatever stops a run, and whenever: nothing of it lives on, and --resume brings it to its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from mlops_kit import Workspace
from mlops_kit.pipelines.executions import Execution
from mlops_kit.project import scaffold
from tests.commands import called

PIPELINES = """
from pathlib import Path
from mlops_kit import Condition, Input, Pipeline, Step

first = Step("first", "first.ipynb", {"seed": Input("seed")}, {"number": int})
long = Step("long", "long.ipynb", {"number": first.output("number")}, {"number": int})
last = Step("last", "first.ipynb", {"seed": long.output("number")}, {"number": int})
SLOW = Pipeline("slow", (first, long, last), inputs={"seed": 1})

judge = Step(
    "judge", "judge.ipynb", {"seed": Input("seed")},
    {"version": str, "verdict": str, "evaluation": dict},
)
promote = Step(
    "promote", "promote.ipynb",
    {
        "candidate": judge.output("version"),
        "evaluation": judge.output("evaluation"),
        "notebooks": [judge.output("notebook")],
        "execution": Input("execution"),
    },
    {"revision": str, "changed": bool},
    when=Condition(judge.output("verdict"), equals="pass"),
    cache=False,
)
QUICK = Pipeline("quick", (judge, promote), inputs={"seed": 1})

fill = Step("fill", "fill.ipynb", {"seed": Input("seed")}, {"number": int})
FULL = Pipeline("full", (fill,), inputs={"seed": 1})
"""
FIRST = """
from pathlib import Path
from mlops_kit import publish
with Path("ran.txt").open("a") as file: file.write(f"{seed}\\n")
publish(number=seed + 1)
"""
LONG = """
import time
from pathlib import Path
from mlops_kit import publish
Path("here").touch()
end = time.monotonic() + 60
while not Path("go").exists() and time.monotonic() < end: time.sleep(0.02)
publish(number=number + 1)
"""
JUDGE = """
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from mlops_kit import Workspace, data, publish, training
frame = data.load("generated", rows=1000, seed=seed)
model = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=5))
model.fit(frame[[*data.FEATURES]], frame["Class"])
fitted = training.with_threshold(model, 0.5, frame, data.TABLE)
version = training.register(
    Workspace.open().registry, "fraud", fitted, frame, data.TABLE,
    role="candidate", tags={"seed": str(seed)},
)
verdict = {"status": "pass", "sentence": f"{version} passes.", "reasons": ["It may."], "gates": []}
names = {"candidate": str(version), "reference": "nobody"}
about = {"model": version.name, "version": version.version, "digest": version.digest}
publish(
    version=version.version,
    verdict="pass",
    evaluation={
        "candidate": about, "reference": None, "names": names, "verdict": verdict,
        "rows": 1000, "task": "binary", "classes": ["0", "1"], "counts": [995, 5], "note": "",
        "scores": [], "slices": [],
    },
)
"""
FILL = """
from pathlib import Path
from mlops_kit import publish
if Path("small").exists(): Path("../.mlops-kit/filler").write_bytes(b"x" * 40_000_000)
publish(number=seed)
"""


@dataclass(frozen=True)
class Desk:
    """A project, and how processes are started in it; `mark` is in each one's environment."""

    command: str
    project: Path
    env: dict[str, str]
    mark: str

    @property
    def notebooks(self) -> Path:
        """Where its kernels work."""
        return self.project / "notebooks"

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.command, *words],
            cwd=self.project,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        with self.start(*words, **env) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def alive(self) -> set[int]:
        """Every process that was started here, or from one that was."""
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes():
                    found.add(int(path.name))
            except OSError:
                continue
        return found

    def kernels(self) -> set[int]:
        """Those of them that work in the project; a zygote works in /."""
        places = {self.project, self.notebooks}
        return {pid for pid in self.alive() if cwd_of(pid) in places}

    def newest(self, pipeline: str) -> Execution:
        every = Workspace.open(self.project).executions.all()
        return [each for each in every if each.state.pipeline == pipeline][-1]


def cwd_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def write_notebook(path: Path, *sources: str) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{index}",
            "metadata": {"tags": ["parameters"] if index == 0 else []},
            "source": source.strip(),
            "outputs": [],
            "execution_count": None,
        }
        for index, source in enumerate(sources)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))


def made(folder: Path) -> Path:
    scaffold.create(folder)
    # Each promotion makes a champion at once, so that one run needs no rollout of another's.
    settings = folder / "mlops-kit.toml"
    settings.write_text('strategy = "direct"\n' + settings.read_text())
    (folder / "workflows" / "tried.py").write_text(PIPELINES)
    for name, source in {"long": LONG, "judge": JUDGE, "first": FIRST, "fill": FILL}.items():
        parameter = "number" if name == "long" else "seed"
        cells = (f"# parameters\n{parameter}: int = 0  # a number", source)
        write_notebook(folder / "notebooks" / f"{name}.ipynb", *cells)
    return folder


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory,
    mlops_kit_command: str,
    prepare_store: Callable[[Path], None],
) -> Iterator[Desk]:
    mark = f"kill-test-{uuid4().hex}"
    temporary = tempfile.mkdtemp(prefix="kill-")
    env = {**os.environ, "TMPDIR": temporary, "MARK": mark, "MLOPS_KIT_KEEP_WARM": "60"}
    desk = Desk(mlops_kit_command, made(tmp_path_factory.mktemp("kill") / "project"), env, mark)
    prepare_store(desk.project)
    yield desk
    for pid in desk.alive():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(temporary)


@pytest.fixture
def fresh(desk: Desk) -> Iterator[Desk]:
    """The desk, with nothing run yet of the slow pipeline."""
    for name in ("here", "go", "ran.txt"):
        (desk.notebooks / name).unlink(missing_ok=True)
    yield desk
    assert not desk.kernels()


def stopped_in_the_middle(desk: Desk, kill: Callable[[int], None], **env: str) -> tuple[int, str]:
    """Start the slow pipeline and do that to its driver while a cell runs; return how it ended."""
    seed = str(time.monotonic_ns())
    # Who runs the tests under nohup would have the driver ignore hang-ups too, as it should.
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = desk.start("run", "slow", "-p", "seed", seed, **env)
    signal.signal(signal.SIGHUP, ignored)
    with process:
        until((desk.notebooks / "here").exists)
        kill(process.pid)
        _, err = process.communicate(timeout=30)
    return process.returncode, err


def resumed(desk: Desk) -> None:
    """Go on, and look that only what hadn't ended was run."""
    assert (desk.notebooks / "ran.txt").read_text().count("\n") == 1
    (desk.notebooks / "go").touch()
    code, out, err = desk.run("run", "slow", "--resume")
    assert code == 0, out + err
    assert "ran before the resume" in err
    assert (desk.notebooks / "ran.txt").read_text().count("\n") == 2
    execution = desk.newest("slow")
    assert execution.seen_state == "succeeded"
    assert {step.state for step in execution.state.steps.values()} == {"succeeded"}


@pytest.mark.parametrize("kind", ["own", "kept-warm", "cold"])
def test_a_killed_driver_leaves_no_process_and_is_resumed(fresh: Desk, kind: str) -> None:
    env = {
        "own": {"MLOPS_KIT_KEEP_WARM": "0"},
        "kept-warm": {},
        "cold": {"MLOPS_KIT_COLD": "true"},
    }[kind]
    before = fresh.alive()
    code, _ = stopped_in_the_middle(fresh, lambda pid: os.kill(pid, signal.SIGKILL), **env)
    assert code == -signal.SIGKILL
    until(lambda: not fresh.kernels(), 10)
    if kind != "kept-warm":
        until(lambda: fresh.alive() <= before, 10)
    execution = fresh.newest("slow")
    done = called(("status",), fresh.project, {})
    assert done.returncode == 0
    assert f"{execution.name}  killed\n    resume: mlops-kit run slow --resume" in done.stdout
    resumed(fresh)


STOPS = {
    # As a terminal does: the whole group gets it.
    "interrupt": (lambda pid: os.killpg(pid, signal.SIGINT), 130),
    "terminate": (lambda pid: os.kill(pid, signal.SIGTERM), 143),
    "hang-up": (lambda pid: os.kill(pid, signal.SIGHUP), 129),
}


@pytest.mark.parametrize("name", list(STOPS))
def test_a_stopped_run_says_so_and_is_resumed(fresh: Desk, name: str) -> None:
    kill, expected = STOPS[name]
    begun = time.monotonic()
    code, err = stopped_in_the_middle(fresh, kill)
    assert code == expected, err
    assert err.endswith("Stopped: 'mlops-kit status' shows how far it got.\n")
    assert "Traceback" not in err
    execution = fresh.newest("slow")
    assert execution.seen_state == "interrupted"
    states = {step: each.state for step, each in execution.state.steps.items()}
    assert states == {"first": "succeeded", "long": "interrupted", "last": "not run"}
    assert not fresh.kernels()
    assert time.monotonic() - begun < 30
    resumed(fresh)


def test_a_run_that_ignores_hang_ups_goes_on(fresh: Desk) -> None:
    process = subprocess.Popen(
        ["nohup", fresh.command, "run", "slow", "-p", "seed", "5"],
        cwd=fresh.project,
        env=fresh.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        until((fresh.notebooks / "here").exists)
        process.send_signal(signal.SIGHUP)
        (fresh.notebooks / "go").touch()
        assert process.wait(60) == 0


# Kills the driver, and the kernel that called git, at its n-th call.
WRAPPER = """#!/bin/sh
echo "$@" >> {log}
if [ "$(wc -l < {log})" -ne {step} ]; then exec {git} "$@"; fi
case {moment} in
  during) {git} "$@" <&0 & sleep 0.004 ;;
  after) {git} "$@" ;;
esac
kill -9 $(cat {driver}) $PPID
kill -9 0
"""


def with_git(desk: Desk, place: Path, step: int, moment: str, *words: str) -> int:
    """Run the command with a git that kills; return its exit code."""
    place.mkdir()
    wrapper = place / "git"
    facts = {"log": place / "log", "driver": place / "driver", "git": shutil.which("git")}
    wrapper.write_text(WRAPPER.format(step=step, moment=moment, **facts))
    wrapper.chmod(0o755)
    line = f'echo $$ > {facts["driver"]}; exec "$0" "$@"'
    done = subprocess.run(
        ["sh", "-c", line, desk.command, *words],
        cwd=desk.project,
        env={**desk.env, "PATH": f"{place}:{desk.env['PATH']}"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


def promoted_by(workspace: Workspace, execution: str) -> list[str]:
    log = workspace.repository.log("envs/prod/release.yaml")
    return [each.revision for each in log if each.trailers.get("Mlops-Run") == execution]


def test_a_run_killed_anywhere_in_its_promotion_makes_one_commit(
    desk: Desk, tmp_path: Path
) -> None:
    # The first run makes the repository, and so calls git more often.
    assert with_git(desk, tmp_path / "first", 0, "after", "run", "quick", "-p", "seed", "999") == 0
    code = with_git(desk, tmp_path / "count", 0, "after", "run", "quick", "-p", "seed", "1000")
    assert code == 0
    calls = (tmp_path / "count" / "log").read_text().splitlines()
    push = next(i for i, call in enumerate(calls, 1) if " push " in call)
    moments = [(step, "after") for step in (2, push // 2, push - 1, push, len(calls))]
    moments += [(push // 3, "during"), (push, "during")]
    for number, (step, moment) in enumerate(moments):
        words = ("run", "quick", "-p", "seed", str(number))
        assert with_git(desk, tmp_path / f"{number}", step, moment, *words) == -signal.SIGKILL
        execution = desk.newest("quick")
        assert execution.seen_state == "killed"
        code, out, err = desk.run("run", "quick", "--resume")
        assert code == 0, out + err
        workspace = Workspace.open(desk.project)
        assert len(promoted_by(workspace, execution.name)) == 1, (step, moment)
        champion = workspace.release("fraud", "prod").champion
        assert champion is not None
        assert champion.version == execution.value("judge", "version")
        alias = workspace.registry.by_alias("fraud", "champion")
        assert alias is not None
        assert alias.version == champion.version
        kept = {Path(path).name for path in workspace.repository.list(champion.evidence)}
        assert kept == {"judge.ipynb", "report.md", "gates.svg"}
        assert json.loads(workspace.repository.read(f"{champion.evidence}/judge.ipynb") or b"")
    until(lambda: not desk.kernels(), 10)


def git(place: Path, *words: str) -> str:
    command = ["git", "-C", str(place), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_two_runs_at_once_in_a_new_project_both_end_well(desk: Desk, tmp_path: Path) -> None:
    new = Desk(desk.command, made(tmp_path / "new"), desk.env, desk.mark)
    processes = [new.start("run", "quick", "-p", "seed", seed, "--json") for seed in ("1", "2")]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    results = [json.loads(out) for out, _ in answers]
    workspace = Workspace.open(new.project)
    bare = Path(workspace.settings.gitops_url)
    assert git(bare, "rev-list", "--merges", "--count", "main") == "0"
    for result in results:
        assert promoted_by(workspace, result["execution"]) == [result["revision"]]
    executions = [workspace.executions.open(result["execution"]) for result in results]
    versions = {execution.value("judge", "version") for execution in executions}
    assert versions == {"1", "2"}
    git(bare, "fsck", "--strict")
    # Whoever pushed first may have set the alias last; Git counts, and repair heals it.
    assert called(("repair",), new.project, {}).returncode == 0
    assert json.loads(called(("status", "--json"), new.project, {}).stdout)["agree"] is True


def test_a_full_disk_is_said_in_a_sentence_and_resumed_later(desk: Desk, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    project = made(tmp_path / "full")
    state = project / ".mlops-kit"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    full = Desk(desk.command, project, desk.env, desk.mark)
    try:
        (full.notebooks / "small").touch()
        code, out, err = full.run("run", "full")
        assert code == 1, out + err
        assert "No space left on device" in err
        assert "Traceback" not in err
        (full.notebooks / "small").unlink()
        (state / "filler").unlink()
        code, out, err = full.run("run", "full", "--resume")
        assert code == 0, out + err
        assert full.newest("full").seen_state == "succeeded"
    finally:
        subprocess.run(["umount", str(state)], check=True)
