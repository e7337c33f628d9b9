"""Read a parameter's text as YAML without changing what was written."""

from __future__ import annotations

from functools import cache
from typing import Any


def read(text: str) -> Any:
    """Return text as YAML, its scalars typed where they would be written the same way.

    Text that is no YAML comes back as it is.
    """
    return _read(text, _loader())


def read_as_text(text: str) -> Any:
    """Return text as YAML whose scalars all stay text, as for `list[str]`."""
    import yaml

    return _read(text, yaml.BaseLoader)


def write(value: Any) -> str:
    """Return a value as YAML on one line, which `read` reads as the same value."""
    import yaml

    whole: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return whole.removesuffix("...\n").removesuffix("\n")


def _read(text: str, loader: Any) -> Any:
    """Return text as YAML, or as it is where it is none."""
    import yaml

    try:
        return yaml.load(text, Loader=loader)
    # Beside its own errors PyYAML lets through those of deep nesting.
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return text


@cache
def _loader() -> Any:
    """Return a YAML loader that types only what it would write the same way.

    YAML 1.1 reads no, 007, 1.10 and 12:30 as other values than what was written: they stay text.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def kept(kind: str) -> None:
        construct = yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{kind}"]

        def read(loader: Any, node: Any) -> Any:
            value = construct(loader, node)
            written = yaml.safe_dump(value).removesuffix("\n").removesuffix("\n...")
            is_same = node.value == written or node.value in ("True", "False")
            return value if is_same else node.value

        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", read)

    for kind in ("int", "float", "bool", "timestamp"):
        kept(kind)
    return Loader
