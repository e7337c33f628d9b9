"""End when the parent process does."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

# Seconds until a stop interrupts what hasn't seen it.
_GRACE_SECONDS = 2.0


def stop_at_end_of_input(stop: threading.Event, ending: threading.Event) -> None:
    """Set `stop` when standard input ends, which it does when the parent is gone.

    Where `ending` isn't set soon after, SIGTERM interrupts what sees no event: a call of Git.
    """

    def watch() -> None:
        # Not by sys.stdin: its lock, held here, would abort the interpreter at its end.
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        stop.set()
        # Not at once: Ctrl-C is for this process too, and a second stop could spoil the first.
        if not ending.wait(_GRACE_SECONDS):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
