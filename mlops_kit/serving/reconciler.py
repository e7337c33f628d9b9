"""Follow Git: bring what a commit says should serve into the server, or keep what serves."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mlops_kit import files
from mlops_kit.errors import KitError, ReleaseError, ServingError
from mlops_kit.models import artifacts
from mlops_kit.releases import release_yaml
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.serving import model_loader
from mlops_kit.serving.predictor import LiveRelease, Predictor
from mlops_kit.tables.table import Table

_LOG = logging.getLogger(__name__)
# Copies the files of a served model, unchecked, to a folder.
Fetch = Callable[[ServedModel, Path], None]
# What was applied last, for a start at which Git or the registry can't be read.
_KEPT = "last-good.yaml"
_MAX_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Applied:
    """What is served, since when, and why not what Git says, if so; times since the epoch.

    `revision` is the commit that is served, `wanted` the newest that was seen.
    """

    revision: str = ""
    wanted: str = ""
    since: float = 0.0
    error: str = ""


class Reconciler:
    """Holds the release that is served, as one attribute that is assigned whole."""

    def __init__(
        self,
        folder: Path,
        *,
        model: str,
        environment: str,
        repository: GitOpsRepository,
        fetch: Fetch,
        trusted: Collection[str] = (),
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve nothing yet.

        Args:
            folder: where models and the last good release are kept.
            model: the registered name.
            environment: where it is released.
            repository: the GitOps repository.
            fetch: copies a version's files to a folder.
            trusted: the names of the project's own types that models may hold.
            clock: says since when, in seconds since the epoch.
            timer: says how long, in seconds, and never jumps.
        """
        self.live: LiveRelease | None = None
        self.applied = Applied()
        self.folder, self.model, self.environment = folder, model, environment
        self.repository, self._fetch, self._trusted = repository, fetch, trusted
        self._clock, self._timer = clock, timer
        self._release: Release | None = None
        self._predictors: dict[tuple[str, str], Predictor] = {}
        self._failed, self._again, self._wait = "", 0.0, 0.0

    def reconcile(self) -> bool:
        """Apply the newest commit if it isn't served yet; tell whether anything changed.

        Never raises: what can't be applied leaves the last good release, and is said in
        `applied`. It is tried again, less and less often, until another commit comes.
        """
        before = self.applied
        try:
            head = self.repository.head()
            if head == self.applied.revision:
                self.applied = replace(self.applied, wanted=head, error="")
            elif head != self._failed or self._timer() >= self._again:
                self._apply(head)
        except KitError as error:
            self._remember(error)
        except Exception as error:  # of whatever kind: what is served goes on
            _LOG.exception("commit %s can't be applied", self.applied.wanted)
            self._remember(error)
        return self.applied != before

    def restore(self) -> None:
        """Serve what was served last, where the commit of now can't be applied at a start."""
        kept = self.folder / _KEPT
        if self.live is not None or not kept.exists():
            return
        error = self.applied.error
        try:
            revision, _, content = kept.read_bytes().partition(b"\n")
            release = self._checked(content, kept.name)
            self._serve(revision.decode().removeprefix("# "), release)
            self.applied = replace(self.applied, error=error)
        except (KitError, OSError, ValueError) as kept_error:
            self.applied = replace(
                self.applied, error=f"{error} Nor can the last good one: {kept_error}"
            )

    def _apply(self, head: str) -> None:
        self.applied = replace(self.applied, wanted=head)
        path = release_yaml.path(self.environment)
        content = self.repository.read(path, head)
        if content is None:
            raise ReleaseError(f"Commit {head[:12]} has no {path}; expected one.")
        release = self._checked(content, path)
        if release != self._release:
            self._serve(head, release)
            self._keep(head, content)
        elif self.live is not None:
            # A commit about something else: the same release under a newer name.
            self.live = replace(self.live, revision=head)
        self.applied = Applied(head, head, self._clock())
        self._failed, self._wait = "", 0.0

    def _checked(self, content: bytes, path: str) -> Release:
        """Return the release that a file holds, if it is one for this server."""
        release = release_yaml.read_release(content)
        for found, expected in (
            (release.model, self.model),
            (release.environment, self.environment),
        ):
            # Nothing served yet has no model.
            if found not in ("", expected):
                raise ReleaseError(f"{path} is about {found!r}; this serves {expected!r}.")
        return release

    def _serve(self, revision: str, release: Release) -> None:
        """Load what is new, then assign the whole release at once."""
        sides = [side for side in (release.champion, release.candidate) if side is not None]
        predictors = {_name(side): self.predictor(side) for side in sides}
        if release.champion is not None:
            self.live = LiveRelease(
                revision=revision,
                model=self.model,
                environment=self.environment,
                rollout=release.rollout,
                champion=predictors[_name(release.champion)],
                candidate=predictors[_name(release.candidate)] if release.candidate else None,
                weight=release.weight,
            )
        else:
            self.live = None
        self._release, self._predictors = release, predictors
        self.applied = Applied(revision, self.applied.wanted, self._clock())
        self._forget()

    def predictor(self, side: ServedModel) -> Predictor:
        """Return the model of a release, loaded if its digest is right; raises KitError.

        Another process may ask for the same in the same folder.
        """
        if (loaded := self._predictors.get(_name(side))) is not None:
            return loaded
        folder = self._folder(side)
        if folder.exists():
            # A cache can rot, and another process may clear it; the registry's copy decides.
            with suppress(KitError, OSError):
                return model_loader.load(folder, side, self._trusted)
            shutil.rmtree(folder, ignore_errors=True)
        try:
            return self._fetched(side, folder)
        except OSError as error:
            raise ServingError(
                f"The files of version {side.version} can't be had: {error}. Expected the "
                f"registry to answer, and room in {str(self.folder)!r}."
            ) from error

    def kept_table(self, side: ServedModel) -> Table | None:
        """Return a model's table without loading the model; None where its files aren't here.

        Raises UntrustedModelError.
        """
        folder, what = self._folder(side), f"version {side.version}"
        if not folder.exists():
            return None
        return artifacts.table_of(artifacts.checked_contents(folder, side.digest, what), what)

    def _fetched(self, side: ServedModel, folder: Path) -> Predictor:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as scratch:
            fetched = Path(scratch) / "model"
            self._fetch(side, fetched)
            found = model_loader.load(fetched, side, self._trusted)
            # Another process may have been first, with the same files.
            with suppress(OSError):
                fetched.rename(folder)
        return found

    def _folder(self, side: ServedModel) -> Path:
        return self.folder / "models" / _short(side.digest)

    def _keep(self, revision: str, content: bytes) -> None:
        """Remember it for a start without Git; a full disk is no reason not to serve."""
        with suppress(OSError):
            files.write_whole(self.folder / _KEPT, b"# " + revision.encode() + b"\n" + content)

    def _forget(self) -> None:
        """Delete the files of models that are served no more."""
        kept = {_short(digest) for _, digest in self._predictors}
        for folder in (self.folder / "models").glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _remember(self, error: Exception) -> None:
        wanted = self.applied.wanted
        self._wait = (
            min(_MAX_WAIT_SECONDS, 2 * self._wait or 0.5) if self._failed == wanted else 0.5
        )
        self._failed, self._again = wanted, self._timer() + self._wait
        self.applied = replace(self.applied, error=f"{type(error).__name__}: {error}")


def _name(side: ServedModel) -> tuple[str, str]:
    return side.version, side.digest


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:32]
