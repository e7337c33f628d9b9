"""What a project's own checkout says of its code."""

from __future__ import annotations

import re
from pathlib import Path

from mlops_kit.errors import GitOpsError
from mlops_kit.releases import git_process


def code_revision(folder: Path) -> str:
    """Return the SHA that the folder's checkout is at, with -dirty when it has changes.

    Empty where the folder is no checkout, or one without a commit.
    """
    place = folder.absolute()
    if not any((above / ".git").exists() for above in (place, *place.parents)):
        return ""
    # Reading is harmless, and in a pod the checkout often belongs to another user.
    where = ("-C", str(place), "-c", "safe.directory=*")
    code, sha, _ = git_process.run((*where, "rev-parse", "--verify", "--quiet", "HEAD"))
    if code:
        return ""
    words = ("--no-optional-locks", "status", "--porcelain")
    code, changes, message = git_process.run((*where, *words))
    if code:
        raise GitOpsError(f"Git can't tell whether {str(place)!r} has changes: {message.strip()}")
    return sha.decode().strip() + ("-dirty" if changes.strip() else "")


def is_pushed(folder: Path, revision: str) -> bool:
    """Tell whether a branch of a remote, as the checkout last saw it, has the revision."""
    where = ("-C", str(folder.absolute()), "-c", "safe.directory=*")
    code, out, _ = git_process.run((*where, "branch", "--remotes", "--contains", revision))
    return code == 0 and bool(out.strip())


def committed_at(folder: Path, revision: str) -> str:
    """Return when a revision of the folder's checkout was committed (ISO); empty where unknown."""
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", revision):
        return ""
    where = ("-C", str(folder.absolute()), "-c", "safe.directory=*")
    code, out, _ = git_process.run((*where, "show", "--no-patch", "--format=%cI", revision))
    return "" if code else out.decode().strip()
