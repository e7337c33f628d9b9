"""The promotion panel's content as one value: plain text, no HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_kit.jupyter.metrics_view import MetricsView
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.releases.ledger import Entry

Standing = Literal["pass", "fail", "inconclusive", "running", "waiting"]


@dataclass(frozen=True)
class Offer:
    """An action that a person may take now, or why not.

    `act` is its name, `says` its effect. A `reason` is required, optional or, if empty, not asked
    for.
    """

    act: str
    label: str
    says: str = ""
    why_not: str = ""
    reason: Literal["required", "optional", ""] = "optional"
    # Whether the dialog shows the commit.
    shows_change: bool = False


@dataclass(frozen=True)
class Candidate:
    """A registered version with its verdict."""

    version: str
    verdict: str
    said: str = ""


@dataclass(frozen=True)
class Notice:
    """The outcome of the last action `act`; `fault` is the code of the error it failed with."""

    text: str = ""
    act: str = ""
    is_done: bool = False
    fault: str = ""


@dataclass(frozen=True)
class Board:
    """One environment of one model at one moment.

    `standing` is the state in a word, `sentence` in a sentence, and `next` what follows.
    """

    model: str
    environment: str
    environments: tuple[str, ...]
    headline: str
    checked: str
    standing: Standing
    sentence: str
    next: str = ""
    notice: Notice = Notice()
    remarks: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    chosen: str = ""
    # The versions in Git: the champion, and a rollout's candidate.
    serving: tuple[str, str] = ("", "")
    evaluation: EvaluationSummary | None = None
    change: tuple[str, ...] = ()
    evidence: MetricsView | None = None
    history: tuple[Entry, ...] = ()
    # The web address of the repository, for links to commits; empty without one.
    repository_page: str = ""


@dataclass(frozen=True)
class Opened:
    """The evidence of one commit: its files, and the one being shown."""

    revision: str
    title: str
    files: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class Unfolded:
    """What a person has unfolded: rows of tables, a search, a commit's evidence."""

    candidates: int = 5
    history: int = 5
    search: str = ""
    opened: Opened | None = None
