"""Take tables from their files to answers of a served champion, for each kind of model and input.

    python -m tests.benchmarks.end_to_end [--only WORD …] [--all] [--missing] [--write]

A cell is a task, an estimator and a kind of input. A file becomes a project by `new --from`; its
train notebook gets the estimator, in two lines; its pipeline trains, judges and promotes; a server
of the release answers requests with a tensor a column, written by tritonclient in binary and by
hand in JSON. The answers must be the library's own, bit for bit. `--only` takes words: cells with
all of them are run. `--all` runs each cell, not only one of each pair. `--write` puts what was run
into docs/end-to-end.md, after each cell; what is there of others stays. `--missing` leaves out
the cells that the page has.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As the server limits itself; other sums of threads have other last bits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import requests

from mlops_kit import Workspace
from mlops_kit.project import local_server
from mlops_kit.serving.options import Serving
from mlops_kit.serving.server import Server, application
from tests.benchmarks.end_to_end_cells import ESTIMATORS, INPUTS, TASKS, Cell, cells, rows
from tests.commands import called

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.table import Table

PAGE = Path(__file__).parents[2] / "docs" / "end-to-end.md"
NAME = "cell"
# One commit replaces the champion, and nobody waits for labels.
SETTINGS = {
    "MLOPS_KIT_STRATEGY": "direct",
    "MLOPS_KIT_ROLLOUT__BAKING": "0",
    "MLOPS_KIT_KEEP_WARM": "300",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
NOT_RUN = "not run"
ASKED = 24


class RefusedError(Exception):
    """What the kit refused, with its code and its sentence."""


def main() -> int:
    """Run the chosen cells and print the table; 1 where one didn't pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD")
    parser.add_argument("--all", action="store_true", help="each cell")
    parser.add_argument("--missing", action="store_true", help="cells that the page lacks")
    parser.add_argument("--write", action="store_true", help="to docs/end-to-end.md")
    options = parser.parse_args()
    known = listed() if options.missing else {}
    chosen = [
        cell
        for cell in cells(whole=options.all or bool(options.only))
        if set(options.only) <= {*cell.words} and cell not in known
    ]
    # Cells of one file share a project: only what changes is run again.
    chosen.sort(key=lambda cell: (TASKS.index(cell.task), INPUTS.index(cell.input)))
    found: dict[Cell, str] = {}
    with tempfile.TemporaryDirectory(prefix="mlops-kit-end-") as scratch:
        for cell in chosen:
            begun = time.monotonic()
            found[cell] = outcome(cell, Path(scratch))
            seconds = time.monotonic() - begun
            print(f"{' · '.join(cell.words):40} {seconds:5.1f} s  {found[cell]}", flush=True)
            if options.write:
                PAGE.write_text(page((listed() if PAGE.exists() else {}) | found))
    print(f"\n{table(found)}")
    return int(any(not each.startswith("PASS") for each in found.values()))


def outcome(cell: Cell, scratch: Path) -> str:
    """Return PASS with the kind of file, or what was refused."""
    project = scratch / f"{cell.task}-{cell.input}" / NAME
    try:
        if not project.exists():
            project.parent.mkdir()
            create(cell, project)
        choose(cell, project)
        kit("run", f"{NAME}-training", "--force-gate", "-p", "traffic", "live", cwd=project)
        ask(cell, project)
    except RefusedError as error:
        return f"{error}".replace("|", "\\|").replace("\n", " ")
    return f"PASS ({cell.suffix})"


def create(cell: Cell, project: Path) -> None:
    """Write the cell's file and make a project of it."""
    frame, path = rows(cell.task, cell.input), project.with_name(f"rows.{cell.suffix}")
    if cell.suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    kit("new", NAME, "--from", path.name, "--target", "label", cwd=project.parent)


def choose(cell: Cell, project: Path) -> None:
    """Put the estimator into the train notebook, as a user does: an import and the model."""
    path = project / "notebooks" / "train.ipynb"
    notebook = json.loads(path.read_text())
    sources = {each["id"]: each for each in notebook["cells"]}
    has_text = bool(Workspace.open(project).table(NAME).texts)
    imported, expression = ESTIMATORS[cell.estimator].source(cell.task, has_text=has_text)
    setup, model = ("".join(sources[name]["source"]) for name in ("setup", "estimator"))
    if imported not in setup:
        sources["setup"]["source"] = f"{imported}\n{setup}".splitlines(keepends=True)
    changed, count = re.subn(r'(?m)^    "candidate": .*$', f'    "candidate": {expression},', model)
    assert count == 1, model
    sources["estimator"]["source"] = changed.splitlines(keepends=True)
    path.write_text(json.dumps(notebook))


def ask(cell: Cell, project: Path) -> None:
    """Serve the champion, and compare its answers with the library's."""
    workspace = Workspace.open(project)
    follower = local_server.reconciler(workspace, NAME, "prod")
    follower.reconcile()
    if follower.live is None:
        raise RefusedError(f"not served: {follower.applied.error}")
    champion = workspace.release(NAME, "prod").champion
    assert champion is not None
    declared = workspace.table(NAME)
    version = workspace.model_version(NAME, champion.version)
    model = workspace.registry.load(version, champion.digest)
    frame = rows(cell.task, cell.input, ASKED, seed=8).drop(columns="label")
    options = Serving()
    server = Server(application(follower, None, options, dict), options)
    server.start()
    try:
        for name, send, sent in (
            ("JSON", by_hand, frame),
            # These clients can't say that a text is missing.
            ("tritonclient", by_triton, frame[~frame[declared.texts].isna().any(axis=1)]),
        ):
            expected = of_library(model, declared, sent)
            answered = np.asarray(send(server.url, declared, sent), np.float64)
            if expected.tobytes() != answered.reshape(expected.shape).tobytes():
                raise RefusedError(f"other bits by {name}: {np.abs(expected - answered).max():.3g}")
    finally:
        server.stop()


