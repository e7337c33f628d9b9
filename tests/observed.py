"""Predictions as a server logs them, and a store that is counted by other means than its own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.prediction_log.prediction import Prediction

ROOT = Path(__file__).parents[1]
CHAMPION, CANDIDATE = "sha256:champion", "sha256:candidate"
PAIR = ("fraud", "prod", CHAMPION, CANDIDATE)
START = 1_700_000_000.0


def prediction(number: int, **changed: Any) -> Prediction:
    """Return the prediction of this number: 1 s after the one before, of one row of 3 features."""
    rows = changed.get("rows", 1)
    is_error = changed.get("outcome") == "error"
    values: dict[str, Any] = {
        "id": f"request-{number}",
        "time": START + number,
        "model": "fraud",
        "environment": "prod",
        "revision": "abc",
        "champion": CHAMPION,
        "candidate": CANDIDATE,
        "weight": 10,
        "role": "champion",
        "version": "1",
        "client": f"customer-{number % 7}",
        "outcome": "ok",
        "latency_ms": 1.0,
        "rows": rows,
        "features": np.arange(rows * 3, dtype="<f8").tobytes(),
        "scores": b"" if is_error else (np.arange(rows, dtype="<f8") + number).tobytes(),
        "decisions": b"" if is_error else bytes([number % 2]) * rows,
    }
    return Prediction(**{**values, **changed})


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'observations.db'}"


def asked(folder: Path, query: str) -> Any:
    """Ask the file itself, and return the only value of the only row."""
    connection = sqlite3.connect(folder / "observations.db")
    try:
        ((value,),) = connection.execute(query).fetchall()
    finally:
        connection.close()
    return value


def check(folder: Path) -> int:
    """Check that the store is whole and counts right; return how many predictions it has."""
    assert asked(folder, "PRAGMA integrity_check") == "ok"
    assert asked(folder, "PRAGMA journal_mode") == "wal"
    predictions = asked(folder, "SELECT count(*) FROM predictions")
    pairs = [
        ("count(*) FROM predictions", "sum(requests) FROM counters"),
        ("count(*) FROM predictions WHERE outcome = 'error'", "sum(errors) FROM counters"),
        ("coalesce(sum(rows), 0) FROM predictions", "sum(rows) FROM tallies"),
        ("count(*) FROM labels", "sum(labelled) FROM tallies"),
        ("count(*) FROM labels WHERE is_conflict", "sum(conflicts) FROM tallies"),
        ("count(*) FROM labels", "count(*) FROM label_changes WHERE previous IS NULL"),
    ]
    for counted, kept in pairs:
        assert asked(folder, f"SELECT {counted}") == (asked(folder, f"SELECT {kept}") or 0), kept
    waits = "SELECT count(*) FROM waiting w JOIN predictions p ON p.id = w.prediction"
    assert asked(folder, f"{waits} AND w.row < p.rows") == 0
    return int(predictions)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start Python with this code; it has the names of this module and of the store's."""
    start = "import sys\nfrom tests.observed import *\n"
    start += "from mlops_kit.prediction_log.log import Label, Observations\n"
    words = [sys.executable, "-c", start + code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def said(process: subprocess.Popen[str], word: str) -> None:
    """Wait until a child says a word."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line == word, (line, process.communicate(timeout=30))


def ended(process: subprocess.Popen[str], given: str = "") -> str:
    """Wait until a child ends well, and return what it printed."""
    out, faults = process.communicate(given, timeout=60)
    assert process.returncode == 0, faults
    return out
