"""Print a command's result: as JSON for a machine, or as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(data, indent=2, default=str))


def answer(as_json: bool, data: Any, lines: Iterable[str]) -> None:
    """Print the data as JSON if asked to, else the lines, which are computed only then."""
    if as_json:
        print_json(data)
        return
    for line in lines:
        click.echo(line)
