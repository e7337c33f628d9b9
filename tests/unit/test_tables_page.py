"""What docs/tables.md shows is read as it says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mlops_kit.errors import EvaluationError
from mlops_kit.models import metrics
from mlops_kit.project.settings import Settings
from mlops_kit.tables.table import TASKS, Table

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()


def shown(language: str) -> str:
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


def test_the_declaration_is_a_table() -> None:
    found: dict[str, Table] = {}
    exec(shown("python"), found)  # type: ignore[arg-type]
    table = found["TABLE"]
    assert (table.task, table.classes) == ("binary", ("no", "yes"))
    assert table.feature_names == ["plan", "spent"]


def test_the_settings_are_settings(tmp_path: Path) -> None:
    (tmp_path / "mlops-kit.toml").write_text(shown("toml"))
    churn = Settings.load(tmp_path).models["churn"]
    assert [gate.slice for gate in churn.gates] == ["", "plan", "", ""]
    assert (
        churn.costs.false_negative
        == tomllib.loads(shown("toml"))["models"]["churn"]["costs"]["false_negative"]
    )


@pytest.mark.parametrize("task", TASKS)
def test_each_metric_that_is_listed_is_one_of_some_task(task: str) -> None:
    listed = PAGE.split("Metrics have scikit-learn's names: ")[1].split(". Your own")[0]
    names = {name.strip("` ") for name in listed.split(",")}
    assert metrics.names(task) <= names  # type: ignore[arg-type]
    known = {name for each in TASKS for name in metrics.names(each)}
    assert names - known == {"recall:CLASS", "precision:CLASS"}


def test_an_unlisted_metric_is_refused() -> None:
    found: dict[str, Table] = {}
    exec(shown("python"), found)  # type: ignore[arg-type]
    with pytest.raises(EvaluationError):
        metrics.metric("accuracy_score", found["TABLE"])
