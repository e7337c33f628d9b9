"""How a command ends: its exit code, and the sentence that says why."""

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
  0    done; of a run: the verdict is pass, or there was none to give
  1    a fault, said in a sentence
  2    a wrong option, parameter or input
  3    the verdict is fail: nothing was promoted
  4    the verdict or the rollout is inconclusive, or no word that the kit knows
  5    the rollout went back: the champion of before serves
  124  a step ran past its time-out
  129  stopped because the terminal was closed
  130  stopped by Ctrl-C
  137  a kernel was killed, often for want of memory
  143  stopped by SIGTERM
"""
_BY_VERDICT = {"None": 0, "pass": 0, "fail": 3, "inconclusive": 4}
_BY_ROLLOUT = {"pass": 0, "fail": 5, "inconclusive": 4}
# What a message may quote from data or Git, and what must not steer a terminal.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Stopped(KeyboardInterrupt):
    """A signal asks this process to end; treated as Ctrl-C is."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__()
        self.number = number


class Command(click.Command):
    """A command that says a fault in a sentence, and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _told(wants_json=bool(ctx.params.get("as_json"))), _stoppable():
            return super().invoke(ctx)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def code_of(verdict: object, rollout: object = None) -> int:
    """Return the exit code of a run with this verdict, and its rollout's if it had one.

    None is none to give.
    """
    if rollout is not None:
        return _BY_ROLLOUT.get(str(rollout), _BY_ROLLOUT["inconclusive"])
    return _BY_VERDICT.get(str(verdict), _BY_VERDICT["inconclusive"])


@contextmanager
def _told(*, wants_json: bool) -> Iterator[None]:
    """Turn faults into sentences; what isn't foreseen is a bug, and keeps its traceback."""
    # A name in a terminal's narrow encoding is better than a traceback about it.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        yield
    except errors.KitError as error:
        _fail(type(error).__name__, error.code, str(error), error.exit_code, wants_json)
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        said = "'mlops-kit status' says how far it came."
        _fail("Stopped", "stopped", said, 128 + number, wants_json)
    except MemoryError:
        said = "There is no memory left; what had ended is kept."
        _fail("MemoryError", "system.memory", said, 1, wants_json)
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read has had enough, as `head` does
            raise
        said = f"The system refuses: {error}. What had ended is kept; 'mlops-kit status' says more."
        _fail(type(error).__name__, "system", said, 1, wants_json)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop a command as Ctrl-C does, so that its kernels end with it."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    # Who ignores a signal, as nohup does, means it.
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
    """Say a fault, and end; `code` is stable, as scripts ask for it."""
    if wants_json:
        print_json({"error": name, "code": code, "message": said, "exit_code": exit_code})
    else:
        click.echo(f"{name}: {said}".translate(_CONTROLS), err=True)
    sys.exit(exit_code)
