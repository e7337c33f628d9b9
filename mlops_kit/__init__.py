"""Train, judge, promote and roll out models from notebooks, on one laptop or on Argo."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


@cache
def _public_names() -> dict[str, tuple[str, str]]:
    """Return the module and attribute of each name in the stub next to this file."""
    import ast

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that a cell imports only what it needs."""
    found = None if name.startswith("_") else _public_names().get(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, attribute = found
    module = importlib.import_module(home)
    if not hasattr(module, attribute):
        return importlib.import_module(f"{home}.{attribute}")
    return getattr(module, attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_public_names()])
