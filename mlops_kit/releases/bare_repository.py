"""A bare repository as files on this machine."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from mlops_kit.errors import GitOpsError


def head_of(repository: Path, branch: str) -> str:
    """Return the head of a branch from a bare repository's files; empty where they don't say."""
    ref = f"refs/heads/{branch}"
    with suppress(OSError, ValueError):
        return _sha((repository / ref).read_text())
    with suppress(OSError, ValueError):
        for line in (repository / "packed-refs").read_text().splitlines():
            sha, _, name = line.partition(" ")
            if name == ref:
                return _sha(sha)
    return ""


def _sha(text: str) -> str:
    found = text.strip()
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", found):
        raise ValueError(f"{found!r:.60} is no SHA")
    return found


def settle(made: Path, target: Path) -> None:
    """Give a complete repository its name; where somebody was first, theirs stays."""
    try:
        made.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise GitOpsError(f"Can't make a repository at {str(target)!r}: {error}") from error
    shutil.rmtree(made.parent, ignore_errors=True)


def seed_files(seed: Path) -> dict[str, bytes]:
    """Return the files that a repository starts with; raises GitOpsError for no folder."""
    if not seed.is_dir():
        raise GitOpsError(f"The seed is {str(seed)!r}; expected a folder, as workflows/gitops/ is.")
    return {
        path.relative_to(seed).as_posix(): path.read_bytes()
        for path in sorted(seed.rglob("*"))
        if path.is_file()
    }
