from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_kit.errors import GitOpsError, RemoteError
from mlops_kit.releases import git_process
from mlops_kit.releases.checkout import code_revision
from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.snapshot import Snapshot
from tests.failures import fails

ACTION = {"Mlops-Action": "test"}


def run(*words: str, at: Path) -> str:
    """Run git as a person would, without the kit."""
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")
    done = subprocess.run(
        ["git", "-C", str(at), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "gitops.git"


@pytest.fixture
def repository(remote: Path, tmp_path: Path) -> GitOpsRepository:
    made = GitOpsRepository(remote, tmp_path / "cache")
    made.create({"README.md": b"read me\n", "envs/dev/a.yaml": b"a\n"})
    return made


@pytest.fixture
def hook(remote: Path) -> Iterator[Path]:
    path = remote / "hooks" / "pre-receive"
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path
    path.unlink(missing_ok=True)


def write(path: str, content: bytes = b"new\n") -> Proposal:
    return Proposal(f"Write {path}", ACTION, {path: content})


def test_a_commit_keeps_what_it_does_not_name(repository: GitOpsRepository, remote: Path) -> None:
    before = repository.head()
    content = b"\x00\xff\r\n" * 1000
    revision = repository.commit(
        lambda _: Proposal("S", ACTION, {"x/ü y.bin": content}, frozenset({"envs/dev/a.yaml"}))
    )
    assert repository.head() == revision == run("rev-parse", "main", at=remote)
    assert repository.list() == ("README.md", "x/ü y.bin")
    assert repository.list("x") == ("x/ü y.bin",)
    assert repository.read("x/ü y.bin") == content
    assert repository.read("envs/dev/a.yaml") is None
    assert repository.read("envs/dev/a.yaml", before) == b"a\n"
    assert repository.read("x") is None
    assert run("rev-list", "--count", "main", at=remote) == "2"


def test_a_commit_says_who_when_and_what(remote: Path, tmp_path: Path) -> None:
    repository = GitOpsRepository(
        remote, tmp_path / "cache", author="Kit <kit@example.org>", clock=lambda: 1_700_000_000.0
    )
    repository.create({"a": b""})
    repository.commit(lambda _: Proposal("Subject", {"Mlops-Run": "7"}, {"b": b""}, body="Body."))
    newest, oldest = repository.log()
    assert (newest.subject, newest.trailers) == ("Subject", {"Mlops-Run": "7"})
    assert newest.author == "Kit <kit@example.org>"
    assert newest.time.isoformat() == "2023-11-14T22:13:20+00:00"
    assert [commit.subject for commit in repository.log("b")] == ["Subject"]
    assert oldest.trailers == {"Mlops-Action": "create"}


def test_nothing_to_do_writes_nothing(repository: GitOpsRepository) -> None:
    head = repository.head()
    assert repository.commit(lambda snapshot: None) == head == repository.head()


def test_a_lost_race_is_decided_again(
    repository: GitOpsRepository, remote: Path, tmp_path: Path
) -> None:
    # A Git host may accept a forced push, so that not forcing is up to the kit.
    run("config", "receive.denyNonFastForwards", "false", at=remote)
    other = GitOpsRepository(repository.url, tmp_path / "other")
    seen: list[str] = []

    def decide(snapshot: Snapshot) -> Proposal:
        seen.append(snapshot.revision)
        if len(seen) == 1:
            other.commit(lambda _: write("theirs"))
        return write("mine", b"theirs: " + (snapshot.read("theirs") or b"none"))

    repository.commit(decide)
    assert len(set(seen)) == 2
    assert repository.read("mine") == b"theirs: new\n"
    assert repository.read("theirs") == b"new\n"


def test_a_race_that_is_always_lost_ends(
    repository: GitOpsRepository, remote: Path, tmp_path: Path
) -> None:
    pauses: list[float] = []
    patient = GitOpsRepository(
        repository.url, tmp_path / "cache", sleep=pauses.append, chance=lambda: 1.0
    )

    def decide(snapshot: Snapshot) -> Proposal:
        words = ("-p", snapshot.revision, "-m", "theirs", snapshot.revision + "^{tree}")
        run("update-ref", "refs/heads/main", run("commit-tree", *words, at=remote), at=remote)
        return write("mine")

    with fails("gitops.lost-race"):
        patient.commit(decide)
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4]
    assert max(pauses) == 1.0
    assert repository.read("mine") is None


def test_a_hook_that_rejects_is_quoted(repository: GitOpsRepository, hook: Path) -> None:
    hook.write_text("#!/bin/sh\necho 'only on Tuesdays' >&2\nexit 1\n")
    hook.chmod(0o755)
    head = repository.head()
    with fails("gitops.remote", "only on Tuesdays"):
        repository.commit(lambda _: write("mine"))
    assert repository.head() == head


def test_a_push_whose_answer_is_lost_is_not_made_twice(
    repository: GitOpsRepository, remote: Path, hook: Path
) -> None:
    # The hook itself moves the branch to what is pushed, so that git refuses what has arrived.
    hook.write_text(
        "#!/bin/sh\nread old new ref\nunset GIT_QUARANTINE_PATH\n"
        'git cat-file -p "$new" >/dev/null && cp -r "$GIT_OBJECT_DIRECTORY"/?? objects/\n'
        'echo "$new" > refs/heads/main\nexit 1\n'
    )
    hook.chmod(0o755)
    revision = repository.commit(lambda _: write("mine"))
    assert repository.head() == revision
    assert run("rev-list", "--count", "main", at=remote) == "2"


def test_a_slow_remote_is_ended_with_all_its_processes(
    repository: GitOpsRepository, hook: Path, tmp_path: Path
) -> None:
    hook.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    hook.chmod(0o755)
    hasty = GitOpsRepository(repository.url, tmp_path / "cache", timeout=1.0)
    started = time.monotonic()
    with fails("gitops.remote.timeout", "git push", "1 s"):
        hasty.commit(lambda _: write("mine"))
    assert time.monotonic() - started < 5
    time.sleep(0.2)
    status = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_a_remote_that_is_away_says_so_without_its_password(tmp_path: Path) -> None:
    away = GitOpsRepository(
        "http://ana:secret@127.0.0.1:9/gitops.git", tmp_path / "cache", timeout=20
    )
    with fails("gitops.remote", "127.0.0.1") as caught:
        away.head()
    assert "secret" not in str(caught.value)


def test_a_path_without_a_repository_is_a_remote_error(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("")
    for name in ("plain", "nowhere"):
        with fails("gitops.remote", name):
            GitOpsRepository(tmp_path / name, tmp_path / "cache").head()
    with pytest.raises(RemoteError):
        GitOpsRepository(tmp_path / "plain", tmp_path / "cache").create({"a": b""})


def test_an_empty_repository_and_a_missing_branch_say_so(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    run("init", "--bare", "empty.git", at=tmp_path)
    with fails("gitops.no-branch", "'main'"):
        GitOpsRepository(tmp_path / "empty.git", tmp_path / "cache").head()
    with fails("gitops.no-branch", "'other'"):
        GitOpsRepository(repository.url, tmp_path / "cache", branch="other").head()


def test_several_creators_make_one_repository(remote: Path, tmp_path: Path) -> None:
    heads: list[str] = []

    def create(number: int) -> None:
        made = GitOpsRepository(remote, tmp_path / "cache", clock=lambda: float(number))
        heads.append(made.create({"README.md": str(number).encode()}))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heads) == 6
    assert len(set(heads)) == 1
    repository = GitOpsRepository(remote, tmp_path / "cache")
    assert repository.create({"other": b""}) == heads[0]
    assert repository.snapshot().revision == heads[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "gitops.git"]


@pytest.mark.parametrize("damage", ["head", "objects", "pack", "seen", "file"])
def test_a_broken_cache_is_made_anew(
    repository: GitOpsRepository, tmp_path: Path, damage: str
) -> None:
    other = GitOpsRepository(repository.url, tmp_path / "other")
    other.commit(lambda _: write("theirs"))
    assert repository.read("theirs") == b"new\n"
    other.commit(lambda _: write("more"))
    cache = tmp_path / "cache"
    match damage:
        case "head":
            (cache / "HEAD").unlink()
        case "objects":
            for path in cache.glob("objects/??/*"):
                path.chmod(0o600)
                path.write_bytes(b"")
        case "pack":
            for path in cache.glob("objects/pack/*.pack"):
                path.chmod(0o600)
                path.write_bytes(path.read_bytes()[:40])
        case "seen":
            (cache / "refs" / "mlops-kit" / "seen").write_text("1" * 40)
        case _:
            subprocess.run(["rm", "-rf", str(cache)], check=True)
            cache.write_text("no folder")
    assert repository.read("theirs") == b"new\n"
    repository.commit(lambda _: write("mine"))
    assert {"theirs", "more", "mine"} < set(repository.list())


def test_threads_share_a_cache(repository: GitOpsRepository, remote: Path) -> None:
    threads = [
        threading.Thread(target=repository.commit, args=(lambda _, n=number: write(f"f{n}"),))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"f{number}" for number in range(6)} < set(repository.list())
    assert run("rev-list", "--count", "main", at=remote) == "7"


def test_the_lock_of_a_killed_push_is_removed(
    repository: GitOpsRepository, remote: Path, tmp_path: Path
) -> None:
    lock = remote / "refs" / "heads" / "main.lock"
    lock.touch()
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        old = time.time() - 20 * len(waited)
        if lock.exists():
            os.utime(lock, (old, old))

    patient = GitOpsRepository(repository.url, tmp_path / "cache", sleep=sleep)
    patient.commit(lambda _: write("mine"))
    # A fresh lock is respected: it may be another push's.
    assert len(waited) == 2
    assert repository.read("mine") == b"new\n"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        ".git/config",
        "a/.GIT/x",
        "",
        "a\nb",
        "a\\b",
        "a/.",
        "-x\0",
    ],
)
def test_a_path_can_not_leave_the_repository(repository: GitOpsRepository, path: str) -> None:
    head = repository.head()
    with fails("gitops.path"):
        repository.commit(lambda _: write(path))
    with fails("gitops.path"):
        repository.read(path)
    assert repository.head() == head


