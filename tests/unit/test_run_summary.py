"""What a command says: the lines of a run only to who reads them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from mlops_kit.cli.output import answer
from mlops_kit.cli.run_summary import closing_lines
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


def test_lines_are_printed_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    answer(False, {"not": "seen"}, (f"{number}" for number in range(2)))
    assert capsys.readouterr().out == "0\n1\n"
