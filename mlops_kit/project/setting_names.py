"""A setting's name that nothing has is refused, wherever it is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from mlops_kit.errors import SettingsError
from mlops_kit.formatting import did_you_mean


def of_environment(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return the names that the environment sets by variables of a prefix, nested by '__'."""
    found: dict[str, Any] = {}
    for name in environ:
        if name.startswith(prefix):
            section, _, rest = name.removeprefix(prefix).lower().partition("__")
            if rest:
                found.setdefault(section, {})[rest] = ""
            else:
                found.setdefault(section, "")
    return found


def refuse_unknown(given: Mapping[str, Any], section: Any, where: str) -> None:
    """Raise SettingsError for a name that a section doesn't have; a section by name has any.

    `where` names the file or the environment in the message.
    """
    is_by_name = _is_by_name(section)
    known = dict.fromkeys(given, get_args(section)[1]) if is_by_name else _fields(section)
    for name, value in given.items():
        if name not in known or name == "project":
            raise SettingsError(
                f"{where} sets {name!r}; expected one of {sorted(known)}."
                + did_you_mean(name, known),
                code="settings.unknown",
            )
        inner = known[name]
        if isinstance(value, Mapping) and (_is_by_name(inner) or _fields(inner)):
            refuse_unknown(value, inner, f"{where}, [{name}],")


def _is_by_name(section: Any) -> bool:
    origin: Any = get_origin(section)
    return origin is dict


def _fields(section: Any) -> dict[str, Any]:
    """Return the settings in a section, with their types; nothing for a plain value."""
    if dataclasses.is_dataclass(section):
        return {field.name: field.type for field in dataclasses.fields(section)}
    fields = getattr(section, "model_fields", {})
    return {name: field.annotation for name, field in fields.items()}
