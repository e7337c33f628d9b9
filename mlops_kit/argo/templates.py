"""Build a pipeline's WorkflowTemplate with Hera."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hera.workflows import (
    DAG,
    Artifact,
    Container,
    GitArtifact,
    NoneArchiveStrategy,
    Parameter,
    RetryStrategy,
    Task,
    WorkflowTemplate,
    models,
)

from mlops_kit.argo import expressions
from mlops_kit.argo.pod_plan import Pod, plan, pod_of
from mlops_kit.argo.pod_run import ABSENT, CACHE, DIGEST
from mlops_kit.argo.transport import is_file, packed
from mlops_kit.errors import DefinitionError
from mlops_kit.pipelines.definition import NOTEBOOK, Output, Pipeline, Step

_WORK, _CODE = "/work", "/work/code"
_DAG, _REPORT, _REVISION = "pipeline", "report", "revision"
# On the volume, so that they survive an out-of-memory kill and a deadline.
_OUT, _IN = f"{_WORK}/out", f"{_WORK}/in"
_LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Place:
    """Where a pipeline runs; the fields match the settings' section [argo]."""

    namespace: str
    image: str
    repository: str
    secret: str
    service_account: str
    environment_from: tuple[str, ...]
    cpu: str
    memory: str
    deadline: int
    revision: str = ""


def workflow_template(pipeline: Pipeline, place: Place) -> WorkflowTemplate:
    """Return the template that runs a pipeline, with one task per pod.

    Raises DefinitionError for a condition that Argo can't evaluate safely.
    """
    if _REVISION in pipeline.inputs:
        raise DefinitionError(
            f"{pipeline.name!r} has an input {_REVISION!r}, which Argo needs for the commit; "
            "choose another name."
        )
    pods = plan(pipeline)
    inputs = [Parameter(name=n, value=packed(v)) for n, v in pipeline.inputs.items()]
    # Required unless set: a branch's name could mean two commits in one workflow.
    given: dict[str, Any] = {"value": place.revision} if place.revision else {}
    revision = Parameter(
        name=_REVISION, description="the full SHA of the commit whose notebooks run", **given
    )
    cache = Parameter(name=CACHE, value="shared", description="change it to ignore earlier results")
    with WorkflowTemplate(
        name=pipeline.name,
        namespace=place.namespace,
        labels={"app.kubernetes.io/part-of": "mlops-kit"},
        annotations={"workflows.argoproj.io/description": pipeline.description},
        entrypoint=_DAG,
        on_exit=_REPORT,
        service_account_name=place.service_account,
        arguments=[*inputs, revision, *([cache] if any(p.is_cached for p in pods) else [])],
        active_deadline_seconds=place.deadline,
        ttl_strategy=models.TTLStrategy(
            seconds_after_success=_DAY_SECONDS, seconds_after_failure=7 * _DAY_SECONDS
        ),
        pod_gc=models.PodGC(strategy="OnPodSuccess", delete_delay_duration="600s"),
        pod_metadata=models.Metadata(labels={"app.kubernetes.io/part-of": "mlops-kit"}),
        workflow_metadata=models.WorkflowMetadata(labels={"mlops-kit/pipeline": pipeline.name}),
        artifact_gc=models.ArtifactGC(strategy="Never"),
        security_context=models.PodSecurityContext(
            run_as_non_root=True,
            run_as_user=1000,
            fs_group=1000,
            seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
        ),
        pod_spec_patch=_patch(),
        volumes=[models.Volume(name="work", empty_dir=models.EmptyDirVolumeSource())],
    ) as template:
        containers = {pod.name: _container(pipeline, pod, pods, place) for pod in pods}
        _report(place)
        with DAG(name=_DAG):
            for pod in pods:
                _task(pod, pods, containers[pod.name])
    return template


