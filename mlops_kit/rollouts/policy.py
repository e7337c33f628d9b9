"""The bounds and the pace of a rollout."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Policy:
    """What a candidate must prove, and how a rollout goes on; times in seconds.

    `recall` and `precision` of a binary model are bounded from below, and so are `accuracy` and
    each `class_recall`, by the class, of a multi-class one. Of a regression `absolute_error` is
    the largest mean, in the label's unit, a row counting with at most `error_cap` (0: four times
    the bound); 0 compares with the champion alone. `cost` is the largest mean cost of a row, of
    any task, a row counting with at most `cost_cap` (0: ten times the bound); 0 counts no cost.
    `error_rate` and `slow_share` (the share of requests slower than `slow_ms`) are bounded from
    above. `alpha_promote` bounds the chance that a candidate
    beyond a bound is ever completed, `alpha_rollback` that a good one is ever rolled back. A
    candidate `regression` times worse than the champion goes back even within the bounds.
    """

    recall: float = 0.70
    precision: float = 0.60
    accuracy: float = 0.50
    # By the name of the class. A mapping has no hash; equality still compares it.
    class_recall: dict[str, float] = field(default_factory=dict, hash=False)
    absolute_error: float = 0.0
    error_cap: float = 0.0
    cost: float = 0.0
    cost_cap: float = 0.0
    error_rate: float = 0.05
    slow_ms: float = 250.0
    slow_share: float = 0.01
    regression: float = 2.0
    alpha_promote: float = 0.05
    alpha_rollback: float = 0.05
    # One look each; the laptop's pace. A cluster's is 60.
    interval: float = 1.0
    steps: tuple[int, ...] = (10, 20, 30, 40, 50)
    # Labels count when the prediction is this old: the 99 % quantile of the slower kind's delay.
    maturity: float = 0.0
    # Of the logged requests, by a hash of their id; all, unless somebody trains on logged traffic.
    replay_share: float = 1.0
    # Less than this share of the mature predictions labelled: the labels are missing.
    coverage: float = 0.9
    # Looks without data before the candidate's weight goes to 0.
    missing_looks: int = 3
    # Watching so long without a decision ends a rollout as inconclusive; of each phase.
    replay_deadline: float = 60.0
    canary_deadline: float = 300.0
    # So long matured labels are watched after completion.
    baking: float = 3.0
    # After a rollback; doubled by each further one within `freeze_window`.
    cooldown: float = 0.0
    freeze_after: int = 3
    freeze_window: float = 86_400.0

    def __post_init__(self) -> None:
        """Refuse what no rollout can keep, by ValueError."""
        shares = "recall precision accuracy error_rate slow_share alpha_promote alpha_rollback"
        for name in shares.split():
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected over 0 and under 1")
        for name in ("slow_ms", "interval", "replay_deadline", "canary_deadline"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("maturity", "baking", "cooldown", "freeze_window"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        self._check_bounds()
        if not 1 < self.regression < float("inf"):
            raise ValueError(f"regression is {self.regression}; expected more than 1")
        if not 0 < self.replay_share <= 1:
            raise ValueError(f"replay_share is {self.replay_share}; expected over 0, up to 1")
        if not 0 <= self.coverage <= 1:
            raise ValueError(f"coverage is {self.coverage}; expected 0 to 1")
        if self.missing_looks < 1 or self.freeze_after < 1:
            raise ValueError("missing_looks and freeze_after must be 1 or more")
        if list(self.steps) != sorted(set(self.steps)) or not self.steps:
            raise ValueError(f"steps are {self.steps}; expected weights that rise")
        if not all(0 < step <= 100 for step in self.steps):
            raise ValueError(f"steps are {self.steps}; expected percents over 0")

    def _check_bounds(self) -> None:
        for name, bound in self.class_recall.items():
            if not 0 < bound < 1:
                raise ValueError(f"class_recall of {name} is {bound}; expected over 0 and under 1")
        for name, cap in (("absolute_error", "error_cap"), ("cost", "cost_cap")):
            bound, most = getattr(self, name), getattr(self, cap)
            if not 0 <= bound < float("inf") or not (most == 0 or bound < most < float("inf")):
                raise ValueError(
                    f"{name} is {bound} and {cap} {most}; expected 0 or more, and a cap of 0 or "
                    "over the bound"
                )

    def _repr_markdown_(self) -> str:
        steps = ", ".join(f"{step} %" for step in self.steps)
        needed, limit = 1 / self.alpha_promote, 1 / self.alpha_rollback
        rows = {
            "recall": f"at least {self.recall:.0%}",
            "precision": f"at least {self.precision:.0%}",
            **self._bounds(),
            "failed requests": f"at most {self.error_rate:.1%}",
            f"requests over {self.slow_ms:g} ms": f"at most {self.slow_share:.1%}",
            "worse than the champion": f"at most {self.regression:g} times",
            "to become champion": f"evidence {needed:g}x for each; a bad one ever does with a "
            f"chance of at most {self.alpha_promote:.0%}",
            "to go back": f"evidence {limit:g}x of harm; a good one ever does with a chance of at "
            f"most {self.alpha_rollback:.0%}",
            "steps": f"{steps}, a look every {self.interval:g} s",
        }
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join(["| | |", "|---|---|", *lines])

    def _bounds(self) -> dict[str, str]:
        """Return the bounds of other tasks that somebody set, in words."""
        found = {"accuracy": f"at least {self.accuracy:.0%}"} if self.accuracy != 0.5 else {}
        for name, bound in self.class_recall.items():
            found[f"recall of {name}"] = f"at least {bound:.0%}"
        for name in ("absolute_error", "cost"):
            if bound := getattr(self, name):
                found[f"mean {name.replace('_', ' ')}"] = f"at most {bound:g}"
        return found
