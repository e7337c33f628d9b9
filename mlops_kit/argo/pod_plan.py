"""Plan which steps share a pod, and what passes between pods. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_kit.errors import DefinitionError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines.definition import EXECUTION, Condition, Input, Output, Pipeline, Step


@dataclass(frozen=True)
class Pod:
    """The steps of one pod, in the pipeline's order; a task of the workflow."""

    name: str
    steps: tuple[Step, ...]

    @property
    def reads(self) -> tuple[Output, ...]:
        """The other pods' outputs that its steps read."""
        found = (output for step in self.steps for output in step.references)
        return tuple({repr(o): o for o in found if o.step not in self.steps}.values())

    @property
    def is_cached(self) -> bool:
        """Whether its outputs depend only on what it reads, so that Argo may memoize it.

        A step that reads no other step's output reads from outside, such as a file or a table, and
        only the step can tell whether that has changed.
        """
        alone = EXECUTION not in self.inputs
        return alone and all(step.cache and step.references for step in self.steps)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the pipeline inputs that its steps read."""
        arguments = (argument for step in self.steps for argument in step.parameters.values())
        return tuple(sorted({each.name for each in arguments if isinstance(each, Input)}))

    @property
    def gates(self) -> tuple[Condition, ...]:
        """The conditions on other pods' outputs that all its steps depend on."""
        return tuple(
            dict.fromkeys(
                step.when
                for step in self.steps
                if step.when and step.when.output.step not in self.steps and self._needs(step.when)
            )
        )

    def _needs(self, condition: Condition) -> bool:
        """Return whether every step has the condition, or waits for one here that has it."""
        gated: set[Step] = set()
        for step in self.steps:
            if step.when == condition or any(needed in gated for needed in step.needs):
                gated.add(step)
        return gated == set(self.steps)

    def exported(self, output: Output) -> str:
        """Return an output's name among the pod's outputs."""
        return output.name if len(self.steps) == 1 else f"{output.step.name}-{output.name}"


def plan(pipeline: Pipeline) -> tuple[Pod, ...]:
    """Return a pipeline's pods, each after those that it waits for.

    Raises DefinitionError if pods would wait for each other.
    """
    shared: dict[str, list[Step]] = {}
    for step in pipeline.ordered:
        name = step.pod or (step.name if pipeline.pods == "step" else pipeline.name)
        shared.setdefault(name, []).append(step)
    waiting = {name: Pod(name, tuple(steps)) for name, steps in shared.items()}
    placed: list[Pod] = []
    while waiting:
        ready = [pod for pod in waiting.values() if not _waits(pod, waiting)]
        if not ready:
            raise DefinitionError(
                f"The pods {sorted(waiting)} of {pipeline.name!r} wait for each other: a step of "
                "each reads from the other. Put the steps between them into the same pod.",
                code="definition.pod-cycle",
            )
        placed += ready
        for pod in ready:
            del waiting[pod.name]
    return tuple(placed)


def named(pods: tuple[Pod, ...], name: str) -> Pod:
    """Return the pod of that name; raises DefinitionError, which lists the pods."""
    for pod in pods:
        if pod.name == name:
            return pod
    names = [pod.name for pod in pods]
    raise DefinitionError(
        f"No pod {name!r}; the pipeline has {names}. If the pipeline changed, render it again."
        + did_you_mean(name, names)
    )


def pod_of(pods: tuple[Pod, ...], step: Step) -> Pod:
    """Return a step's pod."""
    return next(pod for pod in pods if step in pod.steps)


def _waits(pod: Pod, waiting: dict[str, Pod]) -> bool:
    others = [each for name, each in waiting.items() if name != pod.name]
    needed = {step for own in pod.steps for step in own.needs}
    return any(step in other.steps for other in others for step in needed)
