"""The files that a new model starts with beside its notebooks: its table and its pipeline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_kit.project.train_notebook import quoted

if TYPE_CHECKING:
    from mlops_kit.tables.guessing import Guess
    from mlops_kit.tables.table import Column, Table

_WIDTH = 100


def declaration(guess: Guess) -> str:
    """Return the Python file that declares a guessed table, a column a line, with the reasons."""
    table = guess.table
    lines = [
        f'"""The table of {table.name}: guessed from {guess.rows:,} rows, to be made right here."""',
        "",
        "import pandera.pandas as pa",
        "",
        "from mlops_kit import declare_table",
        "",
        "SCHEMA = pa.DataFrameSchema(",
        "    {",
    ]
    for column in table.columns:
        lines += _with_reason(
            f"{quoted(column.name)}: {_column(column, table)},", guess.reasons[column.name], 8
        )
    lines += [
        "    }",
        ")",
        "",
        "TABLE = declare_table(",
        f"    {quoted(table.name)},",
        "    SCHEMA,",
    ]
    lines += [f"    {each}" for each in _roles(table)]
    return "\n".join([*lines, ")"]) + "\n"


def _with_reason(code: str, reason: str, indent: int) -> list[str]:
    """Return a line of code with its reason behind it, or above it where there is no room."""
    space = " " * indent
    words = " ".join(reason.split())
    plain = code.replace(chr(31), ", ")
    if len(space + plain) + len(words) + 4 <= _WIDTH:
        return [f"{space}{plain}  # {words}"]
    # How many values they are is plain where they are listed.
    above = [] if re.fullmatch(r"\d+ values", words) else [f"{space}# {words}"[:_WIDTH]]
    if len(space + plain) <= _WIDTH or chr(31) not in code:
        return [*above, space + plain]
    head, _, rest = code.partition("[")
    values, _, tail = rest.rpartition("]")
    inner = [f"{space}    {each}," for each in _pieces(values)]
    return [*above, f"{space}{head}[", *inner, f"{space}]{tail}"]


def _pieces(values: str) -> list[str]:
    """Return a list's values on several lines; a comma within a text is not one between two."""
    lines, line = [], ""
    for value in values.split(chr(31)):
        if line and len(line) + len(value) > 80:
            lines.append(line)
            line = ""
        line = f"{line}, {value}" if line else value
    return [*lines, line]


def _column(column: Column, table: Table) -> str:
    """Return a column's declaration, its categories separated by the unit separator."""
    kinds = {"float": "float", "int": "int", "bool": "bool", "str": "str", "category": "str"}
    kind = kinds.get(column.kind, '"datetime64[us]"')
    if column.nullable and column.kind in ("int", "bool"):
        kind = '"Int64"' if column.kind == "int" else '"boolean"'
    parts = [kind]
    if column.categories:
        parts.append(f"pa.Check.isin([{chr(31).join(map(_value, column.categories))}])")
    elif column.low is not None:
        parts.append(f"pa.Check.ge({column.low:g})")
    if column.nullable:
        parts.append("nullable=True")
    if column.day_first is not None:
        parts.append(f'metadata={{"day_first": {column.day_first}}}')
    return f"pa.Column({', '.join(parts)})"


def _value(value: object) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)


def _roles(table: Table) -> list[str]:
    """Return the arguments that say what the columns are for."""
    found = [f"label={quoted(table.label)},"]
    if table.task == "binary":
        found.append(f"positive={_value(table.positive)},")
    else:
        found.append(f"task={quoted(table.task)},")
    for role in ("time", "entity", "amount"):
        if name := getattr(table, role):
            found.append(f"{role}={quoted(name)},")
    if table.ignored:
        found += _names("ignored", table.ignored, "no model sees these")
    if slices := [each for each in table.slices if isinstance(each, str)]:
        found += _names("slices", slices, "judged on their own, each value a slice")
    return found


def _names(role: str, names: Sequence[str], words: str) -> list[str]:
    """Return an argument that is a list of columns, on several lines where they are many."""
    line = f"{role}=[{', '.join(map(quoted, names))}],  # {words}"
    if len(line) + 4 <= _WIDTH:
        return [line]
    inner = [f"    {each}," for each in _pieces(chr(31).join(map(quoted, names)))]
    return [f"{role}=[  # {words}", *inner, "],"]


def workflow(guess: Guess, data: str, notebook: dict[str, str], environment: str) -> str:
    """Return the pipeline that trains, judges, promotes and watches a model of the table.

    `notebook` gives the file of each step.
    """
    name = guess.table.name
    return f'''"""Train and judge a model of {name}, promote it if it passes, and watch its rollout."""

from pathlib import Path

from mlops_kit import Condition, Input, Pipeline, Step

MODEL = {quoted(name)}

validate_data = Step(
    "validate-data",
    notebook={quoted(notebook["validate_data"])},
    parameters={{"data": Input("data"), "model": MODEL}},
    outputs={{"dataset": Path}},
)
dataset = validate_data.output("dataset")
train_baseline = Step(
    "train-baseline",
    notebook={quoted(notebook["train"])},
    parameters={{"dataset": dataset, "role": "baseline", "model": MODEL}},
    outputs={{"version": str}},
)
train_candidate = Step(
    "train-candidate",
    notebook={quoted(notebook["train"])},
    parameters={{"dataset": dataset, "role": "candidate", "model": MODEL}},
    outputs={{"version": str}},
)
evaluate = Step(
    "evaluate",
    notebook={quoted(notebook["evaluate"])},
    parameters={{
        "dataset": dataset,
        "candidate": train_candidate.output("version"),
        "baseline": train_baseline.output("version"),
        "model": MODEL,
        "environment": Input("environment"),
        "promotion": Input("promotion"),
        "force_gate": Input("force_gate"),
    }},
    outputs={{"verdict": str, "decision": str, "evaluation": dict}},
    cache=False,  # who is champion stands in Git, not in the parameters
)
promote = Step(
    "promote",
    notebook={quoted(notebook["promote"])},
    parameters={{
        "candidate": train_candidate.output("version"),
        "evaluation": evaluate.output("evaluation"),
        "notebooks": [
            step.output("notebook")
            for step in (validate_data, train_baseline, train_candidate, evaluate)
        ],
        "model": MODEL,
        "environment": Input("environment"),
        "execution": Input("execution"),
        "force_gate": Input("force_gate"),
        "override": Input("override"),
    }},
    outputs={{"revision": str, "changed": bool}},
    when=Condition(evaluate.output("decision"), equals="promote"),
    cache=False,  # it writes to Git
)
watch_rollout = Step(
    "watch-rollout",
    notebook={quoted(notebook["watch_rollout"])},
    parameters={{
        "revision": promote.output("revision"),
        "model": MODEL,
        "environment": Input("environment"),
        "traffic": Input("traffic"),
        "data": Input("data"),
    }},
    outputs={{"outcome": str, "rollout": dict}},
    cache=False,  # it writes to Git
)

PIPELINE = Pipeline(
    {quoted(f"{name}-training")},
    steps=(validate_data, train_baseline, train_candidate, evaluate, promote, watch_rollout),
    inputs={{
        "data": {quoted(data)},
        "environment": {quoted(environment)},
        "promotion": "automatic",
        "force_gate": False,
        "override": "",
        "traffic": "simulated",
    }},
    description={quoted(f"Train, judge, promote and roll out a model of {name}.")},
)
'''
