from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlops_kit.releases.ledger import Entry
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.rollouts.timeline import Outcome, Timeline, course, of, outcome

START = 1_000_000
ONE, TWO = (ServedModel(v, f"models:/fraud/{v}", f"sha256:{v}") for v in "12")


def entry(second: int, action: str, version: str = "2", **changed: Any) -> Entry:
    champion = version if action in ("complete", "rollback", "retire") else "1"
    values: dict[str, Any] = {
        "champion": champion,
        "weight": 0,
        "rollout": "two",
        **changed,
    }
    return Entry(
        when=datetime.fromtimestamp(START + second, UTC),
        revision=f"r{second}",
        subject=action,
        action=action,
        model="fraud",
        environment="prod",
        version=version,
        digest=f"sha256:{version}",
        origin="1",
        who="ana",
        why="",
        run="run",
        evidence="",
        **values,
    )


FIRST = entry(0, "promote", "1", rollout="one")
# Oldest first; each prefix is a state on the way.
PATH = [
    FIRST,
    entry(10, "promote"),
    entry(20, "shift", weight=10),
    entry(30, "shift", weight=50),
    entry(40, "complete", weight=50),
    entry(41, "shift", champion="2"),
    entry(42, "retire"),
]
RUNNING = Release("fraud", "prod", champion=ONE, candidate=TWO, rollout="two")
ALONE = Release("fraud", "prod", champion=TWO)


def so_far(count: int, *more: Entry) -> list[Entry]:
    """Return the newest first."""
    return [*PATH[:count], *more][::-1]


def at(
    started: int, since: int, shifted: int | None = None, completed: int | None = None
) -> Timeline:
    times = (started, since, shifted, completed)
    return Timeline(*(None if time is None else START + time for time in times))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "release", "expected"),
    [
        (1, Release("fraud", "prod", champion=ONE), at(0, 0)),
        (2, RUNNING, at(10, 10)),
        (3, RUNNING, at(10, 20, 20)),
        (4, RUNNING, at(10, 30, 20)),
        (5, RUNNING, at(10, 40, 20, 40)),
        (7, ALONE, at(10, 42, 20, 40)),
    ],
)
def test_the_course_is_read_from_the_commits_alone(
    count: int, release: Release, expected: Timeline
) -> None:
    assert course(so_far(count), release) == expected


def test_an_environment_without_a_commit_has_no_course() -> None:
    assert course([], Release("", "prod")) == Timeline(0.0, 0.0)


def test_a_rollback_ends_what_was_completed() -> None:
    back = entry(50, "rollback", "1", rolled_back="sha256:2", rollout="")
    assert course(so_far(7, back), Release("fraud", "prod", champion=ONE)).completed is None


def test_a_new_rollout_has_a_course_of_its_own() -> None:
    third = entry(60, "promote", "3", champion="2", rollout="three")
    release = Release("fraud", "prod", champion=TWO, candidate=ONE, rollout="three")
    found = course(so_far(7, third), release)
    assert (found.started, found.shifted) == (START + 60, None)


ABORTED = entry(35, "abort", verdict="fail")
LATE = entry(50, "rollback", "1", rolled_back="sha256:2", rollout="")
OTHER = entry(50, "rollback", "1", rolled_back="sha256:9", rollout="")
ENDS: dict[Outcome, list[list[Entry]]] = {
    "running": [so_far(1), so_far(2), so_far(4)],
    "completed": [so_far(5), so_far(7), so_far(7, OTHER)],
    "aborted": [so_far(4, ABORTED), so_far(2, ABORTED)],
    "rolled back": [
        so_far(7, LATE),
        so_far(4, entry(35, "rollback", "1", rolled_back="sha256:1")),
    ],
}


@pytest.mark.parametrize(
    ("expected", "entries"), [(end, each) for end, every in ENDS.items() for each in every]
)
def test_how_a_rollout_ended_is_read_from_the_commits(
    expected: Outcome, entries: list[Entry]
) -> None:
    assert outcome(entries, "two") == expected


def test_a_version_that_was_champion_at_once_serves_until_it_is_rolled_back() -> None:
    assert outcome([FIRST], "one") == "serving"
    back = entry(5, "rollback", "0", rolled_back="sha256:1", rollout="")
    assert outcome([back, FIRST], "one") == "rolled back"


def test_a_rollback_before_it_came_again_doesn_t_count() -> None:
    earlier = entry(-5, "rollback", "1", rolled_back="sha256:2", rollout="")
    assert outcome([*so_far(7), earlier], "two") == "completed"


def test_entries_of_one_rollout_stay_newest_first_and_no_name_has_none() -> None:
    entries = so_far(7)
    assert [each.revision for each in of(entries, "two")] == [
        "r42",
        "r41",
        "r40",
        "r30",
        "r20",
        "r10",
    ]
    assert of([entry(70, "", rollout=""), *entries], "") == ()
