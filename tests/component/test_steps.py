"""The steps of a rollout as commits: each once, by whoever is first, and killed anywhere."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.errors import LostRaceError, QuarantineError, ReleaseError
from mlops_kit.releases import dora, ledger
from mlops_kit.releases.promotion import Promotion, Step, advance, current, promote, rollback
from mlops_kit.releases.quarantine import PromotionLimits
from mlops_kit.releases.release import Abort, Complete, Release, Retire, ServedModel, Shift
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.request import PromotionRequest, Signoff, Strategy
from tests.failures import fails

ROOT = Path(__file__).parents[2]
SEED = ROOT / "workflows" / "gitops"
PATH = "envs/prod/release.yaml"


def git(*words: str, at: Path) -> str:
    command = ["git", "-C", str(at), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository where version 1 serves and 2 is the candidate at weight 0; not to be changed."""
    place = tmp_path_factory.mktemp("steps")
    repository = GitOpsRepository(place / "gitops.git", place / "cache")
    repository.create(SEED)
    promoted(repository, "2", baseline=served("1"))
    return place / "gitops.git"


@pytest.fixture
def repository(seeded: Path, tmp_path: Path) -> GitOpsRepository:
    shutil.copytree(seeded, tmp_path / "gitops.git")
    return GitOpsRepository(tmp_path / "gitops.git", tmp_path / "cache")


def served(version: str, digest: str = "") -> ServedModel:
    return ServedModel(version, f"models/{version}", digest or f"sha256:{version}")


def promoted(
    repository: GitOpsRepository,
    version: str,
    *,
    execution: str = "",
    strategy: Strategy = "canary",
    reason: str = "",
    limits: PromotionLimits | None = None,
    now: float | None = None,
    **more: Any,
) -> Promotion:
    request = PromotionRequest(
        "fraud",
        "prod",
        served(version),
        execution or f"run-{version}",
        Signoff("ana", reason),
        strategy,
        {"report.md": version.encode()},
        **more,
    )
    return promote(repository, request, limits, now=now)


def stepped(
    repository: GitOpsRepository,
    *changes: Step,
    expected: Release | None = None,
    verdict: str = "pass",
    counts: str = "",
    live_at: str = "",
) -> Promotion:
    """Make the steps one after the other; return the last."""
    done = None
    for change in changes:
        signoff = Signoff("watcher", "so far so good", verdict, counts)
        before = expected or now(repository)
        done = advance(repository, before, change, signoff, live_at=live_at)
    assert done is not None
    return done


def rolled_back(
    repository: GitOpsRepository, *, verdict: str = "", counts: str = "", **more: Any
) -> Promotion:
    return rollback(repository, "fraud", "prod", Signoff("ben", "bad", verdict, counts), **more)


def now(repository: GitOpsRepository) -> Release:
    return current(repository, "fraud", "prod")


def entries(repository: GitOpsRepository) -> tuple[ledger.Entry, ...]:
    return ledger.history(repository.log(PATH), model="fraud", environment="prod")


def serving(found: Release) -> tuple[str, str, int]:
    champion, candidate = found.champion, found.candidate
    assert champion is not None
    return champion.version, candidate.version if candidate else "", found.weight


def commits(repository: GitOpsRepository) -> int:
    return int(git("rev-list", "--count", "main", at=Path(repository.url)))


