"""Define a pipeline: its steps, and the values that pass between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlops_kit.errors import DefinitionError
from mlops_kit.formatting import did_you_mean

# Both are valid as names of Argo's templates and parameters too.
STEP_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
OUTPUT_TYPES: tuple[type, ...] = (str, int, float, bool, list, dict, Path)
# The output that every step has undeclared: its executed notebook.
NOTEBOOK = "notebook"
# The input that every pipeline has undeclared: the execution's name.
EXECUTION = "execution"


@dataclass(frozen=True)
class Input:
    """A value set when the pipeline starts."""

    name: str


@dataclass(frozen=True)
class Output:
    """A value that a step publishes. The output `notebook` is its executed notebook."""

    step: Step
    name: str

    @property
    def type(self) -> type:
        """The declared type."""
        return Path if self.name == NOTEBOOK else self.step.outputs[self.name]

    def __repr__(self) -> str:
        return f"{self.step.name}.output({self.name!r})"


@dataclass(frozen=True)
class Condition:
    """Runs a step only if an output, as text, equals a value. An absent output never does."""

    output: Output
    equals: str

    def holds(self, value: object) -> bool:
        """Whether a value lets the step run. Compares text, as Argo does."""
        return value is not None and as_text(value) == self.equals


# What a step may pass to a parameter: a constant, an input, an output, or several outputs.
Argument = Input | Output | Sequence[Output] | str | int | float | bool


@dataclass(frozen=True, eq=False)
class Step:
    """One notebook with its parameters, its declared outputs and when it runs.

    `timeout` limits one attempt, in seconds. `retries` counts the attempts after the first. Set
    `cache=False` for a step that reads or changes anything but its parameters and the project's
    files. On a cluster, steps with the same `pod` share a pod.
    """

    name: str
    notebook: str
    parameters: Mapping[str, Argument] = field(default_factory=dict)
    outputs: Mapping[str, type] = field(default_factory=dict)
    when: Condition | None = None
    retries: int = 0
    timeout: float = 3600.0
    cache: bool = True
    pod: str = ""

    def __post_init__(self) -> None:
        """Reject a step that can't run.

        Raises DefinitionError.
        """
        if not STEP_NAME.fullmatch(self.name):
            raise DefinitionError(
                f"Step name {self.name!r} must be lower-case letters, digits and dashes, "
                "as in 'train-candidate' (at most 63): it also names a template in Argo.",
                code="definition.name",
            )
        for name, kind in self.outputs.items():
            if not VALUE_NAME.fullmatch(name) or name == NOTEBOOK:
                raise DefinitionError(
                    f"Step {self.name!r} declares the output {name!r}; expected a Python name "
                    f"other than {NOTEBOOK!r}, which every step has."
                )
            if kind not in OUTPUT_TYPES:
                names = ", ".join(allowed.__name__ for allowed in OUTPUT_TYPES)
                raise DefinitionError(
                    f"Output {name!r} of step {self.name!r} has the type {kind!r}; expected one "
                    f"of {names}."
                )
        if self.pod and not STEP_NAME.fullmatch(self.pod):
            raise DefinitionError(
                f"Step {self.name!r} names the pod {self.pod!r}; expected lower-case "
                "letters, digits and dashes.",
                code="definition.name",
            )
        if self.retries < 0 or not self.timeout > 0:
            raise DefinitionError(
                f"Step {self.name!r} has retries={self.retries!r} and timeout={self.timeout!r}; "
                "expected retries of 0 or more and a timeout above 0 seconds.",
                code="definition.attempts",
            )

    def output(self, name: str) -> Output:
        """Return the output of that name, to pass to another step.

        Raises DefinitionError, which suggests the nearest name.
        """
        if name != NOTEBOOK and name not in self.outputs:
            raise DefinitionError(
                f"Step {self.name!r} publishes {sorted(self.outputs)}, not {name!r}."
                + did_you_mean(name, self.outputs)
            )
        return Output(self, name)

    @property
    def references(self) -> tuple[Output, ...]:
        """The outputs that this step reads, including its condition's."""
        found = [output for argument in self.parameters.values() for output in outputs_in(argument)]
        return (*found, *([self.when.output] if self.when else []))

    @property
    def needs(self) -> tuple[Step, ...]:
        """The steps that must end before this one starts."""
        return tuple(dict.fromkeys(output.step for output in self.references))

    def __repr__(self) -> str:
        return f"Step({self.name!r})"


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Steps over shared inputs. What the steps read determines their order.

    `inputs` maps each name to its default. On a cluster, each step runs in its own pod, or all
    share one (`pods="fused"`), except steps that name a pod. The cluster also starts the pipeline
    by `schedule`, a cron expression in UTC, or `on_push` to the project's repository. `edit`
    receives the Hera WorkflowTemplate before it is written.
    """

    name: str
    steps: tuple[Step, ...]
    inputs: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    description: str = ""
    pods: Literal["step", "fused"] = "step"
    schedule: str = ""
    on_push: bool = False
    edit: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        """Reject duplicate names and dangling references.

        Raises DefinitionError.
        """
        if not STEP_NAME.fullmatch(self.name):
            raise DefinitionError(
                f"Pipeline name {self.name!r} must be lower-case letters, digits and dashes.",
                code="definition.name",
            )
        if not self.steps:
            raise DefinitionError(f"Pipeline {self.name!r} has no steps.")
        names = [step.name for step in self.steps]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise DefinitionError(
                f"Pipeline {self.name!r} has two steps named {doubled}.",
                code="definition.same-name",
            )
        if EXECUTION in self.inputs:
            raise DefinitionError(
                f"The kit sets the input {EXECUTION!r} itself; choose another name.",
                code="definition.reserved",
            )
        for name in self.inputs:
            if not VALUE_NAME.fullmatch(name):
                raise DefinitionError(f"Input {name!r} of {self.name!r} must be a Python name.")
        for step in self.steps:
            self._check_references(step)

    def _check_references(self, step: Step) -> None:
        for needed in step.needs:
            if needed not in self.steps:
                raise DefinitionError(
                    f"Step {step.name!r} reads from {needed.name!r}, which isn't a step of "
                    f"{self.name!r}: {[other.name for other in self.steps]}.",
                    code="definition.foreign-step",
                )
        for parameter, argument in step.parameters.items():
            if isinstance(argument, Input) and argument.name not in {*self.inputs, EXECUTION}:
                raise DefinitionError(
                    f"Parameter {parameter!r} of step {step.name!r} reads the input "
                    f"{argument.name!r}; {self.name!r} has {sorted(self.inputs)}."
                    + did_you_mean(argument.name, self.inputs)
                )

    def step(self, name: str) -> Step:
        """Return the step of that name.

        Raises DefinitionError, which suggests the nearest name.
        """
        for step in self.steps:
            if step.name == name:
                return step
        names = [step.name for step in self.steps]
        raise DefinitionError(
            f"Pipeline {self.name!r} has the steps {names}, not {name!r}."
            + did_you_mean(name, names)
        )

    @property
    def ordered(self) -> tuple[Step, ...]:
        """The steps, each after those that it needs, otherwise as defined."""
        # A step can only read from steps created before it, so this loop ends.
        placed: dict[Step, None] = {}
        while len(placed) < len(self.steps):
            for step in self.steps:
                if step not in placed and all(needed in placed for needed in step.needs):
                    placed[step] = None
        return tuple(placed)

    def _repr_markdown_(self) -> str:
        lines = [self.description, "", "| step | notebook | after | only if |", "|---|---|---|---|"]
        for step in self.ordered:
            after = ", ".join(needed.name for needed in _nearest(step))
            only = f"{step.when.output.name} is {step.when.equals}" if step.when else ""
            lines.append(f"| {step.name} | {step.notebook} | {after} | {only} |")
        return "\n".join(lines)


def _nearest(step: Step) -> list[Step]:
    """Return the steps that a step waits for, without those that they wait for in turn."""
    further = {each for needed in step.needs for each in _before(needed)}
    return [needed for needed in step.needs if needed not in further]


def _before(step: Step) -> set[Step]:
    return {*step.needs, *(each for needed in step.needs for each in _before(needed))}


def outputs_in(argument: object) -> Iterator[Output]:
    """Yield the outputs in an argument."""
    if isinstance(argument, Output):
        yield argument
    elif isinstance(argument, (list, tuple)):
        yield from (item for item in argument if isinstance(item, Output))


def as_text(value: Any) -> str:
    """Return a value as the text that Argo passes: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
