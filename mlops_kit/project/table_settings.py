"""The settings that a new model starts with: gates, costs, and bounds on traffic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_kit.project.train_notebook import quoted

if TYPE_CHECKING:
    from mlops_kit.tables.guessing import Guess
    from mlops_kit.tables.table import Table


def settings(guess: Guess, template: str) -> str:
    """Return the settings of a project whose first model this is.

    `template` are those of the kit's own project, of which the part on traffic is taken.
    """
    head, _, traffic = template.partition("# What a candidate must prove on traffic")
    # Bounds of the kit's own example, which nobody knows to hold here.
    traffic = re.sub(r"(?m)^(recall|precision) = .*\n", "", traffic)
    for name, lax in _LAX.items():
        traffic = re.sub(rf"(?m)^{name} = .*$", f"{name} = {lax}", traffic)
    about = "".join(line for line in head.splitlines(keepends=True) if line.startswith("# "))
    about = about.partition("# The costs")[0]
    lines = [f"model = {quoted(guess.table.name)}", 'environment = "prod"', ""]
    return (
        about
        + "\n"
        + "\n".join(lines)
        + "\n"
        + model_settings(guess)
        + (f"\n# What a candidate must prove on traffic{traffic}" if traffic else "")
    )


def model_settings(guess: Guess) -> str:
    """Return the settings of one model: costs of errors, gates, and bounds on live traffic."""
    name = guess.table.name
    # Of few rows even a sound model's error is measured as large.
    calibration = max(0.10, 2 / (0.25 * max(guess.rows, 1)) ** 0.5)
    of_task = (each.format(calibration=calibration) for each in _GATES[guess.table.task])
    gates = "".join(f"    {{ {each} }},\n" for each in of_task)
    costs = f"""# The costs of errors, in the currency of the table's amount.
[models.{name}.costs]
false_positive = 5.0    # of acting on a row where nothing was
false_negative = 20.0   # of a missed positive, on top of its amount

"""
    return (
        (costs if guess.table.task == "binary" else "")
        + f"""[models.{name}]
minimum = 50   # with fewer rows of a class, the verdict is inconclusive
# Bounds that a candidate must meet on the holdout, to be set once one has been seen. Against the
# reference: candidate minus champion on the same rows, how much worse the candidate may be.
gates = [
{gates}]

# What it must prove on traffic, beside [rollout]; what is set here wins.
[models.{name}.rollout]
{_bounds(guess.table)}"""
    )


def _bounds(table: Table) -> str:
    """Return a rollout's bounds by the task, so low that nobody needs to know the model yet."""
    if table.task == "binary":
        return """recall = 0.10     # low, until you know what a model reaches
precision = 0.10
"""
    if table.task == "multiclass":
        chance = max(1 / len(table.classes), 0.01)
        return f"accuracy = {chance:.2f}   # chance; raise it once you know what a model reaches\n"
    return """# The largest mean error, in the label's unit. Without it the champion is the measure: a candidate
# must not be twice as wrong.
# absolute_error = 1.0
"""


# The model may be one that only its own library scores, on a machine that others use.
_LAX = {
    "slow_ms": "250.0      # a request that takes longer is slow",
    "slow_share": "0.05    # lax, until you know what clients wait for",
}
_LATENCY = 'metric = "latency_ms", at_most = 200.0'
_GATES = {
    "binary": (
        'metric = "roc_auc", at_least = 0.60',
        'metric = "calibration_error", at_most = {calibration:.2f}',
        'metric = "recall", against = "reference", at_least = -0.10',
        'metric = "average_precision", against = "reference", at_least = -0.05',
        _LATENCY,
    ),
    "multiclass": (
        'metric = "accuracy", against = "reference", at_least = -0.03',
        'metric = "balanced_accuracy", against = "reference", at_least = -0.05',
        _LATENCY,
    ),
    "regression": (
        'metric = "r2", at_least = 0.10',
        'metric = "r2", against = "reference", at_least = -0.03',
        _LATENCY,
    ),
}
