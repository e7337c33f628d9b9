"""A project for rows that nobody here has seen: guessed, written, and read back as it was said."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_kit import Workspace, datasets
from mlops_kit.cli.main import main
from mlops_kit.project import local_runs, scaffold, table_files
from mlops_kit.rollouts.policy import Policy
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


def read(found: Guess) -> pd.DataFrame:
    return datasets.read(found.source, found.table)


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
    bounds = workspace.settings.models["shop"].rollout.model_dump(exclude_unset=True)
    lax = workspace.settings.rollout
    assert (lax.slow_ms, lax.slow_share, lax.recall) == (250.0, 0.05, Policy().recall)
    assert bounds in ({"recall": 0.1, "precision": 0.1}, {"accuracy": 0.33}, {})
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
        (["1", "2", "1"], {}, "binary", (1, 2)),
        (["yes", "no ", " yes"], {}, "binary", ("no", "yes")),
        (["yes", "no", "", "NA"], {}, "binary", ("no", "yes")),
        (["none", "mild", "bad"], {}, "multiclass", ("bad", "mild", "none")),
        (["1", "2", "3", "4", "5", "6", "7"], {}, "multiclass", (1, 2, 3, 4, 5, 6, 7)),
        (["$5", "$6"], {"task": "multiclass"}, "multiclass", ("$5", "$6")),
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
    lines = [f"{place * 3};{values[place % len(values)]}" for place in range(60)]
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
        ("a,,b\n1,2,0\n1,2,1\n", {"label": "b"}, "data", ["Column 2"]),
        ("a,b\n1,Yes\n2,yes\n3,no\n", {"label": "b"}, "data", ["'Yes'", "'yes'", "capitals"]),
        ('a,b\n1,"1,234.50"\n2,950.00\n', {"label": "b"}, "data", ["'1,234.50'", "thousands"]),
        ("a,b\n1,$5.50\n2,$7\n", {"label": "b"}, "data", ["'$5.50'", "a sign"]),
        (
            "d,b\n03/04/2026,0\n05/06/2026,1\n",
            {"label": "b"},
            "parameter",
            ["'d'", "'03/04/2026'", "--day-first"],
        ),
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
        (["13/04/2026", "04/13/2026"], "str", "the day first and with the month first"),
        (["2026-01-02", "5 Jan 2026"], "str", "several forms"),
        (["13/04/26", "05/06/26"], "str", "2026-12-31"),
        (["13/04/2026", "05/06/2026"], "datetime", "the day first"),
        (["12/31/2026 02:30 PM", "01/02/2026 11:00 AM"], "datetime", "the month first"),
        (["2026-01-02T10:00:00Z", "2026-01-02T10:00:00+02:00"], "datetime", "dates"),
        (["2026-01-02 10:00:00+02:00", "2026-01-02 10:00:00"], "datetime", "UTC"),
        (["$1.50", "$2"], "str", "a sign"),
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
    lines = [f"{values[place % 2]};{place * 3};{place % 2}" for place in range(60)]
    found = guessed(tmp_path / "a.csv", "\n".join(["x;z;target", *lines]))
    assert found.table.column("x").kind == kind
    assert reason in found.reasons["x"]


@pytest.mark.parametrize("first", [True, False])
def test_who_says_which_comes_first_gets_it_declared(tmp_path: Path, first: bool) -> None:
    (tmp_path / "a.csv").write_text(
        "d;x;target\n"
        + "".join(f"0{place % 9 + 1}/04/2026;{place % 7};{place % 2}\n" for place in range(60))
    )
    words = ["new", "m", "--from", str(tmp_path / "a.csv"), "--folder", str(tmp_path / "m")]
    words.append("--day-first" if first else "--month-first")
    CliRunner().invoke(main, words, catch_exceptions=False)
    table = Workspace.open(tmp_path / "m").table("m")
    assert table.column("d").day_first is first
    months = datasets.read(tmp_path / "a.csv", table)["d"].dt.month
    assert set(months) == ({4} if first else {*range(1, 10)})


def test_what_seems_to_be_numbers_and_what_few_rows_tell_is_noted(tmp_path: Path) -> None:
    lines = [f"{place if place % 9 else '?'};{'yes' if place % 3 else ''}" for place in range(40)]
    lines[1] = "1;no"
    lines = [f"{line};;{'NA' if line[0] == '1' else '13/04/2026'}" for line in lines]
    found = guessed(tmp_path / "a.csv", "\n".join(["age;target;empty;day", *lines]))
    assert (found.table.ignored, found.table.column("day").kind) == (("empty",), "datetime")
    for fact in ("'age' is text", "['?']", "14 rows have no label", "has 1 rows", "40 rows; the c"):
        assert any(fact in note for note in found.notes), (fact, found.notes)


def test_columns_of_few_categories_are_slices(tmp_path: Path) -> None:
    lines = [
        f"{place % 9};c{place % 3};n{place % 12};{place % 2 == 0};one;{place % 2}"
        for place in range(60)
    ]
    text = "\n".join(["number;few;many;truth;same;target", *lines])
    found = guessed(tmp_path / "a.csv", text)
    assert found.table.slices == ("few", "truth")
    assert "each a slice" in found.reasons["few"]
    assert {"few c0", "truth True"} <= {*found.table.slice_masks(read(found))}


def test_a_number_of_each_row_is_an_id(tmp_path: Path) -> None:
    lines = [f"{place + 1000};{place * 3};{place % 2}" for place in range(60)]
    found = guessed(tmp_path / "a.csv", "\n".join(["booking;other;target", *lines]))
    assert found.table.ignored == ("booking",)


def test_hostile_names_are_declared_as_they_are(tmp_path: Path) -> None:
    names = ["my age", "spent.in €", "ñ", "select", "lambda", 'a"b', "o'k", "{x}", "x\ny", "A", "a"]
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.random((60, len(names))), columns=names).assign(
        **{"class": [0, 1] * 30}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = guess(tmp_path / "a.csv", "m")
    known: dict[str, Any] = {}
    exec(compile(table_files.declaration(found), "declaration", "exec"), known)
    assert known["TABLE"] == found.table
    assert list(read(found)) == [*names, "class"]


def test_parquets_own_types_are_declared(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "price": [Decimal("1.50"), Decimal("2.25")] * 30,
            "size": pd.Categorical(["s", "m"] * 30),
            "at": pd.date_range("2026-01-01", periods=60, freq="h", tz="Europe/Zurich"),
            "seen": pd.date_range("2026-01-01", periods=60, freq="h").astype("datetime64[ns]"),
            "small": np.arange(60, dtype="uint8") % 7,
            "huge": np.arange(60, dtype="uint64") % 3 + np.uint64(2**63),
            "target": [0.0, 1.0] * 30,
        },
        index=range(5, 65),
    )
    frame.to_parquet(tmp_path / "a.parquet", index=True)
    found = guess(tmp_path / "a.parquet", "m")
    assert [(column.name, column.kind) for column in found.table.columns] == [
        *(("price", "float"), ("size", "str"), ("at", "datetime"), ("seen", "datetime")),
        *(("small", "int"), ("huge", "float"), ("target", "int")),
    ]
    assert read(found)["at"].iloc[0] == pd.Timestamp("2025-12-31 23:00")
    frame.assign(tags=[[1]] * 60).to_parquet(tmp_path / "b.parquet")
    with fails("data", "'tags'", "list"):
        guess(tmp_path / "b.parquet", "m")


def test_the_folders_of_hive_are_columns(tmp_path: Path) -> None:
    for year in (2024, 2025, 2026):
        for city in ("Rome", "S%C3%A3o Paulo"):
            folder = tmp_path / "rows" / f"year={year}" / f"city={city}"
            folder.mkdir(parents=True)
            pd.DataFrame({"x": np.arange(30) / 7, "target": [0, 1] * 15}).to_parquet(
                folder / "0.parquet"
            )
    found = guess(tmp_path / "rows", "m")
    assert found.rows == 180
    assert (found.table.column("year").kind, found.table.ignored) == ("int", ())
    assert found.table.column("city").categories == ("Rome", "São Paulo")
    assert read(found)["year"].value_counts().to_dict() == {2024: 60, 2025: 60, 2026: 60}
    (tmp_path / "rows" / "loose.parquet").write_bytes((folder / "0.parquet").read_bytes())
    with fails("data", "loose.parquet", "'city'", "'year'"):
        guess(tmp_path / "rows", "m")
    with fails("data", "loose.parquet", "'year' is missing"):
        read(found)


def test_options_for_rows_need_rows() -> None:
    done = CliRunner().invoke(main, ["new", "x", "--target", "y"])
    assert done.exit_code == 2
    assert "--from" in done.output
