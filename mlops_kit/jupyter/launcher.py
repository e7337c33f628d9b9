"""The kit's tiles in JupyterLab's launcher, by jupyter-server-proxy and Voilà."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.project.settings import Settings

if TYPE_CHECKING:
    from mlops_kit.project.workspace import Workspace

# The JupyterLab extensions that a page needs; others fail there and log errors.
_EXTENSIONS = (
    *("@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager"),
    *("anywidget", "jupyterlab-plotly"),
)
# Seconds until the proxy gives up on a server: a busy laptop takes a minute to import MLflow.
_STARTS_WITHIN = 180
# Ends the kernel of a page that was closed.
_CULLED = ("cull_idle_timeout=600", "cull_interval=60", "cull_connected=True")


def mlflow() -> dict[str, Any]:
    """Return how to start MLflow's UI on the project's own runs and registry.

    Only for the local store: a tracking server has its own UI.
    """
    return {
        # Called on click, so that a faulty project can't keep JupyterLab from starting.
        "command": _mlflow,
        # MLflow knows its prefix and expects full paths.
        "absolute_url": True,
        # Its job runners are five more processes, for features that a registry doesn't use.
        "environment": {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        "timeout": _STARTS_WITHIN,
        "launcher_entry": {"title": "MLflow", "icon_path": _icon("mlflow")},
    }


def panel() -> dict[str, Any]:
    """Return how to start the promotion panel as a page."""
    return _tile("panel", "Promotion panel")


def pipeline() -> dict[str, Any]:
    """Return how to start the page that runs pipelines."""
    return _tile("pipeline", "Run a pipeline")


def page_command(workspace: Workspace, notebook: str, port: int, *more: str) -> list[str]:
    """Return the command that serves one of the kit's notebooks as a Voilà page.

    The page requires a token: JUPYTER_TOKEN's, or one that Voilà generates and prints.
    """
    command = [
        *(sys.executable, "-m", "voila", str(_notebook(workspace, notebook)), f"--port={port}"),
        "--template=mlops-kit",
        f"--VoilaConfiguration.extension_allowlist={[*_EXTENSIONS]}",
        # Behind JupyterLab both share an address and would share the cookie's name.
        f"--IdentityProvider.cookie_name=mlops-kit-{notebook}",
        *("--token", *(f"--MappingKernelManager.{option}" for option in _CULLED), *more),
    ]
    if header := workspace.settings.approver_header:
        command.append(f"--VoilaConfiguration.http_header_envs=['{header}']")
    return command


def _tile(name: str, title: str) -> dict[str, Any]:
    # The proxy checks JupyterLab's login, but other users of this machine can reach the port.
    token = secrets.token_urlsafe(32)

    def command(port: int, base_url: str) -> Sequence[str]:
        from mlops_kit.project.workspace import Workspace

        place = f"--Voila.base_url={base_url}{name}/"
        return page_command(Workspace.open(), name, port, "--no-browser", place)

    return {
        "command": command,
        "absolute_url": True,
        "environment": {"JUPYTER_TOKEN": token},
        "timeout": _STARTS_WITHIN,
        "new_browser_tab": False,
        "launcher_entry": {
            "title": title,
            "path_info": f"{name}/?token={token}",
            "icon_path": _icon(name),
        },
    }


def _icon(name: str) -> str:
    return str(Path(__file__).parent / "static" / f"{name}.svg")


def _notebook(workspace: Workspace, name: str) -> Path:
    """Return the project's notebook, or else the kit's."""
    from mlops_kit.project.scaffold import template

    notebook = workspace.project / "notebooks" / f"{name}.ipynb"
    if notebook.exists():
        return notebook
    # Its kernel starts in its folder and looks for the project from there.
    state = workspace.settings.state_folder
    state.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(template() / "notebooks" / notebook.name, state))


def _mlflow(port: int, base_url: str) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", Settings.load().registry_uri, "--workers", "1"),
        *("--static-prefix", f"{base_url}mlflow"),
    ]
