"""Who answers, what it says, and what is logged of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from mlops_kit.errors import RequestError
from mlops_kit.serving.predictor import Answer, LiveRelease, Predictor, Turn, answer, side, turn
from mlops_kit.serving.protocol import InferRequest, Signature
from mlops_kit.serving.rows import decode_features
from tests import mixed
from tests.failures import fails

SIGNATURE = Signature(("a", "b"))


def predictor(version: str, score: Any = lambda rows: rows[:, 0], **more: Any) -> Predictor:
    return Predictor(version, f"sha256:{version}", SIGNATURE, score, 0.5, **more)


def release(weight: int = 30, **more: Any) -> LiveRelease:
    sides = {"champion": predictor("1"), "candidate": predictor("2"), **more}
    return LiveRelease("abc", "fraud", "dev", "rollout-1", weight=weight, **sides)


def request(client: str = "c", rows: Any = ((0.5, 1.0), (0.25, 2.0))) -> InferRequest:
    return InferRequest("r-1", client, np.array(rows))


def ticking() -> Iterator[float]:
    return count(10.0, 0.25)


def answered(live: LiveRelease, asked: InferRequest, version: str = "", **more: Any) -> Answer:
    chosen = turn(live, asked, version, fresh=lambda: "somebody")
    timer = ticking()
    return answer(live, asked, chosen, clock=lambda: 1e9, timer=lambda: next(timer), **more)


def test_raising_the_weight_keeps_those_that_the_candidate_has() -> None:
    clients = [f"client-{number}" for number in range(3000)]
    before: set[str] = set()
    for weight in (0, 1, 10, 30, 50, 99, 100):
        live = release(weight)
        chosen = {client for client in clients if live.choose(client) == "candidate"}
        assert before <= chosen
        # Five standard deviations of a fair deal.
        share = weight / 100
        assert abs(len(chosen) - 3000 * share) <= 5 * (3000 * share * (1 - share)) ** 0.5
        before = chosen
    assert len(before) == 3000


def test_another_rollout_or_model_deals_the_clients_anew() -> None:
    clients = [f"client-{number}" for number in range(4000)]

    def chosen(live: LiveRelease) -> set[str]:
        return {client for client in clients if live.choose(client) == "candidate"}

    first = chosen(release(50))
    for other in (replace(release(50), rollout="rollout-2"), replace(release(50), model="other")):
        assert 800 < len(first & chosen(other)) < 1200


def test_the_split_stays_as_it_is_from_one_kit_to_the_next() -> None:
    # A change here would move every client of every running rollout.
    found = "".join(release(50).choose(f"client-{number}")[1] for number in range(16))
    assert found == "".join(
        "a"
        if int.from_bytes(
            hashlib.blake2b(f"fraud\0rollout-1\0client-{n}".encode(), digest_size=8).digest()
        )
        / 2**64
        < 0.5
        else "h"
        for n in range(16)
    )
    assert set(found) == {"a", "h"}


def test_without_a_candidate_or_weight_the_champion_answers_all() -> None:
    assert release(0).choose("c") == "champion"
    assert replace(release(0), candidate=None).choose("c") == "champion"


def test_after_completion_one_version_answers_in_both_roles() -> None:
    live = release(50, champion=predictor("2"))
    roles = {answered(live, request(str(number))).role for number in range(50)}
    assert roles == {"champion", "candidate"}
    assert live.versions == ("2",)


def test_a_request_without_a_client_goes_by_a_fresh_id() -> None:
    live = release(50)
    fresh = count()
    asked = request(client="")
    found = {turn(live, asked, "", fresh=lambda: str(next(fresh))).role for _ in range(50)}
    assert found == {"champion", "candidate"}


def test_an_answer_has_scores_and_decisions_and_its_prediction() -> None:
    live = release(100)
    asked = request()
    found = answered(live, asked)
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.decisions.tolist() == [1, 0]
    assert (found.version, found.role, found.fault) == ("2", "candidate", None)
    logged = found.prediction
    assert logged is not None
    assert (logged.id, logged.client, logged.rows, logged.outcome) == ("r-1", "c", 2, "ok")
    assert (logged.revision, logged.model, logged.environment) == ("abc", "fraud", "dev")
    assert (logged.champion, logged.candidate, logged.weight) == ("sha256:1", "sha256:2", 100)
    assert (logged.version, logged.role, logged.digest) == ("2", "candidate", "sha256:2")
    assert (logged.time, logged.latency_ms) == (1e9, 250.0)
    assert np.frombuffer(logged.features).reshape(2, 2).tolist() == asked.rows.tolist()
    assert np.frombuffer(logged.scores).tolist() == [0.5, 0.25]
    assert list(logged.decisions) == [1, 0]


def test_features_may_be_logged_by_their_digest_alone() -> None:
    logged = answered(release(), request(), log_features="digest").prediction
    assert logged is not None
    assert logged.features == b""
    assert logged.features_digest == hashlib.sha256(request().rows.tobytes()).hexdigest()


@pytest.mark.parametrize(
    "score",
    [
        lambda rows: 1 / 0,
        lambda rows: np.full(len(rows), np.nan),
        lambda rows: np.full(len(rows), np.inf),
        lambda rows: rows,
        lambda rows: np.zeros(len(rows) + 1),
        lambda rows: None,
    ],
)
def test_a_model_that_gives_no_scores_is_an_error_that_is_logged(score: Any) -> None:
    found = answered(release(100, candidate=predictor("2", score)), request())
    assert found.fault is not None
    logged = found.prediction
    assert logged is not None
    assert (logged.outcome, logged.rows, logged.latency_ms) == ("error", 2, 250.0)
    assert (logged.scores, logged.decisions) == (b"", b"")
    assert logged.features


def test_a_version_that_the_client_names_answers_and_is_not_logged() -> None:
    live = release(0)
    for version, role in (("1", "champion"), ("2", "candidate")):
        found = answered(live, request(), version)
        assert (found.version, found.role, found.prediction) == (version, role, None)
    with fails("serving.request", "'9'", *live.versions) as caught:
        side(live, "9")
    assert isinstance(caught.value, RequestError)
    assert caught.value.status == 404


def test_only_few_rows_of_a_fast_predictor_are_quick() -> None:
    fast = predictor("1", is_fast=True)
    assert fast.is_quick(1)
    assert fast.is_quick(100)
    assert not fast.is_quick(10_000)
    assert not predictor("1").is_quick(1)


def test_sides_that_take_other_features_are_no_release() -> None:
    other = replace(predictor("2"), signature=Signature(("a", "c")))
    with fails("serving", "2"):
        release(candidate=other)


def test_a_turn_says_whether_the_weight_decided() -> None:
    chosen = turn(release(), request(), "2", fresh=str)
    assert isinstance(chosen, Turn)
    assert not chosen.is_split
    assert turn(release(), request(), "", fresh=str).is_split


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_rows_of_a_mixed_table_are_logged_as_a_line_of_json_each(task: str) -> None:
    table = mixed.table(task)
    signature = Signature(tuple(table.feature_names), table)
    scores = {
        "binary": np.array([0.25, 0.5]),
        "multiclass": np.array([[0.5, 0.25, 0.25], [0.0, 0.25, 0.75]]),
        "regression": np.array([-1.5, 7.0]),
    }[task]
    champion = Predictor("1", "sha256:1", signature, lambda rows: scores)
    live = LiveRelease("abc", "m", "dev", "rollout-1", champion)
    sent = mixed.rows(2)
    rows = np.empty((2, len(signature.features)), dtype=object)
    rows[0], rows[1] = sent
    found = answered(live, InferRequest("r-1", "c", rows))
    logged = found.prediction
    assert logged is not None
    assert (logged.encoding, logged.rows) == ("json", 2)
    assert decode_features(table, logged.encoding, logged.features, 2).tolist() == sent
    assert np.array_equal(np.frombuffer(logged.scores).reshape(scores.shape), scores)
    decisions = {"binary": [0, 1], "multiclass": [0, 2], "regression": []}[task]
    assert found.decisions.tolist() == list(logged.decisions) == decisions


def test_sides_that_predict_something_else_are_no_release() -> None:
    def side(table: Any) -> Predictor:
        signature = Signature(tuple(table.feature_names), table)
        return Predictor("1", "sha256:1", signature, lambda rows: rows[:, 0])

    table = mixed.table()
    others = (
        mixed.table("regression"),
        replace(table, classes=("leaves", "stays")),
        mixed.table(columns=[replace(mixed.COLUMNS[0], kind="category"), *mixed.COLUMNS[1:]]),
        mixed.table(columns=mixed.COLUMNS[1:]),
    )
    for other in others:
        with fails("serving", "1"):
            LiveRelease("abc", "m", "dev", "r", side(table), side(other))
    # New categories and ranges are why a model is trained anew.
    wider = mixed.table(columns=[replace(mixed.COLUMNS[0], categories=()), *mixed.COLUMNS[1:]])
    assert LiveRelease("abc", "m", "dev", "r", side(table), side(wider)).candidate is not None