def _patch() -> str:
    """Return the patch that lets Argo's two own containers run in a `restricted` namespace."""
    context = {"securityContext": _LOCKED}
    return json.dumps(
        {
            "initContainers": [{"name": "init", **context}],
            "containers": [{"name": "wait", **context}],
        },
        sort_keys=True,
    )


def _task(pod: Pod, pods: tuple[Pod, ...], container: Container) -> None:
    """Add a pod's task with its dependencies, arguments and gate."""
    waits = dict.fromkeys(pod_of(pods, output.step).name for output in pod.reads)
    parameters, artifacts = [], []
    for output in pod.reads:
        source = pod_of(pods, output.step)
        exported = f"tasks.{source.name}.outputs.%s.{source.exported(output)}"
        value = "{{" + exported % "parameters" + "}}"
        if not is_file(output):
            parameters.append(Parameter(name=_given(output), value=value))
            continue
        from_ = "{{" + exported % "artifacts" + "}}"
        artifacts.append(Artifact(name=_given(output), from_=from_))
        if pod.is_cached:
            digest = value.replace("}}", DIGEST + "}}")
            parameters.append(Parameter(name=_given(output) + DIGEST, value=digest))
    Task(
        name=pod.name,
        template=container,
        arguments=[*parameters, *artifacts],
        depends=" && ".join(f"{name}.Succeeded" for name in waits) or None,
        when=expressions.gate(pod.gates, pods) if pod.gates else None,
    )


def _given(output: Output) -> str:
    """Return the input's name for another pod's output."""
    return f"{output.step.name}-{output.name}"


def _container(pipeline: Pipeline, pod: Pod, pods: tuple[Pod, ...], place: Place) -> Container:
    exports = [step.output(name) for step in pod.steps for name in (*step.outputs, NOTEBOOK)]
    keyed = {repr(output) for other in pods if other.is_cached for output in other.reads}
    attempts = sum(step.retries + 1 for step in pod.steps)
    seconds = int(sum(step.timeout * (step.retries + 1) for step in pod.steps))
    return Container(
        name=pod.name,
        annotations={"workflows.argoproj.io/title": ", ".join(s.name for s in pod.steps)},
        image=place.image,
        command=["python", "-m", "mlops_kit", "--project", _CODE, "step"],
        args=_arguments(pipeline, pod),
        env=[
            models.EnvVar(name="HOME", value=_WORK),
            models.EnvVar(name="MLOPS_KIT_STATE", value=f"{_WORK}/state"),
        ],
        env_from=[
            models.EnvFromSource(secret_ref=models.SecretEnvSource(name=name, optional=True))
            for name in place.environment_from
        ],
        resources=models.ResourceRequirements(
            requests={"cpu": place.cpu, "memory": place.memory}, limits={"memory": place.memory}
        ),
        security_context=models.SecurityContext.model_validate(_LOCKED),
        volume_mounts=[
            models.VolumeMount(name="work", mount_path=_WORK),
            models.VolumeMount(name="work", mount_path="/tmp", sub_path="tmp"),
        ],
        # The notebooks' own time-outs come first; this ends anything else that hangs.
        active_deadline_seconds=seconds + 120 * attempts,
        retry_strategy=RetryStrategy(
            limit="2",
            expression=expressions.RETRY,
            backoff=models.Backoff(duration="10s", factor="2", max_duration="5m"),
        ),
        synchronization=_alone(pod),
        memoize=_memoize(pipeline, pod, place) if pod.is_cached else None,
        inputs=[_code(place), *(each for output in pod.reads for each in _input(pod, output))],
        outputs=[
            *(each for o in exports for each in _output(pod, o, keyed=repr(o) in keyed)),
            *(_page(pod, step) for step in pod.steps),
        ],
    )


def _arguments(pipeline: Pipeline, pod: Pod) -> list[str]:
    """Return the arguments of the step command, one per value."""
    given = ["--pod", _WORK, "--execution", "{{workflow.name}}", pipeline.name, pod.name]
    for name in pipeline.inputs:
        given += ["-p", name, "{{workflow.parameters." + name + "}}"]
    for output in pod.reads:
        if not is_file(output):
            value = "{{inputs.parameters." + _given(output) + "}}"
            given += ["-o", f"{output.step.name}.{output.name}", value]
    return given


