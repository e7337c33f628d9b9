"""What JupyterLab's launcher offers beside notebooks, by jupyter-server-proxy."""

from __future__ import annotations

from typing import Any


def mlflow() -> dict[str, Any]:
    """Return how to start MLflow's page on the project's own runs and registry.

    It is for the store that the kit keeps itself; a tracking server has a page of its own.
    """
    return {
        # Called at the click, so that a project's faults keep no server from starting.
        "command": _command,
        # MLflow knows its prefix, and takes paths with it.
        "absolute_url": True,
        "environment": {"MLFLOW_DISABLE_TELEMETRY": "true"},
        "timeout": 60,
        "launcher_entry": {"title": "MLflow", "category": "Other"},
    }


def _command(port: int, base_url: str) -> list[str]:
    import sys

    from mlops_kit.settings import Settings

    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", Settings.load().registry_uri, "--workers", "1"),
        *("--static-prefix", f"{base_url}mlflow"),
    ]
