"""Mask in a run's text what differs between two runs of the same work."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

_PATH = r"[^\s\"'<>|:;,()\[\]{}*`]"
_START = r"(?<!:/)(?<![\w.~\u2026$-])"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|\x1b")
_TIME = re.compile(
    r"(?<!\d)(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?"
    r"(?: ?(Z|UTC|[+-]\d\d:?\d\d))?(?![\d:])"
)
_TEMP = re.compile(
    rf"{_START}((?:/private)?(?:/var/folders/[^/\s]+/[^/\s]+/T|(?:/var)?/tmp))/({_PATH}+)"
)
_ROOTS = "work|workspaces?|mnt|media|opt|usr|srv|scratch|nix|argo|var|data|app|Volumes"
# Anchored to the start of a path: an unanchored pattern takes minutes on base64.
_LIBRARIES = [
    (re.compile(rf"(?<!{_PATH}){_PATH}*/site-packages/"), "site-packages/"),
    (re.compile(rf"(?<!{_PATH})/{_PATH}*/(lib/python3\.\d+)/"), r"\1/"),
]
_EVERYWHERE = [
    (re.compile(r"ipykernel_\d+/\d+\.py"), "ipykernel_…/….py"),
    (re.compile(r"ipykernel_\d+"), "ipykernel_…"),
    (re.compile(r"<ipython-input-[\w-]+>"), "<ipython-input-…>"),
    (re.compile(r"\b(In|Out) ?\[\d+\]"), r"\1[…]"),
    (re.compile(rf"{_START}(?:/home|/Users)/{_PATH}+?(?=/|(?!{_PATH}))"), "~"),
    (re.compile(rf"{_START}/root(?=/|(?!{_PATH}))"), "~"),
    (re.compile(r"\b[A-Za-z]:\\+Users\\+[^\\\s\"']+"), "~"),
    (re.compile(rf"{_START}/(?!(?:var/)?tmp/)(?:{_ROOTS})/(?:{_PATH}*/)?(?={_PATH})"), "…/"),
    (re.compile(r"0x[0-9a-fA-F]{6,16}(?![0-9a-fA-F])"), "0x…"),
    (re.compile(r"\b(pid|PID)([ =:]+)\d+"), r"\1\2…"),
]
_STREAM = [
    (re.compile(r"(?<![\d:.-])\d\d:\d\d:\d\d(?:[.,]\d+)?(?![\d:])"), "[time]"),
    (re.compile(r"(?m)^(CPU times|Wall time): .*$"), r"\1: …"),
    (re.compile(r"[\d.]+ [nµum]?s ± [\d.]+ [nµum]?s per loop"), "… per loop"),
    (re.compile(r"\[\d+:\d\d(?::\d\d)?<[^\]\n]*\]"), "[…]"),
    (
        re.compile(
            r"(?i)\b(took|elapsed|duration|(?:done|finished|completed|executed|trained|ran) in)"
            r"([ :=]+)\d+(?:\.\d+)?(?:e-?\d+)? ?"
            r"(?:[nµum]?s|sec(?:ond)?s?|min(?:ute)?s?|h(?:ours?)?|milliseconds?)\b"
        ),
        r"\1\2…",
    ),
]
# Names that are ordinary words, or identify neither a person nor a machine.
_GENERIC = {
    *("root", "user", "home", "jovyan", "runner", "ubuntu", "admin", "nobody", "vscode", "app"),
    *("localhost", "main", "test", "data", "model", "train", "python", "notebook", "mlops"),
}


@dataclass(frozen=True)
class MachineIdentity:
    """What must not reach Git of a machine: its folders, and the names of host and user."""

    project: Path
    home: Path
    host: str = ""
    user: str = ""

    @classmethod
    def here(cls, project: Path | None = None) -> MachineIdentity:
        """Return this machine's identity; the project defaults to the working directory."""
        home = Path.home()
        return cls(project or Path.cwd(), home, host=socket.gethostname(), user=home.name)

    @cached_property
    def own(self) -> list[tuple[re.Pattern[str], str]]:
        """The patterns that match this machine's folders and names, and their replacements."""
        end = rf"(?=/|(?!{_PATH}))"
        found = []
        for folder, short in ((self.project, "."), (self.home, "~")):
            for path in dict.fromkeys((folder.absolute(), folder.resolve())):
                # A short folder such as /app may also occur inside another path.
                start = r"(?<![\w.~])" if len(path.parts) < 3 else ""
                if len(path.parts) > 1:
                    found.append((re.compile(rf"{start}{re.escape(str(path))}{end}"), short))
        names = [(self.host, "[host]"), (self.host.split(".")[0], "[host]"), (self.user, "[user]")]
        for name, short in names:
            if len(name) > 2 and name.lower() not in _GENERIC:
                word = re.compile(rf"(?<![\w\[]){re.escape(name)}(?![\w\]])", re.IGNORECASE)
                found.append((word, short))
        return found


@dataclass(frozen=True)
class Redactor:
    """Masks what differs between runs on this machine; `times` are moments of the run itself."""

    machine: MachineIdentity
    times: Sequence[datetime] = field(default=())

    def __call__(self, text: str, *, log: bool = False) -> str:
        """Return the text masked; in a log, also every time of day and duration. Idempotent."""
        text = _lines(_ANSI.sub("", text)) if log else _ANSI.sub("", text)
        for _ in range(8):
            masked = self._once(text, log)
            if masked == text:
                break
            text = masked
        return text

    @property
    def places(self) -> Redactor:
        """The same without times, for parameters and published values."""
        return replace(self, times=())

    def _once(self, text: str, log: bool) -> str:
        text = _TIME.sub(lambda found: "[time]" if log or self._now(found) else found.group(), text)
        # Libraries before the project, which may contain the virtual environment.
        for pattern, short in (*_LIBRARIES, *self.machine.own, *_EVERYWHERE):
            text = pattern.sub(short, text)
        for pattern, short in _STREAM if log else ():
            text = pattern.sub(short, text)
        return _TEMP.sub(_temporary, text)

    def _now(self, found: re.Match[str]) -> bool:
        """Tell whether a time in a result is a moment of the run, not one in the data."""
        if not self.times:
            return False
        try:
            year, month, day, hour, minute, second = (int(p or 0) for p in found.groups()[:6])
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            return False
        zone = found.group(7) or "Z"
        if zone[0] in "+-":
            shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            moment += shift if zone[0] == "-" else -shift
        near = timedelta(minutes=1)
        return min(self.times) - near <= moment <= max(self.times) + near


def _temporary(found: re.Match[str]) -> str:
    """Return a temporary path without its random folders; a lone name is random, too."""
    _, inside, last = found.group(2).rpartition("/")
    return "/tmp/…" + (f"/{last}" if inside else "")


def _lines(text: str) -> str:
    """Return what a terminal shows: a carriage return overwrites its line."""
    shown = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in shown)
