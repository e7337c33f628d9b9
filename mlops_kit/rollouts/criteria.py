"""Which metrics of a model's labels count, and their bounds, by the model's task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.sequential_tests import Side

if TYPE_CHECKING:
    from mlops_kit.tables.table import Task

Kind = Literal["recall", "precision", "accuracy", "error", "error ratio", "cost"]
_MEANS = ("error", "error ratio", "cost")
# What both phases count whatever the task: failures of the replay, errors, slow requests.
_ALWAYS = 3


@dataclass(frozen=True)
class ModelTask:
    """What a model predicts: its task, and the names of its classes in their order."""

    task: Task = "binary"
    classes: tuple[str, ...] = ()


BINARY = ModelTask()


@dataclass(frozen=True)
class Criterion:
    """One metric of labelled rows and the bound that it must keep.

    A share of rows, or the mean of a loss: `bound` is then a share of `cap`, the largest loss that
    a row counts with, in the table's units. `of` is the class that a recall is about.
    """

    name: str
    kind: Kind
    bound: float
    side: Side
    of: int = 1
    cap: float = 0.0

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of a loss, and not a share of rows."""
        return self.kind in _MEANS


def criteria(policy: Policy, task: ModelTask) -> tuple[Criterion, ...]:
    """Return what a replay of a model of this task must prove."""
    found = _of_task(policy, task)
    if policy.cost:
        cap = policy.cost_cap or 10 * policy.cost
        found = (*found, Criterion("cost", "cost", policy.cost / cap, "<", cap=cap))
    return found


def live_criteria(policy: Policy, task: ModelTask) -> tuple[Criterion, ...]:
    """Return what can be counted of a version's own answers, without a champion beside them."""
    return tuple(each for each in criteria(policy, task) if each.kind != "error ratio")


def total(policy: Policy, task: ModelTask) -> int:
    """Return how many metrics there are of a task, seen or not: replay, canary and live labels."""
    return _ALWAYS + len(criteria(policy, task)) + len(live_criteria(policy, task))


def _of_task(policy: Policy, task: ModelTask) -> tuple[Criterion, ...]:
    if task.task == "binary":
        return (
            Criterion("recall", "recall", policy.recall, ">"),
            Criterion("precision", "precision", policy.precision, ">"),
        )
    if task.task == "multiclass":
        recalls = (
            Criterion(f"recall of {name}", "recall", bound, ">", task.classes.index(name))
            for name, bound in policy.class_recall.items()
            if name in task.classes
        )
        return (Criterion("accuracy", "accuracy", policy.accuracy, ">"), *recalls)
    if policy.absolute_error:
        cap = policy.error_cap or 4 * policy.absolute_error
        error = Criterion("absolute error", "error", policy.absolute_error / cap, "<", cap=cap)
        return (error,)
    # No unit is known, so the champion is the measure: its error times what is allowed.
    allowed = policy.regression / (1 + policy.regression)
    return (Criterion("share of the error", "error ratio", allowed, "<"),)
