"""What the GitOps repository holds at one revision."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mlops_kit.errors import GitOpsError
from mlops_kit.releases import ledger
from mlops_kit.releases.ledger import Commit


@dataclass(frozen=True)
class Snapshot:
    """The repository as it is at one revision."""

    revision: str
    _git: Callable[..., bytes] = field(repr=False)

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes, or None where there is no such file."""
        entry = self._git("ls-tree", "-z", self.revision, "--", checked_path(path))
        kind, _, rest = entry.partition(b"\t")[0].partition(b" blob ")
        return self._git("cat-file", "blob", rest.decode()) if kind.startswith(b"100") else None

    def at(self, revision: str) -> Snapshot:
        """Return the repository as it was at an earlier revision of the same history."""
        return replace(self, revision=revision)

    def list(self, folder: str = "") -> tuple[str, ...]:
        """Return the paths of all files under the folder, sorted."""
        below = ["--", checked_path(folder) + "/"] if folder else []
        found = self._git("ls-tree", "-r", "-z", "--name-only", self.revision, *below)
        return tuple(sorted(os.fsdecode(name) for name in found.split(b"\0") if name))

    def log(self, *paths: str) -> tuple[Commit, ...]:
        """Return the commits that changed one of the paths, or all commits; the newest first."""
        found = self._git(
            *("log", "-z", "--no-color", "--format=%H%n%ct%n%an <%ae>%n%B", self.revision, "--"),
            *map(checked_path, paths),
        )
        return tuple(
            _commit(record.decode(errors="replace")) for record in found.split(b"\0") if record
        )


def checked_path(path: str) -> str:
    """Return the path; raises GitOpsError for one that could leave the repository."""
    parts = path.split("/")
    # Some file systems take these for .git, so they are refused as git itself does.
    hidden = any(part.lower().rstrip(". ") in ("", ".git", "git~1") for part in parts)
    if hidden or not path.isprintable() or "\\" in path or len(path) > 1000:
        raise GitOpsError(
            f"The path is {path!r:.200}; expected one relative to the repository, without '..', "
            "'.git' and characters that don't print.",
            code="gitops.path",
        )
    return path


def _commit(record: str) -> Commit:
    revision, seconds, author, text = record.split("\n", 3)
    return Commit(
        revision=revision,
        time=datetime.fromtimestamp(int(seconds), UTC),
        author=author,
        subject=text.split("\n", 1)[0],
        trailers=ledger.read_trailers(text),
        reverts=ledger.read_reverted(text),
    )
