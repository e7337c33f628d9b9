"""What the promotion panel shows, as one value: everything in words, nothing in HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_kit.jupyter.metrics_view import MetricsView
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.releases.ledger import Entry

Standing = Literal["pass", "fail", "inconclusive", "running", "waiting"]


@dataclass(frozen=True)
class Offer:
    """An act that a person may do now, or the reason why not.

    `act` is its name; `says` is what will be true afterwards. Where `reason` is "required" the
    act needs one, where it is empty none is asked for.
    """

    act: str
    label: str
    says: str = ""
    why_not: str = ""
    reason: Literal["required", "optional", ""] = "optional"
    # Whether the dialog shows the commit that it makes.
    shows_change: bool = False


@dataclass(frozen=True)
class Candidate:
    """One registered version with its verdict."""

    version: str
    verdict: str
    said: str = ""


@dataclass(frozen=True)
class Board:
    """One environment of one model at one moment.

    `standing` is the state in one word, `sentence` the state in one sentence and `next` what
    comes. `notice` is what the last act came to, `is_done` whether it was done.
    """

    model: str
    environment: str
    environments: tuple[str, ...]
    headline: str
    checked: str
    standing: Standing
    sentence: str
    next: str = ""
    notice: str = ""
    is_done: bool = False
    remarks: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    chosen: str = ""
    # What Git says by version: the champion, and the candidate of a rollout.
    serving: tuple[str, str] = ("", "")
    evaluation: EvaluationSummary | None = None
    change: tuple[str, ...] = ()
    evidence: MetricsView | None = None
    history: tuple[Entry, ...] = ()
    # The repository's own page, which has one for each commit; empty without one.
    repository_page: str = ""


@dataclass(frozen=True)
class Opened:
    """The evidence of one act: its files, and the one that is looked at."""

    revision: str
    title: str
    files: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class Unfolded:
    """What a person has asked to see more of: rows of tables, and an act's evidence."""

    candidates: int = 5
    history: int = 5
    search: str = ""
    opened: Opened | None = None
