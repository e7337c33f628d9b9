"""What a rollout judges follows from the table that the project declares, and from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_kit.project import judged_table, local_server, rollouts
from mlops_kit.project.workspace import Workspace
from mlops_kit.releases import promotion
from mlops_kit.releases.request import PromotionRequest, Signoff
from mlops_kit.rollouts.criteria import BINARY, ModelTask, criteria
from mlops_kit.rollouts.judge import Answered, Judge
from tests import mixed, served
from tests.failures import fails
from tests.observed import prediction

TABLES = """\
from mlops_kit.tables.table import Column, Table

LOANS = Table(
    "loans",
    (
        Column("sum", "float"),
        Column("city", "str"),
        Column("paid", "str", categories=("yes", "no")),
    ),
    "binary", "paid", ("yes", "no"), amount="sum",
)
SPECIES = Table(
    "species",
    (Column("length", "float"), Column("kind", "str", categories=("a", "b", "c"))),
    "multiclass", "kind", ("a", "b", "c"),
)
PRICES = Table(
    "prices", (Column("rooms", "int"), Column("price", "float")), "regression", "price",
)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "workflows" / "tables").mkdir(parents=True)
    (tmp_path / "workflows" / "tables" / "tables.py").write_text(TABLES)
    return tmp_path


def project(folder: Path, content: str = "") -> Workspace:
    (folder / "mlops-kit.toml").write_text(content)
    return Workspace.open(folder)


def test_the_task_is_that_of_the_models_table(place: Path) -> None:
    workspace = project(place, "[rollout.class_recall]\nc = 0.6\n")
    assert rollouts.model_task(workspace, "species") == ModelTask("multiclass", ("a", "b", "c"))
    assert rollouts.model_task(workspace, "prices") == ModelTask("regression")
    assert rollouts.model_task(workspace, "another") == BINARY
    found = criteria(workspace.policy("species"), rollouts.model_task(workspace, "species"))
    assert [(each.name, each.of) for each in found] == [("accuracy", 1), ("recall of c", 2)]


def test_a_bound_on_a_class_that_no_table_has_is_refused(place: Path) -> None:
    workspace = project(place, "[rollout.class_recall]\ncc = 0.6\n")
    with fails("settings", "cc", "class_recall"):
        rollouts.model_task(workspace, "species")


@pytest.mark.parametrize(
    ("model", "labels", "answers", "features", "expected"),
    [
        # An amount of 100 lost, and one false alarm.
        (
            "loans",
            [1, 0, 1],
            (np.zeros(3), np.array([0, 1, 1], np.uint8)),
            np.array([[100.0, "Bern"], [7.0, "Bonn"], [9.0, "Bern"]], object),
            [120.0, 5.0, 0.0],
        ),
        (
            "species",
            [0, 1, 2],
            (np.zeros((3, 3)), np.array([0, 0, 1])),
            np.zeros((3, 1)),
            [0.0, 1.0, 1.0],
        ),
        ("prices", [5, 5], (np.array([3.0, 9.0]), np.empty(0)), np.ones((2, 1)), [2.0, 4.0]),
    ],
)
def test_answers_are_priced_as_the_evaluation_prices_them(
    place: Path, model: str, labels: Any, answers: Any, features: Any, expected: list[float]
) -> None:
    workspace = project(place, "[rollout]\ncost = 10.0\n")
    costs = rollouts.row_costs(workspace, model)
    assert costs is not None
    found = criteria(workspace.policy(model), rollouts.model_task(workspace, model))
    judge = Judge(found, 2.0, costs)
    priced = judge.priced(np.array(labels, float), Answered(*answers), features)
    assert priced.costs.tolist() == expected
    tally = judge.quality(np.array(labels, float), priced).of("cost")
    assert tally.events / 2**30 * 100 == pytest.approx(sum(min(each, 100) for each in expected))


def test_without_a_bound_on_the_cost_nothing_is_priced(place: Path) -> None:
    assert rollouts.row_costs(project(place), "loans") is None


