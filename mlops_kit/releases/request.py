"""A promotion request: what to promote, and who signs it off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlops_kit.releases.release import ServedModel

Strategy = Literal["direct", "canary"]


@dataclass(frozen=True)
class Signoff:
    """Who signs off a change and why.

    A change decided by evidence, not by a person, has its `verdict` and `counts`.
    """

    who: str
    why: str = ""
    verdict: str = ""
    counts: str = ""


@dataclass(frozen=True)
class PromotionRequest:
    """A version to release, with its evidence.

    `execution` is the pipeline's execution that asks for it, `evidence` the files to keep by
    name. With the canary strategy `baseline` becomes champion first where there is none yet.
    `committed_at` (ISO 8601) is when the change's source was committed, `forced` the offline
    verdict that was overridden, `override` who lets a quarantined version through, and why.
    """

    model: str
    environment: str
    candidate: ServedModel
    execution: str
    signoff: Signoff
    strategy: Strategy = "canary"
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    baseline: ServedModel | None = None
    committed_at: str = ""
    forced: str = ""
    override: str = ""
