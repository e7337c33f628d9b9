"""What a release looks like to a person: its status, a proposed change, its history."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from mlops_kit.releases import ledger
from mlops_kit.releases.release import Release
from mlops_kit.reporting import markdown


@dataclass(frozen=True)
class Status:
    """What an environment should serve, and which version the registry's alias names."""

    release: Release
    revision: str
    alias: str

    @property
    def champion(self) -> str:
        """The champion's version; empty where there is none."""
        return self.release.champion.version if self.release.champion else ""

    @property
    def differs(self) -> bool:
        """Whether the registry says otherwise than Git does."""
        return self.alias != self.champion

    @property
    def sentence(self) -> str:
        """The state as one sentence."""
        model, environment = self.release.model or "any model", self.release.environment
        if not self.champion:
            return f"No version of {model} serves {environment}."
        text = f"{model} v{self.champion} serves {environment}"
        if self.release.candidate:
            text += f", v{self.release.candidate.version} answers {self.release.weight} %"
        if self.differs:
            named = f"v{self.alias}" if self.alias else "no champion"
            return f"Git says that {text}; the registry says {named}. Git counts: mlops-kit repair."
        return f"{text}."

    def _repr_markdown_(self) -> str:
        return f"**{markdown.escape(self.sentence)}** As of commit `{self.revision[:10]}`."


@dataclass(frozen=True)
class Change:
    """What a promotion will write, as a difference of release.yaml."""

    path: str
    before: str
    after: str

    @property
    def lines(self) -> list[str]:
        """The difference, line by line."""
        before, after = self.before.splitlines(), self.after.splitlines()
        return list(difflib.unified_diff(before, after, self.path, self.path, lineterm="", n=2))

    def _repr_markdown_(self) -> str:
        if not self.lines:
            return "Nothing: it serves already."
        return "\n".join(["```diff", *self.lines, "```"])


@dataclass(frozen=True)
class History:
    """The acts on an environment, newest first."""

    entries: tuple[ledger.Entry, ...]

    def _repr_markdown_(self) -> str:
        rows = [
            (
                f"{entry.when:%Y-%m-%d %H:%M}",
                entry.action or "–",
                entry.version,
                entry.origin,
                entry.who,
                entry.why,
                entry.revision[:10],
            )
            for entry in self.entries
        ]
        return markdown.table(
            ("when", "act", "version", "before", "who", "why", "commit"), rows, left=7
        )
