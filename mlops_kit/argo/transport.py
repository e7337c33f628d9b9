"""How values travel through Argo, which evaluates text, loses some bytes and cuts what is long."""

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

# What arrives byte for byte wherever Argo, the kubelet or YAML looks at it.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,255}")
_MARK = "b64."
# Argo replaces an argument of over 131,072 bytes by a file's name, without a word.
MAX_TEXT_LENGTH = 24_000
# Types that travel as a file.
_FILES = (Path, list, dict)


def is_file(output: Output) -> bool:
    """Tell whether an output travels as an artifact, and not as a parameter."""
    return output.type in _FILES


def packed(value: Any) -> str:
    """Return a value as text that arrives as it was sent; most is itself, the rest base64.

    Raises ParameterError where it is too long.
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
    """Return what was packed; text that never was is itself, as somebody typed it.

    Raises ParameterError for a mark with anything else behind it.
    """
    if not text.startswith(_MARK):
        return text
    coded = text.removeprefix(_MARK)
    try:
        padded = coded.encode() + b"=" * (-len(coded) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise ParameterError(
            f"{text[:60]!r} starts with {_MARK!r}, and what follows isn't base64url: {error}.",
            code="parameter.encoding",
        ) from error


def written(name: str, value: Value, folder: Path) -> Path:
    """Write a value that travels as a file into a folder of its own, and return that file."""
    folder.mkdir(parents=True, exist_ok=True)
    if value.file is not None:
        target = folder / value.file.name
        shutil.copyfile(value.file, target)
    else:
        target = folder / f"{name}.json"
        target.write_text(json.dumps(value.data))
    return target


def read(output: Output, folder: Path, target: Path) -> Value:
    """Return the value that `written` put into a folder, a file linked into the `target` folder.

    Raises ParameterError for another content.
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
        raise ParameterError(f"{str(found[0])!r} is no JSON: {error}.") from error


def unpack_file(archive: bytes, target: Path) -> Path:
    """Write the one file of an artifact, as Argo packs a folder, into a folder; return it.

    Raises ParameterError for another content.
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
    """Return a value that travelled as a parameter, with the type that the step declares.

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
            f"The output {output!r} came as {plain[:60]!r}; expected {output.type.__name__}.",
            code="parameter.type",
        ) from error
    return values.keep(output.name, data, Path())
