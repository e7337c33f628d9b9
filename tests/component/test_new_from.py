"""A project for rows that nobody here has seen: guessed, written, and read back as it was said."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_kit import Workspace, datasets
from mlops_kit.cli.main import main
from mlops_kit.project import local_runs, scaffold
from mlops_kit.tables.guessing import Guess, guess
from mlops_kit.tables.roles import Roles
from tests.contract.test_grammar import offences
from tests.contract.test_public_names import private
from tests.failures import fails

TASKS = {
    "binary": Roles(label="left", amount="spent"),
    "multiclass": Roles(label="tier", time="joined"),
    "regression": Roles(label="price", entity="branch"),
}


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(5)
    rows = 1_200
    frame = pd.DataFrame(
        {
            "customer": [f"c{number:05d}" for number in random.permutation(rows)],
            "branch": random.choice([f"b{number}" for number in range(60)], rows),
            "city": random.choice(["Rome", "Oslo, No", 'the "Hague"', None], rows),
            "age": random.integers(18, 90, rows),
            "zip": [f"{number:05d}" for number in random.integers(0, 99_999, rows)],
            "joined": pd.Timestamp("2025-01-01")
            + pd.to_timedelta(random.integers(0, 9_000, rows), "h"),
            "spent": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2, 50, rows)),
            "member": random.random(rows) < 0.5,
            "source": "shop",
            "price": random.normal(100, 20, rows),
            "tier": random.integers(1, 4, rows),
            "left": np.where(random.random(rows) < 0.3, "Yes", "No"),
        }
    )
    path = tmp_path_factory.mktemp("data") / "customers.csv"
    frame.to_csv(path, index=False, sep=";")
    return path


def cells(path: Path) -> str:
    notebook = json.loads(path.read_text())
    return "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")


def guessed(path: Path, text: str, **roles: Any) -> Guess:
    path.write_text(text)
    return guess(path, "m", Roles(**roles))


@pytest.fixture(scope="module", params=TASKS)
def project(
    request: pytest.FixtureRequest, customers: Path, tmp_path_factory: pytest.TempPathFactory
) -> scaffold.Made:
    folder = tmp_path_factory.mktemp(request.param) / "shop"
    return scaffold.create_for(folder, "shop", str(customers), TASKS[request.param])


def test_the_declaration_that_is_written_is_the_one_that_was_guessed(
    project: scaffold.Made,
) -> None:
    assert project.guess is not None
    found = Workspace.open(project.folder).table("shop")
    assert found == project.guess.table
    assert {column.name: column.kind for column in found.columns} == {
        "customer": "str",
        "branch": "str",
        "city": "str",
        "age": "int",
        "zip": "str",
        "joined": "datetime",
        "spent": "float",
        "member": "bool",
        "source": "str",
        "price": "float",
        "tier": "int",
        "left": "str",
    }
    assert set(found.ignored) == {"customer", "source"}
    assert found.time == "joined"
    assert found.column("city").categories == ("Oslo, No", "Rome", 'the "Hague"')
    assert [column.name for column in found.columns if column.nullable] == ["city", "spent"]


def test_each_guess_is_written_with_its_reason(project: scaffold.Made) -> None:
    text = (project.folder / "workflows" / "tables" / "shop.py").read_text()
    for reason in ("an id", "the same in each row", "zeros before them", "% missing"):
        assert reason in text
    assert project.guess is not None
    assert len(project.guess.lines) >= len(project.guess.table.columns)
    assert max(map(len, text.splitlines())) <= 100


def test_the_notebooks_keep_the_grammar_and_use_public_names(project: scaffold.Made) -> None:
    paths = sorted((project.folder / "notebooks").glob("*.ipynb"))
    assert {"validate_data", "train", "evaluate", "promote", "watch_rollout"} <= {
        path.stem for path in paths
    }
    for path in paths:
        assert offences(json.loads(path.read_text())) == [], path.name
        assert private(cells(path)) == set(), path.name
        assert "fraud" not in path.read_text(), path.name


def test_the_pipeline_passes_what_its_notebooks_take(project: scaffold.Made) -> None:
    workspace = Workspace.open(project.folder)
    pipeline = workspace.pipeline("shop-training")
    assert next(step.name for step in pipeline.ordered) == "validate-data"
    assert workspace.settings.model == "shop"
    assert len(workspace.rules("shop").gates) >= 3
    assert workspace.policy.recall == workspace.policy.precision == 0.10
    for step in pipeline.steps:
        text = cells(project.folder / "notebooks" / step.notebook)
        for parameter in step.parameters:
            assert f"\n{parameter}: " in f"\n{text}", (step.name, parameter)


def test_the_rows_are_validated_and_kept(project: scaffold.Made, tmp_path: Path) -> None:
    workspace = Workspace.open(project.folder)
    step = workspace.pipeline("shop-training").step("validate-data")
    assert project.guess is not None
    given = {"data": project.guess.source, "model": "shop"}
    found = local_runs.run_step(workspace, step, given, tmp_path / "step", lambda _: None)
    kept = datasets.read(str(found["dataset"].argument), workspace.table("shop"))
    assert len(kept) == 1_200


def test_the_rows_are_validated_whole_and_sampled_where_the_settings_allow_it(
    project: scaffold.Made, customers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_KIT_MODELS__SHOP__SAMPLE", "600")
    notebook = json.loads((project.folder / "notebooks" / "validate_data.ipynb").read_text())
    sources = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    known: dict[str, Any] = {"data": str(customers), "model": "shop"}
    setup = sources["setup"].replace("Workspace.open()", f"Workspace.open({str(project.folder)!r})")
    for text in (setup, *(sources[each] for each in ("load", "contract", "insist", "split"))):
        exec(text, known)
    assert known["contract"].note == "1,200 rows read, 600 sampled (seed 7)."
    assert known["contract"].rows == 1_200
    assert len(known["rows"].frame) == 600


def test_its_estimators_learn_from_the_rows(project: scaffold.Made, customers: Path) -> None:
    notebook = json.loads((project.folder / "notebooks" / "train.ipynb").read_text())
    sources = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    names = {"Workspace": Workspace, "dataset": str(customers), "model": "shop"}
    for role in ("baseline", "candidate"):
        known: dict[str, Any] = {**names, "role": role}
        setup = sources["setup"].replace(
            "Workspace.open()", f"Workspace.open({str(project.folder)!r})"
        )
        for text in (setup, *(sources[each] for each in ("data", "columns", "estimator"))):
            exec(compile(text, role, "exec"), known)
        inputs = known["table"].inputs(known["split"].holdout)
        assert len(known["estimator"].predict(inputs)) == len(inputs)


def test_a_second_model_gets_files_and_an_environment_of_its_own(
    customers: Path, tmp_path: Path
) -> None:
    runner = CliRunner()
    folder = tmp_path / "shop"
    words = ["new", str(folder), "--from", str(customers), "--target", "left"]
    made = runner.invoke(main, words, catch_exceptions=False)
    assert f"cd {folder}" in made.output
    assert "mlops-kit run shop-training" in made.output
    words = ["--project", str(folder), "add", "net-price", "--from", str(customers)]
    added = runner.invoke(main, [*words, "--target", "price", "--json"], catch_exceptions=False)
    found = json.loads(added.output)
    assert found["table"]["task"] == "regression"
    assert set(found["files"]) == {
        "notebooks/evaluate_net_price.ipynb",
        "notebooks/train_net_price.ipynb",
        "notebooks/validate_data_net_price.ipynb",
        "workflows/gitops/envs/net-price/release.yaml",
        "workflows/net_price_training.py",
        "workflows/tables/net_price.py",
    }
    workspace = Workspace.open(folder)
    assert {*workspace.tables()} == {"shop", "net-price"}
    assert {"shop-training", "net-price-training"} <= {*workspace.pipelines()}
    with fails("project", "'net-price'"):
        scaffold.add(folder, "net-price", str(customers), Roles(label="price"))


@pytest.mark.parametrize("name", ["Churn", "a b", "../up", "x" * 41, ""])
def test_a_name_that_a_cluster_would_refuse_is_refused(
    customers: Path, tmp_path: Path, name: str
) -> None:
    with fails("project", repr(name)[:20]):
        scaffold.create_for(tmp_path / "x", name, str(customers), Roles(label="left"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(customers: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with fails("project", tmp_path):
        scaffold.create_for(tmp_path, "shop", str(customers), Roles(label="left"))


def test_a_password_is_never_written(tmp_path: Path) -> None:
    from mlops_kit.tables.sources import without_password

    found = without_password("postgresql://ann:hunter2@host:5432/shop#select 1 from a")
    assert found == "postgresql://ann@host:5432/shop#select 1 from a"


def test_a_database_is_looked_at(customers: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        pd.read_csv(customers, sep=";", dtype={"zip": str}).to_sql("c", connection, index=False)
    found = guess(f"sqlite:///{tmp_path}/shop.db#c", "shop", TASKS["binary"])
    assert found.table.task == "binary"
    assert found.table.column("joined").kind == "datetime"
    assert found.table.column("zip").kind == "str"


@pytest.mark.parametrize(
    ("values", "roles", "task", "classes"),
    [
        (["0", "1"], {}, "binary", (0, 1)),
        (["0.0", "1.0"], {}, "binary", (0, 1)),
        (["1", "2"], {"positive": "1"}, "binary", (2, 1)),
        (["-1", "1"], {}, "binary", (-1, 1)),
        (["true", "false"], {}, "binary", (False, True)),
        (["fraud", "ok"], {}, "binary", ("ok", "fraud")),
        (["a", "b", "c"], {}, "multiclass", ("a", "b", "c")),
        (["3", "5", "9"], {}, "multiclass", (3, 5, 9)),
        (["3", "5", "9"], {"task": "regression"}, "regression", ()),
        (["1.5", "2.25", "3.0"], {}, "regression", ()),
        (["1,5", "2,25"], {"task": "regression"}, "regression", ()),
    ],
)
def test_the_task_is_read_from_the_label(
    tmp_path: Path, values: list[str], roles: dict[str, Any], task: str, classes: tuple[Any, ...]
) -> None:
    lines = [f"{place};{values[place % len(values)]}" for place in range(60)]
    found = guessed(tmp_path / "a.csv", "\n".join(["x;target", *lines]), **roles)
    assert (found.table.task, found.table.classes) == (task, classes)


@pytest.mark.parametrize(
    ("text", "roles", "code", "facts"),
    [
        ("a,b\n1,2\n", {"label": "c"}, "parameter", ["'c'", "'a'"]),
        ("age,b\n1,2\n", {"label": "b", "time": "Age"}, "parameter", ["mean 'age'"]),
        ("a,b\n1,x\n2,y\n", {"label": "b", "positive": "z"}, "parameter", ["'z'"]),
        ("a,b\n1,2\n2,2\n", {"label": "b"}, "data", ["'b'", "1 values"]),
        ("a,a\n1,2\n", {"label": "a"}, "data", ["'a'"]),
        ("a,b\n", {}, "data", []),
        ("", {}, "data", ["empty"]),
        ("1,2\n3,4\n", {}, "data", ["'1'"]),
        ("a,b\n1,2\n1\n", {"label": "b"}, "data", ["line 3"]),
    ],
)
def test_what_cannot_be_guessed_is_said(
    tmp_path: Path, text: str, roles: dict[str, Any], code: str, facts: list[str]
) -> None:
    with fails(code, *facts):
        guessed(tmp_path / "a.csv", text, **roles)


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (["03/04/2026", "05/06/2026"], "str", "2026-12-31"),
        (["1,234", "5,678"], "str", "thousands"),
        (["007", "012"], "str", "zeros"),
        (["1,5", "2"], "float", "numbers"),
        (["31.12.2025", "01.02.2026"], "datetime", "dates"),
        (["T", "F"], "bool", "true"),
        (["yes", "no"], "str", "2 values"),
    ],
)
def test_a_columns_kind_has_its_reason(
    tmp_path: Path, values: list[str], kind: str, reason: str
) -> None:
    lines = [f"{values[place % 2]};{place};{place % 2}" for place in range(60)]
    found = guessed(tmp_path / "a.csv", "\n".join(["x;z;target", *lines]))
    assert found.table.column("x").kind == kind
    assert reason in found.reasons["x"]


def test_options_for_rows_need_rows() -> None:
    done = CliRunner().invoke(main, ["new", "x", "--target", "y"])
    assert done.exit_code == 2
    assert "--from" in done.output
