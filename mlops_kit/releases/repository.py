"""Read and write the GitOps repository through git.

Commits are built with plumbing commands in a bare cache, each with its own index: no work tree to
corrupt, no locks, and a process that dies leaves only unreachable objects. The remote's branch is
the single source of truth.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from mlops_kit.errors import GitOpsError, LostRaceError, RemoteError
from mlops_kit.releases import bare_repository, commit_objects, git_process, ledger
from mlops_kit.releases.ledger import Commit
from mlops_kit.releases.snapshot import Snapshot

_T = TypeVar("_T")
_MAX_TRIES = 60
_STALE_LOCK_SECONDS = 15.0  # seconds, less than all the tries take
_SEEN = "refs/mlops-kit/seen"
_AUTHOR = re.compile(r"([^<>\x00-\x1f]+) <([^<>\x00-\x1f]+)>")


@dataclass(frozen=True)
class Proposal:
    """What a commit is to change: files by path, with their bytes, and paths to delete."""

    subject: str
    trailers: Mapping[str, str]
    files: Mapping[str, bytes]
    deleted: frozenset[str] = frozenset()
    body: str = ""


class GitOpsRepository:
    """The GitOps repository at `url`, a path or what git takes as a remote, through a cache.

    Processes and threads may share the cache; a broken one is recreated. Every method raises
    RemoteError when the remote doesn't answer or refuses, and GitOpsError when the repository
    isn't what was expected.
    """

    def __init__(
        self,
        url: str | Path,
        cache: Path,
        *,
        branch: str = "main",
        author: str = "mlops-kit <mlops-kit@localhost>",
        timeout: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Keep the settings; nothing is read or written yet.

        Args:
            url: a path, or what git takes as a remote.
            cache: the folder of the bare cache.
            branch: the one that is read and pushed to.
            author: of the commits, as 'Name <address>'.
            timeout: for each git command, in seconds.
            clock: returns the time of a commit, in seconds since the epoch.
            sleep: waits between two tries.
            chance: returns a number from 0 to 1, which spreads the tries.
        """
        if not (who := _AUTHOR.fullmatch(author)):
            raise GitOpsError(f"The author is {author!r}; expected 'Name <address>'.")
        self.url = os.fspath(url)
        self.is_local = "://" not in self.url and not re.match(r"[^/]+:", self.url)
        if self.is_local:
            self.url = str(Path(self.url).absolute())
        self.branch, self.cache = branch, cache.absolute()
        self._who, self._timeout = who, timeout
        self._clock, self._sleep, self._chance = clock, sleep, chance

    def create(self, seed: Path | Mapping[str, bytes]) -> str:
        """Make the bare repository from the seed unless it is there; return the head.

        Of several creators one wins and the others find its repository. A remote URL is only
        checked: people make that repository.
        """
        target = Path(self.url)
        if self.is_local and not target.exists():
            files = seed if isinstance(seed, Mapping) else bare_repository.seed_files(seed)
            proposal = Proposal("Start the repository", {"Mlops-Action": "create"}, files)
            made = self._initialized(target)
            try:
                revision = self._build(made, None, proposal)
                git_process.check(made, "update-ref", f"refs/heads/{self.branch}", revision)
                git_process.check(made, "config", "receive.denyNonFastForwards", "true")
                # A push would leave a process behind that tidies up.
                git_process.check(made, "config", "gc.autoDetach", "false")
                bare_repository.settle(made, target)
            finally:
                shutil.rmtree(made.parent, ignore_errors=True)
        return self.head()

    def head(self) -> str:
        """Return the revision that the branch of the remote is at now."""
        here = self.seen() if self.is_local else ""
        return here or self._healed(lambda: self._snapshot().revision)

    def seen(self) -> str:
        """Return the newest head that is known on this machine, without asking a remote.

        Empty where none is. Reading it costs a file, so it may be asked many times a second.
        """
        if self.is_local:
            return bare_repository.head_of(Path(self.url), self.branch)
        with suppress(OSError):
            return (self.cache / _SEEN).read_text().strip()
        return ""

    def snapshot(self) -> Snapshot:
        """Return what the repository holds at the head, for several looks at one revision."""
        return self._healed(self._snapshot)

    def read(self, path: str, revision: str | None = None) -> bytes | None:
        """Return a file's bytes at the revision or at the head; None where there is no file."""
        return self._healed(lambda: self._snapshot(revision).read(path))

    def list(self, folder: str = "", revision: str | None = None) -> tuple[str, ...]:
        """Return the paths of all files under the folder."""
        return self._healed(lambda: self._snapshot(revision).list(folder))

    def log(self, *paths: str) -> tuple[Commit, ...]:
        """Return the commits that changed one of the paths, or all; the newest first."""
        return self._healed(lambda: self._snapshot().log(*paths))

    def commit(
        self, decide: Callable[[Snapshot], Proposal | None], start: Snapshot | None = None
    ) -> str:
        """Push what `decide` proposes for the head that it is shown; return the revision.

        `start` is what the caller has read as the head already. Never forces: when somebody else
        was first, `decide` is asked again about the new head. None means that there is nothing to
        do. Raises LostRaceError after many lost races.
        """
        for attempt in range(_MAX_TRIES):
            first = start if attempt == 0 else None
            base, revision = self._healed(partial(self._decided, decide, first))
            if revision == base or self._pushed(base, revision):
                return revision
            self._sleep(self._chance() * min(1.0, 0.05 * 2**attempt))
        raise LostRaceError(
            f"Lost {_MAX_TRIES} races to push to {git_process.shown(self.url)!r}; nothing was "
            "written. Try again when the repository is quieter."
        )

    def _decided(
        self, decide: Callable[[Snapshot], Proposal | None], start: Snapshot | None
    ) -> tuple[str, str]:
        snapshot = self._snapshot() if start is None else self._snapshot(start.revision)
        proposal = decide(snapshot)
        if proposal is None:
            return snapshot.revision, snapshot.revision
        return snapshot.revision, self._build(self.cache, snapshot.revision, proposal)

    def _pushed(self, base: str, revision: str) -> bool:
        """Push; False when the branch moved meanwhile, so that it is worth trying again."""
        refspec = f"{revision}:refs/heads/{self.branch}"
        code, _, message = self._git("push", "--porcelain", "--", self.url, refspec)
        if code == 0:
            self._git("update-ref", _SEEN, revision)
            return True
        head = self._healed(lambda: self._snapshot().revision)
        # The answer may be lost on the way when the push was not.
        if self._git("merge-base", "--is-ancestor", revision, head)[0] == 0:
            return True
        if head != base:
            return False
        if re.search(r"cannot lock ref|failed to update ref", message):
            self._unlock()
            return False
        raise self._remote_error("did not take the commit", message)

    def _unlock(self) -> None:
        """Remove the lock of a push that was killed; a living one holds it for milliseconds."""
        if self.is_local:
            lock = Path(self.url, "refs", "heads", f"{self.branch}.lock")
            with suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > _STALE_LOCK_SECONDS:
                    lock.unlink()

    def _snapshot(self, revision: str | None = None) -> Snapshot:
        if revision is not None and not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", revision):
            raise GitOpsError(f"The revision is {revision!r}; expected the full SHA of a commit.")
        ref = f"refs/heads/{self.branch}"
        if revision is None and self.is_local:
            revision = bare_repository.head_of(Path(self.url), self.branch) or None
        if revision is None:
            code, out, message = self._git("ls-remote", "--", self.url, ref)
            if code:
                raise self._remote_error("can't be read", message)
            if not out:
                raise GitOpsError(
                    f"The GitOps repository {git_process.shown(self.url)!r} has no branch "
                    f"{self.branch!r}; expected one with at least a commit. "
                    "Push the seed, workflows/gitops/, there.",
                    code="gitops.no-branch",
                )
            revision = out.split(b"\t")[0].decode()
        if self._git("cat-file", "-e", revision + "^{commit}")[0]:
            options = ("--no-write-fetch-head", "--no-tags", "--no-auto-maintenance")
            code, _, message = self._git("fetch", *options, "--", self.url, ref)
            if code:
                # The remote has just answered, so rather the cache is broken.
                raise git_process.LocalError(str(self._remote_error("can't be fetched", message)))
            # Only a hint for the next fetch, so a lock that somebody else holds is no matter.
            self._git("update-ref", _SEEN, revision)
        return Snapshot(revision, lambda *words: git_process.check(self.cache, *words))

    def _build(self, folder: Path, base: str | None, proposal: Proposal) -> str:
        """Write the commit's objects, which nothing names yet; return its revision."""
        try:
            text = ledger.message(proposal.subject, proposal.body, proposal.trailers)
        except ValueError as error:
            raise GitOpsError(
                f"A commit of the kit needs a subject and trailers. {error}", code="gitops.message"
            ) from error
        who: dict[str, str] = {}
        for role in ("AUTHOR", "COMMITTER"):
            who[f"GIT_{role}_NAME"], who[f"GIT_{role}_EMAIL"] = self._who.groups()
            who[f"GIT_{role}_DATE"] = f"@{int(self._clock())} +0000"
        return commit_objects.write(
            folder, base, proposal.files, proposal.deleted, message=text, who=who
        )

    def _initialized(self, target: Path) -> Path:
        """Make an empty bare repository beside the target, to be renamed when it is complete."""
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        # Not mkdtemp's 0700: others may read the repository as far as the umask lets them.
        inside = made / "repository"
        words = ("init", "--quiet", "--bare", "--template=", f"--initial-branch={self.branch}")
        git_process.check(inside, *words)
        return inside

    def _open(self) -> None:
        if not (self.cache / "HEAD").exists() or not (self.cache / "objects").is_dir():
            if self.cache.exists():
                self._discard()
            bare_repository.settle(self._initialized(self.cache), self.cache)

    def _discard(self) -> None:
        """Move the cache out of the way at once, so that nobody sees half of it."""
        away = Path(tempfile.mkdtemp(prefix=f".{self.cache.name}-", dir=self.cache.parent))
        with suppress(FileNotFoundError):
            self.cache.rename(away / "broken")
        shutil.rmtree(away, ignore_errors=True)

    def _healed(self, action: Callable[[], _T]) -> _T:
        """Do it, and where the cache turns out to be broken, again with a new one."""
        for _ in range(2):
            self._open()
            before = self.cache.stat().st_ino
            try:
                return action()
            except git_process.LocalError:
                # Another process may have made it anew already.
                with suppress(FileNotFoundError):
                    if self.cache.stat().st_ino == before:
                        self._discard()
        self._open()
        return action()

    def _git(self, *words: str) -> tuple[int, bytes, str]:
        return git_process.run((f"--git-dir={self.cache}", *words), timeout=self._timeout)

    def _remote_error(self, what: str, message: str) -> RemoteError:
        return RemoteError(
            f"The GitOps repository {git_process.shown(self.url)!r} {what}; expected branch "
            f"{self.branch!r} to be readable and writable. Git said: "
            f"{git_process.shown(message.strip()) or 'nothing'}"
        )
