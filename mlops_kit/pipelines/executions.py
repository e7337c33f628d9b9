"""Store executions: a folder for each, with its state, its steps' outputs and its lock."""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlops_kit import lock
from mlops_kit.errors import ProjectError
from mlops_kit.formatting import did_you_mean, violations
from mlops_kit.pipelines import step_outputs
from mlops_kit.pipelines.values import Value

if TYPE_CHECKING:
    from pydantic import TypeAdapter

WAITING, RUNNING, SUCCEEDED, CACHED = "waiting", "running", "succeeded", "cached"
SKIPPED, FAILED, NOT_RUN, INTERRUPTED = "skipped", "failed", "not run", "interrupted"
# A resumed execution keeps these steps.
DONE = frozenset({SUCCEEDED, CACHED})
# The driver died. Never stored, only deduced.
KILLED = "killed"

_STATE = "execution.json"
_LOCK = "lock"  # held by the driver
_EXACT = {"extra": "forbid"}  # for pydantic: the kit wrote no other field
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*-\d{8}-\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True)
class StepState:
    """A step's progress. Times are ISO 8601 in UTC; `reason` says why it didn't run."""

    __pydantic_config__: ClassVar = _EXACT
    state: str = WAITING
    started: str = ""
    ended: str = ""
    attempts: int = 0
    reason: str = ""
    error: Mapping[str, Any] | None = None

    @property
    def took(self) -> str:
        """The duration of the last attempt, as text; empty for a step that didn't run."""
        if not (self.started and self.ended):
            return ""
        seconds = datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)
        return f"{seconds.total_seconds():.1f} s"


@dataclass(frozen=True)
class State:
    """The content of `execution.json`."""

    __pydantic_config__: ClassVar = _EXACT
    name: str
    pipeline: str
    inputs: Mapping[str, Any]
    state: str = RUNNING
    started: str = ""
    ended: str = ""
    steps: Mapping[str, StepState] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> State:
        """Return the state that `to_json` stored.

        Raises ProjectError for anything else.
        """
        from pydantic import ValidationError

        try:
            return _adapter().validate_python(stored)
        except ValidationError as error:
            raise ProjectError(
                f"The kit didn't write this: {violations(error.errors())}."
            ) from error


@cache
def _adapter() -> TypeAdapter[State]:
    from pydantic import TypeAdapter

    return TypeAdapter(State)


class Execution:
    """One execution's folder. Each change is on disk before the call returns."""

    def __init__(self, folder: Path, state: State) -> None:
        """Use `create` or `Executions.open` instead."""
        self.folder = folder
        self.state = state
        self._driving = ExitStack()

    @property
    def name(self) -> str:
        """The execution's name, as in `churn-training-20261123-101500-3f2a`."""
        return self.state.name

    def acquire(self) -> None:
        """Become the process that drives this execution.

        Raises ProjectError while another process drives it.
        """
        try:
            self._driving.enter_context(lock.hold(self.folder / _LOCK))
        except BlockingIOError as error:
            raise ProjectError(
                f"Another process is running execution {self.name!r}; wait for it, or stop it.",
                code="project.execution-held",
            ) from error

    def release(self) -> None:
        """Stop being the driver."""
        self._driving.close()

    @property
    def seen_state(self) -> str:
        """The state, or `killed` for a running execution without a driver."""
        is_killed = self.state.state == RUNNING and not lock.is_held(self.folder / _LOCK)
        return KILLED if is_killed else self.state.state

    @property
    def failed_step(self) -> str:
        """The first step that failed; empty if none did."""
        return next((n for n, step in self.state.steps.items() if step.state == FAILED), "")

    def set_state(self, state: str) -> None:
        """Record the state of the whole execution."""
        self._store(replace(self.state, state=state, ended="" if state == RUNNING else now()))

    def set_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Record the inputs; a changed definition may have added some."""
        self._store(replace(self.state, inputs=dict(inputs)))

    def set_step(self, name: str, **changes: Any) -> None:
        """Record changes of one step's state."""
        step = replace(self.state.steps.get(name, StepState()), **changes)
        self._store(replace(self.state, steps={**self.state.steps, name: step}))

    def step_folder(self, step: str) -> Path:
        """Return the folder of a step's notebook and outputs."""
        return self.folder / step

    def save_outputs(self, step: str, outputs: Mapping[str, Value], key: str) -> None:
        """Record a finished step's outputs. A resumed execution keeps them."""
        step_outputs.save(self.step_folder(step), outputs, key)

    def outputs(self, step: str) -> dict[str, Value] | None:
        """Return a finished step's outputs, or None."""
        found = step_outputs.load(self.step_folder(step))
        return found[0] if found else None

    def value(self, step: str, output: str) -> Any:
        """Return the value that a step published under a name.

        Raises ProjectError if it published none.
        """
        found = self.outputs(step) or {}
        if output not in found:
            raise ProjectError(
                f"Step {step!r} of {self.name!r} published {sorted(found)}, not {output!r}."
            )
        return found[output].argument

    def _repr_markdown_(self) -> str:
        lines = [
            f"**{self.name}** {self.seen_state}",
            "",
            "| step | state | took | why |",
            "|---|---|---:|---|",
        ]
        for name, step in self.state.steps.items():
            # A reason may quote what a notebook published.
            why = html.escape(" ".join(step.reason.split())).replace("|", "&#124;")
            lines.append(f"| {name} | {step.state} | {step.took} | {why} |")
        return "\n".join(lines)

    def _store(self, state: State) -> None:
        step_outputs.write_json(self.folder / _STATE, state.to_json())
        self.state = state


