"""Measure single commands: rendering, one step as a pod runs it, and the same code as a script.

    python -m tests.benchmarks.commands [--rounds N] [--place FOLDER]

Each command is timed from its start to its end, in interleaved rounds, with nothing kept warm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlops_kit import Workspace
from tests.benchmarks import table
from tests.benchmarks.scene import Scene
from tests.benchmarks.walk import script
from tests.conftest import write_notebook

WIDE = """\
from mlops_kit import Condition, Pipeline, Step

first = Step("step-0", "cell.ipynb", {}, {"said": str})
steps = [first]
for number in range(1, %d):
    before = steps[-1 - number %% 3 if number > 3 else -1]
    passed = Condition(before.output("said"), equals="pass") if number %% 4 == 0 else None
    steps.append(Step(f"step-{number}", "cell.ipynb", {"text": before.output("said")},
                      {"said": str}, passed))
PIPELINE = Pipeline("wide", tuple(steps))
"""
ONE = """\
from mlops_kit import Pipeline, Step

cell = Step("cell", "cell.ipynb", {}, {"said": str})
train = Step("train", "train.ipynb", {"dataset": %r, "role": "candidate"}, {"version": str})
CELL, TRAIN = Pipeline("one-cell", (cell,)), Pipeline("one-training", (train,))
"""
CELL = (
    "# parameters\ntext: str = 'pass'  # to say",
    "from mlops_kit import publish\npublish(said=text)",
)
STEP = (sys.executable, "-m", "mlops_kit", "step")
RENDER = (sys.executable, "-m", "mlops_kit", "render", "--output")


def main() -> int:
    """Measure, and print a table of medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--place", type=Path, default=Path(tempfile.gettempdir()) / "kit-commands")
    options = parser.parse_args()
    scene = Scene(options.place.resolve())
    scene.place.mkdir(parents=True, exist_ok=True)
    scene.prepare()
    (dataset,) = (scene.evidence / "validate-data").glob("*.parquet")
    commands: dict[str, Callable[[], float]] = {
        "render, 10 steps": lambda: _rendered(scene, 10),
        "render, 200 steps": lambda: _rendered(scene, 200),
        "step, one cell, cold": lambda: _step(scene, dataset, "cell"),
        "papermill, the same cell": lambda: _papermill(scene, dataset),
        "step, train, cold": lambda: _step(scene, dataset, "train"),
        "train as a plain script, cold": lambda: _script(scene, dataset),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, run in commands.items():
            taken[name].append(run())
    print(table.facts() + "\n\n| command | median s | min–max | n |\n|---|---:|---:|---:|")
    for name, seconds in taken.items():
        span = f"{min(seconds):.2f}–{max(seconds):.2f}"
        print(f"| {name} | {statistics.median(seconds):.2f} | {span} | {len(seconds)} |")
    pairs = zip(taken["step, train, cold"], taken["train as a plain script, cold"], strict=True)
    ratio = statistics.median(step / plain for step, plain in pairs)
    print(
        f"\nThe step takes {ratio:.2f} of the plain script's time (median of the rounds' ratios)."
    )
    return 0


def _rendered(scene: Scene, steps: int) -> float:
    project = scene.fresh()
    (project / "workflows" / "fraud_training.py").unlink()
    (project / "workflows" / "wide.py").write_text(WIDE % steps)
    write_notebook(project / "notebooks" / "cell.ipynb", *CELL)
    return scene.command(*RENDER, str(scene.place / f"rendered-{steps}"))


def _prepared(scene: Scene, dataset: Path) -> Path:
    project = scene.fresh()
    (project / "workflows" / "one.py").write_text(ONE % str(dataset))
    write_notebook(project / "notebooks" / "cell.ipynb", *CELL)
    return project


def _step(scene: Scene, dataset: Path, name: str) -> float:
    _prepared(scene, dataset)
    pipeline = {"cell": "one-cell", "train": "one-training"}[name]
    return scene.command(
        *STEP, "--pod", str(scene.place / "pod"), "--execution", "one", pipeline, name
    )


def _papermill(scene: Scene, dataset: Path) -> float:
    project = _prepared(scene, dataset)
    cell = str(project / "notebooks" / "cell.ipynb")
    return scene.command("papermill", cell, str(scene.place / "executed.ipynb"))


def _script(scene: Scene, dataset: Path) -> float:
    project = _prepared(scene, dataset)
    pipeline = Workspace.open(project).pipeline("one-training")
    (project / "pipeline.py").write_text(script(pipeline, project, scene.evidence))
    return scene.command(sys.executable, "pipeline.py")


if __name__ == "__main__":
    sys.exit(main())
