"""Turn a failed step into a notebook that stops right before the failing cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import ProjectError
from mlops_kit.pipelines import notebooks
from mlops_kit.pipelines.executions import FAILED, Execution

STOP = "stop-here"
_PAPERMILL = "papermill-error-cell-tag"


def failing_notebook(execution: Execution, step: str, target: Path) -> str:
    """Write the notebook of a failed step to `target`, and return the failing cell's id.

    Its parameters are filled in, its outputs are gone, and a cell that raises stands before the
    one that failed. A step that didn't fail is opened without that stop; the id is then empty.
    Raises ProjectError for a step that left no notebook.
    """
    executed = _executed(execution, step)
    content = json.loads(executed.read_bytes())
    cells = [cell for cell in content["cells"] if _PAPERMILL not in _tags(cell)]
    failing = next((c for c in cells if _status(c) == "failed"), None)
    if failing is not None:
        reason = (execution.state.steps[step].error or {}).get("reason", "it failed")
        cells.insert(cells.index(failing), _stop(failing, str(reason)))
    for cell in cells:
        cell.get("metadata", {}).pop("papermill", None)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    metadata = {k: v for k, v in content["metadata"].items() if k != "papermill"}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        json.dumps({**content, "cells": cells, "metadata": metadata}, indent=1) + "\n"
    )
    return str(failing["id"]) if failing is not None else ""


def _executed(execution: Execution, step: str) -> Path:
    if step not in execution.state.steps:
        raise ProjectError(
            f"Execution {execution.name!r} has the steps {sorted(execution.state.steps)}, "
            f"not {step!r}."
        )
    found = sorted(execution.step_folder(step).glob("*.ipynb"))
    if not found:
        state = execution.state.steps[step].state
        raise ProjectError(
            f"Step {step!r} of {execution.name!r} left no notebook: it is {state}. "
            + ("Its error: " + str(execution.state.steps[step].error) if state == FAILED else "")
        )
    notebooks.read(found[0])
    return found[0]


def _stop(failing: Mapping[str, Any], reason: str) -> dict[str, Any]:
    # Kept to the letter of JSON, so that no reason can become code.
    said = json.dumps(
        f"Cell {failing['id']!r}, next, failed: {reason[:300]}. Delete this one to go on."
    )
    return {
        "cell_type": "code",
        "id": STOP,
        "metadata": {"tags": [STOP]},
        "source": f"raise RuntimeError({said})",
        "outputs": [],
        "execution_count": None,
    }


def _status(cell: Mapping[str, Any]) -> str:
    return str(cell.get("metadata", {}).get("papermill", {}).get("status", ""))


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))
