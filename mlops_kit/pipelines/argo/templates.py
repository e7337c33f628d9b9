"""A pipeline as a WorkflowTemplate, made of Hera's objects. With `rendering` the door to hera."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hera.workflows import (
    DAG,
    Artifact,
    Container,
    GitArtifact,
    Parameter,
    RetryStrategy,
    Task,
    WorkflowTemplate,
    models,
)

from mlops_kit.pipelines.argo import expressions
from mlops_kit.pipelines.definition import NOTEBOOK, Output, Pipeline
from mlops_kit.pipelines.pod import ABSENT
from mlops_kit.pipelines.pods import Pod, plan, pod_of
from mlops_kit.pipelines.travel import is_file, packed

_WORK, _CODE = "/work", "/work/code"
_DAG, _REPORT, _REVISION = "pipeline", "report", "revision"
# On the volume, so that they outlive an out-of-memory kill and a deadline.
_OUT, _IN = f"{_WORK}/out", f"{_WORK}/in"
_LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_DAY = 86_400


@dataclass(frozen=True)
class Place:
    """Where a pipeline runs; the fields are those of the settings' section [argo]."""

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
    """Return the template that runs a pipeline, a task a pod.

    Raises DefinitionError for a condition that Argo can't decide safely.
    """
    pods = plan(pipeline)
    inputs = [Parameter(name=n, value=packed(v)) for n, v in pipeline.inputs.items()]
    # Without a default it must be given: a branch's name could be two commits in one workflow.
    given: dict[str, Any] = {"value": place.revision} if place.revision else {}
    revision = Parameter(
        name=_REVISION, description="the full SHA of the commit whose notebooks run", **given
    )
    with WorkflowTemplate(
        name=pipeline.name,
        namespace=place.namespace,
        labels={"app.kubernetes.io/part-of": "mlops-kit"},
        annotations={"workflows.argoproj.io/description": pipeline.description},
        entrypoint=_DAG,
        on_exit=_REPORT,
        service_account_name=place.service_account,
        arguments=[*inputs, revision],
        active_deadline_seconds=place.deadline,
        ttl_strategy=models.TTLStrategy(seconds_after_success=_DAY, seconds_after_failure=7 * _DAY),
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
        containers = {pod.name: _container(pipeline, pod, place) for pod in pods}
        _report(place)
        with DAG(name=_DAG):
            for pod in pods:
                _task(pod, pods, containers[pod.name])
    return template


def _patch() -> str:
    """Return what lets Argo's own two containers into a namespace of the level `restricted`."""
    context = {"securityContext": _LOCKED}
    return json.dumps(
        {
            "initContainers": [{"name": "init", **context}],
            "containers": [{"name": "wait", **context}],
        },
        sort_keys=True,
    )


def _task(pod: Pod, pods: tuple[Pod, ...], container: Container) -> None:
    """Add a pod's task, with what it waits for, what it gets, and its gate."""
    waits = dict.fromkeys(pod_of(pods, output.step).name for output in pod.reads)
    parameters, artifacts = [], []
    for output in pod.reads:
        source = pod_of(pods, output.step)
        exported = f"tasks.{source.name}.outputs.%s.{source.exported(output)}"
        if is_file(output):
            from_ = "{{" + exported % "artifacts" + "}}"
            artifacts.append(Artifact(name=_given(output), from_=from_))
        else:
            value = "{{" + exported % "parameters" + "}}"
            parameters.append(Parameter(name=_given(output), value=value))
    Task(
        name=pod.name,
        template=container,
        arguments=[*parameters, *artifacts],
        depends=" && ".join(f"{name}.Succeeded" for name in waits) or None,
        when=expressions.gate(pod.gates, pods) if pod.gates else None,
    )


def _given(output: Output) -> str:
    """Return what an output of another pod is called among a pod's inputs."""
    return f"{output.step.name}-{output.name}"


def _container(pipeline: Pipeline, pod: Pod, place: Place) -> Container:
    exports = [step.output(name) for step in pod.steps for name in (*step.outputs, NOTEBOOK)]
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
        # The notebooks' own time-outs come first; this ends what hangs beside them.
        active_deadline_seconds=seconds + 120 * attempts,
        retry_strategy=RetryStrategy(
            limit="2",
            expression=expressions.RETRY,
            backoff=models.Backoff(duration="10s", factor="2", max_duration="5m"),
        ),
        synchronization=_alone(pod),
        inputs=[_code(place), *(_input(output) for output in pod.reads)],
        outputs=[_output(pod, output) for output in exports],
    )


def _arguments(pipeline: Pipeline, pod: Pod) -> list[str]:
    """Return the step command's arguments; each value arrives as one."""
    given = ["--pod", _WORK, "--execution", "{{workflow.name}}", pipeline.name, pod.name]
    for name in pipeline.inputs:
        given += ["-p", name, "{{workflow.parameters." + name + "}}"]
    for output in pod.reads:
        if not is_file(output):
            value = "{{inputs.parameters." + _given(output) + "}}"
            given += ["-o", f"{output.step.name}.{output.name}", value]
    return given


def _alone(pod: Pod) -> models.Synchronization | None:
    """Return a lock for what writes to an environment: one workflow at a time."""
    if not any("environment" in step.parameters and not step.cache for step in pod.steps):
        return None
    mutex = models.Mutex(name="mlops-kit-{{workflow.parameters.environment}}")
    return models.Synchronization(mutexes=[mutex])


def _code(place: Place) -> GitArtifact:
    """Return the project at one commit, whole: with a depth, a later push would break it."""
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


def _input(output: Output) -> Parameter | Artifact:
    if not is_file(output):
        return Parameter(name=_given(output))
    path = f"{_IN}/{output.step.name}/{output.name}"
    return Artifact(name=_given(output), path=path, optional=True)


def _output(pod: Pod, output: Output) -> Parameter | Artifact:
    name = pod.exported(output)
    if is_file(output):
        path = f"{_OUT}/artifacts/{name}"
        return Artifact(name=name, path=path, optional=True)
    found = models.ValueFrom(path=f"{_OUT}/parameters/{name}", default=ABSENT)
    return Parameter(name=name, value_from=found)


def _report(place: Place) -> Container:
    """Add what says at the end how the workflow went, and how to look at what failed."""
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
