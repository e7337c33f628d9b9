"""Carry values through Argo, which evaluates text, loses some bytes and truncates long ones."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import ParameterError
from mlops_kit.pipelines import parameters, values
from mlops_kit.pipelines.definition import Output
from mlops_kit.pipelines.values import Value

# Text that Argo, the kubelet and YAML all leave unchanged.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,255}")
_MARK = "b64."
# Argo silently replaces an argument over 131,072 bytes with a file's name.
MAX_TEXT_LENGTH = 24_000
# Types that travel as a file.
_FILES = (Path, list, dict)


def is_file(output: Output) -> bool:
    """Return whether an output travels as an artifact rather than a parameter."""
    return output.type in _FILES


def packed(value: Any) -> str:
    """Encode a value as text that arrives unchanged: plain where possible, otherwise base64.

    Raises ParameterError for a text that is too long.
    """
    text = parameters.text(value)
    if len(text) > MAX_TEXT_LENGTH:
        raise ParameterError(
            f"A value of {len(text):,} characters ({text[:40]!r}…) can't travel as a parameter; "
            f"expected at most {MAX_TEXT_LENGTH:,}. Publish it as a list, a dict or a file.",
            code="parameter.too-long",
        )
    if _SAFE.fullmatch(text) and not text.startswith(_MARK):
        return text
    return _MARK + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpacked(text: str) -> str:
    """Decode a packed text; one that somebody typed comes back unchanged.

    Raises ParameterError for the mark followed by anything but base64.
    """
    if not text.startswith(_MARK):
        return text
    coded = text.removeprefix(_MARK)
    try:
        padded = coded.encode() + b"=" * (-len(coded) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise ParameterError(
            f"{text[:60]!r} starts with {_MARK!r}, but the rest isn't base64url: {error}.",
            code="parameter.encoding",
        ) from error


def written(name: str, value: Value, folder: Path) -> Path:
    """Write a value to a file in its own folder, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    if value.file is not None:
        target = folder / value.file.name
        shutil.copyfile(value.file, target)
    else:
        target = folder / f"{name}.json"
        target.write_text(json.dumps(value.data))
    return target


def read(output: Output, folder: Path, target: Path) -> Value:
    """Return the value that `written` put into a folder; links a file into `target`.

    Raises ParameterError unless the folder holds that one file.
    """
    found = sorted(path for path in folder.glob("*") if path.is_file())
    if len(found) != 1:
        raise ParameterError(
            f"{str(folder)!r} has {[path.name for path in found]}; expected the one file that "
            f"step {output.step.name!r} published as {output.name!r}.",
            code="parameter.files",
        )
    if output.type is Path:
        return values.keep_file(found[0], target / found[0].name)
    try:
        return values.keep(output.name, json.loads(found[0].read_bytes()), target)
    except ValueError as error:
        raise ParameterError(f"{str(found[0])!r} isn't JSON: {error}.") from error


def unpack_file(archive: bytes, target: Path) -> Path:
    """Unpack an artifact's only file into a folder, and return it.

    Raises ParameterError for anything but an archive of one file.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed_files:
            files = [each for each in packed_files.getmembers() if each.isfile()]
            if len(files) != 1:
                raise ParameterError(
                    f"The artifact holds {[each.name for each in files]}; expected one file."
                )
            content = packed_files.extractfile(files[0])
            assert content is not None
            target.mkdir(parents=True, exist_ok=True)
            found = target / Path(files[0].name).name
            with found.open("wb") as out:
                shutil.copyfileobj(content, out)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ParameterError(f"The artifact can't be unpacked: {error}.") from error
    return found


def parsed(output: Output, text: str) -> Value:
    """Convert a value that travelled as a parameter to its declared type.

    Raises ParameterError.
    """
    plain = unpacked(text)
    kinds: Mapping[type, Any] = {
        str: str,
        int: int,
        float: float,
        bool: {"true": True, "false": False}.__getitem__,
    }
    try:
        data = kinds[output.type](plain)
    except (ValueError, KeyError) as error:
        raise ParameterError(
            f"The output {output!r} arrived as {plain[:60]!r}; expected {output.type.__name__}.",
            code="parameter.type",
        ) from error
    return values.keep(output.name, data, Path())
