"""A report says what was decided and on which numbers, in the words of the verdict."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mlops_kit.formatting import number
from mlops_kit.models import evaluation_summary
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.reporting import reports
from mlops_kit.reporting.reports import Report


def estimate(value: float | None, low: float | None, high: float | None, n: int = 60) -> Any:
    return {"value": value, "low": low, "high": high, "n": n}


GATES = [
    {
        "name": "recall",
        "estimate": estimate(0.8, 0.71, 0.9),
        "side": "at_least",
        "bound": 0.7,
        "status": "pass",
    },
    {
        "name": "cost per 1,000 against fraud v1",
        "estimate": estimate(-120.4, -200.0, -10.0),
        "side": "at_most",
        "bound": 10.0,
        "status": "pass",
    },
]
EVALUATION: dict[str, Any] = {
    "candidate": {"model": "fraud", "version": "2", "digest": "sha256:2"},
    "reference": {"model": "fraud", "version": "1", "digest": "sha256:1"},
    "names": {"candidate": "fraud v2", "reference": "fraud v1"},
    "rows": 12_000,
    "task": "binary",
    "classes": ["0", "1"],
    "counts": [11_940, 60],
    "note": "Split by time within each class.",
    "scores": [
        {
            "name": "recall",
            "metric": "recall",
            "candidate": estimate(0.8, 0.71, 0.9),
            "reference": estimate(0.7, 0.6, 0.8),
            "difference": estimate(0.1, 0.02, 0.2),
        },
        {
            "name": "latency_ms",
            "metric": "latency of one row, median in ms",
            "candidate": estimate(3.0, 2.9, 3.1),
            "reference": estimate(None, None, None),
            "difference": None,
        },
    ],
    "slices": [
        {
            "name": "amount 0 to 10",
            "metric": "recall",
            "candidate": estimate(0.5, 0.2, 0.8, 12),
            "reference": estimate(0.4, 0.1, 0.7, 12),
        }
    ],
    "verdict": {
        "status": "pass",
        "sentence": "fraud v2 passes all 2 gates.",
        "reasons": ["recall is 0.8.", "cost is -120."],
        "gates": GATES,
    },
}
ABOUT = {"model": "fraud v2 sha256:12ab", "execution": "fraud-training-1"}


def report(**changes: Any) -> Report:
    return Report(EvaluationSummary(**{**copy.deepcopy(EVALUATION), **changes}), "prod", ABOUT)


def test_the_report_holds_sentence_reasons_scores_slices_and_what_it_rests_on() -> None:
    text = report().markdown()
    assert text.startswith("# fraud v2 to prod: PASS\n")
    for said in (
        "fraud v2 passes all 2 gates.",
        "- recall is 0.8.",
        "12,000 rows, 60 positive",
        "0.8 (0.71 to 0.9)",
        "0.1 (0.02 to 0.2)",
        "≥ 0.7",
        "≤ 10",
        "-120 (-200 to -10)",
        "amount 0 to 10",
        "sha256:12ab",
        "fraud-training-1",
        "Split by time within each class.",
        "(gates.svg)",
    ):
        assert said in text, said


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    assert report().files() == report().files()
    stored = json.loads(json.dumps(report().evaluation.data()))
    assert Report(evaluation_summary.read(stored, "x"), "prod", ABOUT).files() == report().files()


def test_what_has_no_value_is_a_dash_and_never_nan() -> None:
    text = report().markdown()
    assert "– (– to –)" in text
    assert "nan" not in text.lower().replace("evidence", "")
    assert "None" not in text


def test_the_picture_is_sound_also_where_a_gate_has_no_value() -> None:
    unknown = {**GATES[0], "estimate": estimate(None, None, None), "status": "inconclusive"}
    changed = {**EVALUATION["verdict"], "gates": [unknown, *GATES]}
    picture = report(verdict=changed).files()["gates.svg"]
    assert ElementTree.fromstring(picture).tag.endswith("svg")


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "![x](https://example.org/a.png)", "a | b", "a\n# b", "`x`"],
)
def test_names_from_outside_are_escaped_everywhere(hostile: str) -> None:
    changed = copy.deepcopy(EVALUATION)
    changed["names"] = {"candidate": f"{hostile} v2", "reference": hostile}
    changed["note"] = hostile
    changed["slices"][0]["name"] = hostile
    changed["verdict"]["reasons"] = [hostile]
    changed["verdict"]["sentence"] = hostile
    changed["verdict"]["gates"] = [{**GATES[0], "name": hostile}]
    found = EvaluationSummary(**changed)
    text = Report(found, "prod", {**ABOUT, "code": hostile}).markdown()
    assert "<script" not in text
    assert "](https://example.org" not in text.replace("\\]", "")
    assert "\n# b" not in text
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 2
    rows = [line for line in text.splitlines() if line.startswith("|") and "b" in line]
    assert all(line.count("|") - line.count("\\|") in (3, 5, 6) for line in rows if "a \\|" in line)


def test_a_notebook_shows_the_report_without_a_picture_that_is_not_there() -> None:
    shown = report()._repr_markdown_()
    assert "gates.svg" not in shown
    assert "fraud v2 passes all 2 gates." in shown


def write_notebook(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    said = {"output_type": "stream", "name": "stdout", "text": text}
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "a", "execution_count": 1}
    content = {"cells": [{**cell, "outputs": [said]}], "metadata": {}, "nbformat": 4}
    (folder / "train.ipynb").write_text(json.dumps({**content, "nbformat_minor": 5}))
    return folder / "train.ipynb"


def test_evidence_names_a_notebook_after_its_step_and_hides_the_machine(tmp_path: Path) -> None:
    notebooks = [
        write_notebook(tmp_path / "executions" / step, f"saved {tmp_path}/a\n")
        for step in ("train-baseline", "train-candidate")
    ]
    files = reports.evidence(notebooks, report(), tmp_path)
    assert set(files) == {
        "report.md",
        "gates.svg",
        "train-baseline.ipynb",
        "train-candidate.ipynb",
    }
    assert all(str(tmp_path).encode() not in content for content in files.values())
    assert b"saved" in files["train-baseline.ipynb"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.12345, "0.123"),
        (12345.6, "12,346"),
        (99.99, "100"),
        (-1234.5, "-1,234"),
    ],
)
def test_a_number_has_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown
