"""What an evaluation says of a candidate, as it travels: from the notebook to Git and Argo."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_kit.errors import EvaluationError
from mlops_kit.formatting import interval, violations
from mlops_kit.models.gates import Estimate, Gate, Status, Verdict

if TYPE_CHECKING:
    from mlops_kit.models.registry import ModelVersion


class _Value(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class EstimateSummary(_Value):
    """A number with its interval and the count that it rests on; None for no finite number."""

    value: float | None
    low: float | None
    high: float | None
    n: int = 0

    def __str__(self) -> str:
        return interval(self.value, self.low, self.high)

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """Return the summary of an estimate."""
        found = (estimate.value, estimate.low, estimate.high)
        value, low, high = (each if math.isfinite(each) else None for each in found)
        return cls(value=value, low=low, high=high, n=estimate.n)


class GateSummary(_Value):
    """One gate: an estimate against its bound, and how it was decided."""

    name: str
    estimate: EstimateSummary
    side: Literal["at_least", "at_most"]
    bound: float
    status: Status

    @classmethod
    def of(cls, gate: Gate) -> Self:
        """Return the summary of a gate."""
        return cls(
            name=gate.name,
            estimate=EstimateSummary.of(gate.estimate),
            side=gate.side,
            bound=gate.bound,
            status=gate.status,
        )


class VerdictSummary(_Value):
    """What the gates say together."""

    status: Status
    sentence: str
    reasons: list[str]
    gates: list[GateSummary]

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Return the summary of a verdict."""
        return cls(
            status=verdict.status,
            sentence=verdict.sentence,
            reasons=list(verdict.reasons),
            gates=[GateSummary.of(gate) for gate in verdict.gates],
        )


class ScoreSummary(_Value):
    """One metric of both models; `difference` is candidate minus reference."""

    metric: str
    candidate: EstimateSummary
    reference: EstimateSummary
    difference: EstimateSummary | None


class SliceSummary(_Value):
    """The recall of both models on a part of the holdout."""

    name: str
    candidate: EstimateSummary
    reference: EstimateSummary


class VersionIdentity(_Value):
    """A registered version and its bytes."""

    model: str
    version: str
    digest: str

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        """Return the identity of a registered version."""
        return cls(model=version.name, version=version.version, digest=version.digest)

    def __str__(self) -> str:
        return f"{self.model} v{self.version}"


class Names(_Value):
    """What people call the two models."""

    candidate: str
    reference: str


class EvaluationSummary(_Value):
    """What a person and a promotion have to know of an evaluation.

    `reference` is None where the candidate was compared with something unregistered. `curves` are
    counts and costs by threshold, for charts.
    """

    schema_version: Literal[1] = 1
    candidate: VersionIdentity
    reference: VersionIdentity | None
    names: Names
    rows: int
    frauds: int
    note: str
    scores: list[ScoreSummary]
    slices: list[SliceSummary]
    verdict: VerdictSummary
    curves: dict[str, Any] = {}

    def data(self) -> dict[str, Any]:
        """Return it as plain data, to be published."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """The SHA-256 of its content, by which an approval names it."""
        text = json.dumps(self.data(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read(data: Mapping[str, Any], where: str) -> EvaluationSummary:
    """Return the evaluation that was published as `data`.

    Raises EvaluationError, which names `where` it came from and the fields that are wrong.
    """
    try:
        return EvaluationSummary.model_validate(dict(data))
    except ValidationError as error:
        details = violations(error.errors()[:5])
        raise EvaluationError(
            f"The evaluation of {where} is not what 'evaluate' publishes ({details}). An older "
            "mlops-kit may have made it: run the pipeline again."
        ) from error
