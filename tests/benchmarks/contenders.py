"""Whatever runs the pipeline, each as a function from the scene to seconds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_kit import Workspace
from tests.benchmarks.inside import KEEP_WARM, PIPELINE
from tests.benchmarks.scene import Scene
from tests.benchmarks.walk import script, walk

WARM = {"MLOPS_KIT_KEEP_WARM": f"{KEEP_WARM:g}"}
RUN = ("mlops-kit", "run", PIPELINE, "--fresh")
REPEATS = 20


@dataclass(frozen=True)
class Contender:
    """One line of the table; `target` is its bound in words, `least` how often it is measured."""

    key: str
    title: str
    measure: Callable[[Scene], float]
    group: str = "pipeline"
    target: str = ""
    least: int = 1


def papermill_command(scene: Scene) -> float:
    """Run each step by papermill's command line; the walk between them is no cost."""
    scene.fresh()
    taken = 0.0

    def execute(source: Path, target: Path, given: Mapping[str, Any]) -> None:
        nonlocal taken
        words = [word for name, value in given.items() for word in _spelled(name, value)]
        taken += scene.command("papermill", str(source), str(target), "-k", "python3", *words)

    walk(Workspace.open(scene.project).pipeline(PIPELINE), scene.project, execute)
    scene.check_promoted()
    return taken


def ploomber_step(python: str, scene: Scene) -> float:
    """Run each step by ploomber-engine in a process of its own."""
    scene.fresh()
    taken = 0.0

    def execute(source: Path, target: Path, given: Mapping[str, Any]) -> None:
        nonlocal taken
        words = (str(source), str(target), json.dumps(given))
        taken += scene.inside("ploomber-step", *words, python=python)[1]

    walk(Workspace.open(scene.project).pipeline(PIPELINE), scene.project, execute)
    scene.check_promoted()
    return taken


def one_process(what: str, scene: Scene, python: str = sys.executable) -> float:
    """Run all steps in one new process, from its start to its end."""
    scene.fresh()
    _, taken = scene.inside(what, python=python)
    scene.check_promoted()
    return taken


def plain_script(scene: Scene) -> float:
    """Run the notebooks' code as one plain script in a new process."""
    _write_script(scene, scene.fresh())
    taken = scene.command(sys.executable, "pipeline.py")
    scene.check_promoted()
    return taken


def script_warm(scene: Scene) -> float:
    """Run the script's functions a second time in one process: their critical path."""
    _write_script(scene, scene.fresh())
    other = scene.fresh("other")
    said, _ = scene.inside("script-warm", str(other))
    scene.check_promoted(other)
    return float(said["critical"])


def kit_cold(scene: Scene) -> float:
    """Run the kit's command, with nothing prepared."""
    scene.fresh()
    taken = scene.command(*RUN)
    scene.check_promoted()
    return taken


def kit_warm(scene: Scene) -> float:
    """Run the kit's command, with kernels that an earlier one kept warm."""
    scene.fresh()
    scene.zygote, _ = scene.inside("warm-up")
    taken = scene.command(*RUN, more=WARM)
    scene.check_promoted()
    return taken


def kit_steps(scene: Scene) -> float:
    """Run the pipeline from a process that has run it before."""
    scene.fresh()
    other = scene.fresh("other")
    scene.zygote, _ = scene.inside("warm-up")
    said, _ = scene.inside("steps", str(other), more=WARM)
    scene.check_promoted(other)
    return float(said)


def trivial(what: str, scene: Scene) -> float:
    """Execute a notebook of one cell twenty times in one process; the median."""
    _write_trivial(scene.fresh())
    said, _ = scene.inside(what, str(REPEATS))
    return float(said)


def trivial_command(scene: Scene) -> float:
    """Execute it by papermill's command line."""
    _write_trivial(scene.fresh())
    return scene.command("papermill", "trivial.ipynb", "executed.ipynb", "-k", "python3")


def answer(*words: str) -> Callable[[Scene], float]:
    """Ask a command for its help."""
    return lambda scene: scene.command(*words, cwd=scene.place)


def contenders(ploomber: str) -> tuple[Contender, ...]:
    """Return all, in the order of the table; `ploomber` is its Python, empty without it."""
    found = [
        Contender("papermill", "papermill's command line, a process a step", papermill_command),
        Contender(
            "papermill-api", "papermill's API, one process", lambda s: one_process("papermill", s)
        ),
        Contender("nbclient", "nbclient, one process", lambda s: one_process("nbclient", s)),
        Contender("script", "plain script, cold", plain_script),
        Contender("script-warm", "plain functions, warm, critical path", script_warm),
        Contender("cold", "**mlops-kit run, cold**", kit_cold, target="≥ 8x, ≤ 1.1 plain script"),
        Contender("warm", "**mlops-kit run, kernels kept warm**", kit_warm, target="≥ 15x"),
        Contender("steps", "**the same, steps only**", kit_steps, target="≥ 15x"),
        Contender("one-cli", "papermill's command line", trivial_command, "one cell"),
        Contender("one", "papermill's API", lambda s: trivial("trivial-papermill", s), "one cell"),
        Contender(
            "one-warm",
            "**mlops-kit, warm**",
            lambda s: trivial("trivial-warm", s),
            "one cell",
            "≤ 0.2 s",
        ),
        Contender("help-papermill", "papermill", answer("papermill", "--help"), "--help", least=10),
        Contender("help-mlflow", "mlflow", answer("mlflow", "--help"), "--help", least=10),
        Contender(
            "help", "**mlops-kit**", answer("mlops-kit", "--help"), "--help", "≤ 0.3 s", least=10
        ),
    ]
    if ploomber:
        found[3:3] = [
            Contender(
                "ploomber-step",
                "ploomber-engine, a process a step",
                lambda s: ploomber_step(ploomber, s),
            ),
            Contender(
                "ploomber",
                "ploomber-engine, one process, no isolation",
                lambda s: one_process("ploomber", s, ploomber),
            ),
        ]
    return tuple(found)


def _spelled(name: str, value: Any) -> tuple[str, ...]:
    """Return a parameter as papermill's command line wants it: text stays text only with -r."""
    if isinstance(value, str):
        return ("-r", name, value)
    if isinstance(value, list | dict):
        return ("-y", json.dumps({name: value}))
    return ("-p", name, str(value))


def _write_script(scene: Scene, project: Path) -> None:
    pipeline = Workspace.open(project).pipeline(PIPELINE)
    (project / "pipeline.py").write_text(script(pipeline, project, scene.evidence))


def _write_trivial(project: Path) -> None:
    cell = {
        "cell_type": "code",
        "id": "one",
        "metadata": {},
        "source": "1 + 1",
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {
        "cells": [cell],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (project / "trivial.ipynb").write_text(json.dumps(content))
