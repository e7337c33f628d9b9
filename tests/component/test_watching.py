"""A watcher takes a rollout to its end, and back where it must, whatever is away meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_kit import embedded
from mlops_kit.errors import GitOpsError
from mlops_kit.releases import quarantine
from mlops_kit.releases.gitops import Proposal
from mlops_kit.releases.release import Abort, Complete, Retire, Shift
from mlops_kit.rollouts.situation import Situation
from tests import watched
from tests.watched import Clock, World

GOOD = [
    ("promote", 0),
    *(("shift", weight) for weight in (10, 20, 30, 40, 50)),
    ("complete", 50),
    ("shift", 0),
    ("retire", 0),
]
SHORT = [step for step in GOOD if step[1] not in (20, 30, 40)]
Make = Callable[..., World]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return watched.made(tmp_path_factory.mktemp("watching") / "project")


@pytest.fixture
def make(project: Path, tmp_path: Path) -> Make:
    """Make a world in which a version was just promoted; in two steps, unless told otherwise."""

    def make(version: str = "2", **policy: Any) -> World:
        shutil.copytree(project, tmp_path / "project")
        clock = Clock()
        clock.turn(watched.START - clock())
        world = World(tmp_path / "project", clock, **{"steps": (10, 50), **policy})
        world.promote(version)
        return world

    return make


def completed(world: World) -> str:
    """Let candidate 2 become champion; return its rollout."""
    name = world.release.rollout
    world.watch(looks=1)
    world.wait(2.0)
    world.served()
    for change in (Complete(), Shift(0), Retire()):
        world.step(change)
    assert world.acts[-1] == ("retire", 0)
    return name


def test_a_good_candidate_goes_all_the_way_and_a_new_looker_sees_the_same(make: Make) -> None:
    world = make(steps=(10, 20, 30, 40, 50))
    world.errors = {"candidate": 0.01, "champion": 0.03}
    pairs: list[tuple[Situation, Situation]] = []

    def compare() -> None:
        sides = (world.looker, world.new_looker())
        old, new = (looker.look().situation for looker in sides)
        pairs.append((old, new))

    world.on_wait = compare
    done = world.watch()
    assert (done.outcome, done.verdict, done.champion) == ("completed", "pass", "2")
    assert world.acts == GOOD
    assert done.weights == (0, 10, 20, 30, 40, 50, 100)
    # Its labels were watched for the time that the policy names.
    retired = world.entries[0].when.timestamp()
    assert 3 <= done.looks[-1].time - retired < 5
    assert done.looks[-1].decision.act == "done"
    assert [entry.verdict for entry in world.entries][-2::-1] == [
        *("pass", *["inconclusive"] * 4, "pass", "pass", "pass")
    ]
    complete = next(entry for entry in world.entries if entry.action == "complete")
    assert "errors=" in complete.counts
    assert "recall=" in complete.counts
    assert complete.live_at > complete.when.isoformat()[:10]
    assert world.workspace.aliases.set[-1] == "2"
    assert all(old == new for old, new in pairs)
    assert len({old.release for old, _ in pairs}) == len(GOOD)


BAD = {
    "errors": ("2", {"errors": {"candidate": 0.5}}, "errors="),
    "slow": ("2", {"slow": {"candidate": 0.5}}, "slow="),
    "recall": ("3", {}, "recall="),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_candidate_is_aborted_and_the_champion_serves_alone(make: Make, name: str) -> None:
    version, changed, counts = BAD[name]
    world = make(version)
    vars(world).update(changed)
    done = world.watch()
    assert (done.outcome, done.verdict, done.champion) == ("aborted", "fail", "1")
    assert world.release.candidate is None
    last = world.entries[0]
    assert (last.action, last.verdict, last.version) == ("abort", "fail", version)
    assert counts in last.counts
    assert world.sides[version].digest in quarantine.quarantined(world.entries)
    expected = [("promote", 0), ("abort", 0)]
    if name == "recall":
        assert done.exposed == 0
    else:
        expected.insert(1, ("shift", 10))
        assert 0 < done.exposed < 100
    assert world.acts == expected


def test_without_data_the_weight_goes_to_0_and_the_end_is_inconclusive(make: Make) -> None:
    world = make(canary_deadline=12.0)
    world.watch(looks=1)
    world.is_silent = True
    done = world.watch()
    assert world.acts == [("promote", 0), ("shift", 10), ("shift", 0), ("abort", 0)]
    assert (done.outcome, done.verdict) == ("aborted", "inconclusive")
    assert not quarantine.quarantined(world.entries)


def test_a_shared_outage_holds_and_is_nobodys_fault(make: Make) -> None:
    world = make()
    world.watch(looks=2)
    world.errors = {"candidate": 0.5, "champion": 0.5}
    held = world.watch(looks=6)
    assert world.acts[1:] == [("shift", 10)]
    assert "a shared outage" in held.looks[-1].decision.sentence
    world.errors = {}
    assert world.watch(looks=40).outcome in ("running", "completed")
    assert not quarantine.quarantined(world.entries)


def test_a_store_that_is_away_holds_until_it_is_back(make: Make) -> None:
    world = make()
    world.watch(looks=2)
    file = world.workspace.settings.state_folder / "observations.db"
    stores = (world.observations, world.looker.observations)
    for store in stores:
        store.close()
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    world.is_silent = True
    held = world.watch(looks=2)
    assert world.acts[1:] == [("shift", 10)]
    assert {look.decision.act for look in held.looks} == {"hold"}
    assert "The store of predictions can't be read" in held.looks[-1].decision.sentence
    file.rmdir()
    file.with_suffix(".away").rename(file)
    world.is_silent = False
    assert world.watch().outcome == "completed"
    assert [step for step in world.acts if step[0] == "complete"] == [("complete", 50)]


def test_git_that_is_away_is_said_and_waited_for(make: Make) -> None:
    world = make()
    bare = Path(world.repository.url)
    waits: list[float] = []

    def away(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            bare.rename(bare.with_suffix(".away"))
        elif len(waits) == 4:
            bare.with_suffix(".away").rename(bare)
        world.wait(seconds)

    assert world.watch(sleep=away).outcome == "completed"
    assert sum("Git doesn't answer" in line for line in world.said) == 3
    assert world.acts == SHORT


def test_git_that_stays_away_ends_the_watch_after_a_rollout_s_time(make: Make) -> None:
    world = make(canary_deadline=5.0)
    bare = Path(world.repository.url)

    def away(seconds: float) -> None:
        if bare.exists():
            bare.rename(bare.with_suffix(".away"))
        world.wait(seconds)

    before = world.clock()
    with pytest.raises(GitOpsError, match="can't be read"):
        # The first look commits, after which the next is soon.
        world.watch(sleep=away)
    assert world.clock() - before >= 5.0


def test_a_clock_that_jumps_forth_and_back_makes_no_step(make: Make) -> None:
    world = make()
    world.watch(looks=3)
    before = world.acts
    for off in (100_000.0, 0.0, -100_000.0, 0.0):
        world.off = off
        (look,) = world.watch(looks=1).looks
        assert look.decision.act == "hold"
        assert "the clock is wrong" in look.decision.sentence
        assert world.acts == before
    assert world.watch().outcome == "completed"
    assert world.acts == SHORT


def test_predictions_that_were_dropped_hold_until_none_are(make: Make) -> None:
    world = make()
    world.watch(looks=2)

    def drop(seconds: float) -> None:
        world.dropped += 7
        world.wait(seconds)

    held = world.watch(looks=6, sleep=drop).looks[1:]
    assert {look.decision.act for look in held} == {"hold"}
    assert "7 predictions couldn't be logged" in held[-1].decision.sentence
    assert world.acts[1:] == [("shift", 10)]
    done = world.watch()
    assert (done.outcome, world.acts) == ("completed", SHORT)
    assert done.dropped == world.dropped > 0


def test_a_split_that_is_broken_holds_and_blames_nobody(make: Make) -> None:
    world = make(canary_deadline=8.0)
    world.skew = 30
    done = world.watch()
    assert world.acts == [("promote", 0), ("shift", 10), ("abort", 0)]
    assert "The split is broken" in done.looks[-2].decision.sentence
    assert done.verdict == "inconclusive"


def test_late_harm_rolls_a_champion_back_also_under_a_newer_commit(make: Make) -> None:
    world = make(baking=30.0)
    name = completed(world)
    other = Proposal("Change a timeout", {"Ticket": "7"}, {"envs/prod/timeout.txt": b"5"})
    newer = world.repository.commit(lambda _snapshot: other)
    world.label = lambda truth, _decision: 1 - truth
    done = world.watch(name=name)
    assert (done.outcome, done.verdict, done.champion) == ("rolled back", "fail", "1")
    last = world.entries[0]
    assert (last.action, last.rolled_back) == ("rollback", world.sides["2"].digest)
    assert "live-recall=" in last.counts
    assert world.repository.snapshot().log()[1].revision == newer
    assert world.repository.read("envs/prod/timeout.txt") == b"5"
    assert world.workspace.aliases.set[-1] == "1"


def test_where_the_state_before_is_bad_too_a_person_is_asked(make: Make) -> None:
    world = make(baking=8.0)
    name = completed(world)
    world.promote("1")
    world.step(Abort(), "fail")
    acts = world.acts
    world.label = lambda truth, _decision: 1 - truth
    done = world.watch(looks=8, name=name)
    last = done.looks[-1].decision
    assert (last.act, last.verdict) == ("hold", "fail")
    assert "A person is needed" in last.next
    assert world.acts == acts
    assert world.release.champion == world.sides["2"].__class__(**vars(world.release.champion))


def test_labels_that_are_lost_while_it_bakes_roll_nothing_back(make: Make) -> None:
    world = make()
    name = completed(world)
    world.label = lambda _truth, _decision: None
    done = world.watch(name=name)
    assert (done.outcome, done.champion) == ("completed", "2")
    assert done.looks[-1].decision.verdict == "inconclusive"
    assert "too few labels" in done.looks[-1].decision.sentence
    assert world.acts[-1] == ("retire", 0)


def test_a_newer_promotion_ends_the_watch_of_the_one_before(make: Make) -> None:
    world = make()
    name = world.release.rollout
    world.watch(looks=2)
    world.step(Abort(), "inconclusive")
    newer = world.promote("3")
    done = world.watch(name=name)
    assert (done.outcome, done.rollout) == ("superseded", name)
    assert world.release.rollout == newer
    assert world.acts[-1] == ("promote", 0)


def test_a_registry_that_is_away_stops_no_rollout(make: Make) -> None:
    world = make()
    world.workspace.aliases.is_away = True
    assert world.watch().outcome == "completed"
    assert any("The registry doesn't follow yet" in line for line in world.said)
    assert world.acts == SHORT


def test_the_usual_day_ends_where_the_rollout_began(make: Make) -> None:
    world = make()
    first = world.looker.look().situation.bursts
    assert first.errors.variation > 0
    world.watch(looks=1)
    world.errors = {"champion": 0.4}
    world.wait(5.0)
    assert world.new_looker().look().situation.bursts == first
    assert embedded.observations(world.workspace).status("fraud", "prod")["predictions"] == 1_700