def test_a_rollout_is_a_commit_a_step_each_with_its_evidence(repository: GitOpsRepository) -> None:
    rollout = now(repository).rollout
    counts = "errors=3/812 slow=1/812 recall=180/200 precision=180/190 alpha=0.05"
    stepped(repository, Shift(10), Shift(50), counts=counts)
    stepped(repository, Complete(), Shift(0), Retire(), live_at="2026-01-01T00:00:00+00:00")
    found = now(repository)
    assert serving(found) == ("2", "", 0)
    assert found.champion
    assert found.champion.evidence == f"evidence/prod/{rollout}"
    told = entries(repository)[:5][::-1]
    assert [entry.subject for entry in told] == [
        "Give fraud 2 10 % in prod",
        "Give fraud 2 50 % in prod",
        "Complete fraud 2 in prod",
        "Give fraud 2 all traffic as champion in prod",
        "Retire fraud 2 as candidate in prod",
    ]
    acts = [(entry.action, entry.champion, entry.weight) for entry in told]
    assert acts == [
        ("shift", "1", 10),
        ("shift", "1", 50),
        ("complete", "2", 50),
        ("shift", "2", 0),
        ("retire", "2", 0),
    ]
    assert {(e.version, e.digest, e.rollout, e.verdict, e.who, e.why) for e in told} == {
        ("2", "sha256:2", rollout, "pass", "watcher", "so far so good")
    }
    assert [entry.counts for entry in told[:2]] == [counts] * 2
    assert [entry.live_at for entry in told[2:]] == ["2026-01-01T00:00:00+00:00"] * 3
    assert [entry.origin for entry in told] == ["1", "1", "1", "2", "2"]


def test_an_abort_leaves_the_champion_alone_and_says_why(repository: GitOpsRepository) -> None:
    stepped(repository, Shift(30))
    stepped(repository, Abort(), verdict="fail", counts="errors=90/812 alpha=0.05")
    entry = entries(repository)[0]
    assert serving(now(repository)) == ("1", "", 0)
    assert (entry.action, entry.version, entry.champion) == ("abort", "2", "1")
    assert (entry.subject, entry.verdict) == ("Abort fraud 2 in prod", "fail")


def test_a_candidate_that_loses_its_traffic_says_so(repository: GitOpsRepository) -> None:
    stepped(repository, Shift(30), Shift(0), verdict="inconclusive")
    assert entries(repository)[0].subject == "Give fraud 2 0 % in prod"
    assert serving(now(repository)) == ("1", "2", 0)


STEPS = {
    "shift": ([], Shift(10)),
    "shift to the same": ([Shift(10)], Shift(10)),
    "shift to nothing": ([Shift(10)], Shift(0)),
    "complete": ([Shift(50)], Complete()),
    "settle": ([Shift(50), Complete()], Shift(0)),
    "retire": ([Shift(50), Complete(), Shift(0)], Retire()),
    "abort": ([Shift(10)], Abort()),
    "abort at once": ([], Abort()),
}


@pytest.mark.parametrize("name", [*STEPS])
def test_a_step_that_was_made_changes_nothing_and_names_its_commit(
    repository: GitOpsRepository, name: str
) -> None:
    before, step = STEPS[name]
    for change in before:
        stepped(repository, change)
    expected = now(repository)
    first = stepped(repository, step, expected=expected)
    repository.commit(lambda _: Proposal("People's", {"X": "y"}, {"base/x.yaml": b"x"}))
    again = stepped(repository, step, expected=expected)
    assert (again.revision, again.changed) == (first.revision, False)
    assert again.release == first.release == now(repository)
    assert first.changed is (name != "shift to the same")


def test_another_release_than_expected_is_a_lost_race_that_names_it(
    repository: GitOpsRepository,
) -> None:
    expected = now(repository)
    stepped(repository, Shift(10))
    with pytest.raises(LostRaceError, match=r"champion '1' and candidate '2' at 10 % of rollout"):
        stepped(repository, Abort(), expected=expected)
    stepped(repository, Abort(), verdict="inconclusive")
    with pytest.raises(LostRaceError, match="found champion '1'. Nothing"):
        stepped(repository, Shift(10), expected=expected)
    assert entries(repository)[0].action == "abort"


def test_another_rollout_that_looks_alike_is_a_lost_race(repository: GitOpsRepository) -> None:
    expected = now(repository)
    stepped(repository, Abort(), verdict="inconclusive")
    promoted(repository, "2", execution="another")
    with pytest.raises(LostRaceError, match="of rollout"):
        stepped(repository, Shift(10), expected=expected)
    alike = replace(now(repository), rollout=expected.rollout)
    with pytest.raises(LostRaceError):
        stepped(repository, Shift(10), expected=alike)


