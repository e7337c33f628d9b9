"""A real cluster with Argo Workflows: `--with-cluster CONTEXT`, and where its pods find things.

`KUBECONFIG` has the context; it may be written to. `KIT_CLUSTER_IMAGE` is the kit's image,
`KIT_CLUSTER_PROJECT` a bare repository on this machine and `KIT_CLUSTER_PROJECT_URL` the same as
pods reach it. With ARGO_SERVER and ARGO_TOKEN the tests of artifacts run too. CONTRIBUTING.md says
how to start all that.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_kit import Workspace
from mlops_kit.project import argo, scaffold
from tests.conftest import write_notebook

# Before the fixture that cleans the machine takes them away.
GIVEN = {
    name: value
    for name, value in os.environ.items()
    if name == "KUBECONFIG" or name.startswith(("ARGO_", "KIT_CLUSTER_"))
}
WORKFLOW = """\
from pathlib import Path

from mlops_kit import Condition, Input, Pipeline, Step

make = Step("make", "make.ipynb", {"text": Input("text"), "seconds": Input("seconds")},
            {"verdict": str, "data": Path})
passed = Condition(make.output("verdict"), equals="pass")
use = Step("use", "use.ipynb", {"data": make.output("data"), "divisor": Input("divisor")},
           {"length": int}, passed)
PIPELINE = Pipeline("kit-small", (make, use), {"text": "pass", "seconds": 0, "divisor": 1},
                    on_push=True)
"""
# One white pixel.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAA"
    "DUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg=="
)
MAKE = (
    "# parameters\ntext: str = ''  # the verdict\nseconds: int = 0  # to wait",
    "import time\nfrom pathlib import Path\nfrom mlops_kit import publish",
    "time.sleep(seconds)\nfile = Path('/tmp/data.txt')\n_ = file.write_text('twelve bytes')",
    f"from base64 import b64decode\nfrom IPython.display import Image\nImage(b64decode('{PNG}'))",
    "publish(verdict=text, data=file)",
)
USE = (
    "# parameters\ndata: str = ''  # a file\ndivisor: int = 1  # 0 fails",
    "from pathlib import Path\nfrom mlops_kit import publish",
    "length = len(Path(data).read_text()) // divisor",
    "publish(length=length)",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what lies here, and leave it out unless a context is given."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.cluster)
            if not config.getoption("--with-cluster"):
                item.add_marker(pytest.mark.skip(reason="needs --with-cluster CONTEXT"))


@dataclass
class Site:
    """The project whose pipeline runs there, and both ways to the cluster."""

    project: Path
    context: str
    sha: str
    core: Any
    objects: Any
    run: Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def site(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, mlops_kit_command: str
) -> Site:
    """Commit a small project, render it, and let the cluster have its templates."""
    context = str(pytestconfig.getoption("--with-cluster"))
    project = tmp_path_factory.mktemp("cluster") / "project"
    scaffold.create(project)
    (project / "workflows" / "fraud_training.py").unlink()
    (project / "workflows" / "small.py").write_text(WORKFLOW)
    for name, cells in {"make": MAKE, "use": USE}.items():
        write_notebook(project / "notebooks" / f"{name}.ipynb", *cells)
    with (project / "mlops-kit.toml").open("a") as file:
        file.write(
            f'\n[argo]\nimage = "{GIVEN["KIT_CLUSTER_IMAGE"]}"\ncpu = "500m"\nmemory = "1Gi"\n'
            f'repository = "{GIVEN["KIT_CLUSTER_PROJECT_URL"]}"\ncontexts = ["{context}"]\n'
        )
    sha = _pushed(project, GIVEN["KIT_CLUSTER_PROJECT"])
    from kubernetes import client, config, utils

    api = config.new_client_from_config(GIVEN["KUBECONFIG"], context=context)
    core, objects = client.CoreV1Api(api), client.CustomObjectsApi(api)
    for path, content in sorted(argo.rendered(Workspace.open(project)).items()):
        if not path.endswith("kustomization.yaml"):
            for document in yaml.safe_load_all(content):
                _apply(utils, api, objects, document)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [mlops_kit_command, *words],
            cwd=project,
            env={**os.environ, **GIVEN},
            capture_output=True,
            text=True,
            check=False,
        )

    return Site(project, context, sha, core, objects, run)


def _apply(utils: Any, api: Any, objects: Any, document: dict[str, Any]) -> None:
    """Create an object; one of Argo's is replaced."""
    from kubernetes import client

    group, _, version = document["apiVersion"].partition("/")
    if group == "argoproj.io":
        where = (group, version, "argowf", document["kind"].lower() + "s")
        try:
            objects.delete_namespaced_custom_object(*where, document["metadata"]["name"])
        except client.ApiException as error:
            if error.status != 404:
                raise
        objects.create_namespaced_custom_object(*where, document)
        return
    try:
        utils.create_from_dict(api, document)
    except utils.FailToCreateError as error:
        if any(each.status != 409 for each in error.api_exceptions):
            raise


def _pushed(project: Path, bare: str) -> str:
    def git(*words: str) -> str:
        who = ("-c", "user.name=kit", "-c", "user.email=kit@example.org")
        command = ["git", *who, *words]
        return subprocess.run(
            command, cwd=project, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "Start")
    git("push", "-q", "--force", bare, "HEAD:refs/heads/kit-tests")
    return git("rev-parse", "HEAD")