class Executions:
    """The executions of a project."""

    def __init__(self, folder: Path) -> None:
        """`folder` may not exist yet."""
        self.folder = folder

    def create(self, pipeline: str, inputs: Mapping[str, Any], steps: list[str]) -> Execution:
        """Create an execution with a unique name, and become its driver."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        while True:
            name = f"{pipeline}-{stamp}-{secrets.token_hex(2)}"
            folder = self.folder / name
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
                break
            except FileExistsError:
                continue
        waiting = dict.fromkeys(steps, StepState())
        state = State(name, pipeline, dict(inputs), started=now(), steps=waiting)
        execution = Execution(folder, state)
        execution.acquire()
        execution.set_state(RUNNING)
        return execution

    def is_name(self, name: str) -> bool:
        """Return whether a name has the form of an execution's; a workflow's has another."""
        return bool(_NAME.fullmatch(name))

    def open(self, name: str) -> Execution:
        """Return the execution of that name.

        Raises ProjectError for an unknown name or an unreadable state.
        """
        folder = self.folder / name
        if not _NAME.fullmatch(name) or not (folder / _STATE).is_file():
            known = [execution.name for execution in self.all()]
            raise ProjectError(
                f"No execution {name!r} in {str(self.folder)!r}; 'mlops-kit status' lists "
                f"them.{did_you_mean(name, known)}",
                code="project.no-execution",
            )
        try:
            state = State.from_json(json.loads((folder / _STATE).read_bytes()))
        except (ProjectError, ValueError, RecursionError, OSError) as error:
            raise ProjectError(
                f"Can't read {str(folder / _STATE)!r}: {error}", code="project.unreadable"
            ) from error
        return Execution(folder, state)

    def all(self) -> Iterator[Execution]:
        """Yield the readable executions, oldest first."""
        found = []
        for path in self.folder.glob(f"*/{_STATE}"):
            try:
                found.append(Execution(path.parent, State.from_json(json.loads(path.read_bytes()))))
            except (ProjectError, ValueError, RecursionError, OSError):
                continue  # a broken folder must not hide the others; `open` reports it
        yield from sorted(found, key=lambda execution: (execution.state.started, execution.name))

    def last_unfinished(self, pipeline: str) -> Execution:
        """Return the newest execution of a pipeline, to resume it.

        Raises ProjectError if there is none, or it succeeded.
        """
        mine = [execution for execution in self.all() if execution.state.pipeline == pipeline]
        if not mine or mine[-1].seen_state == SUCCEEDED:
            what = f"{mine[-1].name!r} succeeded" if mine else "it never ran here"
            raise ProjectError(
                f"Nothing to resume for {pipeline!r}: {what}. Run it without --resume.",
                code="project.nothing-to-resume",
            )
        return mine[-1]


def now() -> str:
    """Return the current time as the kit stores it: ISO 8601, UTC, in milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
