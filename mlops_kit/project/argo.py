"""Open the cluster that a project's settings name, and render its pipelines for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import ClusterError, ParameterError, ProjectError
from mlops_kit.project.workspace import defined_in

if TYPE_CHECKING:
    from mlops_kit.argo.submission import Cluster
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.project.workspace import Workspace

_FULL_SHA = re.compile(r"[0-9a-f]{40}")


def rendered(workspace: Workspace) -> dict[str, bytes]:
    """Return the files that let Argo run a project's pipelines, by path.

    Raises DefinitionError.
    """
    from mlops_kit.argo import manifests
    from mlops_kit.argo.templates import Place

    argo = workspace.settings.argo
    place = Place(**argo.model_dump(include={*Place.__dataclass_fields__}))
    return manifests.rendered(
        workspace.pipelines().values(),
        place,
        branch=argo.branch,
        bot=workspace.settings.gitops.author_email,
        own=_own_templates(workspace),
    )


def cluster(workspace: Workspace, context: str = "") -> Cluster:
    """Return the cluster that is meant: a context, else Argo's server, else the current context.

    Raises ClusterError where there is none.
    """
    argo = workspace.settings.argo
    if argo.server and not context:
        from mlops_kit.argo.argo_server_client import ArgoServer

        token = argo.token.get_secret_value()
        return ArgoServer(
            argo.server,
            token,
            argo.namespace,
            secure=argo.secure,
            verify=not argo.insecure_skip_verify,
        )
    from mlops_kit.argo.kubernetes_client import KubernetesCluster

    return KubernetesCluster(argo.namespace, context)


def check_context(workspace: Workspace, where: Cluster) -> None:
    """Raise ClusterError for a context that the settings don't let be written to."""
    allowed = workspace.settings.argo.contexts
    if where.context not in allowed:
        raise ClusterError(
            f"Context {where.context!r} is not among those that may be written to: "
            f"{list(allowed)}. Add it to contexts under [argo] in mlops-kit.toml, or choose "
            "another by --context."
        )


def revision(workspace: Workspace, given: str = "") -> str:
    """Return the full SHA that a workflow shall run: the given one, or what is checked out here.

    Raises ProjectError for changes that the cluster wouldn't see, ParameterError for another form.
    """
    from mlops_kit.releases import checkout

    if given:
        if not _FULL_SHA.fullmatch(given):
            raise ParameterError(
                f"{given!r} isn't a full commit SHA; expected 40 hexadecimal digits, because a "
                "branch may move while the workflow runs. Use git rev-parse HEAD."
            )
        return given
    here = checkout.code_revision(workspace.project)
    if not here:
        raise ProjectError(
            f"{str(workspace.project)!r} is no checkout with a commit, so there is nothing that "
            "a cluster could run; commit and push it, or name a --revision."
        )
    if here.endswith("-dirty"):
        raise ProjectError(
            "The checkout has changes that the cluster would not see; commit and push them, or "
            f"run what is committed: --revision {here.removesuffix('-dirty')}"
        )
    if not checkout.is_pushed(workspace.project, here):
        raise ProjectError(
            f"Commit {here[:12]} is on no branch of a remote that this checkout knows, so the "
            f"cluster can't fetch it; git push, or name a --revision."
        )
    return here


def retrieve(workspace: Workspace, where: Cluster, name: str, step: str) -> tuple[Execution, str]:
    """Bring a workflow's step here, as `retrieval.retrieve` does, into the state folder."""
    from mlops_kit.argo import retrieval

    state = workspace.settings.state_folder
    return retrieval.retrieve(where, name, step, workspace.pipeline, state)


def _own_templates(workspace: Workspace) -> dict[str, Any]:
    """Return the objects of Hera's that stand in workflows/, by their names."""
    found = {}
    for path in sorted((workspace.project / "workflows").glob("*.py")):
        for value in defined_in(path):
            if type(value).__module__.startswith("hera.") and hasattr(value, "build"):
                found[str(value.name)] = value
    return found
