"""A server finds a commit soon, and asks a remote host no more often than that host bears."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.serving.options import Serving
from mlops_kit.serving.pace import Pace

OPTIONS = Serving(poll=0.2, poll_remote=5.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def here(tmp_path: Path) -> GitOpsRepository:
    made = GitOpsRepository(tmp_path / "gitops.git", tmp_path / "cache")
    made.create({"a": b"1"})
    return made


@pytest.fixture
def remote(here: GitOpsRepository, tmp_path: Path) -> GitOpsRepository:
    """The same repository by a URL, as another machine would name it."""
    return GitOpsRepository(f"file://{here.url}", tmp_path / "cache-of-a-remote")


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A file with the words of each call of git from now on."""
    log, git = tmp_path / "calls.log", shutil.which("git")
    log.touch()
    (tmp_path / "git").write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {git} "$@"\n')
    (tmp_path / "git").chmod(0o755)
    os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    return log


def change(repository: GitOpsRepository, content: bytes) -> str:
    return repository.commit(lambda _: Proposal("Change a", {"Mlops-Action": "x"}, {"a": content}))


def looks(repository: GitOpsRepository, seconds: float, *, failing: bool = False) -> int:
    """Return how often the pace lets a server look in so many seconds."""
    clock = Clock()
    pace = Pace(repository, OPTIONS, timer=clock, chance=lambda: 0.5)
    found = 0
    while clock.now < seconds:
        clock.now += OPTIONS.poll
        if pace.is_due():
            found += 1
            if not failing:
                repository.head()
        pace.looked(failed=failing)
    return found


def test_a_repository_on_this_machine_is_looked_at_without_a_call_of_git(
    here: GitOpsRepository, calls: Path
) -> None:
    before = here.head()
    assert looks(here, 60.0) == 300
    assert calls.read_text() == ""
    after = change(here, b"2")
    assert here.head() == here.seen() == after != before


def test_a_remote_one_is_asked_at_its_own_pace(remote: GitOpsRepository, calls: Path) -> None:
    assert looks(remote, 60.0) in (11, 12)
    asked = calls.read_text().split().count("ls-remote")
    assert asked in (11, 12), "it was 300 a minute"


def test_a_remote_one_that_fails_is_asked_less_and_less(remote: GitOpsRepository) -> None:
    assert looks(remote, 600.0, failing=True) <= 14


def test_a_commit_that_this_machine_pushed_is_due_at_once(remote: GitOpsRepository) -> None:
    clock = Clock()
    pace = Pace(remote, OPTIONS, timer=clock)
    remote.head()
    pace.looked(failed=False)
    assert not pace.is_due()
    change(remote, b"2")
    assert pace.is_due()
    remote.head()
    pace.looked(failed=False)
    assert not pace.is_due()


def test_many_servers_do_not_ask_together(remote: GitOpsRepository) -> None:
    due = set()
    for number in range(10):
        clock = Clock()
        pace = Pace(remote, OPTIONS, timer=clock, chance=lambda part=number: part / 10)
        while not pace.is_due():
            clock.now += 0.1
        due.add(round(clock.now, 1))
    assert len(due) > 5
    assert min(due) >= 4.0
    assert max(due) <= 6.0


def test_a_packed_branch_is_read_as_well(here: GitOpsRepository) -> None:
    head = here.head()
    ref = Path(here.url, "refs", "heads", "main")
    ref.unlink()
    Path(here.url, "packed-refs").write_text(f"# pack-refs\n{head} refs/heads/main\n")
    assert here.seen() == here.head() == head
    Path(here.url, "packed-refs").unlink()
    assert here.seen() == ""
