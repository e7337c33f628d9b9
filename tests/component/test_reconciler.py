"""What Git says is served, or else what it said last that could be."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_kit.models import artifacts
from mlops_kit.releases import release_yaml
from mlops_kit.releases.release import Release, ServedModel
from mlops_kit.releases.repository import Proposal
from mlops_kit.serving.reconciler import Applied, Reconciler
from tests import platforms
from tests.platforms import RELEASE, Remote, Site, until


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ServedModel]]:
    folder = tmp_path_factory.mktemp("applying") / "artifacts"
    return folder, platforms.write_models(folder)


@pytest.fixture
def site(models: tuple[Path, dict[str, ServedModel]], tmp_path: Path) -> Site:
    """A site whose registry may be changed."""
    kept, sides = models
    shutil.copytree(kept, tmp_path / "artifacts")
    return platforms.made(tmp_path / "state", tmp_path / "artifacts", dict(sides))


@pytest.fixture
def remote(site: Site, tmp_path: Path) -> Remote:
    os.environ["GIT_CONFIG_GLOBAL"] = str(tmp_path / "gitconfig")
    return Remote(site, tmp_path / "gitconfig")


def served(site: Site) -> Reconciler:
    reconciler = site.reconciler()
    assert reconciler.reconcile()
    assert reconciler.live is not None
    return reconciler


def test_a_rollout_loads_each_model_once_and_forgets_it_at_the_end(site: Site) -> None:
    reconciler = served(site)
    champion = reconciler.live and reconciler.live.champion
    for weight in (0, 10, 100):
        revision = site.commit("1", "2", weight)
        assert reconciler.reconcile()
        assert not reconciler.reconcile()
        live = reconciler.live
        assert live is not None
        assert live.candidate is not None
        assert (live.revision, live.weight, live.rollout) == (revision, weight, "rollout-2")
        assert live.champion is champion
    assert site.fetched == ["1", "2"]
    assert len([*(site.folder / "models").iterdir()]) == 2
    site.commit("1")
    assert reconciler.reconcile()
    assert reconciler.live is not None
    assert reconciler.live.candidate is None
    assert len([*(site.folder / "models").iterdir()]) == 1


def test_a_commit_about_something_else_changes_only_the_revision(site: Site) -> None:
    reconciler = served(site)
    before, since = reconciler.live, reconciler.applied.since
    revision = site.put(b"# news\n", "NEWS.md")
    assert reconciler.reconcile()
    assert before is not None
    assert reconciler.live is not None
    assert reconciler.live.revision == revision
    assert vars(reconciler.live) == {**vars(before), "revision": revision}
    assert (reconciler.applied.revision, reconciler.applied.wanted) == (revision, revision)
    assert reconciler.applied.since >= since
    assert site.fetched == ["1"]


def another_digest(site: Site) -> str:
    site.sides["2"] = dataclasses.replace(site.sides["2"], digest="sha256:" + "0" * 64)
    return site.commit("1", "2")


def a_tampered_artifact(site: Site) -> str:
    with (site.artifacts / "2" / artifacts.MODEL_FILE).open("ab") as file:
        file.write(b"\0")
    return site.commit("1", "2")


def a_type_off_the_list(site: Site) -> str:
    file = site.artifacts / "2" / artifacts.MODEL_FILE
    with zipfile.ZipFile(file) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    entries["schema.json"] = entries["schema.json"].replace(b"LogisticReg", b"LogisticBom")
    with zipfile.ZipFile(file, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    digest = artifacts.digest(artifacts.contents(site.artifacts / "2"))
    site.sides["2"] = dataclasses.replace(site.sides["2"], digest=digest)
    return site.commit("1", "2")


def an_unknown_version(site: Site) -> str:
    site.sides["9"] = dataclasses.replace(site.sides["2"], version="9")
    return site.commit("1", "9")


def a_broken_file(site: Site) -> str:
    return site.put(b"{" * 1000)


def another_model(site: Site) -> str:
    return site.put(
        release_yaml.write_release(dataclasses.replace(site.release("1"), model="other"))
    )


def another_environment(site: Site) -> str:
    staged = dataclasses.replace(site.release("1"), environment="staging")
    return site.put(release_yaml.write_release(staged))


def raising(error: Exception) -> Callable[[Site], str]:
    def commit(site: Site) -> str:
        def fail() -> None:
            if site.fetched[-1] == "2":
                raise error

        site.on_fetch = fail
        return site.commit("1", "2")

    return commit


BAD = {
    "another digest": (another_digest, "UntrustedModelError: .*digest"),
    "tampered": (a_tampered_artifact, "UntrustedModelError: .*digest"),
    "type": (a_type_off_the_list, "UntrustedModelError: .*LogisticBom"),
    "unknown": (an_unknown_version, "ModelNotFoundError: There is no version 9"),
    "broken": (a_broken_file, r"ReleaseError: release\.yaml can't be read"),
    "another model": (another_model, "ReleaseError: .*'other'.*'fraud'"),
    "another environment": (another_environment, "ReleaseError: .*'staging'.*'prod'"),
    "disk": (raising(OSError(28, "No space left")), "ServingError: .*version 2.*No space left"),
    "unforeseen": (raising(RuntimeError("a bug")), "RuntimeError: a bug"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_cannot_be_applied_leaves_the_last_good_release(site: Site, name: str) -> None:
    commit, said = BAD[name]
    reconciler = served(site)
    before, good = reconciler.live, reconciler.applied.revision
    bad = commit(site)
    assert reconciler.reconcile()
    assert reconciler.live is before
    assert (reconciler.applied.revision, reconciler.applied.wanted) == (good, bad)
    assert re.search(said, reconciler.applied.error), reconciler.applied.error
    assert not reconciler.reconcile()
    site.on_fetch = lambda: None
    next_good = site.commit("3")
    assert reconciler.reconcile()
    assert reconciler.live is not None
    assert reconciler.live.champion.version == "3"
    assert dataclasses.replace(reconciler.applied, since=0.0) == Applied(next_good, next_good)


def test_a_commit_without_a_release_is_said(site: Site) -> None:
    reconciler = served(site)
    gone = Proposal("Delete it", {"Mlops-Action": "test"}, {}, frozenset({RELEASE}))
    site.repository.commit(lambda _snapshot: gone)
    assert reconciler.reconcile()
    assert re.search(rf"ReleaseError: .*has no {RELEASE}", reconciler.applied.error)
    assert reconciler.live is not None


def test_a_release_of_nothing_serves_nothing(site: Site) -> None:
    reconciler = served(site)
    site.put(release_yaml.write_release(Release("", platforms.ENVIRONMENT)))
    assert reconciler.reconcile()
    assert reconciler.live is None
    assert reconciler.applied.error == ""
    site.commit("1")
    assert reconciler.reconcile()
    assert reconciler.live is not None


def test_what_failed_is_tried_again_less_and_less_often(site: Site) -> None:
    now = 0.0
    site.timer = lambda: now
    reconciler = served(site)
    shutil.move(site.artifacts / "2", site.artifacts / "away")
    site.commit("1", "2")
    asked = []
    for now in (0.0, 0.4, 0.5, 1.4, 1.5, 3.4, 3.5, 7.4, 7.5, 15.4, 15.5, 25.4, 25.5):
        before = len(site.fetched)
        reconciler.reconcile()
        if len(site.fetched) > before:
            asked.append(now)
    assert asked == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5]
    shutil.move(site.artifacts / "away", site.artifacts / "2")
    now = 40.0
    assert reconciler.reconcile()
    assert reconciler.applied.error == ""
    assert reconciler.live is not None
    assert reconciler.live.candidate is not None


def test_a_kept_model_that_rotted_is_fetched_again(site: Site) -> None:
    served(site)
    for file in (site.folder / "models").rglob(artifacts.MODEL_FILE):
        file.write_bytes(b"rot")
    assert served(site).live is not None
    assert site.fetched == ["1", "1"]
    assert served(site).live is not None
    assert site.fetched == ["1", "1"]


@pytest.mark.parametrize("bad", [a_broken_file, an_unknown_version])
def test_a_start_at_a_bad_commit_serves_the_last_good_one(
    site: Site, bad: Callable[[Site], str]
) -> None:
    good = served(site).applied.revision
    wanted = bad(site)
    reconciler = site.reconciler()
    assert reconciler.reconcile()
    assert reconciler.live is None
    error = reconciler.applied.error
    reconciler.restore()
    assert reconciler.live is not None
    assert (reconciler.live.revision, reconciler.live.champion.version) == (good, "1")
    assert dataclasses.replace(reconciler.applied, since=0.0) == Applied(good, wanted, 0.0, error)
    next_good = site.commit("1", "2")
    assert reconciler.reconcile()
    assert reconciler.live.revision == next_good


def test_a_start_without_git_serves_the_last_good_one_if_there_is_one(
    site: Site, remote: Remote
) -> None:
    for expected in (None, site.repository.head()):
        reconciler = site.reconciler()
        with remote.away():
            reconciler.reconcile()
            reconciler.restore()
            assert (reconciler.live and reconciler.live.revision) == expected
            assert "RemoteError" in reconciler.applied.error
        assert reconciler.reconcile()
        head = site.repository.head()
        assert dataclasses.replace(reconciler.applied, since=0.0) == Applied(head, head)
        assert reconciler.live is not None
    assert site.fetched == ["1"]


def rot(site: Site) -> None:
    (site.folder / "last-good.yaml").write_bytes(b"\xff\xfe")


def keep_of_another_model(site: Site) -> None:
    kept = site.folder / "last-good.yaml"
    kept.write_bytes(kept.read_bytes().replace(b"model: fraud", b"model: other"))


@pytest.mark.parametrize("spoil", [rot, keep_of_another_model])
def test_a_last_good_release_that_is_none_is_not_served(
    site: Site, spoil: Callable[[Site], None]
) -> None:
    served(site)
    spoil(site)
    a_broken_file(site)
    reconciler = site.reconciler()
    reconciler.reconcile()
    reconciler.restore()
    assert reconciler.live is None
    assert re.search("can't be read as YAML(.|\n)*Nor can the last good", reconciler.applied.error)
    site.commit("1")
    assert reconciler.reconcile()
    assert reconciler.live is not None


def test_a_remote_that_is_away_or_hangs_is_said_until_it_is_back(
    site: Site, remote: Remote
) -> None:
    # Hanging takes all of the time that git may have.
    reconciler = served(dataclasses.replace(site, timeout=2.0))
    before, good = reconciler.live, reconciler.applied
    for trouble, said in ((remote.away(), "can't be read"), (remote.hanging(), "timed out")):
        with trouble:
            assert reconciler.reconcile()
            assert re.search(f"RemoteError: .*{said}", reconciler.applied.error)
            assert reconciler.live is before
            assert reconciler.applied.revision == good.revision
        until(lambda: reconciler.reconcile() and reconciler.applied == good, "the return")