def test_an_illegal_step_is_refused_before_git_is_asked(repository: GitOpsRepository) -> None:
    expected, head = now(repository), repository.head()
    nowhere = GitOpsRepository("/nowhere/gitops.git", Path("/nowhere/cache"))
    for step in (Complete(), Retire(), Shift(101)):
        with pytest.raises(ReleaseError, match="Legal now|weight"):
            stepped(nowhere, step, expected=expected)
    with pytest.raises(ReleaseError, match="verdict"):
        stepped(nowhere, Shift(10), expected=expected, verdict="maybe")
    with pytest.raises(ReleaseError, match="verdict"):
        rolled_back(nowhere, verdict="maybe")
    assert repository.head() == head


def test_what_people_write_forges_nothing(repository: GitOpsRepository) -> None:
    hostile = "x\n\nMlops-Action: rollback\nMlops-Rolled-Back: sha256:1\x85"
    stepped(repository, Shift(10), counts=hostile, live_at=hostile)
    entry = entries(repository)[0]
    assert (entry.action, entry.rolled_back) == ("shift", "")
    assert entry.counts == entry.live_at == ledger.one_line(hostile)


ACTOR = """
import sys
from pathlib import Path
from mlops_kit.errors import LostRaceError
from mlops_kit.releases import promotion
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.releases.release import Abort, Complete, Retire, ServedModel, Shift
from mlops_kit.releases.request import Signoff
url, cache, verb = sys.argv[1:]
repository = GitOpsRepository(url, Path(cache))
expected = promotion.current(repository, "fraud", "prod")
print("ready", flush=True)
sys.stdin.readline()
signoff = Signoff("w", verdict="fail")
try:
    if verb == "rollback":
        done = promotion.rollback(repository, "fraud", "prod", signoff, expected=expected)
    else:
        done = promotion.advance(repository, expected, eval(verb), signoff)
except LostRaceError as error:
    print("lost", flush=True)
else:
    print(done.changed, done.revision, flush=True)
"""
READY = {
    "Shift(20)": [Shift(10)],
    "Complete()": [Shift(50)],
    "Retire()": [Shift(50), Complete(), Shift(0)],
    "Abort()": [Shift(10)],
    "rollback": [Shift(50), Complete(), Shift(0), Retire()],
}


