"""What a stored model is made of: its files, their digest, and how they become a model again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_kit.errors import TableError, UntrustedModelError
from mlops_kit.models import boosters, skops_file, trusted_code
from mlops_kit.models.trusted_code import TrustedCode
from mlops_kit.tables.table import Table

# In bytes, of all files of an artifact.
MAX_ARTIFACT_BYTES = 512 * 2**20
MAX_UNPACKED_BYTES = skops_file.MAX_UNPACKED_BYTES
MODEL_FILE = "model.skops"
TABLE_FILE = "table.json"
# The project's own types and functions that the model holds, with the digests of their modules.
TRUSTED_FILE = "trusted.json"


@dataclass(frozen=True)
class Loaded:
    """A model, its table (None for one that was registered without), and the files it came from."""

    model: Any
    table: Table | None
    contents: Mapping[str, bytes]


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of an artifact, read once, so that what is checked is what is loaded."""
    root = folder.resolve()
    files = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    for path in files:
        if not path.resolve().is_relative_to(root) or not path.is_file():
            raise UntrustedModelError(
                f"{path.relative_to(folder)} of the artifact is a link out of its folder."
            )
    size = sum(path.stat().st_size for path in files)
    if size > MAX_ARTIFACT_BYTES:
        raise UntrustedModelError(
            f"The artifact has {size} bytes; the limit is {MAX_ARTIFACT_BYTES} bytes."
        )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read(folder: Path, digest: str, what: str, trusted: Collection[str] = ()) -> Loaded:
    """Return the model and table of an artifact in a folder, if it is the one that was registered.

    Nothing of it is imported or run before its digest is this one. `trusted` are the names of the
    project's own types and functions (`[models.NAME] trusted`). Raises UntrustedModelError for
    another digest, a type that nobody vouches for or whose code has changed, or a file that isn't
    sound.
    """
    return open_contents(checked_contents(folder, digest, what), what, trusted)


def checked_contents(folder: Path, digest: str, what: str) -> dict[str, bytes]:
    """Return all files of an artifact, if it is the one that was registered.

    Raises UntrustedModelError for another digest.
    """
    files = contents(folder)
    found = digest_of(files)
    if found != digest:
        raise UntrustedModelError(
            f"The artifact of {what} has the digest {found}; expected {digest}. "
            "It isn't the one that was registered, and is not loaded."
        )
    return files


def open_contents(files: Mapping[str, bytes], what: str, trusted: Collection[str] = ()) -> Loaded:
    """Return the model and table of an artifact's files, whose digest the caller has checked."""
    named = own_code(files, what)
    unknown = sorted(set(named) - set(trusted))
    if unknown:
        raise UntrustedModelError(
            f"The model of {what} holds {unknown}, which the project doesn't vouch for; expected "
            "their names in [models.NAME] trusted."
        )
    trusted_code.check(named, what)
    model = load(files.get(MODEL_FILE, b""), what, named, files)
    return Loaded(model, table_of(files, what), files)


def load(
    content: bytes,
    what: str,
    trusted: Collection[str] = (),
    files: Mapping[str, bytes] | None = None,
) -> Any:
    """Return the model in a skops file, if the kit or the project vouches for each type in it.

    `trusted` are names of the project's own types, `files` those beside it that hold boosters.
    Raises UntrustedModelError.
    """
    model = skops_file.loads(content, f"The model of {what}", trusted)
    boosters.put_back(model, files or {}, what)
    return model


def dump(
    model: Any, folder: Path, table: Table | None = None, trusted: Collection[str] = ()
) -> None:
    """Write a model's files into an empty folder: the boosters', the rest's, its table.

    Raises UntrustedModelError for what couldn't be read again.
    """
    what = f"The model {type(model).__name__}"
    rest, files = boosters.take_out(model)
    content = skops_file.dumps(rest, what)
    own = {each: trusted_code.modules_of(each) for each in _own_types(content, trusted)}
    files[MODEL_FILE] = content
    if own:
        files[TRUSTED_FILE] = json.dumps(own, indent=2).encode()
    if table is not None:
        files[TABLE_FILE] = json.dumps(table.to_json(), indent=2).encode()
    for name, each in files.items():
        (folder / name).write_bytes(each)


def boosters_in(files: Collection[str]) -> list[str]:
    """Return the libraries whose boosters are among an artifact's files."""
    ends = {f"{name.partition('.')[2]}" for name in files if name.startswith("booster-")}
    return [library for library, end in boosters.EXTENSIONS.items() if end in ends]


def types_in(files: Mapping[str, bytes]) -> list[str]:
    """Return the types of a model that skops doesn't vouch for, but the kit does."""
    return sorted(skops_file.types_in(files[MODEL_FILE]))


def digest(contents: Mapping[str, bytes]) -> str:
    """Return `sha256:<hex>` over names and contents of all files of an artifact."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return f"sha256:{hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()}"


digest_of = digest


def own_code(files: Mapping[str, bytes], what: str) -> TrustedCode:
    """Return the project's own names in a model, each with the digests of its modules.

    Raises UntrustedModelError for a file of another form.
    """
    try:
        named = json.loads(files.get(TRUSTED_FILE, b"{}"))
    except ValueError as error:
        raise UntrustedModelError(f"{TRUSTED_FILE} of {what} is no JSON: {error}.") from error
    if not isinstance(named, dict) or not all(map(_is_text_by_text, named.values())):
        raise UntrustedModelError(
            f"{TRUSTED_FILE} of {what} doesn't give each name the digests of its modules; "
            "expected a model that this version of mlops-kit registered. Train it again."
        )
    return named


def _is_text_by_text(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _own_types(content: bytes, trusted: Collection[str]) -> list[str]:
    return sorted(set(trusted) & skops_file.types_in(content)) if trusted else []


def table_of(files: Mapping[str, bytes], what: str) -> Table | None:
    """Return the table that an artifact's files hold; raises UntrustedModelError."""
    if TABLE_FILE not in files:
        return None
    try:
        return Table.from_json(json.loads(files[TABLE_FILE]), f"{TABLE_FILE} of {what}")
    except (ValueError, TableError) as error:
        raise UntrustedModelError(f"{TABLE_FILE} of {what} can't be read: {error}") from error
