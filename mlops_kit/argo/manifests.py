"""Render the files of the GitOps repository's `pipelines/`, always to the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from mlops_kit.argo import events, rbac
from mlops_kit.argo.templates import Place, workflow_template
from mlops_kit.errors import DefinitionError
from mlops_kit.pipelines.definition import Pipeline

FOLDER = "pipelines"
_HEAD = "# Written by 'mlops-kit render' from {source}; change that, and render again.\n"
# Argo appends a timestamp to the names of the workflows that a CronWorkflow starts.
_MAX_NAME_LENGTH = 52


def rendered(
    pipelines: Iterable[Pipeline],
    place: Place,
    *,
    branch: str,
    bot: str,
    own: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Return the files by path: each pipeline's template and triggers, and the access rights.

    Raises DefinitionError for a pipeline that Argo would reject.

    Args:
        pipelines: the pipelines to render.
        place: where they run.
        branch: pushes to it start the pipelines with `on_push`.
        bot: the email of the kit's own commits, which start nothing.
        own: the user's Hera objects by name, rendered unchanged.
    """
    files = {"access.yaml": ("the settings", rbac.runner(place.namespace, place.service_account))}
    has_events = False
    for pipeline in pipelines:
        source = f"the pipeline {pipeline.name}"
        files[f"{pipeline.name}.yaml"] = (source, [_template(pipeline, place)])
        if pipeline.schedule:
            files[f"{pipeline.name}-cron.yaml"] = (source, [_cron(pipeline, place)])
        if pipeline.on_push:
            has_events = True
            binding = events.push_binding(pipeline, place.namespace, branch, bot)
            files[f"{pipeline.name}-push.yaml"] = (source, [binding])
    if has_events:
        files["events.yaml"] = ("the settings", rbac.events(place.namespace))
    for name, item in (own or {}).items():
        files[f"{name}.yaml"] = ("a Hera object in workflows/", [_plain(item)])
    files["kustomization.yaml"] = ("these files", [_kustomization(files)])
    return {f"{FOLDER}/{path}": _text(*content) for path, content in sorted(files.items())}


def _template(pipeline: Pipeline, place: Place) -> dict[str, Any]:
    template = workflow_template(pipeline, place)
    if pipeline.edit is not None:
        pipeline.edit(template)
    return _plain(template)


def _plain(item: Any) -> dict[str, Any]:
    """Return a Hera object as plain data, with empty mappings such as emptyDir's."""
    found: dict[str, Any] = item.build().model_dump(exclude_none=True, by_alias=True, mode="json")
    return found


def _cron(pipeline: Pipeline, place: Place) -> dict[str, Any]:
    name = f"{pipeline.name}-cron"
    if not place.revision:
        raise DefinitionError(
            f"Pipeline {pipeline.name!r} has a schedule, so it needs a commit to run: set "
            "revision under [argo] in mlops-kit.toml."
        )
    if len(name) > _MAX_NAME_LENGTH:
        raise DefinitionError(
            f"{name!r} has {len(name)} characters; a CronWorkflow's name may have at most "
            f"{_MAX_NAME_LENGTH}."
        )
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {
            "schedules": [pipeline.schedule],
            "timezone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "workflowSpec": {"workflowTemplateRef": {"name": pipeline.name}},
        },
    }


def _kustomization(files: Mapping[str, object]) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }


def _text(source: str, documents: list[dict[str, Any]]) -> bytes:
    parts = [
        yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
        for document in documents
    ]
    return (_HEAD.format(source=source) + "---\n".join(parts)).encode()


class _Dumper(yaml.SafeDumper):
    """Writes repeated values in full."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never use an anchor."""
        return True
