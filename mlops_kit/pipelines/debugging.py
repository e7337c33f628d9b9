"""Turn a failed step into a notebook that stops just before the failing cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit import files, notebook_file
from mlops_kit.errors import ProjectError
from mlops_kit.pipelines.executions import Execution

STOP = "stop-here"
PLACE = "start-here"


def failing_notebook(
    execution: Execution, step: str, target: Path, *, folder: Path, project: Path | None = None
) -> str:
    """Write a failed step's notebook with a stop before the failing cell; return the cell's id.

    The parameters are filled in and the outputs removed. The notebook of a step that didn't fail
    gets no stop, and the id is empty. Raises ProjectError for a step that left no notebook, and
    for a target with other content.

    Args:
        execution: the one that the step belongs to.
        step: the step's name.
        target: the file to write.
        folder: the notebook's own folder, which the step ran in.
        project: a folder whose modules the step could import too.
    """
    executed = _executed(execution, step)
    content = notebook_file.content(executed)
    cells = [
        cell
        for cell in content["cells"]
        if not notebook_file.has_tag(cell, notebook_file.ERROR_MARKER)
    ]
    failing = next((c for c in cells if notebook_file.status(c) == "failed"), None)
    if failing is not None:
        reason = (execution.state.steps[step].error or {}).get("reason", "it failed")
        cells.insert(cells.index(failing), _stop(failing, str(reason)))
    for cell in cells:
        cell.get("metadata", {}).pop("papermill", None)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    cells.insert(0, _code(PLACE, _place(folder, project)))
    metadata = {k: v for k, v in content["metadata"].items() if k != "papermill"}
    _write(target, {**content, "cells": cells, "metadata": metadata})
    return str(failing.get("id", "")) if failing is not None else ""


def _executed(execution: Execution, step: str) -> Path:
    if step not in execution.state.steps:
        asked = f"not {step!r}" if step else "and none of them failed; name one"
        raise ProjectError(
            f"Execution {execution.name!r} has the steps {sorted(execution.state.steps)}, {asked}.",
            code="project.no-step",
        )
    found = sorted(execution.step_folder(step).glob("*.ipynb"))
    if not found:
        facts = execution.state.steps[step]
        raise ProjectError(
            f"Step {step!r} of {execution.name!r} left no notebook: it is {facts.state}. "
            + (f"Its error: {facts.error.get('message')}" if facts.error else ""),
            code="project.no-notebook",
        )
    return found[0]


def _write(target: Path, content: Mapping[str, Any]) -> None:
    """Write the notebook, but never over someone's edits."""
    text = json.dumps(content, indent=1) + "\n"
    if target.exists() and target.read_bytes() != text.encode():
        raise ProjectError(
            f"{str(target)!r} already exists with other content, perhaps your own edits. Open it, "
            "remove it, or name another file with -o.",
            code="project.file-exists",
        )
    files.write_whole(target, text.encode())


def _place(folder: Path, project: Path | None) -> str:
    """Return code that goes where the step ran, with the project's modules on the path."""
    if project is None:
        return f"import os\n\nos.chdir({str(folder)!a})"
    own = ascii(str(project))
    return (
        f"import os\nimport sys\n\nos.chdir({str(folder)!a})\n"
        f"if {own} not in sys.path:\n    sys.path.insert(sys.path.index('') + 1, {own})"
    )


def _stop(failing: Mapping[str, Any], reason: str) -> dict[str, Any]:
    name = str(failing.get("id", ""))
    said = f"The next cell, {name!r}, failed: {reason[:300]}. Delete this cell to go on."
    # An ASCII literal, so that no reason can become code.
    return _code(STOP, f"raise RuntimeError({said!a})")


def _code(name: str, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {"tags": [name]},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
