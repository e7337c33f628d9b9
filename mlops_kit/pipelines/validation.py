"""Hold a pipeline and its inputs against the notebooks, before any of them runs."""

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
    """Return the pipeline's inputs as the first notebook that reads each declares it.

    One that no notebook reads is text. Raises NotebookError for a notebook that is absent.
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
    """Return the pipeline's inputs, typed by the notebooks that read them, before any runs.

    Raises ParameterError for an unknown input, a value of a wrong type, or a step that gives
    its notebook a parameter that it doesn't have; NotebookError for a notebook that is absent.
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

    It stays as it was given where they read it differently, or where JSON would bring back
    another, as of a mapping with numbers for names: each step then types it.
    """
    same = all(type(each) is type(read[0]) and each == read[0] for each in read)
    return read[0] if read and same and _survives_json(read[0]) else given


def _survives_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
