"""Pass values from `publish` in a notebook to the next step's parameter."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_kit import files
from mlops_kit.errors import ParameterError

# Scrapbook's format, so that other tools read it: data, name, encoder, version.
MIME = "application/scrapbook.scrap.json+json"
# Lines that a running cell wants shown by whoever executes the notebook.
TOLD_MIME = "application/vnd.mlops-kit.told+json"
# Argo truncates arguments over 131,072 bytes, so anything near that travels as a file.
MAX_INLINE_BYTES = 100_000


@dataclass(frozen=True)
class Value:
    """A published value: plain data, or a file with its digest (`sha256:<hex>`)."""

    data: Any = None
    file: Path | None = None
    digest: str = ""

    @property
    def argument(self) -> Any:
        """What the next notebook's parameter receives: the data, or the file's path as text."""
        return str(self.file) if self.file else self.data

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Return the value as stored in a step's folder, with a path relative to it."""
        if self.file is None:
            return {"value": self.data, "digest": self.digest}
        return {"file": os.path.relpath(self.file, folder), "digest": self.digest}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], folder: Path) -> Value:
        """Return the value that `to_json` stored."""
        if "file" in stored:
            return cls(file=(folder / stored["file"]).resolve(), digest=stored["digest"])
        return cls(data=stored["value"], digest=stored["digest"])


def publish(**values: Any) -> None:
    """Publish values from a notebook under their names, for later steps and the record.

    A value is a str, int, float, bool, a list or dict of these, or the Path of an existing file.
    Raises ParameterError for anything else.
    """
    from IPython.display import display

    for name, value in values.items():
        data = _encode(name, value)
        text = f"{name} = {value.as_posix() if isinstance(value, Path) else data!r}"
        bundle = {
            MIME: {"name": name, "data": data, "encoder": "json", "version": 1},
            "text/plain": text if len(text) <= 200 else text[:199] + "…",
        }
        scrapbook = {"name": name, "data": True, "display": False}
        display(bundle, raw=True, metadata={"scrapbook": scrapbook})


class Teller:
    """Shows lines while a cell runs, replacing the previous ones.

    A notebook shows them below the cell, a running pipeline next to the step.
    """

    def __init__(self) -> None:
        """Start without any lines."""
        self._is_told = False

    def __call__(self, lines: Sequence[str]) -> None:
        """Show the lines now."""
        from IPython.display import display

        bundle = {TOLD_MIME: {"lines": list(lines)}, "text/plain": "\n".join(lines)}
        place = f"mlops-kit-told-{id(self):x}"
        display(bundle, raw=True, display_id=place, update=self._is_told)
        self._is_told = True


def in_kernel() -> bool:
    """Return whether this process is a notebook's kernel, attended or not."""
    module = sys.modules.get("IPython")
    return module is not None and getattr(module.get_ipython(), "kernel", None) is not None


def published(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the values that a notebook published, as stored; the last one of a name counts."""
    found: dict[str, Any] = {}
    for cell in cells:
        for output in cell.get("outputs", ()):
            scrap = output.get("data", {}).get(MIME)
            if scrap is not None:
                found[scrap["name"]] = scrap["data"]
    return found


def is_file(data: Any) -> bool:
    """Return whether published data describe a file."""
    return isinstance(data, dict) and data.keys() == {"file", "sha256", "bytes"}


def of_type(data: Any, kind: type) -> bool:
    """Return whether published data have the declared type; an integer is also a float."""
    if kind is Path:
        return is_file(data)
    if kind is float:
        return isinstance(data, (int, float)) and not isinstance(data, bool)
    if kind is int:
        return isinstance(data, int) and not isinstance(data, bool)
    return isinstance(data, kind) and not is_file(data)


def keep(name: str, data: Any, folder: Path) -> Value:
    """Return published data as a value. Files, and data over 100 kB, go into the folder.

    Raises OSError if a published file is gone, and ValueError if it has changed.
    """
    if is_file(data):
        source = Path(data["file"])
        return keep_file(source, folder / f"{name}{''.join(source.suffixes[-2:])}", data["sha256"])
    encoded = json.dumps(data, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    if len(encoded) <= MAX_INLINE_BYTES:
        return Value(data=data, digest=digest)
    target = folder / f"{name}.json"
    files.write_whole(target, encoded)  # never through a hard link into the cache
    return Value(file=target, digest=digest)


def keep_file(source: Path, target: Path, digest: str = "") -> Value:
    """Link or copy a file to its place, and return it as a value. Checks the digest, if given."""
    if not (target.exists() and source.samefile(target)):
        with files.whole(target) as partial:
            try:
                os.link(source, partial)
            except OSError:
                shutil.copyfile(source, partial)
    found = file_digest(target)
    if digest and found != digest:
        raise ValueError(f"{source} has changed since it was published")
    return Value(file=target.resolve(), digest=found)


def file_digest(path: Path) -> str:
    """Return `sha256:<hex>` of a file's content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _encode(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        if not value.is_file():
            raise ParameterError(f"publish({name}=…): there is no file {str(value)!r}.")
        path = value.resolve()
        return {"file": str(path), "sha256": file_digest(path), "bytes": path.stat().st_size}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # numpy's scalars
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"publish({name}=…) got {type(value).__name__}: {error}. Expected str, int, float "
            "(not NaN), bool, list or dict of these, or the Path of a file that holds the rest."
        ) from error
