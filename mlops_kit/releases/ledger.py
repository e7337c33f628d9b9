"""The history of an environment, read from its commits' trailers alone.

An older commit has fewer of these trailers; times are in ISO 8601.

    Mlops-Action        promote, shift, complete, retire, abort or rollback; create for the seed
    Mlops-Model         the model's name
    Mlops-Environment   where, such as prod
    Mlops-Version       the version that the act is about: a rollout's candidate, from its first
                        commit to its last, or the champion that was gone back to
    Mlops-Digest        that version's digest
    Mlops-From          the champion before, a version
    Mlops-Champion      the champion afterwards
    Mlops-Weight        the candidate's share afterwards, in percent
    Mlops-Release       the rollout, or the direct promotion, by name
    Mlops-Run           the pipeline's execution that asked for a promotion
    Mlops-Evidence      the folder with a promotion's evidence
    Mlops-Verdict       pass, fail or inconclusive: what led to this act; empty for a person's
    Mlops-Counts        the counts behind it: errors=3/812 slow=1/812 recall=180/200 alpha=0.05
    Mlops-Live-At       when the commit before, of the same environment, was seen live
    Mlops-Committed-At  when the source of the change was committed; a promotion's
    Mlops-Started-At    when the failure began that a rollback ends, where that is known
    Mlops-Rolled-Back   the digest that a rollback went back from
    Mlops-Forced-Gate   the offline verdict that was overridden
    Mlops-Override      who let a quarantined or frozen one through, and why
    Mlops-Approved-By   who
    Mlops-Reason        why, in words

What a person commits by hand has none of them; of it only "This reverts commit <SHA>", as
`git revert` writes it, is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Beside `who`, which the commit's author stands in for.
TRAILERS = {
    "action": "Mlops-Action",
    "model": "Mlops-Model",
    "environment": "Mlops-Environment",
    "version": "Mlops-Version",
    "digest": "Mlops-Digest",
    "origin": "Mlops-From",
    "champion": "Mlops-Champion",
    "weight": "Mlops-Weight",
    "rollout": "Mlops-Release",
    "run": "Mlops-Run",
    "evidence": "Mlops-Evidence",
    "verdict": "Mlops-Verdict",
    "counts": "Mlops-Counts",
    "live_at": "Mlops-Live-At",
    "committed_at": "Mlops-Committed-At",
    "started_at": "Mlops-Started-At",
    "rolled_back": "Mlops-Rolled-Back",
    "forced": "Mlops-Forced-Gate",
    "override": "Mlops-Override",
    "who": "Mlops-Approved-By",
    "why": "Mlops-Reason",
}
_TRAILER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*): ?(.*)")
_REVERTS = re.compile(r"^This reverts commit ([0-9a-f]{40}(?:[0-9a-f]{24})?)\b", re.MULTILINE)
_MAKE_CHAMPION = ("promote", "complete", "rollback")
_MAX_FIELD_LENGTH = 2000


@dataclass(frozen=True)
class Commit:
    """A commit as Git has it; `time` is the committer's, in UTC.

    `reverts` is the revision that `git revert` undid, empty for any other commit.
    """

    revision: str
    time: datetime
    author: str
    subject: str
    trailers: Mapping[str, str]
    reverts: str = ""


@dataclass(frozen=True, kw_only=True)
class Trailers:
    """What a commit says of a change beside the release itself; a field a trailer."""

    who: str
    why: str = ""
    rollout: str = ""
    run: str = ""
    verdict: str = ""
    counts: str = ""
    live_at: str = ""
    committed_at: str = ""
    started_at: str = ""
    rolled_back: str = ""
    forced: str = ""
    override: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry(Trailers):
    """One act on a release, a field a trailer; what a commit doesn't tell is empty.

    `action` is empty for a commit that carries no trailers of the kit.
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
    evidence: str
    reverts: str = ""

    @property
    def makes_champion(self) -> bool:
        """Tell whether this act made its version the champion."""
        return self.action in _MAKE_CHAMPION and self.champion == self.version != ""

    @property
    def deploys(self) -> bool:
        """Tell whether this act made a champion, other than by going back to it."""
        return self.makes_champion and self.action != "rollback"


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
    return next((entry for entry in entries if entry.makes_champion and entry.when <= time), None)


def last_good(
    entries: Sequence[Entry], version: str, digest: str, *, avoid: Collection[str] = ()
) -> Entry | None:
    """Return the act that crowned the champion to go back to from `version`, or None.

    The newest entry comes first. A version that was rolled back from is not good: going back
    twice goes further back, and never forward again. Digests in `avoid` are passed over.
    """
    line: list[Entry] = []
    for entry in reversed(entries):
        if entry.makes_champion:
            line = [*_before(line, entry.version, entry.digest), entry]
    before = [entry for entry in _before(line, version, digest) if entry.digest not in avoid]
    return before[-1] if before else None


def one_line(text: str) -> str:
    """Return the text as one line that prints, so that it can't pass for a trailer of its own."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MAX_FIELD_LENGTH else line[: _MAX_FIELD_LENGTH - 1] + "…"


def trailers(fields: Mapping[str, str]) -> dict[str, str]:
    """Return an entry's fields by the names that they have as trailers, in the ledger's order."""
    return {name: fields.get(key, "") for key, name in TRAILERS.items()}


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


def read_reverted(message: str) -> str:
    """Return the revision that a commit undoes by `git revert`; empty where it is no revert."""
    if "This reverts commit " not in message:
        return ""
    found = _REVERTS.findall(message)
    return found[0] if len(found) == 1 else ""


def moment(text: str) -> datetime | None:
    """Return the time that a trailer says, in UTC where it names no zone; None for no time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _before(line: list[Entry], version: str, digest: str) -> list[Entry]:
    """Return the line up to where it had this champion; all of it where it never had."""
    champions = [(entry.version, entry.digest) for entry in line]
    if (version, digest) not in champions:
        return line
    return line[: champions.index((version, digest))]


def _entry(commit: Commit) -> Entry:
    get = commit.trailers.get
    fields: dict[str, Any] = {name: get(trailer, "") for name, trailer in TRAILERS.items()}
    weight = fields["weight"]
    fields["weight"] = int(weight) if re.fullmatch("[0-9]{1,3}", weight) else None
    fields["who"] = fields["who"] or commit.author
    # What the kit wrote says itself what it does.
    fields["reverts"] = "" if fields["action"] else commit.reverts
    # As Entry(...) does, but at once: setting a frozen value's fields one by one is most of the
    # time that a long history takes.
    entry = object.__new__(Entry)
    vars(entry).update(fields, when=commit.time, revision=commit.revision, subject=commit.subject)
    return entry
