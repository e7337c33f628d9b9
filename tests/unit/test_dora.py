"""The four keys, on histories whose exact values are known."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.releases import dora, ledger
from mlops_kit.releases.dora import TARGETS, Dora, Keys
from mlops_kit.releases.ledger import Commit, Entry

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def act(minutes: float, action: str, version: str, **said: Any) -> Commit:
    """Make a commit; 'start' is the promotion of a candidate."""
    crowned = version if action in ("promote", "complete", "rollback") else "1"
    fields = {
        "action": "promote" if action == "start" else action,
        "model": "fraud",
        "environment": "prod",
        "version": version,
        "digest": f"sha256:{version}",
        "champion": crowned,
        "rollout": "" if action == "rollback" else f"fraud-{version}",
        **said,
    }
    for name in ("live_at", "committed_at", "started_at"):
        if isinstance(fields.get(name), (int, float)):
            fields[name] = at(fields[name]).isoformat()
    trailers = {ledger.TRAILERS[name]: str(text) for name, text in fields.items()}
    return Commit(f"{int(minutes * 60):040}", at(minutes), "kit", f"{action} {version}", trailers)


def found(*commits: Commit, **options: Any) -> Dora:
    return dora.keys(ledger.history(reversed(commits)), **options)


def of(*commits: Commit, **options: Any) -> Keys:
    return found(*commits, **options).of("fraud", "prod")


def test_forty_promotions_in_two_days_give_the_exact_keys() -> None:
    """The history of rollout.md, section 6."""
    step = 2 * 24 * 60 / 40
    commits = [
        act(step * number, "promote", str(number), committed_at=step * number - 13)
        for number in range(40)
    ]
    commits.insert(21, act(20 * step + 4, "rollback", "19", rolled_back="sha256:20"))
    commits.append(Commit("f" * 40, at(2879), "ana <a@b>", "Promote fraud 99", {}))
    told = found(*commits, now=at(2880), window=2.0)
    keys = told.of("fraud", "prod")
    assert (keys.deployments, keys.per_day) == (40, 20.0)
    assert (keys.lead_time, keys.restore_time) == (13 * 60, 4 * 60)
    assert (keys.failure_rate, keys.rework_rate) == (1 / 40, 1 / 41)
    assert [entry.revision for entry in told.untold] == ["f" * 40]
    assert [target.met(keys) for target in TARGETS] == [True] * 4


def test_a_rollout_is_one_deployment_that_is_live_when_the_next_commit_saw_it() -> None:
    keys = of(
        act(0, "promote", "1"),
        act(100, "start", "2", committed_at=95, weight=0),
        *(act(100 + weight / 10, "shift", "2", weight=weight) for weight in range(10, 60, 10)),
        act(107, "complete", "2"),
        act(109, "shift", "2", live_at=108, champion="2"),
        act(110, "retire", "2", live_at=109.5, champion="2"),
    )
    assert (keys.deployments, keys.rollouts, keys.aborts) == (2, 1, 0)
    assert keys.lead_times == (13 * 60.0,)
    assert (keys.failures, keys.returns, keys.restore_time) == (0, 0, None)


@pytest.mark.parametrize(
    "live_at", ["", "soon", 50, 130, "2026-13-01", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_can_not_be_is_not_believed(live_at: Any) -> None:
    completed = act(107, "complete", "2", committed_at=100)
    keys = of(completed, act(109, "shift", "2", live_at=live_at))
    assert keys.lead_times == (7 * 60.0,)


def test_a_completed_release_that_is_rolled_back_is_a_failure() -> None:
    keys = of(
        act(0, "promote", "1"),
        act(10, "start", "2"),
        act(20, "complete", "2"),
        act(22, "shift", "2", live_at=21),
        act(23, "retire", "2"),
        act(30, "rollback", "1", rolled_back="sha256:2"),
    )
    assert (keys.deployments, keys.failures, keys.returns) == (2, 1, 1)
    assert keys.restore_times == (9 * 60.0,)


def test_a_failure_that_began_later_is_restored_since_then() -> None:
    back = act(300, "rollback", "1", rolled_back="sha256:2", started_at=296)
    assert of(act(0, "promote", "1"), act(20, "promote", "2"), back).restore_time == 4 * 60


def test_a_rollback_over_several_versions_is_one_failure() -> None:
    commits = [act(number, "promote", str(number)) for number in range(1, 5)]
    keys = of(*commits, act(10, "rollback", "1", rolled_back="sha256:4"))
    assert (keys.deployments, keys.failures, keys.failure_rate) == (4, 1, 0.25)


def test_going_back_from_one_deployment_twice_is_one_failure_and_two_returns() -> None:
    keys = of(
        act(1, "promote", "1"),
        act(2, "promote", "2"),
        act(3, "rollback", "1", rolled_back="sha256:2"),
        act(4, "rollback", "2", rolled_back="sha256:1"),
        act(5, "rollback", "1", rolled_back="sha256:2"),
    )
    assert (keys.deployments, keys.failures, keys.returns) == (2, 2, 3)
    assert keys.rework_rate == 3 / 5


def test_a_version_deployed_again_is_a_deployment_of_its_own() -> None:
    keys = of(
        act(1, "promote", "1"),
        act(2, "promote", "2"),
        act(3, "rollback", "1", rolled_back="sha256:2"),
        act(4, "promote", "2", override="ana"),
    )
    assert (keys.deployments, keys.failures) == (3, 1)


def test_an_older_rollback_names_only_the_version_that_it_left() -> None:
    keys = of(act(1, "promote", "1"), act(2, "promote", "2"), act(3, "rollback", "1", origin="2"))
    assert (keys.failures, keys.restore_time) == (1, 60.0)


def test_aborts_are_no_failures_and_stand_apart() -> None:
    keys = of(
        act(0, "promote", "1"),
        act(10, "start", "2"),
        act(13, "abort", "2", verdict="fail"),
        act(20, "start", "3"),
        act(25, "abort", "3", verdict="inconclusive"),
        act(30, "start", "4"),
        act(40, "complete", "4"),
        act(50, "start", "5"),
    )
    assert (keys.deployments, keys.failures, keys.failure_rate) == (2, 0, 0.0)
    assert (keys.rollouts, keys.aborts, keys.refuted, keys.abort_rate) == (4, 2, 1, 0.5)
    assert keys.abort_time == 4 * 60


def test_a_revert_by_hand_is_a_rollback_of_what_it_reverts() -> None:
    promoted = act(10, "promote", "2")
    revert = Commit("e" * 40, at(14), "ana <a@b>", 'Revert "promote 2"', {}, promoted.revision)
    told = found(act(0, "promote", "1"), promoted, revert)
    keys = told.of("fraud", "prod")
    assert (keys.failures, keys.returns, keys.restore_time) == (1, 1, 4 * 60)
    assert told.untold == ()


@pytest.mark.parametrize("reverted", ["d" * 40, f"{10 * 60:040}"])
def test_a_revert_of_something_else_is_listed_and_not_guessed(reverted: str) -> None:
    revert = Commit("e" * 40, at(14), "ana <a@b>", 'Revert "x"', {}, reverted)
    told = found(act(0, "promote", "1"), act(10, "shift", "2"), revert)
    assert [entry.revision for entry in told.untold] == ["e" * 40]
    assert told.of("fraud", "prod").failures == 0
    assert "e" * 10 in told.lines[-1]


def test_models_and_environments_stand_apart_and_the_seed_counts_nowhere() -> None:
    seed = Commit("0" * 40, at(0), "kit", "Start", {"Mlops-Action": "create"})
    told = found(
        seed,
        act(1, "promote", "1"),
        act(2, "promote", "1", environment="dev"),
        act(3, "promote", "1", model="churn"),
        act(4, "promote", "2", model="churn"),
        act(5, "rollback", "1", rolled_back="sha256:2", model="churn"),
    )
    counts = {(each.model, each.environment): each.deployments for each in told.keys}
    assert counts == {("fraud", "prod"): 1, ("fraud", "dev"): 1, ("churn", "prod"): 2}
    assert [each.failures for each in told.keys] == [0, 0, 1]
    assert told.untold == ()


def test_only_the_window_counts() -> None:
    day = 24 * 60
    commits = [act(day * number, "promote", str(number)) for number in range(10)]
    commits.append(act(day * 9 + 1, "rollback", "8", rolled_back="sha256:9"))
    keys = of(*commits, now=at(day * 9 + 60), window=3.0)
    assert (keys.deployments, keys.per_day, keys.failures, keys.returns) == (3, 1.0, 1, 1)
    assert of(*commits, now=at(day * 5), window=1.0).deployments == 2
    assert of(*commits).days == pytest.approx(9 + 1 / day)


def test_less_than_a_day_counts_as_a_day() -> None:
    keys = of(*(act(minutes, "promote", str(minutes)) for minutes in range(12)))
    assert (keys.days, keys.per_day) == (1.0, 12.0)


@pytest.mark.parametrize("window", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_window_that_is_none_is_refused(window: float) -> None:
    with pytest.raises(ValueError, match="window"):
        found(act(0, "promote", "1"), window=window)


def test_a_clock_that_jumped_back_makes_no_negative_time() -> None:
    keys = of(
        act(100, "promote", "1", committed_at=120),
        act(90, "promote", "2", committed_at=80),
        act(50, "rollback", "1", rolled_back="sha256:2"),
    )
    assert (keys.lead_times, keys.restore_times, keys.failures) == ((600.0,), (), 1)


def test_nothing_released_says_so() -> None:
    assert found().lines == ["No model was released yet."]
    assert found()._repr_markdown_().strip() == "No model was released yet."
    assert found().of("fraud", "prod").per_day == 0


def test_the_table_says_target_value_and_whether_it_is_met() -> None:
    told = found(
        act(0, "promote", "1", committed_at=-20),
        act(10, "promote", "2"),
        act(14, "rollback", "1", rolled_back="sha256:2"),
    )
    rows = {row[0]: row[1:] for row in dora.rows(told.keys[0])}
    assert rows["deployments a day"] == ("> 10", "2", "no", "2 deployments in 1 d")
    assert rows["lead time for changes"] == ("< 15 min", "20 min", "no", "1 of 2 deployments")
    assert rows["time to restore"] == ("< 5 min", "4 min", "yes", "1 of 1 return")
    assert rows["change failure rate"] == ("< 5 %", "50 %", "no", "1 of 2 deployments")
    assert rows["canary abort rate"] == ("", "–", "", "0 of 0 rollouts, 0 by a verdict")
    assert told.lines[0] == "fraud in prod"
    assert "| time to restore | < 5 min | 4 min | yes | 1 of 1 return |" in told._repr_markdown_()


def test_a_hostile_name_stays_a_name_in_the_table() -> None:
    told = found(act(0, "promote", "1", model="<img src=x>|[a](javascript:b)*`"))
    shown = told._repr_markdown_()
    assert not set("<>[]`") & set(shown.replace("> 10", "").replace("< ", ""))
    assert shown.splitlines()[0].count("|") == 0


ACTIONS = ("promote", "start", "shift", "complete", "retire", "abort", "rollback", "revert", "none")
steps = st.tuples(
    st.sampled_from(ACTIONS),
    st.integers(1, 4).map(str),
    st.integers(-30, 90),
    st.sampled_from(["fail", "inconclusive", "pass", "nonsense"]),
)


def told_by(drawn: list[tuple[str, str, int, str]]) -> list[Commit]:
    commits: list[Commit] = []
    minutes = 0
    for number, (action, version, pause, verdict) in enumerate(drawn):
        minutes += pause
        if action in ("revert", "none"):
            of = commits[number // 2].revision if commits and action == "revert" else ""
            commits.append(Commit(f"{number:040}", at(minutes), "ana", action, {}, of))
            continue
        said = {"verdict": verdict, "live_at": minutes - 1, "committed_at": minutes - pause}
        said["rolled_back"] = f"sha256:{int(version) % 4 + 1}"
        made = act(minutes, action, version, **said)
        commits.append(dataclasses.replace(made, revision=f"{number:040}"))
    return commits


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(steps, max_size=30), st.none() | st.floats(0.001, 10))
def test_whatever_the_history_the_counts_agree(
    drawn: list[tuple[str, str, int, str]], window: float | None
) -> None:
    commits = told_by(drawn)
    told = found(*commits, window=window)
    assert len(told.untold) <= sum(not commit.trailers for commit in commits)
    for keys in told.keys:
        assert 0 <= keys.failures <= keys.deployments <= len(commits)
        assert keys.refuted <= keys.aborts
        assert len(keys.lead_times) <= keys.deployments
        assert len(keys.restore_times) <= keys.returns
        assert len(keys.abort_times) <= keys.aborts
        assert all(time >= 0 for time in keys.lead_times + keys.restore_times + keys.abort_times)
        assert keys.days > 0
        assert 0 <= (keys.failure_rate or 0) <= 1
        assert 0 <= (keys.rework_rate or 0) <= 1
        if window is None:
            made = [c for c in commits if c.trailers and ledger.history([c])[0].deploys]
            assert keys.deployments == len(made)
    assert all(isinstance(line, str) for line in told.lines)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(steps, max_size=20))
def test_another_model_changes_nothing_of_this_one(
    drawn: list[tuple[str, str, int, str]],
) -> None:
    commits = [each for each in told_by(drawn) if each.trailers]
    moved = [
        dataclasses.replace(
            each, revision=f"a{each.revision[1:]}", trailers={**each.trailers, "Mlops-Model": "b"}
        )
        for each in commits
    ]
    mixed = [each for pair in zip(moved, commits, strict=True) for each in pair]
    assert of(*mixed) == of(*commits)


def test_an_entry_read_from_a_commit_is_a_whole_entry() -> None:
    (entry,) = ledger.history([act(0, "promote", "1")])
    assert Entry(
        **{each.name: getattr(entry, each.name) for each in dataclasses.fields(Entry)}
    ) == (entry)
