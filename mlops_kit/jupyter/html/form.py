"""Render a notebook's parameters as an HTML form, and read what a browser sends back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_kit.jupyter.html import svg
from mlops_kit.pipelines.parameters import Parameter
from mlops_kit.reporting.markup import Html, control, joined, tag
from mlops_kit.reporting.markup import table as html_table


def form(
    title: str,
    parameters: Sequence[Parameter],
    values: Mapping[str, Any],
    *,
    fault: str = "",
    state: str = "",
    doing: str = "",
    published: Mapping[str, Any] | None = None,
    notebook: str = "",
    others: Sequence[str] = (),
    about: str = "",
    is_running: bool = False,
) -> Html:
    """Return the form with its values, the state of its run, and the run's outputs.

    Args:
        title: the notebook's or pipeline's name.
        parameters: one field each.
        values: what was entered, by parameter; else the default.
        fault: what is wrong with the values or the run.
        state: the run's state; empty before the first.
        doing: what the run is doing.
        published: the run's outputs.
        notebook: the executed notebook's path.
        others: the pipelines to choose from, including this one.
        about: a description.
        is_running: whether to disable the button.
    """
    is_running = is_running or state == "running"
    fields = [_field(each, values.get(each.name, each.default)) for each in parameters]
    button = control("button", f"Run {title}", type="submit", disabled=is_running)
    rows = [(name, _text(value)) for name, value in (published or {}).items()]
    said = [svg.word(state), " ", doing] if state else []
    return joined(
        [
            tag("h2", title),
            _others(title, others) if len(others) > 1 else None,
            tag("p", about) if about else None,
            tag("form", *fields, button, data_act="run", data_key="form"),
            tag("p", *said, role="status", data_key="state"),
            tag("div", fault, class_="notice", role="alert") if fault else None,
            tag("div", html_table("Published", ("name", "value"), rows), class_="wide")
            if rows
            else None,
            tag("p", "Executed notebook: ", tag("code", notebook)) if notebook else None,
        ]
    )


def _others(title: str, names: Sequence[str]) -> Html:
    options = (tag("option", name, value=name, selected=name == title) for name in names)
    chosen = control("select", *options, data_act="pipeline", data_key="pipeline")
    return tag("label", "Pipeline ", chosen)


def entered(parameters: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, Any]:
    """Return what a browser sent, by parameter; it omits a box that isn't ticked."""
    return {
        each.name: each.name in given if each.annotation == "bool" else given[each.name]
        for each in parameters
        if each.annotation == "bool" or each.name in given
    }


def _field(parameter: Parameter, value: Any) -> Html:
    name = parameter.name
    hint = f"hint-{name}" if parameter.help else None
    shared = {"name": name, "id": f"field-{name}", "aria_describedby": hint}
    if parameter.choices:
        options = (
            tag("option", choice, value=str(choice), selected=choice == value)
            for choice in parameter.choices
        )
        entry = control("select", *options, **shared)
    elif parameter.annotation == "bool":
        entry = control("input", type="checkbox", value="true", checked=bool(value), **shared)
    elif parameter.annotation in ("int", "float"):
        step = "1" if parameter.annotation == "int" else "any"
        entry = control("input", type="number", step=step, value=str(value), **shared)
    elif isinstance(value, list | dict):
        entry = control("textarea", _text(value), rows=3, **shared)
    else:
        entry = control("input", type="text", value="" if value is None else str(value), **shared)
    # The help is outside the label: a screen reader would read it as part of the name.
    kind = "" if parameter.choices else f" ({parameter.annotation})"
    label = tag("label", f"{name}{kind}", for_=f"field-{name}")
    told = tag("span", parameter.help, class_="help", id=hint) if hint else None
    return tag("div", label, entry, told, data_key=f"field-{name}")


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and "file" in value and "sha256" in value:
        return str(value["file"])  # how a published file is stored
    return value if isinstance(value, str) else json.dumps(value, default=str)
