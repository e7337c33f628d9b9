"""Import modules as a kernel would, before being one.

Imports only the standard library and ipykernel: the zygote loads this file by its path.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import io
import sys
import sysconfig
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ipykernel.zmqshell import ZMQInteractiveShell
from IPython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

HARMLESS_THREADS = {"jemalloc_bg_thd"}
# What ipykernel imports at a kernel's start: 0.1 s, mostly for the debugger.
KERNEL = (
    "encodings.latin_1",
    "ipykernel.debugger",
    "ipykernel.kernelapp",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
    "tornado.queues",
)


class Forwarding(io.TextIOBase):
    """Forwards to the current stream of `sys`, for code that keeps one from import (logging)."""

    def __init__(self, name: str) -> None:
        """`name` is stdout or stderr."""
        self._name = name

    def write(self, text: str) -> int:
        """Write to the current stream."""
        return int(self._target().write(text))

    def flush(self) -> None:
        """Flush the current stream."""
        self._target().flush()

    def isatty(self) -> bool:
        """Answer as a kernel's stream does."""
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Answer as a kernel's stream does."""
        return "UTF-8"

    def _target(self) -> Any:
        stream = getattr(sys, self._name)
        return getattr(sys, f"__{self._name}__") if stream is self else stream


class Events:
    """Keeps what modules register on a shell at import, for the real shell later."""

    def __init__(self) -> None:
        """Start empty."""
        self.registered: list[tuple[str, Callable[..., object]]] = []

    def register(self, event: str, function: Callable[..., object]) -> None:
        """Keep a function for an event."""
        self.registered.append((event, function))

    def unregister(self, event: str, function: Callable[..., object]) -> None:
        """Drop a function for an event."""
        self.registered.remove((event, function))


class ShellToCome:
    """Stands in for IPython's shell during imports, and forwards to the real one afterwards."""

    def __init__(self) -> None:
        """Offer what plotly, tqdm, pandas and matplotlib probe at import."""
        from traitlets.config import Config

        events, kernel = Events(), types.SimpleNamespace()
        shell = types.SimpleNamespace(config=Config(IPKernelApp={}), kernel=kernel, events=events)
        vars(self).update(_events=events, _shell=shell)

    def become(self, shell: Any) -> None:
        """Forward to `shell` from now on, for code that kept this object."""
        vars(self).update(_shell=shell)
        for event, function in self._events.registered:
            shell.events.register(event, function)

    # `ZMQInteractiveShell.instance` only returns an instance of its own class.
    __class__: Any = property(lambda _: ZMQInteractiveShell)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shell, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._shell, name, value)


# plotly checks the type's name and module.
ShellToCome.__name__, ShellToCome.__module__ = "ZMQInteractiveShell", "ipykernel.zmqshell"


@contextlib.contextmanager
def as_in_a_kernel(shell: ShellToCome) -> Iterator[None]:
    """Give imports a kernel's shell and streams."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Forwarding("stdout"), Forwarding("stderr")
    InteractiveShell._instance = shell
    vars(builtins)["get_ipython"] = get_ipython
    try:
        yield
    finally:
        del InteractiveShell._instance
        del vars(builtins)["get_ipython"]
        sys.stdout, sys.stderr = streams


def lazy_rfc3987() -> None:
    """Defer importing rfc3987_syntax until its first use: it builds a grammar for a second.

    Only jsonschema's `iri` formats need it, and a notebook's schema has none.
    """
    name = "rfc3987_syntax"
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    stand_in = importlib.util.module_from_spec(spec)  # ipykernel looks at each module's __file__

    def real() -> types.ModuleType:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return importlib.import_module(name)

    def is_valid_syntax(*arguments: Any) -> Any:
        return real().is_valid_syntax(*arguments)

    def other(wanted: str) -> Any:
        # skops looks up numpy's and scipy's names in every module.
        if not wanted.startswith(("is_valid_syntax", "make_syntax", "syntax_", "parse", "RFC3987")):
            raise AttributeError(wanted)
        return getattr(real(), wanted)

    vars(stand_in).update(is_valid_syntax=is_valid_syntax, __getattr__=other)
    sys.modules[name] = stand_in


def rehearse() -> None:
    """Parse a kernel's command line once, without starting one: later ones take 0.05 s less."""
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp().parse_command_line(["-f", "rehearsal.json"])


def is_installed(module: str) -> bool:
    """Return whether `module` is in the standard library or site-packages, so never edited."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    if spec.origin in (None, "built-in", "frozen"):
        return spec.origin is not None
    homes = {sysconfig.get_path(home) for home in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(str(spec.origin)).is_relative_to(home) for home in homes)


def preload(modules: Iterable[str]) -> dict[str, str]:
    """Import the modules; return the reason for each one that was skipped."""
    skipped = {}
    for module in modules:
        try:
            if is_installed(module):
                _import(module)
            else:
                skipped[module] = "local or editable, so it would be stale after an edit"
        # A module may raise anything at import; a kernel works without it.
        except BaseException as error:
            skipped[module] = f"{type(error).__name__}: {error}"
    return skipped


def _import(module: str) -> None:
    with warnings.catch_warnings():
        # Without widgets, tqdm falls back to text; no kernel needs this warning.
        warnings.filterwarnings("ignore", message="IProgress not found")
        importlib.import_module(module)


def threads() -> list[str]:
    """Return the names of threads that a fork would lose, along with any locks they hold."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if name not in HARMLESS_THREADS][1:]


def connections(own: set[int]) -> int:
    """Count open sockets and event queues, except the descriptors in `own`."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            found += (
                target.startswith(("socket:", "anon_inode:")) and int(descriptor.name) not in own
            )
    return found
