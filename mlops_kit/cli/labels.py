"""The command that stores labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_kit.cli.exit_codes import Command
from mlops_kit.cli.options import as_json, environment, model, opened
from mlops_kit.cli.output import answer
from mlops_kit.errors import ParameterError

if TYPE_CHECKING:
    from mlops_kit.prediction_log.label import State


@click.command(cls=Command)
@click.argument("file", default="")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="By default as the file's ending says; for '-' JSON lines.",
)
@click.option(
    "--state",
    type=click.Choice(["provisional", "final"]),
    help="Of a label that gives none; by default final.",
)
@click.option("--from-settings", is_flag=True, help="Read what is new where [labels] says.")
@model
@environment
@as_json
@click.pass_obj
def label(
    project: Path | None,
    file: str,
    kind: str | None,
    state: State | None,
    from_settings: bool,
    model: str | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """Store the labels of logged predictions.

    FILE is CSV, JSON lines or Parquet, '-' standard input. Columns: id or key, label, and
    optionally row, time, origin and state. Exits with 2 if any label is refused; the others are
    stored.
    """
    from mlops_kit.prediction_log import label_files
    from mlops_kit.project import labels

    workspace = opened(project)
    if from_settings == bool(file):
        said = "Expected either a FILE of labels ('-' for standard input) or --from-settings."
        raise ParameterError(said, code="parameter.labels")
    if from_settings:
        result = labels.from_settings(workspace, state=state)
    else:
        found = kind or label_files.kind_of(file) or ("jsonl" if file == "-" else None)
        if found is None:
            said = f"{file!r} ends as no file of labels does; give its --format."
            raise ParameterError(said, code="parameter.labels")
        where = {"model": model or "", "environment": environment or "", "state": state or "final"}
        stream = sys.stdin.buffer if file == "-" else labels.open_file(file)
        with stream:
            result = labels.from_file(workspace, stream, found, file, **where)  # type: ignore[arg-type]
    lines = [str(result), *(f"  row {each.place}: {each.reason}" for each in result.reasons)]
    answer(as_json, result.summary(), lines)
    if result.refused:
        sys.exit(2)


COMMANDS = (label,)
