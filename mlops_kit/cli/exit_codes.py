"""How a command ends: its exit code and its error message."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from mlops_kit import errors
from mlops_kit.cli.output import print_json

EXIT_CODES = """\b
Exit codes:
  0    success; for a run: the verdict is pass, or the pipeline has none
  1    an error, explained in its message
  2    an invalid option, parameter or input
  3    the verdict is fail; nothing was promoted
  4    the verdict or the rollout is inconclusive or unknown
  5    the rollout was aborted or rolled back; the previous champion serves
  124  a step ran past its time-out
  129  stopped because the terminal closed
  130  stopped by Ctrl-C
  137  a kernel was killed, often because memory ran out
  143  stopped by SIGTERM
"""
_BY_VERDICT = {"None": 0, "pass": 0, "fail": 3, "inconclusive": 4}
_BY_ROLLOUT = {"pass": 0, "fail": 5, "inconclusive": 4}
# Messages quote data and Git; control characters from there must not steer a terminal.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__()
        self.number = number


class Command(click.Command):
    """A command that turns an error into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _told(wants_json=bool(ctx.params.get("as_json"))), _stoppable():
            return super().invoke(ctx)


class Group(click.Group):
    """A group of these commands."""

    command_class = Command


def code_of(verdict: object, rollout: object = None) -> int:
    """Return the exit code of a run with this verdict, and of its rollout if it had one.

    None means that the pipeline has no verdict, or the run no rollout.
    """
    if rollout is not None:
        return _BY_ROLLOUT.get(str(rollout), _BY_ROLLOUT["inconclusive"])
    return _BY_VERDICT.get(str(verdict), _BY_VERDICT["inconclusive"])


@contextmanager
def _told(*, wants_json: bool) -> Iterator[None]:
    """Turn known errors into messages; anything else is a bug, and keeps its traceback."""
    # Replace what a terminal can't encode: better than a traceback.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        yield
    except errors.KitError as error:
        _fail(type(error).__name__, error.code, str(error), error.exit_code, wants_json)
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        said = "'mlops-kit status' shows how far it got."
        _fail("Stopped", "stopped", said, 128 + number, wants_json)
    except MemoryError:
        said = "No memory is left. Finished steps are kept."
        _fail("MemoryError", "system.memory", said, 1, wants_json)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader stopped reading, as `head` does
            raise
        said = f"The system refused: {error}. Finished steps are kept: see 'mlops-kit status'."
        _fail(type(error).__name__, "system", said, 1, wants_json)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop a command like Ctrl-C, so that its kernels stop too."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    # Leave alone a signal that is ignored on purpose, as nohup does.
    chosen = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in chosen:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, signal.SIG_DFL)


def _fail(name: str, code: str, said: str, exit_code: int, wants_json: bool) -> NoReturn:
    """Print an error and exit; scripts rely on the stable `code`."""
    if wants_json:
        print_json({"error": name, "code": code, "message": said, "exit_code": exit_code})
    else:
        click.echo(f"{name}: {said}".translate(_CONTROLS), err=True)
    sys.exit(exit_code)
