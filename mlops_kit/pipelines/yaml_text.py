"""Read a parameter's text as YAML without changing what the user wrote."""

from __future__ import annotations

from functools import cache
from typing import Any


def read(text: str) -> Any:
    """Return the value of YAML text, with scalars typed only if they would be written the same.

    Text that isn't YAML comes back unchanged.
    """
    return _read(text, _loader())


def read_as_text(text: str) -> Any:
    """Return the value of YAML text with all scalars as text, as for `list[str]`."""
    import yaml

    return _read(text, yaml.BaseLoader)


def write(value: Any) -> str:
    """Return a value as one line of YAML that `read` turns back into the same value."""
    import yaml

    whole: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return whole.removesuffix("...\n").removesuffix("\n")


def _read(text: str, loader: Any) -> Any:
    """Return the value of YAML text, or the text itself if it isn't YAML."""
    import yaml

    try:
        return yaml.load(text, Loader=loader)
    # PyYAML also lets errors of deep nesting through.
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return text


@cache
def _loader() -> Any:
    """Return a YAML loader that types a scalar only if it would write it the same way.

    YAML 1.1 reads no, 007, 1.10 and 12:30 as values that are written differently: they stay text.
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
