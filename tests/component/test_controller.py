"""A watcher takes a rollout to its end, and back where it must."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlops_kit.project import rollouts
from mlops_kit.releases import quarantine
from mlops_kit.releases.release import Abort, Complete, Retire, Shift
from mlops_kit.releases.repository import Proposal
from mlops_kit.rollouts import decision
from mlops_kit.rollouts.state import RolloutState
from mlops_kit.serving.daemon import ServerStatus
from tests.watched import MakeWorld, World

GOOD = [
    ("promote", 0),
    *(("shift", weight) for weight in (10, 20, 30, 40, 50)),
    ("complete", 50),
    ("shift", 0),
    ("retire", 0),
]


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


def test_a_good_candidate_goes_all_the_way_and_a_new_looker_sees_the_same(
    make_world: MakeWorld,
) -> None:
    world = make_world(steps=(10, 20, 30, 40, 50))
    world.errors = {"candidate": 0.01, "champion": 0.03}
    pairs: list[tuple[RolloutState, RolloutState]] = []

    def compare() -> None:
        sides = (world.observer, world.new_observer())
        old, new = (observer.observe().situation for observer in sides)
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
    # What each of them said but the first, which was decided before anybody waited.
    assert len({old.release for old, _ in pairs}) == len(GOOD) - 1


BAD = {
    "errors": ("2", {"errors": {"candidate": 0.5}}, "errors="),
    "slow": ("2", {"slow": {"candidate": 0.5}}, "slow="),
    "recall": ("3", {}, "recall="),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_candidate_is_aborted_and_the_champion_serves_alone(
    make_world: MakeWorld, name: str
) -> None:
    version, changed, counts = BAD[name]
    world = make_world(version)
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


def test_without_data_the_weight_goes_to_0_and_the_end_is_inconclusive(
    make_world: MakeWorld,
) -> None:
    world = make_world(canary_deadline=12.0)
    world.watch(looks=1)
    world.is_silent = True
    done = world.watch()
    assert world.acts == [("promote", 0), ("shift", 10), ("shift", 0), ("abort", 0)]
    assert (done.outcome, done.verdict) == ("aborted", "inconclusive")
    assert not quarantine.quarantined(world.entries)


def test_a_shared_outage_holds_and_is_nobodys_fault(make_world: MakeWorld) -> None:
    world = make_world()
    world.watch(looks=2)
    world.errors = {"candidate": 0.5, "champion": 0.5}
    held = world.watch(looks=6)
    assert world.acts[1:] == [("shift", 10)]
    assert held.looks[-1].decision.code == "canary.shared-outage"
    world.errors = {}
    after = world.watch(looks=5)
    assert (after.outcome, after.verdict) == ("running", "inconclusive")
    assert after.looks[-1].decision.code != "canary.shared-outage"
    assert not quarantine.quarantined(world.entries)


def test_late_harm_rolls_a_champion_back_also_under_a_newer_commit(make_world: MakeWorld) -> None:
    world = make_world(baking=30.0)
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


def test_where_the_state_before_is_bad_too_a_person_is_asked(make_world: MakeWorld) -> None:
    world = make_world(baking=8.0)
    name = completed(world)
    world.promote("1")
    world.step(Abort(), "fail")
    acts = world.acts
    world.label = lambda truth, _decision: 1 - truth
    done = world.watch(looks=8, name=name)
    last = done.looks[-1].decision
    assert (last.act, last.verdict) == ("hold", "fail")
    assert last.code == "escalated.no-good-release"
    assert world.acts == acts
    assert done.champion == "2"


def test_labels_that_are_lost_while_it_bakes_roll_nothing_back(make_world: MakeWorld) -> None:
    world = make_world()
    name = completed(world)
    world.label = lambda _truth, _decision: None
    done = world.watch(name=name)
    assert (done.outcome, done.champion) == ("completed", "2")
    last = done.looks[-1].decision
    assert (last.code, last.verdict) == ("soak.unjudged", "inconclusive")
    assert world.acts[-1] == ("retire", 0)


@pytest.mark.parametrize("end", ["aborted", "completed"])
def test_a_newer_promotion_ends_the_watch_of_the_one_before(
    make_world: MakeWorld, end: str
) -> None:
    world = make_world()
    if end == "completed":
        name = completed(world)
    else:
        name = world.release.rollout
        world.watch(looks=1)
        world.step(Abort(), "inconclusive")
    newer = world.promote("3")
    done = world.watch(name=name)
    assert (done.outcome, done.rollout) == ("superseded", name)
    last = done.looks[-1].decision
    assert last.code == "superseded"
    assert newer in last.sentence
    assert world.acts[-1] == ("promote", 0)


def test_what_was_decided_about_another_release_is_not_committed(make_world: MakeWorld) -> None:
    world = make_world()
    name = world.release.rollout

    def act_between() -> ServerStatus | None:
        """Somebody acts after this look has read Git, and before it decides."""
        world.observer.served = world.served
        world.step(Abort(), "inconclusive")
        world.promote("3")
        return served

    served = world.served()
    world.observer.served = act_between
    assert world.watch(name=name).outcome == "superseded"
    assert world.acts == [("promote", 0), ("abort", 0), ("promote", 0)]


def test_a_completed_release_can_go_back_also_where_its_watcher_and_server_have_ended(
    make_world: MakeWorld,
) -> None:
    world = make_world(baking=30.0)
    completed(world)
    world.label = lambda truth, _decision: 1  # nearly all of them missed
    world.wait(20.0)
    world.observer.served = lambda: None
    seen = world.observer.observe()
    policy = world.observer.policy
    assert decision.decide(policy, seen.situation).code == "held.fault", "nothing serves"
    assert rollouts.needs_server(policy, seen)
    world.observer.served = world.served
    assert world.watch().outcome == "rolled back"
    assert not rollouts.needs_server(policy, world.observer.observe())


def test_nothing_is_started_for_a_release_whose_labels_were_watched_to_the_end(
    make_world: MakeWorld,
) -> None:
    world = make_world(baking=3.0)
    completed(world)
    assert world.watch().outcome == "completed"
    world.observer.served = lambda: None
    assert not rollouts.needs_server(world.observer.policy, world.observer.observe())


VIEW = """
import sys
from mlops_kit import Workspace
from mlops_kit.project import rollouts
with rollouts.open_observer(Workspace.open(sys.argv[1]), "fraud", "prod") as observer:
    print(observer.observe().situation.replay.labelled)
print(*{"mlflow", "pandas", "sklearn", "skops"} & set(sys.modules))
"""


def test_whoever_looks_on_reads_what_the_watcher_computed(make_world: MakeWorld) -> None:
    world = make_world()
    viewers = [world.new_observer(is_viewer=True) for _ in range(2)]
    unwatched = viewers[0].observe().situation
    assert unwatched.replay is None
    assert "No watcher has replayed the candidate yet." in unwatched.faults
    world.watch(looks=3)
    watched_now = world.observer.observe().situation
    assert watched_now.replay is not None
    assert watched_now.replay.labelled > 0
    assert [viewer.observe().situation for viewer in viewers] == [watched_now, watched_now]

    command = [sys.executable, "-c", VIEW, str(world.workspace.project)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split("\n") == [str(watched_now.replay.labelled), "", ""], "no model is loaded"

    world.wait(61.0)
    later = viewers[0].observe().situation
    assert later.replay == watched_now.replay
    assert any(fault.startswith("Nobody has watched since 20") for fault in later.faults)
