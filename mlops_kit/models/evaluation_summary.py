"""What an evaluation says of a candidate, as it travels: from the notebook to Git and Argo."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_kit.errors import EvaluationError
from mlops_kit.formatting import interval, violations
from mlops_kit.models.gates import Estimate, Gate, Side, Status, Verdict
from mlops_kit.tables.table import Task

if TYPE_CHECKING:
    from mlops_kit.models.model_version import ModelVersion


class Value(BaseModel):
    """A part of an evaluation, as it travels."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def found(cls, data: Mapping[str, Any]) -> Self | None:
        """Return the value, or None where the data are of another form."""
        try:
            return cls.model_validate(dict(data))
        except ValidationError:
            return None


class EstimateSummary(Value):
    """A number with its interval and the count that it rests on; None for no finite number."""

    value: float | None
    low: float | None
    high: float | None
    n: int = 0

    def __str__(self) -> str:
        return interval(self.value, self.low, self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether its interval does, so that a difference is there."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """Return the summary of an estimate."""
        found = (estimate.value, estimate.low, estimate.high)
        value, low, high = (each if math.isfinite(each) else None for each in found)
        return cls(value=value, low=low, high=high, n=estimate.n)


class GateSummary(Value):
    """One gate: an estimate against its bound, and how it was decided."""

    name: str
    estimate: EstimateSummary
    side: Side
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


class VerdictSummary(Value):
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


class ScoreSummary(Value):
    """One metric of both models; `difference` is candidate minus reference, `metric` its title."""

    name: str
    metric: str
    candidate: EstimateSummary
    reference: EstimateSummary
    difference: EstimateSummary | None


class SliceSummary(Value):
    """One metric of both models on a part of the holdout."""

    name: str
    metric: str
    candidate: EstimateSummary
    reference: EstimateSummary


class VersionIdentity(Value):
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


class Names(Value):
    """What people call the two models."""

    candidate: str
    reference: str


def holdout_title(rows: int, counts: Sequence[int], task: Task) -> str:
    """Return a holdout in a few words: its rows, and its positives or classes.

    `counts` are the rows of each class; none for a regression.
    """
    if task == "binary":
        return f"{rows:,} rows, {counts[1]:,} positive"
    return f"{rows:,} rows" + (f" of {len(counts)} classes" if counts else "")


class EvaluationSummary(Value):
    """What a person and a promotion have to know of an evaluation.

    `reference` is None where the candidate was compared with something unregistered. `counts`
    are the rows of each class, in the order of `classes`. `curves` are for charts: see
    `task_curves`.
    """

    schema_version: Literal[2] = 2
    candidate: VersionIdentity
    reference: VersionIdentity | None
    names: Names
    task: Task
    classes: list[str]
    counts: list[int]
    rows: int
    note: str
    scores: list[ScoreSummary]
    slices: list[SliceSummary]
    verdict: VerdictSummary
    curves: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """The holdout in a few words."""
        return holdout_title(self.rows, self.counts, self.task)

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
        given = _upgraded(data) if data.get("schema_version", 2) == 1 else dict(data)
        return EvaluationSummary.model_validate(given)
    except ValidationError as error:
        details = violations(error.errors()[:5])
        raise EvaluationError(
            f"The evaluation of {where} is not what 'evaluate' publishes ({details}). An older "
            "mlops-kit may have made it: run the pipeline again."
        ) from error


def _upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an evaluation of version 1, which knew binary tasks alone, as one of version 2."""
    found = dict(data)
    rows, positives = found.get("rows", 0), found.pop("frauds", 0)
    found |= {"schema_version": 2, "task": "binary", "classes": ["0", "1"]}
    found["counts"] = [rows - positives, positives]
    if isinstance(scores := found.get("scores"), list):
        found["scores"] = [{"name": each["metric"], **each} for each in scores]
    if isinstance(slices := found.get("slices"), list):
        found["slices"] = [{"metric": "recall", **each} for each in slices]
    if curves := found.get("curves"):
        renamed = {
            role: {
                ("positives" if name == "frauds" else name): value for name, value in each.items()
            }
            for role, each in curves["models"].items()
        }
        found["curves"] = {**curves, "models": renamed}
    return found
