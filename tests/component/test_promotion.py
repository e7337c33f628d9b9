from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.errors import ReleaseError
from mlops_kit.releases import ledger
from mlops_kit.releases.promotion import Promotion, current, promote, rollback
from mlops_kit.releases.release import ServedModel
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.request import PromotionRequest, Signoff, Strategy
from tests.failures import fails

ROOT = Path(__file__).parents[2]
SEED = ROOT / "workflows" / "gitops"
PATH = "envs/dev/release.yaml"
PROMOTER = """
import sys
from pathlib import Path
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.releases.promotion import promote
from mlops_kit.releases.request import PromotionRequest, Signoff
from mlops_kit.releases.release import ServedModel
url, cache, version = sys.argv[1:]
request = PromotionRequest(
    "fraud", "dev", ServedModel(version, f"models/{version}", f"sha256:{version}"),
    f"run-{version}", Signoff("ana"), "direct",
    {"train.ipynb": b"{}", "report.md": version.encode()},
)
done = promote(GitOpsRepository(url, Path(cache)), request)
print(done.revision)
"""


def git(*words: str, at: Path) -> str:
    command = ["git", "-C", str(at), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "gitops.git"


@pytest.fixture
def repository(remote: Path, tmp_path: Path) -> GitOpsRepository:
    made = GitOpsRepository(remote, tmp_path / "cache")
    made.create(SEED)
    return made


def served(version: str) -> ServedModel:
    return ServedModel(version, f"models/{version}", f"sha256:{version}")


def promoted(
    repository: GitOpsRepository,
    version: str,
    *,
    execution: str = "",
    strategy: Strategy = "direct",
    reason: str = "",
    environment: str = "dev",
    override: str = "",
) -> Promotion:
    request = PromotionRequest(
        "fraud",
        environment,
        served(version),
        execution or f"run-{version}",
        Signoff("ana", reason),
        strategy,
        {"train.ipynb": b"{}", "report.md": f"# {version}\n".encode()},
        override=override,
    )
    return promote(repository, request)


def rolled_back(repository: GitOpsRepository, to: str | None = None, reason: str = "bad") -> str:
    done = rollback(repository, "fraud", "dev", Signoff("ben", reason), to=to)
    assert done.release == current(repository, "fraud", "dev")
    assert done.release.champion is not None
    return done.release.champion.version


def entries(repository: GitOpsRepository) -> tuple[ledger.Entry, ...]:
    return ledger.history(repository.log(PATH), model="fraud", environment="dev")


def test_trusted_names_go_with_their_version_and_come_back_with_it(
    repository: GitOpsRepository,
) -> None:
    own = {"own.steps.Scaled": f"sha256:{'0' * 64}"}
    first = replace(served("7"), trusted=own)
    promote(repository, PromotionRequest("fraud", "dev", first, "run", Signoff("ana"), "direct"))
    champions = [current(repository, "fraud", "dev").champion]
    promoted(repository, "8")
    champions.append(current(repository, "fraud", "dev").champion)
    rolled_back(repository)
    champions.append(current(repository, "fraud", "dev").champion)
    assert [each and each.trusted for each in champions] == [own, {}, own]


def test_a_promotion_is_one_commit_with_its_evidence(
    repository: GitOpsRepository, remote: Path
) -> None:
    before = repository.head()
    done = promoted(repository, "7", reason="recall up, cost down")
    changed = git("diff", "--name-only", before, done.revision, at=remote).split()
    champion = current(repository, "fraud", "dev").champion
    assert champion is not None
    assert changed == [PATH, f"{champion.evidence}/report.md", f"{champion.evidence}/train.ipynb"]
    assert repository.read(f"{champion.evidence}/report.md") == b"# 7\n"
    (entry, _) = entries(repository)
    assert entry.revision == done.revision
    assert (entry.action, entry.version, entry.origin, entry.champion) == ("promote", "7", "", "7")
    assert (entry.who, entry.why, entry.run) == ("ana", "recall up, cost down", "run-7")
    assert (entry.digest, entry.evidence) == ("sha256:7", champion.evidence)


def test_the_same_promotion_again_writes_nothing(repository: GitOpsRepository) -> None:
    first = promoted(repository, "1")
    promoted(repository, "2")
    again = promoted(repository, "1")
    assert (again.revision, again.changed) == (first.revision, False)
    assert again.release.champion is not None
    assert again.release.champion.version == "2"


def test_a_retry_does_not_undo_a_rollback(repository: GitOpsRepository) -> None:
    promoted(repository, "1")
    promoted(repository, "2")
    rolled_back(repository)
    assert not promoted(repository, "2").changed
    again = promoted(repository, "2", execution="run-2-again", override="ana: fixed upstream")
    assert again.changed


def test_a_candidate_that_is_champion_already_is_no_change(repository: GitOpsRepository) -> None:
    promoted(repository, "1")
    head = repository.head()
    again = promoted(repository, "1", execution="another")
    assert (again.revision, again.changed) == (head, False)


def test_a_canary_starts_at_weight_zero_and_another_has_to_wait(
    repository: GitOpsRepository,
) -> None:
    promoted(repository, "1", strategy="canary")
    done = promoted(repository, "2", strategy="canary")
    assert done.release.champion is not None
    assert done.release.candidate is not None
    assert (done.release.champion.version, done.release.candidate.version) == ("1", "2")
    assert done.release.weight == 0
    assert done.release.candidate.evidence.endswith(done.release.rollout)
    assert ledger.champion_at(entries(repository), entries(repository)[0].when) is not None
    with fails("release.illegal", "Shift, Abort, RollBack"):
        promoted(repository, "3")
    assert current(repository, "fraud", "dev") == done.release


def test_going_back_twice_goes_further_back(repository: GitOpsRepository, remote: Path) -> None:
    for version in ("1", "2", "3"):
        promoted(repository, version)
    promoted(repository, "9", environment="prod")
    repository.commit(lambda _: Proposal("People's", {"X": "y"}, {"base/x.yaml": b"x"}))
    assert [rolled_back(repository), rolled_back(repository)] == ["2", "1"]
    with fails("release.no-former-champion", "dev"):
        rolled_back(repository)
    assert promoted(repository, "4").changed
    assert rolled_back(repository) == "1"
    assert repository.read("base/x.yaml") == b"x"
    prod = current(repository, "fraud", "prod").champion
    assert prod is not None
    assert prod.version == "9"
    assert git("rev-list", "--merges", "--count", "main", at=remote) == "0"


def test_a_rollback_restores_the_state_of_then(repository: GitOpsRepository) -> None:
    before = promoted(repository, "1").release
    promoted(repository, "2")
    promoted(repository, "3", strategy="canary")
    rolled_back(repository)
    assert current(repository, "fraud", "dev") == before


def test_a_rollback_to_a_version_is_asked_for_once(repository: GitOpsRepository) -> None:
    for version in ("1", "2", "3"):
        promoted(repository, version)
    assert rolled_back(repository, to="1") == "1"
    head = repository.head()
    assert rolled_back(repository, to="1") == "1"
    assert repository.head() == head
    with fails("release.no-former-champion", "'8'"):
        rolled_back(repository, to="8")


def test_nothing_promoted_is_nothing_to_go_back_to(repository: GitOpsRepository) -> None:
    with fails("release.no-former-champion", "dev"):
        rolled_back(repository)


def test_a_rollback_after_a_revert_by_hand_goes_further_back(
    repository: GitOpsRepository, remote: Path, tmp_path: Path
) -> None:
    for version in ("1", "2", "3"):
        promoted(repository, version)
    git("clone", "-q", str(remote), str(tmp_path / "clone"), at=tmp_path)
    clone = tmp_path / "clone"
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")
    git(*identity, "revert", "--no-edit", "HEAD", at=clone)
    git("push", "-q", "origin", "main", at=clone)
    assert entries(repository)[0].action == ""
    assert rolled_back(repository) == "1"


def test_two_rollbacks_at_once_go_back_once(repository: GitOpsRepository, tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        promoted(repository, version)

    class Interrupted(GitOpsRepository):
        """Somebody else rolls back between this one's decision and its push."""

        def commit(self, decide: Any, start: Any = None) -> str:
            def late(snapshot: Any) -> Any:
                proposal = decide(snapshot)
                if self.head() == snapshot.revision:
                    rolled_back(repository, reason="also bad")
                return proposal

            return super().commit(late, start)

    with fails("gitops.lost-race", "'3'", "'2'"):
        rolled_back(Interrupted(repository.url, tmp_path / "other"))
    champion = current(repository, "fraud", "dev").champion
    assert champion is not None
    assert champion.version == "2"


@pytest.mark.parametrize(
    "reason",
    [
        "x\nMlops-Action: rollback\nMlops-Champion: 9",
        "x\n\nMlops-Version: 9",
        "\r\n\r\nMlops-Digest: sha256:9\x85Mlops-From: 8\u2028",
        "\x00\x1b[31m\u202e" + "long " * 2000,
        "--amend; $(rm -rf /) `id` %H %n",
    ],
)
def test_a_hostile_reason_forges_nothing(repository: GitOpsRepository, reason: str) -> None:
    promoted(repository, "1")
    done = promoted(repository, "2", reason=reason, execution="run\nMlops-Version: 9")
    entry = entries(repository)[0]
    assert entry.revision == done.revision
    assert (entry.action, entry.version, entry.origin, entry.champion) == ("promote", "2", "1", "2")
    assert entry.digest == "sha256:2"
    assert entry.why == ledger.one_line(reason)
    assert rolled_back(repository, reason=reason) == "1"
    assert entries(repository)[0].action == "rollback"
    again = promoted(repository, "2", reason=reason, execution="run\nMlops-Version: 9")
    assert again.revision == done.revision


@pytest.mark.parametrize("environment", ["nowhere", "../dev", "", "Dev", "dev/x", "a" * 64])
def test_an_environment_that_is_none_is_refused(
    repository: GitOpsRepository, environment: str
) -> None:
    head = repository.head()
    with pytest.raises(ReleaseError):
        promoted(repository, "1", environment=environment)
    assert repository.head() == head


def test_another_model_is_refused(repository: GitOpsRepository) -> None:
    promoted(repository, "1")
    with fails("release", "'fraud'", "'churn'"):
        current(repository, "churn", "dev")


@pytest.mark.parametrize("path", ["../../envs/dev/release.yaml", "/etc/x", ".git/config"])
def test_evidence_can_not_be_written_elsewhere(repository: GitOpsRepository, path: str) -> None:
    head = repository.head()
    request = PromotionRequest(
        "fraud", "dev", served("1"), "run", Signoff("ana"), "direct", {path: b""}
    )
    with fails("gitops.path"):
        promote(repository, request)
    assert repository.head() == head


def test_a_broken_release_is_a_kit_error_and_stays(repository: GitOpsRepository) -> None:
    files = {PATH: b"spec: [\n"}
    head = repository.commit(lambda _: Proposal("Break it", {"X": "y"}, files))
    for act in (lambda: promoted(repository, "1"), lambda: rolled_back(repository)):
        with fails("release", "release.yaml"):
            act()
    assert repository.head() == head


def test_twenty_promoters_at_once_all_get_through(
    repository: GitOpsRepository, remote: Path, tmp_path: Path
) -> None:
    # Half of them share a cache, half have their own.
    caches = ["shared" if number % 2 else f"own-{number}" for number in range(20)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTER, str(remote), str(tmp_path / cache), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number, cache in enumerate(caches)
    ]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 20, answers
    line = [entry for entry in reversed(entries(repository)) if entry.action == "promote"]
    assert {entry.revision for entry in line} == {out.strip() for out, _ in answers}
    assert sorted(int(entry.version) for entry in line) == list(range(20))
    # Each decided on what the one before had written: nobody's update is lost.
    assert [entry.origin for entry in line] == ["", *(entry.version for entry in line[:-1])]
    assert git("rev-list", "--count", "main", at=remote) == "21"
    assert git("rev-list", "--merges", "--count", "main", at=remote) == "0"
    champion = current(repository, "fraud", "dev").champion
    assert champion is not None
    assert champion.version == line[-1].version
    assert len(repository.list("evidence")) == 40
    git("fsck", "--strict", at=remote)


WRAPPER = """#!/bin/sh
echo "$@" >> {log}
if [ "$(wc -l < {log})" -ne {step} ]; then exec {git} "$@"; fi
case {moment} in
  during) {git} "$@" <&0 & sleep 0.004 ;;
  after) {git} "$@" ;;
esac
kill -9 $PPID
kill -9 0
"""


def killed(remote: Path, cache: Path, place: Path, step: int, moment: str) -> int:
    """Run a promoter that dies at its step-th command of git, with all of git's processes."""
    place.mkdir()
    log = place / "log"
    wrapper = place / "git"
    real = shutil.which("git")
    wrapper.write_text(WRAPPER.format(log=log, step=step, git=real, moment=moment))
    wrapper.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", PROMOTER, str(remote), str(cache), "1"],
        env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "TMPDIR": str(place)},
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    return done.returncode


@pytest.mark.parametrize("moment", ["during", "after"])
def test_a_promoter_killed_anywhere_is_simply_started_again(tmp_path: Path, moment: str) -> None:
    GitOpsRepository(tmp_path / "seed.git", tmp_path / "seed-cache").create(SEED)
    counts = []
    for step in range(1, 40):
        remote, cache = tmp_path / f"{step}.git", tmp_path / f"cache-{step}"
        shutil.copytree(tmp_path / "seed.git", remote)
        code = killed(remote, cache, tmp_path / f"bin-{step}", step, moment)
        if code == 0:
            break
        assert code == -9
        repository = GitOpsRepository(remote, cache)
        counts.append(int(git("rev-list", "--count", "main", at=remote)))
        done = promoted(repository, "1")
        assert done.changed is (counts[-1] == 1)
        assert git("rev-list", "--count", "main", at=remote) == "2"
        assert current(repository, "fraud", "dev").champion == done.release.champion
        assert len(repository.list("evidence")) == 2
        for place in (remote, cache):
            git("fsck", "--strict", at=place)
    # Every command was killed once; only the push and the note of it that follows, the last two,
    # may leave the commit behind.
    assert len(counts) >= 13
    assert counts[:-2] == [1] * (len(counts) - 2)
    assert moment == "during" or counts[-2:] == [2, 2]
