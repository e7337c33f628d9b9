"""The place of one benchmark: an environment, a prepared project, and a fresh copy of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# The bounds of the gates are none here, so that every run takes all five steps.
GATES = """
[models.fraud]
minimum = 1
gates = [{ metric = "recall", at_least = 0.0 }]
"""
# What a developer's shell may set and a user's doesn't.
_REMOVED = ("MLOPS_KIT_", "MLFLOW_", "JUPYTER_", "OMP_", "OPENBLAS_", "MKL_", "PYTHON", "VIRTUAL_")


class BenchmarkError(Exception):
    """A contender did not do its work, so its time means nothing."""


@dataclass
class Scene:
    """Folders and variables that every contender gets alike."""

    place: Path
    environ: dict[str, str] = field(default_factory=dict)
    zygote: int = 0

    @property
    def project(self) -> Path:
        """The project that a contender works on; always the same path."""
        return self.place / "project"

    @property
    def evidence(self) -> Path:
        """Executed notebooks, for the script, which makes none."""
        return self.place / "evidence"

    def prepare(self) -> None:
        """Make the project once, with its stores, and run it once: fonts, page cache, evidence."""
        for name in ("home", "tmp"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        kept = {name: v for name, v in os.environ.items() if not name.startswith(_REMOVED)}
        self.environ = {
            **kept,
            "HOME": str(self.place / "home"),
            "TMPDIR": str(self.place / "tmp"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        # A spelling of its own would be another project: the stores know their place.
        for folder in (self.project, self.place / "prepared", self.evidence):
            shutil.rmtree(folder, ignore_errors=True)
        self.command("mlops-kit", "new", str(self.project), cwd=self.place)
        settings = self.project / "mlops-kit.toml"
        text = settings.read_text().partition("[models.")[0]
        settings.write_text('strategy = "direct"\n' + text + GATES)
        self._end_at_promotion()
        self._initialise()
        self.fresh()
        self.command("mlops-kit", "run", "fraud-training")
        newest = next((self.project / ".mlops-kit" / "executions").glob("fraud-training-*"))
        shutil.copytree(newest, self.evidence)

    def _end_at_promotion(self) -> None:
        """Leave the watch of the rollout out: how long it takes is a setting, not a speed."""
        workflow = self.project / "workflows" / "fraud_training.py"
        text, last = workflow.read_text(), "evaluate, promote, watch_rollout)"
        if last not in text:
            raise BenchmarkError(f"{workflow} has no {last!r}; expected the pipeline's steps.")
        workflow.write_text(text.replace(last, "evaluate, promote)"))

    def _initialise(self) -> None:
        code = (
            "from mlops_kit import Workspace; w = Workspace.open(); "
            "w.registry.prepare(); w.repository"
        )
        self.command(sys.executable, "-c", code)
        self.project.rename(self.place / "prepared")

    def fresh(self, name: str = "project") -> Path:
        """Put a fresh copy of the prepared project in its place, and return that."""
        folder = self.place / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place / "prepared", folder)
        return folder

    def command(
        self, *words: str, cwd: Path | None = None, more: Mapping[str, str] | None = None
    ) -> float:
        """Run a command to its end; return its seconds, or raise BenchmarkError."""
        return self.said(*words, cwd=cwd, more=more)[1]

    def inside(
        self, what: str, *words: str, python: str = sys.executable, more: Mapping[str, str] = {}
    ) -> tuple[Any, float]:
        """Run a part of `inside` in a new process; return what it says, and all its seconds."""
        module = (python, "-m", "tests.benchmarks.inside", what, str(self.project))
        said, taken = self.said(*module, *words, cwd=ROOT, more=more)
        return json.loads(said.splitlines()[-1]), taken

    def said(
        self, *words: str, cwd: Path | None = None, more: Mapping[str, str] | None = None
    ) -> tuple[str, float]:
        """Run a command to its end; return its output and its seconds."""
        start = time.monotonic()
        done = subprocess.run(
            words,
            cwd=cwd or self.project,
            env={**self.environ, **(more or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        taken = time.monotonic() - start
        if done.returncode:
            raise BenchmarkError(
                f"{' '.join(words)[:300]} ended with {done.returncode}:\n"
                f"{(done.stdout + done.stderr)[-3000:]}"
            )
        return done.stdout, taken

    def check_promoted(self, folder: Path | None = None) -> None:
        """Raise BenchmarkError unless the project's GitOps repository serves a champion."""
        repository = (folder or self.project) / ".mlops-kit" / "gitops.git"
        said, _ = self.said("git", f"--git-dir={repository}", "log", "--format=%B", "main")
        if "Mlops-Action: promote" not in said:
            raise BenchmarkError(f"Nothing was promoted in {folder or self.project}.")

    def remove(self) -> None:
        """Take everything away but what a later run can use again."""
        for name in ("project", "other", "prepared", "evidence", "home", "tmp"):
            shutil.rmtree(self.place / name, ignore_errors=True)


def ploomber(place: Path) -> str:
    """Return the Python of ploomber-engine's own environment, made if it isn't there."""
    folder = place / "ploomber"
    python = str(folder / "bin" / "python")
    if (folder / ".installed").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    environ = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}

    def call(*words: str) -> str:
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{' '.join(words)} failed: {done.stderr[-1000:]}")
        return done.stdout

    pins = place / "pins.txt"
    if shutil.which("uv"):
        frozen = call("uv", "pip", "freeze", "--python", sys.executable)
        pins.write_text("\n".join(line for line in frozen.splitlines() if "==" in line))
        call("uv", "venv", "--quiet", "--python", sys.executable, str(folder))
        install = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    else:
        frozen = call(sys.executable, "-m", "pip", "freeze")
        pins.write_text("\n".join(line for line in frozen.splitlines() if "==" in line))
        call(sys.executable, "-m", "venv", str(folder))
        install = [python, "-m", "pip", "install", "--quiet"]
    call(*install, "-c", str(pins), "-e", f"{ROOT}[lab]", "ploomber-engine")
    (folder / ".installed").touch()
    return python
