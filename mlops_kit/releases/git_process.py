"""Run git as a process. The only module that starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlops_kit.errors import GitOpsError, RemoteError

# People's own configuration stays, for the sake of credential helpers and proxies; these are
# the settings in it that would change what the kit's commands do.
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Packs appear whole or not at all; loose objects could name others that never came.
    "fetch.unpackLimit": "1",
    "fetch.recurseSubmodules": "false",
    "push.recurseSubmodules": "no",
    "push.followTags": "false",
    "push.gpgSign": "false",
    "log.showSignature": "false",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
}
# An inherited GIT_DIR or GIT_INDEX_FILE, as in a hook, would lead git to another repository.
_KEPT = re.compile(r"GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM)|(SSH|SSL|PROXY).*|ASKPASS|EXEC_PATH)")


class LocalError(GitOpsError):
    """A command that needs no remote failed; the repository that it ran in may be broken."""


def run(
    words: tuple[str, ...],
    *,
    timeout: float = 60.0,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> tuple[int, bytes, str]:
    """Run git with these words; return its exit status, its output and its message.

    Raises GitOpsError when git can't be started, and RemoteError when it runs longer than
    `timeout`, in seconds; it is ended then, with all that it started.
    """
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    try:
        process = subprocess.Popen(
            ["git", *settings, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_environment(), **(env or {})},
            cwd="/",
            # Of its own: git starts helpers that must end with it, and none may ask a terminal.
            start_new_session=True,
        )
    except OSError as error:
        raise GitOpsError(
            f"Git can't be started; expected git 2.31 or newer on PATH: {error}"
        ) from error
    with process:
        try:
            out, message = process.communicate(stdin, timeout)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                verb = next(word for word in words if not word.startswith("-"))
                raise RemoteError(
                    f"git {verb} timed out after {timeout:g} s; expected the GitOps repository to "
                    "answer. A push may have arrived: the same call again finds out.",
                    code="gitops.remote.timeout",
                ) from error
            raise
    return process.returncode, out, message.decode(errors="replace")


def check(
    folder: Path, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> bytes:
    """Run git in a bare repository on this machine; raises LocalError when it fails."""
    code, out, message = run((f"--git-dir={folder}", *words), stdin=stdin, env=env)
    if code:
        raise LocalError(f"git {words[0]} failed in {str(folder)!r}: {shown(message.strip())}")
    return out


def _environment() -> dict[str, str]:
    # git finds its helpers, keys and agents through the environment: PATH, HOME, SSH_AUTH_SOCK.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or _KEPT.fullmatch(name)
    }
    return {**inherited, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1"}


def shown(text: str) -> str:
    """Return the text without the credentials that a URL in it may carry."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