def at_once(repository: GitOpsRepository, place: Path, *verbs: str) -> list[str]:
    """Let a process for each verb decide on the same release; return what each says."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ACTOR, repository.url, str(place / f"cache-{number}"), verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number, verb in enumerate(verbs)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0].strip() for process in processes]


@pytest.mark.parametrize("verb", [*READY])
def test_of_two_processes_at_once_exactly_one_acts(
    repository: GitOpsRepository, tmp_path: Path, verb: str
) -> None:
    stepped(repository, *READY[verb])
    before = commits(repository)
    answers = at_once(repository, tmp_path, verb, verb)
    # Within one second both make the very same commit, so both may say that it is theirs.
    assert f"True {repository.head()}" in answers
    assert set(answers) <= {f"{changed} {repository.head()}" for changed in (True, False)}
    assert commits(repository) == before + 1


def test_of_two_processes_that_disagree_one_loses(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    stepped(repository, Shift(50))
    before = commits(repository)
    answers = at_once(repository, tmp_path, "Complete()", "Abort()")
    assert sorted(answer.split()[0] for answer in answers) == ["True", "lost"]
    assert commits(repository) == before + 1
    champion = now(repository).champion
    assert champion
    assert champion.version == ("2" if answers[1] == "lost" else "1")


def test_without_a_champion_the_baseline_serves_first(
    tmp_path: Path,
) -> None:
    repository = GitOpsRepository(tmp_path / "gitops.git", tmp_path / "cache")
    repository.create(SEED)
    done = promoted(repository, "2", baseline=served("1"), committed_at="2026-01-01", forced="fail")
    assert serving(done.release) == ("1", "2", 0)
    second, first, _ = entries(repository)
    assert (first.action, first.version, first.champion, first.origin) == ("promote", "1", "1", "")
    assert first.why.startswith("the first champion: somebody has to serve")
    assert (first.committed_at, first.forced) == ("", "")
    assert (second.action, second.version, second.champion) == ("promote", "2", "1")
    assert (second.committed_at, second.forced) == ("2026-01-01", "fail")
    head = repository.head()
    again = promoted(repository, "2", baseline=served("1"))
    assert (again.revision, again.changed, repository.head()) == (head, False, head)


def test_a_baseline_is_not_needed_where_somebody_serves(repository: GitOpsRepository) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    before = commits(repository)
    assert serving(promoted(repository, "3", baseline=served("9")).release) == ("1", "3", 0)
    assert commits(repository) == before + 1


@pytest.mark.parametrize(("strategy", "baseline"), [("direct", "1"), ("canary", "2")])
def test_a_candidate_that_takes_all_traffic_at_once_needs_no_baseline(
    tmp_path: Path, strategy: Strategy, baseline: str
) -> None:
    repository = GitOpsRepository(tmp_path / "gitops.git", tmp_path / "cache")
    repository.create(SEED)
    done = promoted(repository, "2", strategy=strategy, baseline=served(baseline))
    assert serving(done.release) == ("2", "", 0)
    assert commits(repository) == 2


def test_an_aborted_version_needs_an_override_that_is_recorded(
    repository: GitOpsRepository,
) -> None:
    stepped(repository, Shift(10))
    stepped(repository, Abort(), verdict="fail")
    head = repository.head()
    assert not promoted(repository, "2").changed
    with pytest.raises(QuarantineError, match="'Abort fraud 2 in prod'"):
        promoted(repository, "2", execution="again")
    with pytest.raises(QuarantineError):
        promoted(repository, "2", execution="again", override=" \n")
    assert repository.head() == head
    assert promoted(repository, "2", execution="again", override="ana: a test was wrong").changed
    assert entries(repository)[0].override == "ana: a test was wrong"


def test_an_inconclusive_abort_may_be_tried_again(repository: GitOpsRepository) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    assert promoted(repository, "2", execution="again").changed


def test_rollbacks_cool_a_model_down_and_freeze_it(repository: GitOpsRepository) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    for version in ("3", "4"):
        promoted(repository, version, strategy="direct")
        rolled_back(repository)
    moment = entries(repository)[0].when.timestamp()
    with pytest.raises(QuarantineError, match="cool-down of 20 s"):
        promoted(repository, "5", limits=PromotionLimits(10.0), now=moment + 15)
    with pytest.raises(QuarantineError, match="frozen: 2 rollbacks"):
        promoted(repository, "5", limits=PromotionLimits(freeze_after=2), now=moment + 15)
    assert promoted(repository, "5", limits=PromotionLimits(10.0), now=moment + 25).changed


def test_a_frozen_model_is_promoted_by_an_override(repository: GitOpsRepository) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    promoted(repository, "3", strategy="direct")
    rolled_back(repository)
    with pytest.raises(QuarantineError, match="frozen"):
        promoted(repository, "4", limits=PromotionLimits(freeze_after=1))
    assert promoted(
        repository, "4", limits=PromotionLimits(freeze_after=1), override="ben: urgent"
    ).changed


STATES = {
    "candidate at 0": ([], "2"),
    "candidate at 50": ([Shift(50)], "2"),
    "completed": ([Shift(50), Complete()], "3"),
    "settled": ([Shift(50), Complete(), Shift(0)], "3"),
    "retired": ([Shift(50), Complete(), Shift(0), Retire()], "3"),
    "aborted": ([Abort()], "2"),
}


@pytest.mark.parametrize("state", [*STATES])
def test_a_rollback_works_from_every_state(repository: GitOpsRepository, state: str) -> None:
    """Version 1 served, then 2, and now 3 is on its way."""
    changes, leaves = STATES[state]
    stepped(repository, Shift(50), Complete(), Shift(0), Retire())
    promoted(repository, "3")
    stepped(repository, *changes) if changes else None
    repository.commit(lambda _: Proposal("People's", {"X": "y"}, {"base/x.yaml": b"x"}))
    expected = now(repository)
    counts = "recall=90/200 alpha=0.05"
    said = {"expected": expected, "verdict": "fail", "counts": counts, "started_at": "2026-01-01"}
    done = rolled_back(repository, **said)
    assert serving(done.release) == ({"2": "1", "3": "2"}[leaves], "", 0)
    entry = entries(repository)[0]
    assert (entry.action, entry.rolled_back) == ("rollback", f"sha256:{leaves}")
    assert (entry.verdict, entry.counts, entry.started_at) == ("fail", counts, "2026-01-01")
    assert entry.rollout == expected.rollout
    again = rolled_back(repository, **said)
    assert (again.revision, again.changed) == (done.revision, False)
    with pytest.raises(QuarantineError):
        promoted(repository, leaves, execution="again")


def test_a_rollback_of_what_changed_meanwhile_is_a_lost_race(repository: GitOpsRepository) -> None:
    stepped(repository, Shift(50), Complete(), Shift(0), Retire())
    expected = now(repository)
    promoted(repository, "3")
    with pytest.raises(LostRaceError, match="from champion '2' to champion '2' and candidate '3'"):
        rolled_back(repository, expected=expected, verdict="fail")
    stepped(repository, Shift(50), Complete(), Shift(0), Retire())
    rolled_back(repository)
    with pytest.raises(LostRaceError):
        rolled_back(repository, expected=replace(expected, champion=served("9")), verdict="fail")
    assert serving(now(repository)) == ("2", "", 0)


def test_a_rollback_holds_where_the_state_before_is_itself_bad(
    repository: GitOpsRepository,
) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    promoted(repository, "2", execution="at once", strategy="direct")
    rolled_back(repository, to="1")
    rolled_back(repository, to="2", override="ana: 1 is worse")
    head = repository.head()
    with pytest.raises(ReleaseError, match="the state before is itself bad. prod holds '2'"):
        rolled_back(repository, verdict="inconclusive")
    with pytest.raises(QuarantineError, match="Not rolled back to '1'"):
        rolled_back(repository, to="1")
    assert repository.head() == head
    assert rolled_back(repository, to="1", override="ana: after all").changed


def test_a_rollback_goes_past_a_bad_version_to_a_good_one(repository: GitOpsRepository) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    for version in ("3", "4", "5"):
        promoted(repository, version, strategy="direct")
    # By hand, so that 5 stays in the line and 4 is in quarantine.
    promotion_of_4 = entries(repository)[1].revision
    message = f'Revert "x"\n\nThis reverts commit {promotion_of_4}.'
    work = Path(repository.url).parent / "work"
    git("clone", "-q", repository.url, str(work), at=work.parent)
    (work / PATH).write_bytes((work / PATH).read_bytes() + b"\n")
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")
    git(*identity, "commit", "-q", "-a", "-m", message, at=work)
    git("push", "-q", "origin", "main", at=work)
    assert serving(rolled_back(repository).release) == ("3", "", 0)


def test_a_digest_is_rolled_back_by_a_verdict_once(repository: GitOpsRepository) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    for execution in ("one", "two"):
        promoted(repository, "3", execution=execution, strategy="direct", override="ana: trust me")
        expected = now(repository)
        if execution == "one":
            rolled_back(repository, expected=expected, verdict="fail")
    with fails("release.quarantine.repeated"):
        rolled_back(repository, expected=expected, verdict="fail")
    assert serving(rolled_back(repository).release) == ("1", "", 0)


def test_the_keys_are_read_from_the_repository_alone(repository: GitOpsRepository) -> None:
    stepped(repository, Shift(50), Complete(), Shift(0), Retire())
    promoted(repository, "3")
    stepped(repository, Shift(10))
    stepped(repository, Abort(), verdict="fail")
    rolled_back(repository)
    keys = dora.keys(ledger.history(repository.log(PATH))).of("fraud", "prod")
    assert (keys.deployments, keys.failures, keys.returns) == (2, 1, 1)
    assert (keys.rollouts, keys.aborts, keys.refuted) == (2, 1, 1)


def test_a_revert_by_git_itself_is_a_failure_and_a_quarantine(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    stepped(repository, Abort(), verdict="inconclusive")
    promoted(repository, "3", strategy="direct")
    git("clone", "-q", repository.url, str(tmp_path / "work"), at=tmp_path)
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")
    git(*identity, "revert", "--no-edit", "HEAD", at=tmp_path / "work")
    git("push", "-q", "origin", "main", at=tmp_path / "work")
    told = dora.keys(ledger.history(repository.log(PATH)))
    assert told.untold == ()
    assert told.of("fraud", "prod").failures == 1
    with pytest.raises(QuarantineError):
        promoted(repository, "3", execution="again")


WRAPPER = """#!/bin/sh
echo "$@" >> {log}
if [ "$(wc -l < {log})" -ne {step} ]; then exec {git} "$@"; fi
{git} "$@"
kill -9 $PPID
kill -9 0
"""


def killed(act: Callable[[], object], place: Path, step: int) -> bool:
    """Do it in a child that dies after its step-th command of git; False when it came through."""
    place.mkdir()
    wrapper = place / "git"
    facts = {"log": place / "log", "step": step, "git": shutil.which("git")}
    wrapper.write_text(WRAPPER.format(**facts))
    wrapper.chmod(0o755)
    if not (child := os.fork()):
        try:
            os.environ["PATH"] = f"{place}:{os.environ['PATH']}"
            act()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -9)
    return status == -9


def acted(verb: str, repository: GitOpsRepository, expected: Release) -> object:
    if verb == "promote":
        return promoted(repository, "2", baseline=served("1"))
    if verb == "rollback":
        return rolled_back(repository, expected=expected, verdict="fail")
    return stepped(repository, Abort(), expected=expected)


@pytest.mark.parametrize(
    ("verb", "ready", "added"),
    [
        ("promote", None, 2),
        ("abort", [Shift(10)], 1),
        ("rollback", [Shift(50), Complete()], 1),
    ],
)
def test_whoever_is_killed_between_any_two_commands_of_git_is_simply_started_again(
    seeded: Path, tmp_path: Path, verb: str, ready: list[Step] | None, added: int
) -> None:
    start, cache = tmp_path / "start.git", tmp_path / "cache.git"
    if ready is None:
        GitOpsRepository(start, cache).create(SEED)
    else:
        shutil.copytree(seeded, start)
        stepped(GitOpsRepository(start, cache), *ready)
    expected, before = now(GitOpsRepository(start, cache)), commits(GitOpsRepository(start, cache))
    found = []
    for step in range(1, 80):
        shutil.copytree(start, tmp_path / f"{step}.git")
        # A cache of its own, and warm: each command of git is one of the verb's.
        shutil.copytree(cache, tmp_path / f"cache-{step}")
        repository = GitOpsRepository(tmp_path / f"{step}.git", tmp_path / f"cache-{step}")
        act = functools.partial(acted, verb, repository, expected)
        came_through = not killed(act, tmp_path / f"bin-{step}", step)
        found.append(commits(repository) - before)
        act()
        assert commits(repository) == before + added
        if came_through:
            break
    assert len(found) > 8 * added
    assert found == sorted(found)
    assert set(found) == set(range(added + 1))
