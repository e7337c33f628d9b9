"""Execute a notebook with papermill, the kit's engine and a kernel manager."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError as PapermillExecutionError


def execute(source: Path, target: Path, given: Mapping[str, Any], **options: Any) -> None:
    """Execute a notebook with typed values, and save it. The engine receives `options`.

    Raises what papermill and nbclient raise.
    """
    # Papermill warns of annotations that it can't read; the kit has checked them all.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    papermill.execute_notebook(
        _literal(source),
        _literal(target),
        parameters=dict(given),
        engine_name="mlops-kit",
        kernel_name="python3",
        language="python",
        progress_bar=False,
        store_widget_state=False,
        **options,
    )


def _literal(path: Path) -> str:
    """Escape a path for papermill, which formats paths with the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")
