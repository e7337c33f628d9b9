"""How a running pipeline is shown: lines for logs, a tree for a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from mlops_kit.cli import progress
from mlops_kit.pipelines import executions
from mlops_kit.pipelines.definition import Pipeline, Step
from mlops_kit.pipelines.progress import Progress

LONG = Step("a-step", "a.ipynb")
PIPELINE = Pipeline("p", (LONG, Step("b", "b.ipynb", {"x": LONG.output("notebook")})))
NAMES = ("a-step", "b")
STATES = [
    value
    for name, value in vars(executions).items()
    if name.isupper() and isinstance(value, str) and name != "KILLED" and not name.startswith("_")
]


def clock(*times: float) -> Callable[[], float]:
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def drawn(tree: progress.Tree, width: int = 80) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(tree)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_say_what_changes_when_and_why() -> None:
    out = io.StringIO()
    lines = progress.Lines(out, clock(0, 1, 2, 13.5, 14))
    lines(Progress("a", "running"))
    lines(Progress("a", "running", cell="fit", index=1, count=3))  # cells would flood a log
    lines(Progress("a", "running", detail="attempt 1 of 2 failed: no"))
    lines(Progress("a", "succeeded"))
    lines(Progress("b", "skipped", detail="verdict is fail, not pass"))
    assert out.getvalue().splitlines() == [
        "   1.0s  a  running",
        "   2.0s  a  running: attempt 1 of 2 failed: no",
        "  13.5s  a  succeeded in 12.5 s",
        "  14.0s  b  skipped: verdict is fail, not pass",
    ]


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("first\nsecond", "first"),
        ("\n\n  late  \n", "late"),
        ("\x1b[2J\x1b]0;owned\x07", "\ufffd[2J\ufffd]0;owned\ufffd"),
        ("a\rb", "a"),
        ("\u202ereversed", "\ufffdreversed"),
        ("größer €", "größer €"),
    ],
)
def test_a_detail_is_one_line_that_steers_no_terminal(detail: str, shown: str) -> None:
    out = io.StringIO()
    progress.Lines(out, clock(0))(Progress("a", "failed", detail=detail))
    assert out.getvalue() == f"   0.0s  a  failed in 0.0 s: {shown}\n"
    tree = progress.Tree(PIPELINE.name, NAMES, clock(0))
    tree(Progress("a-step", "failed", detail=detail))
    assert shown in drawn(tree)
    assert "\x1b" not in drawn(tree)


def test_the_tree_shows_the_running_cell_and_how_far_it_is() -> None:
    tree = progress.Tree(PIPELINE.name, NAMES, clock(0, 2.5))
    assert re.search(r"· a-step +waiting", drawn(tree))
    tree(Progress("a-step", "running"))
    tree(Progress("a-step", "running", cell="fit", index=3, count=6))
    assert re.search(r"▶ a-step +running +2\.5 s +█{6}░{6} 4/6 fit", drawn(tree))
    assert re.search(r"· b +waiting", drawn(tree))


def test_the_time_of_an_ended_step_stands_still() -> None:
    tree = progress.Tree(PIPELINE.name, NAMES, clock(0, 4, 100))
    tree(Progress("a-step", "running"))
    tree(Progress("a-step", "succeeded"))
    assert re.search(r"✔ a-step +succeeded +4\.0 s", drawn(tree))
    assert re.search(r"✔ a-step +succeeded +4\.0 s", drawn(tree))


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_mark_and_its_word(state: str) -> None:
    tree = progress.Tree(PIPELINE.name, NAMES, clock(0))
    tree(Progress("a-step", state))
    assert re.search(rf"[·▶✔–✘■] a-step +{state}", drawn(tree))


def test_states_are_told_apart_without_colour() -> None:
    words = {(mark, state) for state, (mark, _) in progress._MARKS.items()}
    assert len({state for _, state in words}) == len(STATES)


def test_a_narrow_terminal_keeps_one_line_a_step() -> None:
    tree = progress.Tree(PIPELINE.name, NAMES, clock(0))
    tree(Progress("a-step", "failed", detail="much to say " * 30))
    assert len(drawn(tree, width=40).splitlines()) == 3


def test_a_pipe_gets_lines() -> None:
    out = io.StringIO()
    with progress.shown(PIPELINE.name, PIPELINE.ordered, stream=out) as observer:
        observer(Progress("a-step", "running"))
    assert "a-step  running" in out.getvalue()


def test_what_a_step_tells_is_a_line_in_a_log() -> None:
    out = io.StringIO()
    lines = progress.Lines(out, clock(0.0, 2.0))
    lines(Progress("watch", executions.RUNNING, told=("v2 answers 10 %\x1b[2J", "more")))
    assert out.getvalue() == "   2.0s  watch  v2 answers 10 %\ufffd[2J\n"


def test_what_a_step_tells_stands_under_the_tree_until_it_ends() -> None:
    tree = progress.Tree(PIPELINE.name, NAMES)
    tree(Progress("a-step", executions.RUNNING))
    tree(Progress("a-step", executions.RUNNING, told=("v2 answers 10 %", "errors 0 of 812")))
    assert "v2 answers 10 %" in drawn(tree)
    assert "errors 0 of 812" in drawn(tree)
    tree(Progress("a-step", executions.SUCCEEDED))
    assert "v2 answers 10 %" not in drawn(tree)
