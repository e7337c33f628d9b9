"""The last lines of a run: their sentences are tested here, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from mlops_kit.cli.output import answer
from mlops_kit.cli.run_summary import closing_lines, rollout_lines
from mlops_kit.project.workspace import Workspace

NOTHING = cast(Workspace, None)


@pytest.mark.parametrize("mine", [{"rollout": {"of": "mine"}}, {"revision": 7}])
def test_a_run_that_publishes_its_own_meaning_of_a_name_is_json(
    mine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("verdict", "evaluation", "revision", "changed", "rollout")
    result = {"execution": "p-1", **dict.fromkeys(names), **mine}
    answer(True, result, closing_lines(NOTHING, result))
    assert json.loads(capsys.readouterr().out) == result


@dataclass(frozen=True)
class Settings:
    gitops_url: str = "gitops.git"
    registry_uri: str = "sqlite:///registry.db"


@dataclass(frozen=True)
class Folder:
    """What a workspace tells the last lines: its settings, and where executions are kept."""

    folder: Path = Path("executions")
    settings: Settings = Settings()

    @property
    def executions(self) -> Folder:
        return self


INCONCLUSIVE = (
    "Nothing was promoted: the rows are too few to tell. Bring more rows, loosen those gates in "
    "mlops-kit.toml, or add --force-gate, which Git records."
)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, "Done."),
        (
            {"verdict": "pass"},
            "Nothing was promoted yet: promote it with 'mlops-kit panel' or 'mlops-kit promote'.",
        ),
        ({"verdict": "fail"}, "Nothing was promoted: the verdict is fail."),
        ({"verdict": "inconclusive"}, INCONCLUSIVE),
        (
            {"verdict": "pass", "revision": "0123456789abcdef", "changed": True},
            "Promoted by commit 0123456789ab in gitops.git",
        ),
        (
            {"verdict": "pass", "revision": "0123456789abcdef", "changed": False},
            "Nothing to commit: already promoted by 0123456789ab in gitops.git",
        ),
    ],
)
def test_a_run_ends_with_what_was_promoted_and_the_next_steps(
    facts: dict[str, Any], sentence: str
) -> None:
    names = ("verdict", "evaluation", "revision", "changed", "rollout")
    result = {"execution": "p-1", **dict.fromkeys(names), **facts}
    assert list(closing_lines(cast(Workspace, Folder()), result)) == [
        "",
        "",
        sentence,
        "",
        "Next steps:",
        "  mlops-kit status        show what serves and how executions ended",
        "  mlops-kit history       show who released what, when and why",
        "  mlops-kit serve         serve the released model",
        "  mlflow ui --backend-store-uri sqlite:///registry.db",
        "  jupyter lab notebooks   open the notebooks",
        "  executions/p-1",
    ]


def test_a_rollout_ends_with_its_weights_and_the_counts_behind_each() -> None:
    step = {
        "when": "2026-11-27T10:11:12+00:00",
        "act": "shift",
        "weight": 10,
        "counts": "errors=0/812",
    }
    told = {
        "outcome": "completed",
        "sentence": "fraud 2 serves prod.",
        "weights": [0, 10],
        "requests": 1812,
        "steps": [step],
        "dropped": 7,
    }
    assert rollout_lines(told) == [
        "COMPLETED  fraud 2 serves prod.",
        "  weights: 0 % → 10 %; the candidate answered 1,812 requests",
        "  10:11:12  shift      10 %  errors=0/812",
        "  7 predictions were not logged",
    ]


def test_lines_are_printed_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    answer(False, {"not": "seen"}, (f"{number}" for number in range(2)))
    assert capsys.readouterr().out == "0\n1\n"
