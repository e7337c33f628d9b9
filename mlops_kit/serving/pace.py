"""When a server looks for a new commit: often in files here, at a remote host's own pace."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.serving.options import Serving

_MAX_WAIT_SECONDS = 60.0


class Pace:
    """Tells when to look.

    A repository on this machine may be looked at whenever somebody asks. A remote one is due
    after `poll_remote` seconds, give or take a fifth so that many servers don't ask at once,
    doubled by each failure in a row; and at once when this machine has pushed a commit.
    """

    def __init__(
        self,
        repository: GitOpsRepository,
        options: Serving,
        *,
        timer: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Start with a look that was just made."""
        self._repository, self._options = repository, options
        self._timer, self._chance = timer, chance
        self._failures = 0
        self._due, self._seen = 0.0, ""
        self._was_due = True
        self.looked(failed=False)

    def is_due(self) -> bool:
        """Tell whether to look now."""
        self._was_due = (
            self._repository.is_local
            or self._timer() >= self._due
            or self._repository.seen() != self._seen
        )
        return self._was_due

    def looked(self, *, failed: bool) -> None:
        """Take in how the look ended, if one was due."""
        if self._repository.is_local or not self._was_due:
            return
        self._failures = self._failures + 1 if failed else 0
        wait = self._options.poll_remote * 2.0 ** min(self._failures, 10)
        wait = max(self._options.poll_remote, min(wait, _MAX_WAIT_SECONDS))
        self._due = self._timer() + wait * (0.8 + 0.4 * self._chance())
        self._seen = self._repository.seen()