def of_library(model: Any, declared: Table, frame: pd.DataFrame) -> Any:
    """Return what scikit-learn's, LightGBM's, … own method predicts."""
    inputs = declared.inputs(frame)
    if declared.task == "regression":
        return np.ascontiguousarray(model.predict(inputs), np.float64)
    found = model.predict_proba(inputs)
    chosen = found[:, list(model.classes_).index(1)] if declared.task == "binary" else found
    return np.ascontiguousarray(chosen, np.float64)


def by_hand(url: str, declared: Table, frame: pd.DataFrame) -> Any:
    """Return the scores for a JSON request with the types that the server lists."""
    place = f"{url}/v2/models/{NAME}"
    inputs = requests.get(place, timeout=30).json()["inputs"]
    tensors = [
        {
            "name": each["name"],
            "datatype": each["datatype"],
            "shape": [len(frame)],
            "data": [_plain(value) for value in frame[each["name"]].astype(object)],
        }
        for each in (inputs if _are_columns(inputs) else _columns_of(declared))
    ]
    answer = requests.post(f"{place}/infer", json={"inputs": tensors}, timeout=30)
    if answer.status_code != 200:
        raise RefusedError(f"HTTP {answer.status_code}: {answer.text}")
    scores = next(each for each in answer.json()["outputs"] if each["name"] == "score")
    return scores["data"]


def _are_columns(inputs: Any) -> bool:
    return [each["name"] for each in inputs] != ["features"]


def _columns_of(declared: Table) -> Any:
    return [{"name": name, "datatype": "FP64"} for name in declared.feature_names]


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def by_triton(url: str, declared: Table, frame: pd.DataFrame) -> Any:
    """Return the scores for a binary request of NVIDIA's client."""
    from tritonclient import http
    from tritonclient.utils import InferenceServerException, np_to_triton_dtype

    kinds = {"int": np.int64, "bool": np.bool_, "float": np.float64}
    tensors = []
    for column in declared.features:
        values = frame[column.name].to_numpy()
        if column.kind not in kinds:
            values = np.array([_plain(each) for each in frame[column.name].astype(object)], object)
        elif column.kind != "int" or not column.nullable:
            values = values.astype(kinds[column.kind])
        tensor = http.InferInput(column.name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values, binary_data=True)
        tensors.append(tensor)
    with http.InferenceServerClient(url.removeprefix("http://")) as client:
        try:
            return client.infer(NAME, tensors).as_numpy("score")
        except InferenceServerException as error:
            raise RefusedError(f"tritonclient: {error.message()}") from error


def kit(*words: str, cwd: Path) -> Any:
    """Run a command of the kit in this process, and return what it prints as JSON."""
    done = called((*words, "--json"), cwd, SETTINGS)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise RefusedError(f"{words[0]}: {done.stdout[-300:]} {done.stderr[-500:]}") from None
    if found.get("code") == "stopped":
        raise KeyboardInterrupt
    if "error" in found:
        raise RefusedError(f"{found['code']}: {found['message']}")
    return found


def table(found: dict[Cell, str]) -> str:
    """Return the cells as Markdown, a table a task."""
    lines = []
    for task in dict.fromkeys(cell.task for cell in found):
        lines += [f"## {task}", "", f"| estimator | {' | '.join(INPUTS)} |"]
        lines += [f"|---|{'---|' * len(INPUTS)}"]
        for name in ESTIMATORS:
            row = [Cell(task, name, kind) for kind in INPUTS]
            shown = (each.reason or found.get(each, NOT_RUN) for each in row)
            lines.append(f"| {name} | {' | '.join(shown)} |")
        lines.append("")
    return "\n".join(lines)


def listed() -> dict[Cell, str]:
    """Return what the page says of the cells that were run."""
    found, task = {}, ""
    for line in PAGE.read_text().splitlines():
        task = line.removeprefix("## ") if line.startswith("## ") else task
        name, *row = (each.strip() for each in re.split(r"(?<!\\)\|", line)[1:-1] or [""])
        if name in ESTIMATORS and task in TASKS:
            for kind, said in zip(INPUTS, row, strict=True):
                cell = Cell(task, name, kind)
                if not cell.reason and said != NOT_RUN:
                    found[cell] = said
    return found


def page(found: dict[Cell, str]) -> str:
    """Return docs/end-to-end.md."""
    about = (
        "What was run from a file to a served champion. In each cell `mlops-kit new --from` makes "
        "a project of a generated table, the train notebook gets the estimator (two lines: an "
        "import and the model), `mlops-kit run` trains, judges and promotes it by one commit, and "
        "a server of that release answers requests with one tensor per column: JSON with nulls, "
        "and tritonclient's binary form. PASS says that the answers are the library's own, bit for "
        "bit; in brackets, the kind of file. Anything else is what the kit refused, or the reason "
        "for an empty cell."
    )
    names = (
        "`linear` is LogisticRegression or Ridge, `hist` HistGradientBoosting, `tfidf` a "
        "ColumnTransformer with a TfidfVectorizer before a linear model. `mixed` is text and "
        "numbers with missing values, `dates` a date as a feature beside the one that orders the "
        "rows."
    )
    made = (
        "Made by `python -m tests.benchmarks.end_to_end --write`, which runs each estimator and "
        "each input with each task once. A cell that says *not run* combines two that were run; "
        "`--all` or `--only TASK ESTIMATOR INPUT` runs it."
    )
    return "\n\n".join(("# End to end", about, names, made, table(found)))


if __name__ == "__main__":
    sys.exit(main())
