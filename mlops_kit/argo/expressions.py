"""Argo's expressions, written so that no value can rewrite them, and every name leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlops_kit.argo.pod_plan import Pod, pod_of
from mlops_kit.argo.pod_run import ABSENT
from mlops_kit.argo.transport import is_file, packed
from mlops_kit.errors import DefinitionError
from mlops_kit.pipelines.definition import Condition

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Lost pods come again, and a failed notebook never does. A deleted pod has the code -1, an evicted
# one 143; the messages tell those apart that have the same codes and would only fail again.
RETRY = (
    "asInt(lastRetry.exitCode) in [-1, 137, 143]"
    ' && !(lastRetry.message contains "OOMKilled")'
    ' && !(lastRetry.message contains "specified deadline")'
)


def gate(conditions: Sequence[Condition], pods: tuple[Pod, ...]) -> str:
    """Return the `when` that all conditions must let pass, in the one form that no value changes.

    Raises DefinitionError for an output that travels as a file, or a value that is no text of
    Argo's: a wrong reference would hang the workflow for ever.
    """
    return "{{= " + " && ".join(_test(condition, pods) for condition in conditions) + " }}"


def _test(condition: Condition, pods: tuple[Pod, ...]) -> str:
    output = condition.output
    if is_file(output):
        raise DefinitionError(
            f"A condition reads {output!r}, which travels as a file; expected a str, int, float "
            "or bool.",
            code="definition.gate-on-file",
        )
    if packed(condition.equals) != condition.equals or condition.equals == ABSENT:
        raise DefinitionError(
            f"A condition compares {output!r} with {condition.equals!r}; expected letters, digits "
            "and ._:/@+=- only, since Argo evaluates anything else.",
            code="definition.gate-text",
        )
    pod = pod_of(pods, output.step)
    return f"{reference(pod.name, pod.exported(output))} == '{condition.equals}'"


def digest(names: Sequence[str]) -> str:
    """Return the SHA-256 of values, each named as an expression names it."""
    return "sprig.sha256sum(toJson([" + ", ".join(names) + "]))"


def parameter(scope: str, name: str) -> str:
    """Return how an expression names a parameter of the workflow, or of a template's inputs."""
    return f"{scope}.parameters{_part(name)}"


def reference(task: str, parameter: str) -> str:
    """Return how an expression names an output; names with a dash need brackets."""
    return f"tasks{_part(task)}.outputs.parameters{_part(parameter)}"


def _part(name: str) -> str:
    return f".{name}" if _PLAIN.fullmatch(name) else f"['{name}']"
