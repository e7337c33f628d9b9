"""The project's own types in a model run only with the code that was registered and released.

- a digest covers the module, the packages around it and what they import of the project
- the release names them, and the artifact has to agree
- other code is refused before any of it runs, a parent package's included
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mlops_kit.models import artifacts, trusted_code
from mlops_kit.releases import promotion
from mlops_kit.releases.release import ServedModel
from mlops_kit.releases.repository import GitOpsRepository
from mlops_kit.releases.request import PromotionRequest, Signoff
from mlops_kit.serving import model_loader
from mlops_kit.serving.reconciler import Reconciler
from tests import served
from tests.failures import fails

ROOT = Path(__file__).parents[2]
NAME = "own_package.steps.Scaled"
RUN = 'from pathlib import Path\nPath(__file__).with_name("ran").touch()\n'
FILES = {
    "own_package/__init__.py": RUN,
    "own_package/helpers.py": "FACTOR = 2\n",
    "own_package/unused.py": "FACTOR = 3\n",
    "own_sibling.py": "OFFSET = 1\n",
    "own_package/steps.py": """
import numpy
from sklearn.base import BaseEstimator, TransformerMixin
from .helpers import FACTOR

class Scaled(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        return self

    def transform(self, rows):
        from own_sibling import OFFSET
        return numpy.asarray(rows) * FACTOR + OFFSET

    def __sklearn_is_fitted__(self):
        return True
""",
}
MODULES = ["own_package", "own_package.helpers", "own_package.steps", "own_sibling"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.syspath_prepend(folder)
    forget()
    return folder


def forget() -> None:
    for name in MODULES:
        sys.modules.pop(name, None)


def stored(project: Path, place: str = "artifact") -> tuple[Path, ServedModel]:
    """Write a model with a type of the project's, and leave no trace of its import."""
    own = importlib.import_module("own_package.steps")
    frame, labels = served.table(60)
    model = make_pipeline(own.Scaled(), LogisticRegression()).fit(frame, labels)
    folder = project.parent / place
    named = served.write_artifact(folder, model, "3", trusted=(NAME,))
    forget()
    (project / "own_package" / "ran").unlink()
    return folder, named


def load(folder: Path, named: ServedModel) -> Any:
    return model_loader.load(folder, named, [NAME])


def test_the_digest_covers_what_the_type_may_run_and_nothing_else(project: Path) -> None:
    assert [*trusted_code.modules_of(NAME)] == MODULES
    assert not (project / "own_package" / "ran").exists()
    # A library's own, from the file that its name leads to.
    assert "sklearn.dummy" in trusted_code.modules_of("sklearn.dummy.DummyClassifier")
    for name in ("builtins.print", "__main__.Scaled", "own_package.missing.Scaled"):
        with fails("registry.untrusted", name):
            trusted_code.modules_of(name)


def test_a_model_with_the_registered_code_is_served(project: Path) -> None:
    folder, named = stored(project)
    assert [*named.trusted] == [NAME]
    assert load(folder, named).predict([[0.0] * 6])[0].shape == (1,)
    assert (project / "own_package" / "ran").exists()


def test_a_promotion_carries_the_names_to_the_server_through_git(project: Path) -> None:
    folder, named = stored(project)
    repository = GitOpsRepository(project.parent / "gitops.git", project.parent / "cache")
    repository.create(ROOT / "workflows" / "gitops")
    request = PromotionRequest(served.MODEL, "prod", named, "run", Signoff("ana"), "direct")
    promoted = promotion.promote(repository, request)
    assert promoted.release.champion is not None
    assert promoted.release.champion.trusted == named.trusted

    def started(name: str) -> Reconciler:
        (project.parent / name).mkdir()
        follower = Reconciler(
            project.parent / name,
            model=served.MODEL,
            environment="prod",
            repository=repository,
            fetch=lambda _side, target: shutil.copytree(folder, target),
            trusted=[NAME],
        )
        follower.reconcile()
        return follower

    assert started("first").live
    forget()
    edit("own_package/helpers.py")(project)
    second = started("second")
    assert second.live is None
    assert "own_package.helpers" in second.applied.error


def edit(name: str) -> Callable[[Path], object]:
    return lambda project: (project / name).write_text(FILES[name] + "# changed\n")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "module": (edit("own_package/steps.py"), "own_package.steps"),
    "helper": (edit("own_package/helpers.py"), "own_package.helpers"),
    "sibling": (edit("own_sibling.py"), "own_sibling"),
    "package": (edit("own_package/__init__.py"), "'own_package'"),
    "gone": (lambda project: (project / "own_package/steps.py").unlink(), "own_package.steps"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_code_is_refused_before_any_of_it_runs(project: Path, kind: str) -> None:
    folder, named = stored(project)
    change, module = CHANGES[kind]
    change(project)
    with fails("registry.untrusted.code-changed", "version 3", module, "mlops-kit run"):
        load(folder, named)
    assert not (project / "own_package" / "ran").exists()
    assert not {*MODULES} & {*sys.modules}


def test_another_module_of_the_package_may_change(project: Path) -> None:
    folder, named = stored(project)
    edit_unused = project / "own_package" / "unused.py"
    edit_unused.write_text("FACTOR = 4\n")
    assert load(folder, named)


def test_a_process_that_imported_older_code_is_told_to_restart(project: Path) -> None:
    folder, named = stored(project)
    assert load(folder, named)
    (project / "own_package" / "helpers.py").write_text("FACTOR = 20\n")
    newer = {NAME: trusted_code.modules_of(NAME)}
    (folder / artifacts.TRUSTED_FILE).write_text(json.dumps(newer))
    digest = artifacts.digest(artifacts.contents(folder))
    released = dataclasses.replace(named, digest=digest, trusted=trusted_code.digests(newer))
    with fails("registry.untrusted.code-changed", "own_package.helpers", "Restart"):
        load(folder, released)
    forget()
    assert load(folder, released)


@pytest.mark.parametrize(
    "trusted", [{}, {"a.b": "sha256:" + "0" * 64}, {NAME: "sha256:" + "0" * 64}]
)
def test_a_release_that_does_not_name_the_code_is_refused(
    project: Path, trusted: dict[str, str]
) -> None:
    folder, named = stored(project)
    with fails("registry.untrusted.not-in-release", NAME, named.trusted[NAME], "release.yaml"):
        load(folder, dataclasses.replace(named, trusted=trusted))
    assert not (project / "own_package" / "ran").exists()


def test_a_release_alone_makes_no_name_trusted(project: Path) -> None:
    folder, named = stored(project)
    with fails("registry.untrusted", NAME, "[models.NAME] trusted"):
        model_loader.load(folder, named)
    assert not (project / "own_package" / "ran").exists()


def other_digests(kept: dict[str, Any]) -> Any:
    return {NAME: kept[NAME] | {"own_sibling": "sha256:" + "0" * 64}}


def one_module_less(kept: dict[str, Any]) -> Any:
    return {NAME: {name: each for name, each in kept[NAME].items() if name != "own_sibling"}}


def no_module(kept: dict[str, Any]) -> Any:
    return {NAME: {}}


@pytest.mark.parametrize("change", [other_digests, one_module_less, no_module])
def test_an_edited_list_is_refused(project: Path, change: Callable[[Any], Any]) -> None:
    folder, named = stored(project)
    file = folder / artifacts.TRUSTED_FILE
    edited = change(json.loads(file.read_text()))
    file.write_text(json.dumps(edited))
    with fails("registry.untrusted", named.digest):
        load(folder, named)
    # Whoever can write the digest, too, still needs the release.
    forged = dataclasses.replace(named, digest=artifacts.digest(artifacts.contents(folder)))
    with fails("registry.untrusted.not-in-release", NAME):
        load(folder, forged)
    if change is one_module_less:
        return
    named = dataclasses.replace(forged, trusted=trusted_code.digests(edited))
    with fails("registry.untrusted.code-changed"):
        load(folder, named)
    assert not (project / "own_package" / "ran").exists()


@pytest.mark.parametrize(
    "content", ["[]", '["a.b"]', '{"a.b": "sha256:0"}', '{"a.b": {"c": 1}}', "{"]
)
def test_a_list_of_another_form_is_refused(project: Path, content: str) -> None:
    folder, named = stored(project)
    (folder / artifacts.TRUSTED_FILE).write_text(content)
    named = dataclasses.replace(named, digest=artifacts.digest(artifacts.contents(folder)))
    with fails("registry.untrusted", "trusted.json"):
        load(folder, named)


def test_folders_without_init_are_packages_too(project: Path) -> None:
    deep = project / "own_folder" / "inner"
    deep.mkdir(parents=True)
    (deep / "steps.py").write_text("from own_folder.inner import more\n")
    (deep / "more.py").write_text("ONE = 1\n")
    found = trusted_code.modules_of("own_folder.inner.steps.Scaled")
    assert [*found] == ["own_folder.inner.more", "own_folder.inner.steps"]
    trusted_code.check({"own_folder.inner.steps.Scaled": found}, "v1")
    (deep / "__init__.py").write_text("raise SystemExit\n")
    with fails("registry.untrusted.code-changed", "'own_folder.inner'"):
        trusted_code.check({"own_folder.inner.steps.Scaled": found}, "v1")
