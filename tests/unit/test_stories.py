"""A test of a story can be asked for alone and in any order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import stories

STORY = """
import pytest
pytestmark = pytest.mark.story
told = []
def test_b(): told.append("b")
def test_a(): assert told == ["b"]; told.append("a")
@pytest.mark.parametrize("x", [2, 1])
def test_c(x): assert told[:2] == ["b", "a"]
"""


class Backwards:
    """A plugin that turns the order, and keeps the names of what ran well."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.reverse()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.ran.append(report.nodeid.rpartition("::")[2])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["test_b", "test_a", "test_c[2]", "test_c[1]"]),
        (["-k", "test_a"], ["test_b", "test_a"]),
        (["-k", "test_c"], ["test_b", "test_a", "test_c[2]", "test_c[1]"]),
        (["::test_c[2]"], ["test_b", "test_a", "test_c[2]"]),
        (["-k", "test_b"], ["test_b"]),
    ],
)
def test_a_story_is_told_from_its_beginning_to_what_was_asked_for(
    tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = story\n")
    file = tmp_path / "test_story.py"
    file.write_text(STORY)
    sys.modules.pop(file.stem, None)
    seen, place = Backwards(), "".join(word for word in words if word.startswith("::"))
    given = [word for word in words if not word.startswith("::")]
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--rootdir",
        str(tmp_path),
    ]
    code = pytest.main([*options, f"{file}{place}", *given], plugins=[stories, seen])
    assert (code, seen.ran) == (pytest.ExitCode.OK, expected)