def _alone(pod: Pod) -> models.Synchronization | None:
    """Return a lock for a pod that writes to an environment: one workflow at a time."""
    if not any("environment" in step.parameters and not step.cache for step in pod.steps):
        return None
    mutex = models.Mutex(name="mlops-kit-{{workflow.parameters.environment}}")
    return models.Synchronization(mutexes=[mutex])


def _code(place: Place) -> GitArtifact:
    """Return the project at one commit. A shallow clone would break after a later push."""
    secrets: dict[str, Any] = {}
    if place.secret:
        for key in ("username", "password"):
            selector = models.SecretKeySelector(name=place.secret, key=key)
            secrets[f"{key}_secret"] = selector
    return GitArtifact(
        name="code",
        path=_CODE,
        repo=place.repository,
        revision="{{workflow.parameters." + _REVISION + "}}",
        **secrets,
    )


def _input(pod: Pod, output: Output) -> Iterator[Parameter | Artifact]:
    if not is_file(output):
        yield Parameter(name=_given(output))
        return
    path = f"{_IN}/{output.step.name}/{output.name}"
    yield Artifact(name=_given(output), path=path, optional=True)
    if pod.is_cached:
        yield Parameter(name=_given(output) + DIGEST)


def _output(pod: Pod, output: Output, *, keyed: bool) -> Iterator[Parameter | Artifact]:
    name = pod.exported(output)
    if is_file(output):
        yield Artifact(name=name, path=f"{_OUT}/artifacts/{name}", optional=True)
        name += DIGEST
    if keyed or not is_file(output):
        found = models.ValueFrom(path=f"{_OUT}/parameters/{name}", default=ABSENT)
        yield Parameter(name=name, value_from=found)


def _memoize(pipeline: Pipeline, pod: Pod, place: Place) -> models.Memoize:
    """Return the memoization of a pod's outputs, keyed by image, commit and all it reads.

    Each month gets a new config map, because a full one would fail the step.
    """
    own = [_given(o) + (DIGEST if is_file(o) else "") for o in pod.reads]
    named = [
        *(("workflow", name) for name in (_REVISION, CACHE, *pod.inputs)),
        *(("inputs", name) for name in own),
    ]
    content = [f"'{place.image}'", *(expressions.parameter(*each) for each in named)]
    month = "{{workflow.creationTimestamp.Y}}-{{workflow.creationTimestamp.m}}"
    return models.Memoize(
        max_age="720h",
        key=f"{pod.name}-{{{{= {expressions.digest(content)} }}}}",
        cache=models.Cache(
            config_map=models.LocalObjectReference(name=f"cache-{pipeline.name}-{pod.name}-{month}")
        ),
    )


def _page(pod: Pod, step: Step) -> Artifact:
    """Return an executed notebook's page, a folder whose suffix makes Argo's UI show it."""
    return Artifact(
        name=f"{pod.exported(step.output(NOTEBOOK))}-page",
        path=f"{_OUT}/pages/{step.name}.html",
        archive=NoneArchiveStrategy(),
        optional=True,
    )


def _report(place: Place) -> Container:
    """Add the container that reports at the end what failed, and how to debug it."""
    return Container(
        name=_REPORT,
        image=place.image,
        command=["python", "-m", "mlops_kit", "report"],
        args=["{{workflow.name}}", "{{workflow.status}}", "--failures", "{{workflow.failures}}"],
        env=[models.EnvVar(name="HOME", value=_WORK)],
        security_context=models.SecurityContext.model_validate(_LOCKED),
        volume_mounts=[models.VolumeMount(name="work", mount_path=_WORK)],
        active_deadline_seconds=300,
    )
