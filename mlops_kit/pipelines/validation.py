"""Check a pipeline and its inputs against the notebooks, before any runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlops_kit.errors import ParameterError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines import notebooks
from mlops_kit.pipelines.definition import Input, Output, Pipeline
from mlops_kit.pipelines.parameters import Parameter


def signature(folder: Path, pipeline: Pipeline) -> tuple[Parameter, ...]:
    """Return the pipeline's inputs, each as the first notebook that reads it declares it.

    An input that no notebook reads is text. Raises NotebookError for a missing notebook.
    """
    found: dict[str, Parameter] = {}
    for step in pipeline.steps:
        known = {p.name: p for p in notebooks.signature(folder / step.notebook)}
        for name, argument in step.parameters.items():
            if isinstance(argument, Input) and name in known:
                found.setdefault(argument.name, known[name])
    return tuple(
        replace(found.get(name, Parameter(name, "str", "", "")), name=name, default=default)
        for name, default in pipeline.inputs.items()
    )


def check(folder: Path, pipeline: Pipeline, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pipeline's inputs with the types that the notebooks declare.

    Raises ParameterError for an unknown input, a value of the wrong type, or a step that passes
    its notebook an unknown parameter; NotebookError for a missing notebook.
    """
    for name in inputs:
        if name not in pipeline.inputs:
            raise ParameterError(
                f"Pipeline {pipeline.name!r} has no input {name!r}; it has "
                f"{sorted(pipeline.inputs)}.{did_you_mean(name, pipeline.inputs)}",
                code="parameter.unknown",
            )
    given = {**pipeline.inputs, **inputs}
    read: dict[str, list[Any]] = {name: [] for name in given}
    for step in pipeline.steps:
        notebook = folder / step.notebook
        known = {parameter.name for parameter in notebooks.signature(notebook)}
        for name, argument in step.parameters.items():
            source = argument.name if isinstance(argument, Input) else ""
            value = given.get(source, argument)
            if name not in known:
                notebooks.typed(notebook, {name: None})
            if not isinstance(value, (Input, Output, tuple, list)):
                typed = notebooks.typed(notebook, {name: value})[name]
                if source:
                    read[source].append(typed)
    return {name: _agreed(value, read[name]) for name, value in given.items()}


def _agreed(given: Any, read: Sequence[Any]) -> Any:
    """Return a value as all notebooks read it.

    Returns the given value if they read it differently, or if JSON would change it, as it does a
    mapping with numbers as keys. Each step then converts it.
    """
    same = all(type(each) is type(read[0]) and each == read[0] for each in read)
    return read[0] if read and same and _survives_json(read[0]) else given


def _survives_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
