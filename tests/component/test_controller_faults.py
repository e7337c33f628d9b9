"""A rollout goes on as if nothing had happened: without Git, store or registry, after any kill."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

from mlops_kit.releases.repository import Proposal
from tests import watched
from tests.failures import fails
from tests.watched import MakeWorld, World

STEPS = [
    ("promote", 0),
    ("shift", 10),
    ("shift", 50),
    ("complete", 50),
    ("shift", 0),
    ("retire", 0),
]


def test_a_store_that_is_away_holds_until_it_is_back(make_world: MakeWorld) -> None:
    world = make_world()
    world.watch(looks=2)
    file = world.workspace.settings.state_folder / "observations.db"
    stores = (world.observations, world.observer.observations)
    for store in stores:
        store.close()
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    world.is_silent = True
    held = world.watch(looks=2)
    assert world.acts[1:] == [("shift", 10)]
    assert {look.decision.act for look in held.looks} == {"hold"}
    last = held.looks[-1].decision
    assert last.code == "held.fault"
    assert str(file) in last.sentence
    file.rmdir()
    file.with_suffix(".away").rename(file)
    world.is_silent = False
    assert world.watch().outcome == "completed"
    assert [step for step in world.acts if step[0] == "complete"] == [("complete", 50)]


def test_git_that_is_away_is_said_and_waited_for(make_world: MakeWorld) -> None:
    world = make_world()
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
    assert sum("No decision while" in line for line in world.said) == 3
    assert world.acts == STEPS


def test_a_release_that_was_broken_by_hand_is_said_and_waited_for(make_world: MakeWorld) -> None:
    world = make_world()
    path = f"envs/{watched.ENVIRONMENT}/release.yaml"
    waits: list[float] = []
    good: list[bytes] = []

    def edit(content: bytes) -> None:
        world.repository.commit(
            lambda _: Proposal("Edit", {"Mlops-Action": "edit"}, {path: content})
        )

    def broken(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            good.append(world.repository.read(path) or b"")
            edit(b"kind: [")
        elif len(waits) == 4:
            edit(*good)
        world.wait(seconds)

    assert world.watch(sleep=broken).outcome == "completed"
    (said,) = {line for line in world.said if "No decision while" in line}
    assert "release.yaml can't be read as YAML" in said
    assert [act for act in world.acts if act[0] != "edit"] == STEPS


def test_git_that_stays_away_ends_the_watch_after_a_rollout_s_time(make_world: MakeWorld) -> None:
    world = make_world(canary_deadline=5.0)
    bare = Path(world.repository.url)

    def away(seconds: float) -> None:
        if bare.exists():
            bare.rename(bare.with_suffix(".away"))
        world.wait(seconds)

    before = world.clock()
    with fails("gitops"):
        # The first look commits, after which the next is soon.
        world.watch(sleep=away)
    assert world.clock() - before >= 5.0


def test_a_clock_that_jumps_forth_and_back_makes_no_step(make_world: MakeWorld) -> None:
    world = make_world()
    world.watch(looks=3)
    before = world.acts
    for off in (100_000.0, 0.0, -100_000.0, 0.0):
        world.off = off
        (look,) = world.watch(looks=1).looks
        assert (look.decision.code, look.decision.act) == ("held.clock", "hold")
        assert world.acts == before
    assert world.watch().outcome == "completed"
    assert world.acts == STEPS


def test_predictions_that_were_dropped_hold_until_none_are(make_world: MakeWorld) -> None:
    world = make_world()
    world.watch(looks=2)

    def drop(seconds: float) -> None:
        world.dropped += 7
        world.wait(seconds)

    held = world.watch(looks=6, sleep=drop).looks[1:]
    assert {(look.decision.code, look.decision.act) for look in held} == {("held.fault", "hold")}
    assert "7 predictions" in held[-1].decision.sentence
    assert world.acts[1:] == [("shift", 10)]
    done = world.watch()
    assert (done.outcome, world.acts) == ("completed", STEPS)
    assert done.dropped == world.dropped > 0


def test_a_split_that_is_broken_holds_and_blames_nobody(make_world: MakeWorld) -> None:
    world = make_world(canary_deadline=8.0)
    world.skew = 30
    done = world.watch()
    assert world.acts == [("promote", 0), ("shift", 10), ("abort", 0)]
    codes = [look.decision.code for look in done.looks[-3:-1]]
    assert codes == ["canary.broken-split", "aborted.timeout"]
    assert done.verdict == "inconclusive"


def test_a_registry_that_is_away_stops_no_rollout(make_world: MakeWorld) -> None:
    world = make_world()
    world.workspace.aliases.is_away = True
    assert world.watch().outcome == "completed"
    assert any("mlops-kit repair" in line for line in world.said)
    assert world.acts == STEPS


def test_the_usual_day_ends_where_the_rollout_began(make_world: MakeWorld) -> None:
    world = make_world()
    first = world.observer.observe().situation.bursts
    assert first.errors.variation > 0
    world.watch(looks=1)
    world.errors = {"champion": 0.4}
    world.wait(5.0)
    assert world.new_observer().observe().situation.bursts == first
    assert world.observations.status("fraud", "prod")["predictions"] == 1_700


def watch_in(world: World, place: Path) -> None:
    """Watch as a process of its own does, and say at the end how it went."""
    own = World(world.workspace.project, world.clock, steps=(10, 50))
    done = own.watch(name=world.release.rollout or done_name(world))
    place.write_text(f"{done.outcome} {done.verdict} {done.champion}")


def done_name(world: World) -> str:
    return world.entries[-1].rollout


def started(world: World, place: Path) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=watch_in, args=(world, place))
    process.start()
    return process


def test_a_watcher_killed_anywhere_ends_as_if_nothing_had_happened(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world()
    said, kills, chance = tmp_path / "said", 0, random.Random(5)
    for number in range(6):
        process, before = started(world, said), len(world.acts)
        # At first wherever it may be, then also somewhere after it did something.
        while number > 1 and process.is_alive() and len(world.acts) == before:
            time.sleep(0.01)
        process.join(chance.uniform(0.02, 0.3) if number < 2 else chance.uniform(0.0, 0.1))
        kills += process.is_alive()
        process.kill()
        process.join()
        # Nobody waits, but time goes on.
        world.clock.turn(0.5)
    if not said.exists():
        process = started(world, said)
        process.join(60)
    assert kills >= 3
    assert said.read_text() == "completed pass 2"
    assert world.acts == STEPS


def test_two_watchers_at_once_make_each_step_once(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world()
    places = [tmp_path / "first", tmp_path / "second"]
    processes = [started(world, place) for place in places]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert {place.read_text() for place in places} == {"completed pass 2"}
    assert world.acts == STEPS