def test_a_revision_that_is_none_is_refused(repository: GitOpsRepository) -> None:
    for revision in ("main", "--help", "", "0" * 40):
        with pytest.raises(GitOpsError):
            repository.read("README.md", revision)


def test_a_commit_without_trailers_or_subject_is_refused(repository: GitOpsRepository) -> None:
    with fails("gitops.message", {}):
        repository.commit(lambda _: Proposal("S", {}, {"a": b""}))
    with fails("gitops.message", repr("\n")):
        repository.commit(lambda _: Proposal("\n", ACTION, {"a": b""}))


SCRIPT = """
import sys
from pathlib import Path
from mlops_kit.releases.repository import GitOpsRepository, Proposal
made = GitOpsRepository(sys.argv[1], Path(sys.argv[2]))
made.create({"README.md": b""})
made.commit(lambda _: Proposal("S", {"Mlops-Action": "test"}, {"a": b"a"}))
print(made.head())
"""


@pytest.mark.parametrize("home", ["empty", "hostile", "absent"])
def test_a_persons_configuration_changes_nothing(tmp_path: Path, home: str) -> None:
    place = tmp_path / "home"
    place.mkdir()
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-push").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-push").chmod(0o755)
    if home == "hostile":
        (place / ".gitconfig").write_text(
            f"[core]\nhooksPath={hooks}\nautocrlf=true\n"
            "[push]\ngpgSign=true\n[log]\nshowSignature=true\n[color]\nui=always\n"
            f"[init]\ntemplateDir={hooks}\ndefaultBranch=trunk\n[user]\nuseConfigOnly=true\n"
        )
    # What git itself sets for a hook, from which the kit may have been started.
    inherited = dict.fromkeys(("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"), "/nowhere")
    environment = {"PATH": os.environ["PATH"], "GIT_NAMESPACE": "other", **inherited}
    if home != "absent":
        environment["HOME"] = str(place)
    remote = tmp_path / "gitops.git"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(remote), str(tmp_path / "cache")],
        env=environment,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == run("rev-parse", "main", at=remote)


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen here")
@pytest.mark.parametrize("has_key", [True, False])
def test_who_signs_commits_signs_the_kits(tmp_path: Path, has_key: bool) -> None:
    key = tmp_path / "key"
    if has_key:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / ".gitconfig").write_text(
        f"[user]\nsigningKey={key}.pub\n[gpg]\nformat=ssh\n[commit]\ngpgSign=true\n"
    )
    remote = tmp_path / "gitops.git"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(remote), str(tmp_path / "cache")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if has_key:
        assert done.returncode == 0, done.stderr
        assert "gpgsig" in run("cat-file", "commit", "main", at=remote)
    else:
        assert done.returncode == 1
        assert str(key) in done.stderr, "it says what git could not sign with"


def test_a_machine_without_git_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "r"), str(tmp_path / "c")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert "GitOpsError: Git can't be started" in done.stderr


def test_the_code_revision_tells_a_dirty_checkout(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    run("init", at=project)
    assert code_revision(project) == ""
    (project / "a.py").write_text("a = 1\n")
    run("add", ".", at=project)
    run("commit", "-m", "a", at=project)
    sha = run("rev-parse", "HEAD", at=project)
    (project / "sub").mkdir()
    assert code_revision(project) == code_revision(project / "sub") == sha
    (project / "a.py").write_text("a = 2\n")
    assert code_revision(project) == f"{sha}-dirty"
    assert code_revision(tmp_path) == ""


def test_every_process_of_git_asks_no_terminal() -> None:
    code, out, _ = git_process.run(("-c", "alias.show-env=!env", "show-env"))
    assert code == 0
    assert b"GIT_TERMINAL_PROMPT=0" in out
