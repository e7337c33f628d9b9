"""Which steps share a pod, and what passes between pods. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_kit.errors import DefinitionError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines.definition import EXECUTION, Condition, Input, Output, Pipeline, Step


@dataclass(frozen=True)
class Pod:
    """Steps that run in one pod, in the order of the pipeline; a task of the workflow."""

    name: str
    steps: tuple[Step, ...]

    @property
    def reads(self) -> tuple[Output, ...]:
        """The outputs of other pods that its steps read, each once."""
        found = (output for step in self.steps for output in step.references)
        return tuple({repr(o): o for o in found if o.step not in self.steps}.values())

    @property
    def is_cached(self) -> bool:
        """Whether what it publishes follows from what it reads, so that once is enough.

        A step that reads nothing of another's reads the world, such as a file or a table, and
        nobody but itself can tell whether that has changed.
        """
        alone = EXECUTION not in self.inputs
        return alone and all(step.cache and step.references for step in self.steps)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the pipeline's inputs that its steps read, each once."""
        arguments = (argument for step in self.steps for argument in step.parameters.values())
        return tuple(sorted({each.name for each in arguments if isinstance(each, Input)}))

    @property
    def gates(self) -> tuple[Condition, ...]:
        """The conditions on other pods' outputs without which none of its steps would run."""
        return tuple(
            dict.fromkeys(
                step.when
                for step in self.steps
                if step.when and step.when.output.step not in self.steps and self._needs(step.when)
            )
        )

    def _needs(self, condition: Condition) -> bool:
        """Tell whether every step has the condition, or waits for one in this pod that has it."""
        gated: set[Step] = set()
        for step in self.steps:
            if step.when == condition or any(needed in gated for needed in step.needs):
                gated.add(step)
        return gated == set(self.steps)

    def exported(self, output: Output) -> str:
        """Return what an output is called among the pod's outputs."""
        return output.name if len(self.steps) == 1 else f"{output.step.name}-{output.name}"


def plan(pipeline: Pipeline) -> tuple[Pod, ...]:
    """Return the pods of a pipeline, each after those that it waits for.

    Raises DefinitionError where two pods would wait for each other.
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
                "each reads from the other. Give the steps in between the same pod.",
                code="definition.pod-cycle",
            )
        placed += ready
        for pod in ready:
            del waiting[pod.name]
    return tuple(placed)


def named(pods: tuple[Pod, ...], name: str) -> Pod:
    """Return the pod of that name; raises DefinitionError with those that there are."""
    for pod in pods:
        if pod.name == name:
            return pod
    names = [pod.name for pod in pods]
    raise DefinitionError(
        f"There is no pod {name!r}; the pipeline has {names}. Render it again if it changed."
        + did_you_mean(name, names)
    )


def pod_of(pods: tuple[Pod, ...], step: Step) -> Pod:
    """Return the pod that a step runs in."""
    return next(pod for pod in pods if step in pod.steps)


def _waits(pod: Pod, waiting: dict[str, Pod]) -> bool:
    others = [each for name, each in waiting.items() if name != pod.name]
    needed = {step for own in pod.steps for step in own.needs}
    return any(step in other.steps for other in others for step in needed)
