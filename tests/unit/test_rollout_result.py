from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from mlops_kit.releases.ledger import Entry
from mlops_kit.rollouts.metrics import Metric
from mlops_kit.rollouts.result import Outcome, PollRecord, Watched
from mlops_kit.rollouts.state import Decision
from tests.unit.test_timeline import PATH, START, entry

ERRORS = Metric("errors", 3, 812, 0.05, "<", 4.0, -2.0, (3, 812), (9, 900))
RECALL = Metric("recall", 180, 200, 0.7, ">", 2.0, -1.0, (180, 200))
LATE = replace(RECALL, name="live recall", needed=False)
UNSEEN = Metric("slow", 0, 0, 0.01, "<", 0.0, 0.0, (0, 0))


def look(second: float, weight: int, *metrics: Metric, **changed: Any) -> PollRecord:
    decision = Decision(
        "canary.unproved", "hold", None, "inconclusive", "It is watched.", "Again.", metrics
    )
    return PollRecord(START + second, weight, decision, **changed)


LOOKS = (
    look(10, 0, RECALL, UNSEEN),
    look(20, 10, RECALL, ERRORS, requests=812, champion_requests=900),
    look(30, 50, RECALL, ERRORS, requests=2_000),
    look(40, 0, LATE),
)


def watched(
    outcome: Outcome = "completed",
    entries: tuple[Entry, ...] = (),
    looks: tuple[PollRecord, ...] = LOOKS,
) -> Watched:
    mine = entries or tuple(PATH[:0:-1])
    return Watched("fraud", "prod", "two", outcome, "2", mine, looks, alpha=0.05)


def ended(action: str, verdict: str) -> tuple[Entry, ...]:
    last = entry(35, action, "1" if action == "rollback" else "2", verdict=verdict)
    return (replace(last, why="It is bad: because."), *PATH[3:0:-1])


def test_a_look_says_the_decision_then_each_metric_then_what_comes_next() -> None:
    lines = LOOKS[1].lines
    assert lines[0] == " 10 %  It is watched. [812 requests, champion 900]"
    assert "recall 180 of 200" in lines[1]
    assert "errors 3 of 812" in lines[2]
    assert "harm, all metrics together" in lines[3]
    assert lines[-1].strip() == "Again."


def test_what_was_not_seen_takes_no_line() -> None:
    assert not any("slow" in line for line in LOOKS[0].lines)
    assert look(0, 0, UNSEEN).lines == ["  0 %  It is watched.", "       Again."]


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (watched("completed"), "pass"),
        (watched("serving"), "pass"),
        (watched("rolled back", ended("rollback", "fail")), "fail"),
        (watched("aborted", ended("abort", "fail")), "fail"),
        (watched("aborted", ended("abort", "inconclusive")), "inconclusive"),
        (watched("aborted", ended("abort", "")), "inconclusive"),
        (watched("running"), "inconclusive"),
        (watched("superseded"), "inconclusive"),
    ],
)
def test_the_verdict_follows_the_end(seen: Watched, verdict: str) -> None:
    assert seen.verdict == verdict


def test_the_sentence_has_the_reason_of_the_act_that_ended_it() -> None:
    seen = watched("aborted", ended("abort", "fail"))
    assert seen.sentence == "It is bad: because. fraud 2 serves prod."
    assert watched("superseded").sentence.startswith("Another rollout took this one's place.")
    assert replace(watched("running"), champion="").sentence == "No version of fraud serves prod."


def test_the_path_by_weight_ends_with_all_or_nothing() -> None:
    assert watched().weights == (0, 10, 50, 100)
    assert watched("aborted", ended("abort", "fail")).weights == (0, 10, 50, 0)
    assert replace(watched(), entries=()).weights == ()


def test_a_weight_that_was_taken_away_and_given_back_shows_in_the_path() -> None:
    again = (entry(39, "shift", weight=10), entry(35, "shift"), *PATH[3:0:-1])
    assert watched("running", again).weights == (0, 10, 50, 0, 10)


def test_the_summary_is_plain_data() -> None:
    summary = json.loads(json.dumps(watched().summary()))
    assert (summary["outcome"], summary["verdict"]) == ("completed", "pass")
    assert summary["weights"] == [0, 10, 50, 100]
    assert summary["requests"] == 2_000
    assert summary["decision"] == {
        "code": "canary.unproved",
        "act": "hold",
        "verdict": "inconclusive",
        "sentence": "It is watched.",
        "next": "Again.",
    }
    assert watched(looks=()).summary()["decision"] is None
    acts = [step["act"] for step in summary["steps"]]
    assert acts == ["promote", "shift", "shift", "complete", "shift", "retire"]


def test_the_evidence_is_that_of_the_last_look_at_the_candidate() -> None:
    table = watched().evidence._repr_markdown_()
    assert "errors" in table
    assert "live recall" not in table
    assert "3 of 812" in table
    assert "NOT YET" in table  # recall: e^2 is less than 20
    assert "PROVED" in table.replace("NOT YET", "")


def test_the_record_has_a_row_an_act_oldest_first() -> None:
    rows = watched().record._repr_markdown_().splitlines()[2:]
    assert ["promote" in rows[0], "retire" in rows[-1]] == [True, True]
    assert len(rows) == 6


def test_text_from_a_commit_can_t_break_the_record() -> None:
    bad = (replace(PATH[1], why="a | b <script>x</script>\nc"),)
    shown = watched("running", bad).record._repr_markdown_()
    assert len(shown.splitlines()) == 3
    assert "<script>" not in shown


def test_the_chart_has_a_line_a_metric_and_the_weight() -> None:
    chart = watched().chart()
    assert [series.name for series in chart.series] == [
        *("recall", "slow", "errors", "proved from here", "weight, 1 is all")
    ]
    assert chart.series[-1].y == (0.0, 0.1, 0.5)
    assert chart.series[0].x == (0.0, 10.0, 20.0)


@pytest.mark.parametrize("log_for", [-inf, -1e9, 1e9, inf])
def test_evidence_without_bounds_is_drawn_at_the_edge(log_for: float) -> None:
    extreme = replace(ERRORS, log_for=log_for)
    (series, *_) = watched(looks=(look(0, 10, extreme),)).chart().series
    assert -2 < series.y[0] < 6


def test_a_watch_that_saw_nothing_still_shows() -> None:
    empty = watched("running", (entry(10, "promote"),), ())
    assert "RUNNING" in empty._repr_markdown_()
    assert empty.exposed == 0
    assert empty.evidence.metrics == ()
    assert empty.chart().series[0].x == ()
