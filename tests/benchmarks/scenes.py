"""A large board: 200 candidates, 2,000 acts, an evaluation of 100,000 rows."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np

from mlops_kit.models import operating
from mlops_kit.models.intervals import Judged
from mlops_kit.releases.ledger import Entry
from mlops_kit.views.board import Board, Candidate, Offer

ROWS = 100_000


def board() -> Board:
    """Return it; the same each time."""
    random = np.random.default_rng(7)
    labels = (random.random(ROWS) < 0.005).astype(int)
    judged = {}
    for role, shift in (("candidate", 6.0), ("reference", 5.0)):
        scores = 1 / (1 + np.exp(6 - shift * labels - random.normal(size=ROWS)))
        judged[role] = Judged(scores, scores > 0.2)
    costs = np.vstack([np.full(ROWS, 120.0), np.full(ROWS, 5.0)])
    number = {"value": 0.9, "low": 0.85, "high": 0.95, "n": 500}
    row = {"metric": "recall", "candidate": number, "reference": number, "difference": number}
    gate = {"name": "recall", "status": "pass", "estimate": number, "side": "at_least"}
    part = {"candidate": number, "reference": number}
    named = {f.name: "text" for f in dataclasses.fields(Entry) if f.type == "str"}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [
        Entry(**{**named, "when": start - timedelta(hours=i), "weight": 10}) for i in range(2_000)
    ]
    return Board(
        model="fraud",
        environment="prod",
        environments=("dev", "prod"),
        headline="champion v12",
        checked="0",
        standing="pass",
        sentence="v13 passes all 16 gates.",
        offers=(Offer("promote", "Promote v13 to prod", "It is replayed.", "", "required", True),),
        candidates=tuple(Candidate(str(i), "pass") for i in range(200)),
        chosen="13",
        evaluation={
            "names": {"candidate": "fraud v13", "reference": "fraud v12"},
            "rows": ROWS,
            "frauds": int(labels.sum()),
            "note": "",
            "scores": [row] * 6,
            "slices": [{"name": f"slice {i}", **part} for i in range(9)],
            "verdict": {
                "status": "pass",
                "sentence": "v13 passes all 16 gates.",
                "reasons": [],
                "gates": [{**gate, "bound": 0.7}] * 16,
            },
            "curves": operating.curves(labels, judged, costs),
        },
        change=("--- a", "+++ b", "-  version: '12'", "+  version: '13'"),
        history=tuple(entries),
    )
