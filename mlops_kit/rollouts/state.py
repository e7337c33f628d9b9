"""What a decision about a rollout depends on, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import Literal

from mlops_kit.prediction_log.blocks import Block
from mlops_kit.releases.release import Change, Release
from mlops_kit.rollouts.criteria import BINARY, ModelTask
from mlops_kit.rollouts.decision_codes import DecisionCode, Reason
from mlops_kit.rollouts.evidence import Bursts
from mlops_kit.rollouts.metrics import Metric, times
from mlops_kit.rollouts.policy import Policy
from mlops_kit.rollouts.quality import Quality

DecisionKind = Literal[
    "hold", "advance", "complete", "settle", "retire", "abort", "rollback", "done"
]
Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class RolloutState:
    """Everything that a decision may depend on; times in seconds since the epoch.

    From Git: `release`; `started`, the commit that began this rollout; `shifted`, the first of
    its commits with a weight above 0, None before; `since`, the newest commit on this release,
    with which this weight began; `completed`, the commit that completed the present champion,
    None without; `held_by`, a person's name and reason to hold, empty without.

    `task` is the model's: it says which metrics count.

    From the store: `blocks` of this pair, also of its earlier attempts, because evidence belongs
    to the pair; `replay`, the candidate on the champion's labelled traffic; `live`, the matured
    labels of the candidate's own answers, also after completion; `bursts` of the champion's
    usual day; `clients`, the candidate's and all, at this weight.

    From the platform: `is_live`, whether what Git says is what is served; `applied`, since when,
    None where that isn't known; `target_ready`, whether the version to go back to can serve;
    `can_restore`, whether a last good release exists. `faults` are sentences, each a reason not
    to believe what is seen; `clock_jumped` says that `now` isn't to be believed.
    """

    now: float
    release: Release
    started: float
    since: float
    shifted: float | None = None
    completed: float | None = None
    held_by: str = ""
    task: ModelTask = BINARY
    blocks: tuple[Block, ...] = ()
    replay: Quality | None = None
    live: Quality | None = None
    bursts: Bursts = field(default_factory=Bursts)
    clients: tuple[int, int] = (0, 0)
    is_live: bool = True
    applied: float | None = None
    target_ready: bool = True
    can_restore: bool = True
    faults: tuple[str, ...] = ()
    clock_jumped: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do now, why, and what comes next.

    `code` says why in a word that stays, `sentence` and `next` in words that may get better.
    `change` is None where nothing is to be changed, and for "rollback", whose target stands in
    the ledger; a "hold" may carry Shift(0). `harm` is the log evidence against the candidate, all
    metrics together.
    """

    code: DecisionCode
    act: DecisionKind
    change: Change | None
    verdict: Verdict
    sentence: str
    next: str
    metrics: tuple[Metric, ...] = ()
    harm: float = 0.0

    def summary(self) -> dict[str, str]:
        """Return code, act, verdict and sentences as plain data."""
        names = ("code", "act", "verdict", "sentence", "next")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class EvaluatedState:
    """A situation with the evidence that it holds; `harm` is log evidence."""

    policy: Policy
    seen: RolloutState
    metrics: tuple[Metric, ...]
    harm: float

    @property
    def name(self) -> str:
        """The model and the version that is judged: the candidate, else the champion."""
        release = self.seen.release
        judged = release.candidate or release.champion
        return f"{release.model} {judged.version}" if judged else release.model

    @property
    def champion(self) -> str:
        """The model and the version that traffic goes back to."""
        release = self.seen.release
        return f"{release.model} {release.champion.version}" if release.champion else "nothing"

    @property
    def is_harmful(self) -> bool:
        """Tell whether the evidence against the version reaches its limit."""
        return self.harm >= -log(self.policy.alpha_rollback)

    @property
    def blame(self) -> str:
        """The metric that speaks most against the version, and the evidence, in words."""
        worst = max(self.metrics, key=lambda metric: metric.log_against)
        limit = f"limit {1 / self.policy.alpha_rollback:,.0f}x"
        return f"{worst.seen}; combined evidence of harm {times(self.harm)}, {limit}"

    @property
    def proofs(self) -> str:
        """What is proved and what isn't yet, in words."""
        needed = [metric for metric in self.metrics if metric.needed]
        alpha = self.policy.alpha_promote
        proved = [metric.name for metric in needed if metric.is_proved(alpha)]
        missing = [metric.sentence(alpha) for metric in needed if not metric.is_proved(alpha)]
        if proved:
            missing.insert(0, f"{listed(proved)} proved within bounds")
        return "; ".join(missing)

    def say(
        self, act: DecisionKind, change: Change | None, verdict: Verdict, why: Reason, then: str
    ) -> Decision:
        """Return a decision with this look's evidence.

        Args:
            act: what to do.
            change: the step to commit; None for none.
            verdict: pass, fail or inconclusive.
            why: the decision's code and its sentence.
            then: what happens next, as a sentence.
        """
        code, sentence = why
        return Decision(code, act, change, verdict, sentence, then, self.metrics, self.harm)

    def hold(self, why: Reason, then: str = "") -> Decision:
        """Return the decision to wait, which is no verdict."""
        return self.say("hold", None, "inconclusive", why, then or self.again)

    @property
    def again(self) -> str:
        """When the next look is, in words."""
        return f"Next look in {self.policy.interval:g} s."


def listed(names: Sequence[str]) -> str:
    """Return the names as a phrase: "recall, precision and errors"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def span(seconds: float) -> str:
    """Return a length of time in words, rounded down to its own unit."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