CUSTOMERS = """\
from tests import mixed
from dataclasses import replace

CUSTOMERS = replace(mixed.table("multiclass"), %s)
"""


def released(place: Path, name: str, declared: str = "") -> Workspace:
    """Release a model of three classes in a project that declares no table for it, or another."""
    if declared:
        (place / "workflows" / "tables" / "more.py").write_text(CUSTOMERS % declared)
    workspace = project(place, f'model = "{name}"\n[labels]\nfolder = "in"\n')
    table, model = mixed.table("multiclass"), mixed.fitted("multiclass", "linear")
    side = served.write_artifact(place / "artifact", model, "3", declared=table)
    kept = local_server.folder(workspace, "prod") / "models" / side.digest[7:39]
    kept.parent.mkdir(parents=True)
    (place / "artifact").rename(kept)
    request = PromotionRequest(name, "prod", side, "run", Signoff("ana"), strategy="direct")
    promotion.promote(workspace.repository, request)
    return workspace


def test_a_rollout_is_judged_by_the_table_that_serves(place: Path) -> None:
    workspace = released(place, "customers")
    for is_watcher in (True, False):
        found = judged_table.find(workspace, "customers", "prod", is_watcher=is_watcher)
        assert (found.table, found.differs) == (mixed.table("multiclass"), "")
    with rollouts.open_observer(workspace, "customers", "prod", watched=found) as observer:
        assert observer.task == ModelTask("multiclass", ("a", "b", "c"))
    (place / "in").mkdir()
    (place / "in" / "a.csv").write_text("id,label\nrequest-1,c\nrequest-1,d\n")
    os.utime(place / "in" / "a.csv", (1.0, 1.0))
    said: list[str] = []
    rollouts._collect(workspace, said.extend, "customers", found.table)
    assert len(said) == 1
    assert "'d'" in said[0]


def test_a_table_that_differs_from_the_served_one_is_said(
    place: Path, prepare_store: Callable[[Path], None]
) -> None:
    changed = 'classes=("a", "c", "b"), columns=mixed.COLUMNS[1:] + mixed.table().columns[-1:]'
    workspace = released(place, "customers", changed)
    prepare_store(place)
    found = judged_table.find(workspace, "customers", "prod", is_watcher=True)
    assert found.table == mixed.table("multiclass")
    assert "classes, 'city' " in found.differs
    viewed = judged_table.find(workspace, "customers", "prod").table
    assert viewed is not None
    assert viewed.classes == ("a", "c", "b")
    # Without the registry the project's table goes on, if there is one.
    for kept in (local_server.folder(workspace, "prod") / "models").iterdir():
        (kept / "table.json").unlink()
    found = judged_table.find(workspace, "customers", "prod", is_watcher=True)
    assert (found.table, found.differs) == (viewed, "")
    (place / "workflows" / "tables" / "more.py").unlink()
    with fails("registry"):
        judged_table.find(workspace, "customers", "prod", is_watcher=True)
    assert judged_table.find(workspace, "customers", "prod").table is None


def test_a_watcher_brings_labels_in_and_says_what_is_wrong(place: Path) -> None:
    workspace = project(place, 'model = "loans"\n[labels]\nfolder = "in"\n')
    said: list[str] = []
    rollouts._collect(workspace, said.extend)
    assert len(said) == 1
    assert str(place / "in") in said[0]
    (place / "in").mkdir()
    path = place / "in" / "a.csv"
    path.write_text("id,label\nrequest-1,no\nrequest-1,maybe\n")
    os.utime(path, (1.0, 1.0))
    store = rollouts.local_server.observations(workspace, "species")
    store.add([prediction(1, model="loans")])
    said.clear()
    rollouts._collect(workspace, said.extend)
    assert len(said) == 1
    assert "'maybe'" in said[0]
    assert store.status("loans", "prod")["labels"] == 1
    store.close()
