"""Two models' answers on labelled rows, made without fitting any, and what an evaluation says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlops_kit.models import task_curves
from mlops_kit.models.comparison import Comparison, slices
from mlops_kit.models.evaluation_summary import EstimateSummary, EvaluationSummary, SliceSummary
from mlops_kit.models.gates import Rules
from mlops_kit.models.metric_sums import Judged
from mlops_kit.tables.table import Column, Table

CITIES = ("Bern", "Zürich")
RULES = Rules(resamples=100)
NONE = np.empty(0, dtype=np.int64)


def classified(classes: Sequence[str], rows: int = 900, seed: int = 0) -> Comparison:
    """Return two models of these classes; the candidate is the better one.

    With two classes the table is binary. Later classes have fewer rows.
    """
    rng, count = np.random.default_rng(seed), len(classes)
    shares = np.arange(count, 0, -1.0)
    labels = rng.choice(count, rows, p=shares / shares.sum())
    judged = {}
    for role, noise in (("candidate", 1.2), ("reference", 1.6)):
        scores = rng.random((rows, count)) * noise
        scores[np.arange(rows), labels] += 0.9
        scores /= scores.sum(axis=1, keepdims=True)
        given = scores[:, 1] if count == 2 else scores
        judged[role] = Judged(labels, given, scores.argmax(axis=1), np.zeros(rows))
    task = "binary" if count == 2 else "multiclass"
    return _comparison(task, "str", tuple(classes), judged, rng)


def predicted(rows: int = 600, seed: int = 0) -> Comparison:
    """Return two regressions of sums of money; the candidate's errors grow with the sum."""
    rng = np.random.default_rng(seed)
    labels = rng.gamma(2.0, 100.0, rows)
    own = labels * rng.normal(1.0, 0.1, rows)
    other = 150 + 0.3 * labels + rng.normal(0.0, 30.0, rows)
    judged = {
        role: Judged(labels, scores, NONE, np.zeros(rows))
        for role, scores in (("candidate", own), ("reference", other))
    }
    return _comparison("regression", "float", (), judged, rng)


def curves(comparison: Comparison) -> dict[str, Any]:
    """Return what the evaluation of a comparison carries for its charts."""
    masks = comparison.table.slice_masks(comparison.holdout)
    errors = np.ones((2, len(comparison.holdout)))
    return task_curves.curves(comparison, masks, masks, errors)


def evaluation(comparison: Comparison, **changes: Any) -> EvaluationSummary:
    """Return the evaluation that is published of a comparison, without gates."""
    table = comparison.table
    masks = table.slice_masks(comparison.holdout)
    labels = comparison.judged["candidate"].labels
    version = {"model": "t", "version": "2", "digest": "sha256:2"}
    given = {
        "candidate": version,
        "reference": version,
        "names": {"candidate": "t v2", "reference": "t v1"},
        "task": table.task,
        "classes": [*table.classes],
        "counts": [int((labels == each).sum()) for each in range(len(table.classes))],
        "rows": len(labels),
        "note": "",
        "scores": [],
        "slices": [
            SliceSummary(
                name=part.name,
                metric=part.metric.title,
                candidate=EstimateSummary.of(part.candidate),
                reference=EstimateSummary.of(part.reference),
            )
            for part in slices(comparison, masks)
        ],
        "verdict": {"status": "pass", "sentence": "It passes.", "reasons": [], "gates": []},
        "curves": curves(comparison),
    }
    return EvaluationSummary(**{**given, **changes})


def _comparison(task: Any, kind: Any, classes: Any, judged: Any, rng: Any) -> Comparison:
    rows = len(judged["candidate"].labels)
    table = Table(
        "t",
        (
            Column("city", "str", categories=CITIES),
            Column("y", kind, categories=classes or None),
        ),
        task,
        "y",
        classes,
        slices=("city",),
    )
    frame = pd.DataFrame({"city": rng.choice(CITIES, rows).astype(object)})
    return Comparison(frame, table, judged, RULES, 0)
