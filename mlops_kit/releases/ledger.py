"""The history of an environment, read from its commits' trailers alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

_TRAILER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*): ?(.*)")
_CROWNS = ("promote", "complete", "rollback")
_LONGEST = 2000


@dataclass(frozen=True)
class Commit:
    """A commit as Git has it; `time` is the committer's, in UTC."""

    revision: str
    time: datetime
    author: str
    subject: str
    trailers: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """One act on a release. `action` is empty for a commit that carries no trailers of the kit.

    `origin` is the version that was champion before, `champion` the one afterwards; `weight` is
    the candidate's share afterwards, in percent.
    """

    when: datetime
    revision: str
    subject: str
    action: str
    model: str
    environment: str
    version: str
    digest: str
    origin: str
    champion: str
    weight: int | None
    who: str
    why: str
    run: str
    evidence: str

    @property
    def crowns(self) -> bool:
        """Tell whether this act made its version the champion."""
        return self.action in _CROWNS and self.champion == self.version != ""


def history(
    commits: Iterable[Commit], *, model: str | None = None, environment: str | None = None
) -> tuple[Entry, ...]:
    """Return the entries in the commits' own order, without those of others.

    A commit that names no model or environment may concern any, so it stays in.
    """
    entries = (_entry(commit) for commit in commits)
    return tuple(
        entry
        for entry in entries
        if (model is None or entry.model in ("", model))
        and (environment is None or entry.environment in ("", environment))
    )


def champion_at(entries: Sequence[Entry], time: datetime) -> Entry | None:
    """Return the act that crowned whoever was champion then; the newest entry comes first."""
    return next((entry for entry in entries if entry.crowns and entry.when <= time), None)


def last_good(entries: Sequence[Entry], version: str, digest: str) -> Entry | None:
    """Return the act that crowned the champion to go back to from `version`, or None.

    The newest entry comes first. A version that was rolled back from is not good: going back
    twice goes further back, and never forward again.
    """
    line: list[Entry] = []
    for entry in reversed(entries):
        if entry.crowns:
            line = [*_before(line, entry.version, entry.digest), entry]
    before = _before(line, version, digest)
    return before[-1] if before else None


def one_line(text: str) -> str:
    """Return the text as one line that prints, so that it can't pass for a trailer of its own."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def message(subject: str, body: str, trailers: Mapping[str, str]) -> str:
    """Return a commit message that ends with the trailers; an empty one is left out.

    Raises ValueError without a subject or trailers: what follows could then pass for them.
    """
    lines = [f"{key}: {value}" for key, text in trailers.items() if (value := one_line(text))]
    if not lines or not all(_TRAILER.fullmatch(line) for line in lines):
        raise ValueError(f"These are no trailers: {dict(trailers)!r}.")
    if not (first := one_line(subject)):
        raise ValueError(f"The subject is {subject!r}; expected some text.")
    paragraphs = [first, body.replace("\0", " ").strip(), "\n".join(lines)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def read_trailers(message: str) -> dict[str, str]:
    """Return the trailers of a commit message: its last paragraph, if all of it are trailers.

    A key that stands there twice says nothing certain, so such a message has none.
    """
    paragraphs = message.strip("\n").split("\n\n")
    if len(paragraphs) < 2:
        return {}
    found = [_TRAILER.fullmatch(line) for line in paragraphs[-1].split("\n")]
    pairs = [(match[1], match[2].strip()) for match in found if match]
    trailers = dict(pairs)
    return trailers if len(trailers) == len(found) else {}


def _before(line: list[Entry], version: str, digest: str) -> list[Entry]:
    """Return the line up to where it had this champion; all of it where it never had."""
    champions = [(entry.version, entry.digest) for entry in line]
    if (version, digest) not in champions:
        return line
    return line[: champions.index((version, digest))]


def _entry(commit: Commit) -> Entry:
    of = commit.trailers
    weight = of.get("Mlops-Weight", "")
    return Entry(
        when=commit.time,
        revision=commit.revision,
        subject=commit.subject,
        action=of.get("Mlops-Action", ""),
        model=of.get("Mlops-Model", ""),
        environment=of.get("Mlops-Environment", ""),
        version=of.get("Mlops-Version", ""),
        digest=of.get("Mlops-Digest", ""),
        origin=of.get("Mlops-From", ""),
        champion=of.get("Mlops-Champion", ""),
        weight=int(weight) if re.fullmatch("[0-9]{1,3}", weight) else None,
        who=of.get("Mlops-Approved-By", "") or commit.author,
        why=of.get("Mlops-Reason", ""),
        run=of.get("Mlops-Run", ""),
        evidence=of.get("Mlops-Evidence", ""),
    )
