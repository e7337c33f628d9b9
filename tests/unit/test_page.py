"""The panel's page: every state in words, and hostile text as nothing but text."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from mlops_kit.jupyter.html import form, pipeline, rollout
from mlops_kit.jupyter.html.pipeline import PipelineView, StepView
from mlops_kit.jupyter.html.rollout import Watch
from mlops_kit.jupyter.metrics_view import MetricsView
from mlops_kit.jupyter.panel import evaluation as comparison
from mlops_kit.jupyter.panel import page
from mlops_kit.jupyter.panel.state import Board, Candidate, Notice, Offer, Opened, Unfolded
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.releases.ledger import Entry
from mlops_kit.reporting import markup
from mlops_kit.rollouts.evidence_history import Trail
from mlops_kit.rollouts.metrics import Metric
from mlops_kit.rollouts.state import Decision

HOSTILE = "<img src=x onerror=alert(1)>\"'`</script><b>&amp;|\n* {{x}}"
TAGS = {
    *("a", "b", "button", "caption", "circle", "code", "del", "details", "dialog", "div"),
    *(
        "figcaption",
        "figure",
        "form",
        "g",
        "h2",
        "h3",
        "iframe",
        "input",
        "ins",
        "label",
        "li",
        "line",
    ),
    *("option", "output", "p", "path", "polyline", "pre", "section", "select", "small", "span"),
    *("strong", "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "tr", "ul"),
}


class Reader(HTMLParser):
    """What a browser would make of it: tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def estimate(value: float = 0.9) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 57}


def published(text: str) -> dict[str, Any]:
    model = {
        "caught": [9, 8, 5],
        "alarms": [100, 10, 1],
        "cost": [9.0, 3.0, 20.0],
        "calibration": [[0.01, 0.02], [0.5, 0.6]],
        "positives": 10,
        "rows": 1000,
        "threshold": 0.1,
    }
    row = {"name": text, "metric": text, "candidate": estimate(), "reference": estimate(0.8)}
    gate = {"name": text, "status": "fail", "estimate": estimate(), "side": "at_least"}
    version = {"model": text, "version": text, "digest": text}
    return {
        "candidate": version,
        "reference": version,
        "names": {"candidate": text, "reference": text},
        "rows": 1000,
        "task": "binary",
        "classes": [text, text],
        "counts": [990, 10],
        "note": text,
        "scores": [{**row, "difference": estimate(0.2)}, {**row, "difference": None}],
        "slices": [
            {"name": text, "metric": text, "candidate": estimate(), "reference": estimate()}
        ],
        "verdict": {
            "status": "fail",
            "sentence": text,
            "reasons": [text],
            "gates": [{**gate, "bound": 0.95}],
        },
        "curves": {
            "thresholds": [0.01, 0.1, 1.0],
            "models": {"candidate": model, "reference": model},
        },
    }


def entry(text: str) -> Entry:
    named = {f.name: text for f in dataclasses.fields(Entry) if f.type == "str"}
    return Entry(**{**named, "when": datetime(2026, 11, 3, tzinfo=UTC), "weight": 10})


def board(text: str, **more: Any) -> Board:
    return Board(
        **{
            **{"model": text, "environment": text, "environments": (text,), "headline": text},
            **{"checked": text, "standing": "fail", "sentence": text, "next": text},
            **{"notice": Notice(text, text, fault=text), "remarks": (text,), "chosen": text},
            "change": (text, "+" + text),
            "offers": (
                Offer("promote", text, text, reason="required", shows_change=True),
                Offer("reject", text, text, why_not=text),
            ),
            "candidates": (Candidate(text, text, text), Candidate("2", "pass")),
            "evaluation": EvaluationSummary(**published(text)),
            "history": (entry(text),),
            **more,
        }
    )


METRIC = Metric("errors", 3, 812, 0.05, "<", 6.0, -1.0, (3.0, 400.0))


POINTS = ((1.0, 0.5, -0.5), None, (8.0, 9.0, 2.0))
SHOWN = MetricsView(
    (METRIC,), 0.05, ((0, 0), (9, 10)), 812, harm=2.0, trails=(Trail("errors", POINTS),)
)


def assert_harmless(found: Reader) -> None:
    """Nothing of it runs, and nothing is fetched."""
    assert {name for name, _ in found.tags} <= TAGS
    for name, attributes in found.tags:
        assert not [key for key in attributes if key.startswith("on") or "src" in key]
        if name == "iframe":
            assert attributes["sandbox"] == "", "what is shown in it can run nothing either"
    assert "alert(1)" in found.text


@pytest.mark.parametrize("evidence", [None, SHOWN, MetricsView(())])
def test_hostile_text_is_text_in_every_field(evidence: MetricsView | None) -> None:
    opened = Opened(HOSTILE, HOSTILE, (HOSTILE, "report.md"), HOSTILE)
    made = board(HOSTILE, evidence=evidence, repository_page="https://git.example/" + HOSTILE)
    assert_harmless(Reader(page.page(made, Unfolded(search=HOSTILE[:1], opened=opened))))


