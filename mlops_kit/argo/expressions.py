"""Write Argo expressions that no value can rewrite and that name only what exists."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlops_kit.argo.pod_plan import Pod, pod_of
from mlops_kit.argo.pod_run import ABSENT
from mlops_kit.argo.transport import is_file, packed
from mlops_kit.errors import DefinitionError
from mlops_kit.pipelines.definition import Condition

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Retry lost pods, but never a failed notebook. A deleted pod has exit code -1, an evicted one 143;
# the messages exclude failures with the same codes that would only repeat.
RETRY = (
    "asInt(lastRetry.exitCode) in [-1, 137, 143]"
    ' && !(lastRetry.message contains "OOMKilled")'
    ' && !(lastRetry.message contains "specified deadline")'
)


def gate(conditions: Sequence[Condition], pods: tuple[Pod, ...]) -> str:
    """Return a `when` that requires all conditions, in the only form that no value can rewrite.

    Raises DefinitionError for an output that travels as a file, or a text that Argo would
    evaluate: a wrong reference would hang the workflow forever.
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
            f"A condition compares {output!r} with {condition.equals!r}; expected only letters, "
            "digits and ._:/@+=-, because Argo would evaluate anything else.",
            code="definition.gate-text",
        )
    pod = pod_of(pods, output.step)
    return f"{reference(pod.name, pod.exported(output))} == '{condition.equals}'"


def digest(names: Sequence[str]) -> str:
    """Return an expression for the SHA-256 of values, given their expressions."""
    return "sprig.sha256sum(toJson([" + ", ".join(names) + "]))"


def parameter(scope: str, name: str) -> str:
    """Return an expression for a parameter of the workflow or of a template's inputs."""
    return f"{scope}.parameters{_part(name)}"


def reference(task: str, parameter: str) -> str:
    """Return an expression for a task's output. Names with a dash need brackets."""
    return f"tasks{_part(task)}.outputs.parameters{_part(parameter)}"


def _part(name: str) -> str:
    return f".{name}" if _PLAIN.fullmatch(name) else f"['{name}']"