def test_hostile_text_is_text_in_a_watch_and_in_a_form() -> None:
    decision = Decision(
        "canary.unproved", "hold", None, "inconclusive", HOSTILE, HOSTILE, (METRIC,)
    )
    trail = Trail(HOSTILE, POINTS)
    evidence = dataclasses.replace(SHOWN, trails=(trail,))
    watch = Watch(HOSTILE, "running", "", HOSTILE, decision, evidence)
    assert_harmless(Reader(rollout.page(watch)))
    assert_harmless(Reader(form.form(HOSTILE, (), {}, others=(HOSTILE, "b"), about=HOSTILE)))


def test_the_evidence_over_time_has_a_fixed_range_and_says_what_is_a_proof() -> None:
    shown = rollout.rollout(SHOWN)
    found = Reader(shown)
    assert "20x = proved" in found.text
    assert "harm, all metrics together" in found.text
    assert "7.4x / 20x to roll back" in found.text
    (label,) = (named["aria-label"] for _, named in found.tags if "evidence over" in str(named))
    assert label == "errors: evidence over time. 8,103x for, 7.4x against; 20x for it is proof."
    # Two lines in two pieces each, as nothing was seen in between: single moments are dots.
    strip = shown.partition(label)[2].partition("</svg>")[0]
    dots = [named for name, named in Reader(strip).tags if name == "circle"]
    assert len(dots) == 4
    top = min(float(named["cy"]) for named in dots)
    axes = next(named["d"] for name, named in Reader(strip).tags if name == "path")
    assert top == float(axes.split()[1].partition("V")[0]), (
        "evidence beyond the range lies on its edge"
    )


def test_a_commit_is_linked_where_the_repository_has_a_page() -> None:
    made = board("v1", history=(dataclasses.replace(entry("a"), revision="abc", evidence=""),))
    assert "<a" not in page.page(made)
    linked = dataclasses.replace(made, repository_page="https://git.example/team/releases")
    assert 'href="https://git.example/team/releases/commit/abc"' in page.page(linked)
    assert not [named for _, named in Reader(page.page(linked)).tags if "data-revision" in named]


def test_hostile_text_is_text_in_a_pipeline() -> None:
    error = {"cell": HOSTILE, "line": 3, "reason": HOSTILE, "message": HOSTILE}
    step = StepView(HOSTILE, HOSTILE, (HOSTILE,), HOSTILE, 1, 3, 0.5, HOSTILE, error)
    step = dataclasses.replace(step, notebook=HOSTILE, reproduce=HOSTILE)
    view = PipelineView(HOSTILE, HOSTILE, "running", (step,), HOSTILE, (HOSTILE,))
    assert_harmless(Reader(pipeline.page(view)))
    assert "<img" not in pipeline.as_markdown(view)


@pytest.mark.parametrize("href", ["javascript:alert(1)", " java\nscript:x", "data:text/html,x"])
def test_a_link_leads_nowhere_else(href: str) -> None:
    assert "href" not in markup.link("look", href)
    assert 'href="evidence/x"' in markup.link("look", "evidence/x")


def test_what_is_not_possible_is_a_sentence_and_no_button() -> None:
    found = Reader(page.page(board("v1")))
    opened = [named["data-opens"] for name, named in found.tags if "data-opens" in named]
    assert opened == ["promote"]


def test_every_control_keeps_its_keys_to_itself_and_has_a_name() -> None:
    shown = page.page(board("v1", history=(entry("a"),) * 9), Unfolded(history=3))
    for name, named in Reader(shown).tags:
        if name in ("button", "input", "select", "summary", "textarea"):
            assert named.get("data-lm-suppress-shortcuts") == "true", (name, named)


def test_thousands_of_rows_stay_small_until_they_are_asked_for() -> None:
    many = board("v1", candidates=(Candidate("1", "pass"),) * 200, history=(entry("a"),) * 2000)
    assert len(page.page(many)) < 150_000
    assert "5 of 2,000 actions" in page.page(many)
    assert page.page(many, Unfolded(history=55)).count("2026-11-03") == 55


def test_the_slider_moves_every_number_that_follows_it() -> None:
    shown = comparison.evaluation(EvaluationSummary(**published("v1")))
    assert shown is not None
    followers = [named for _, named in Reader(shown).tags if "data-follows" in named]
    assert {len(json.loads(named["data-values"])) for named in followers} == {3}
    assert {named["data-sets"] for named in followers} == {"text", "cx", "transform", "x1 x2"}


def test_a_table_is_left_when_the_page_is_gone() -> None:
    done = StepView("train", "failed", (), "", 0, 0, 2.5, "no", {"cell": "fit"}, "", "mlops-kit x")
    view = PipelineView("fraud", "Failed.", "failed", (done,))
    text = pipeline.as_markdown(view)
    assert "| train | failed | 2.5 s | no |" in text
    assert "Reproduce: mlops-kit x" in text
