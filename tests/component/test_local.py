"""A pipeline on this machine: order, branches, conditions, retries, cache, resume, two at once."""

import json
import signal
import threading
import time
from pathlib import Path

import pytest

from mlops_kit import errors
from mlops_kit.pipelines import executions, validation
from mlops_kit.pipelines.cache import Cache
from mlops_kit.pipelines.definition import Condition, Input, Pipeline, Step
from mlops_kit.pipelines.executions import Executions
from mlops_kit.pipelines.local import Runner
from tests.failures import fails

PUBLISH = "from mlops_kit import publish\n"


@pytest.fixture
def runner(kernel, tmp_path):
    told = []
    cache = Cache(tmp_path / "state" / "cache", project=tmp_path)
    made = Runner(tmp_path, kernel, cache=cache, observer=told.append, workers=2, cores=2)
    object.__setattr__(made, "told", told)
    return made


@pytest.fixture
def store(tmp_path):
    return Executions(tmp_path / "state" / "executions")


def start(runner, store, pipeline, **inputs):
    checked = validation.check(runner.notebooks, pipeline, inputs)
    execution = store.create(pipeline.name, checked, [step.name for step in pipeline.ordered])
    try:
        return runner.run(pipeline, execution)
    finally:
        execution.release()


def states(execution):
    return {name: step.state for name, step in execution.state.steps.items()}


@pytest.fixture
def double(notebook):
    """A pipeline that doubles a number, and prints it only if it is big."""
    notebook(
        "# parameters\nx: int = 1  # x",
        PUBLISH + "publish(y=2 * x, big=str(x > 10).lower())",
        name="double.ipynb",
    )
    notebook("# parameters\ny: int = 0  # y", PUBLISH + "publish(shown=str(y))", name="show.ipynb")
    first = Step("double", "double.ipynb", {"x": Input("x")}, {"y": int, "big": str})
    show = Step("show", "show.ipynb", {"y": first.output("y")}, {"shown": str},
                when=Condition(first.output("big"), "true"))  # fmt: skip
    after = Step("after", "show.ipynb", {"y": show.output("shown")}, {"shown": str})
    return Pipeline("double", (first, show, after), inputs={"x": 1})


def test_values_pass_from_step_to_step(runner, store, double):
    execution = start(runner, store, double, x="21")
    assert execution.state.state == "succeeded"
    assert execution.outputs("after")["shown"].data == "42"
    assert execution.state.inputs == {"x": 21}, "what was checked is what is used"


def test_a_condition_that_fails_skips_the_step_and_what_needs_it(runner, store, double):
    execution = start(runner, store, double, x=3)
    assert states(execution) == {"double": "succeeded", "show": "skipped", "after": "skipped"}
    assert execution.state.steps["show"].reason == "big is false, not true"
    assert execution.state.steps["after"].reason == "show was skipped"
    assert execution.state.state == "succeeded"


@pytest.mark.parametrize("wrong", [{"x": "many"}, {"xx": 1}, {"x": 1.5}])
def test_wrong_inputs_are_refused_before_anything_is_made(runner, store, double, wrong):
    with pytest.raises(errors.ParameterError):
        start(runner, store, double, **wrong)
    assert not list(store.all())


def test_a_step_that_gives_a_parameter_its_notebook_lacks_is_refused(runner, store, notebook):
    notebook("# parameters\nrows: int = 1  # rows", name="n.ipynb")
    with fails("parameter.unknown", "'row'", "'rows'"):
        start(runner, store, Pipeline("p", (Step("s", "n.ipynb", {"row": 1}),)))


def test_independent_steps_run_side_by_side(runner, store, notebook, tmp_path):
    notebook(
        "# parameters\nme: str = ''  # me\nother: str = ''  # other",
        "from pathlib import Path\nimport time\nPath(me).touch()\n"
        "end = time.monotonic() + 20\n"
        "while not Path(other).exists() and time.monotonic() < end: time.sleep(0.02)\n"
        "assert Path(other).exists()",
        name="meet.ipynb",
    )
    a = Step("a", "meet.ipynb", {"me": "a.txt", "other": "b.txt"})
    b = Step("b", "meet.ipynb", {"me": "b.txt", "other": "a.txt"})
    assert states(start(runner, store, Pipeline("p", (a, b)))) == {
        "a": "succeeded",
        "b": "succeeded",
    }


FLAKY = (
    "from pathlib import Path\ntries = Path('tries.txt')\n"
    "n = len(tries.read_text()) + 1 if tries.exists() else 1\ntries.write_text('x' * n)"
)


def test_a_failed_step_is_tried_again_as_often_as_asked(runner, store, notebook, tmp_path):
    notebook(FLAKY, "assert n >= 3", name="flaky.ipynb")
    execution = start(runner, store, Pipeline("p", (Step("s", "flaky.ipynb", retries=2),)))
    assert execution.state.steps["s"].attempts == 3
    assert any("attempt 1 of 3 failed" in each.detail for each in runner.told)


def test_the_last_attempts_failure_is_told_with_its_reproduction(runner, store, notebook):
    notebook("a = 1", "a / 0", name="bad.ipynb")
    notebook("# parameters\nn: str = ''  # n", name="after.ipynb")
    bad = Step("bad", "bad.ipynb", retries=1)
    after = Step("after", "after.ipynb", {"n": bad.output("notebook")})
    with pytest.raises(errors.CellError) as raised:
        start(runner, store, Pipeline("p", (bad, after)))
    execution = next(iter(store.all()))
    assert raised.value.reproduce == f"mlops-kit debug {execution.name}/bad"
    assert states(execution) == {"bad": "failed", "after": "not run"}
    assert execution.state.state == "failed"
    assert execution.state.steps["bad"].error["cell"] == "cell-1"


def test_an_unchanged_step_comes_from_the_cache(runner, store, double):
    start(runner, store, double, x=21)
    again = start(runner, store, double, x=21)
    assert set(states(again).values()) == {"cached"}
    assert again.outputs("after")["shown"].data == "42"
    # It stands alone: its own copy of each executed notebook.
    assert (again.step_folder("double") / "double.ipynb").exists()


def test_another_parameter_runs_the_step_and_only_what_depends_on_it(
    runner, store, double, notebook
):
    start(runner, store, double, x=21)
    assert states(start(runner, store, double, x=22))["double"] == "succeeded"


def test_a_changed_notebook_runs_again_but_its_outputs_and_counts_do_not_count(
    runner, store, double, tmp_path
):
    start(runner, store, double, x=21)
    path = tmp_path / "show.ipynb"
    content = json.loads(path.read_text())
    content["cells"][1] |= {"execution_count": 7, "outputs": []}
    path.write_text(json.dumps(content))
    assert set(states(start(runner, store, double, x=21)).values()) == {"cached"}
    content["cells"][1]["source"] += "\n"
    path.write_text(json.dumps(content))
    changed = states(start(runner, store, double, x=21))
    assert (changed["double"], changed["show"]) == ("cached", "succeeded")


def test_changed_code_of_the_project_runs_everything_again(runner, store, double, tmp_path):
    start(runner, store, double, x=21)
    (tmp_path / "helpers.py").write_text("x = 1\n")
    assert states(start(runner, store, double, x=21))["double"] == "succeeded"


@pytest.mark.parametrize("name", ["limits.json", "query.sql", "helper.ipynb"])
def test_a_changed_file_that_a_step_names_runs_it_again(runner, store, notebook, tmp_path, name):
    named = notebook("LIMIT = 1", name=name)
    notebook(f"'{name}'", PUBLISH + "publish(done='yes')", name="read.ipynb")
    notebook(PUBLISH + "publish(done='yes')", name="other.ipynb")
    reads = Step("reads", "read.ipynb", outputs={"done": str})
    pipeline = Pipeline("p", (reads, Step("other", "other.ipynb", outputs={"done": str})))
    start(runner, store, pipeline)
    assert set(states(start(runner, store, pipeline)).values()) == {"cached"}
    named.write_text(named.read_text().replace("LIMIT = 1", "LIMIT = 2"))
    assert states(start(runner, store, pipeline)) == {"reads": "succeeded", "other": "cached"}


def test_a_file_that_a_named_notebook_names_counts_too(runner, store, notebook, tmp_path):
    (tmp_path / "limits.json").write_text("1")
    notebook("'limits.json'", name="helper.ipynb")
    notebook("'helper.ipynb'", PUBLISH + "publish(done='yes')", name="read.ipynb")
    pipeline = Pipeline("p", (Step("reads", "read.ipynb", outputs={"done": str}),))
    start(runner, store, pipeline)
    (tmp_path / "limits.json").write_text("2")
    assert states(start(runner, store, pipeline)) == {"reads": "succeeded"}


def test_a_file_that_changed_under_the_same_path_runs_the_step_again(
    runner, store, notebook, tmp_path
):
    notebook(
        "# parameters\ndata: str = ''  # data",
        PUBLISH + "from pathlib import Path\npublish(n=len(Path(data).read_text()))",
        name="read.ipynb",
    )
    data = tmp_path / "data.txt"
    data.write_text("abc")
    pipeline = Pipeline(
        "p", (Step("s", "read.ipynb", {"data": Input("data")}, {"n": int}),), {"data": ""}
    )
    start(runner, store, pipeline, data=str(data))
    data.write_text("abcd")
    assert start(runner, store, pipeline, data=str(data)).outputs("s")["n"].data == 4


def test_a_changed_part_of_a_folder_runs_the_step_again(runner, store, notebook, tmp_path):
    notebook(
        "# parameters\ndata: str = ''  # a folder of parts",
        PUBLISH + "from pathlib import Path\npublish(n=len(list(Path(data).iterdir())))",
        name="read.ipynb",
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.csv").touch()
    step = Step("s", "read.ipynb", {"data": "parts"}, {"n": int})
    pipeline = Pipeline("p", (step,))
    start(runner, store, pipeline)
    assert states(start(runner, store, pipeline)) == {"s": "cached"}
    (tmp_path / "parts" / "2.csv").touch()
    assert start(runner, store, pipeline).outputs("s")["n"].data == 2


def test_a_cached_file_that_was_changed_or_lost_is_not_used(runner, store, notebook, tmp_path):
    notebook(
        PUBLISH + "from pathlib import Path\nPath('made.txt').write_text('abc')",
        "publish(f=Path('made.txt'))",
        name="make.ipynb",
    )
    pipeline = Pipeline("p", (Step("s", "make.ipynb", outputs={"f": Path}),))
    first = start(runner, store, pipeline)
    kept = first.outputs("s")["f"].file
    kept.unlink()
    kept.write_text("tampered")
    second = start(runner, store, pipeline)
    assert states(second) == {"s": "succeeded"}
    second.outputs("s")["f"].file.unlink()
    assert states(start(runner, store, pipeline)) == {"s": "succeeded"}


def test_steps_that_reach_outside_are_never_cached(runner, store, notebook):
    notebook("a = 1", name="n.ipynb")
    pipeline = Pipeline("p", (Step("s", "n.ipynb", cache=False),))
    start(runner, store, pipeline)
    assert states(start(runner, store, pipeline)) == {"s": "succeeded"}


def test_a_resumed_execution_goes_on_from_the_failed_step(runner, store, notebook, tmp_path):
    notebook(FLAKY, PUBLISH + "publish(n=n)", name="first.ipynb")
    notebook("# parameters\nn: int = 0  # n", "assert False", name="second.ipynb")
    first = Step("first", "first.ipynb", outputs={"n": int}, cache=False)
    pipeline = Pipeline("p", (first, Step("second", "second.ipynb", {"n": first.output("n")})))
    with pytest.raises(errors.CellError):
        start(runner, store, pipeline)
    notebook("# parameters\nn: int = 0  # n", "assert n == 1", name="second.ipynb")
    execution = store.last_unfinished("p")
    execution.acquire()
    runner.run(pipeline, execution)
    execution.release()
    assert states(execution) == {"first": "succeeded", "second": "succeeded"}
    assert (tmp_path / "tries.txt").read_text() == "x"
    with fails("project.nothing-to-resume", execution.name):
        store.last_unfinished("p")


def test_two_drivers_never_run_one_execution(runner, store, double):
    execution = store.create("double", {"x": 1}, ["double"])
    with fails("project.execution-held", execution.name):
        Executions(store.folder).open(execution.name).acquire()
    assert Executions(store.folder).open(execution.name).seen_state == "running"
    execution.release()
    assert Executions(store.folder).open(execution.name).seen_state == "killed"


def test_two_executions_at_once_are_safe(runner, store, double):
    found = {}

    def run(x):
        found[x] = start(runner, store, double, x=x).outputs("double")["y"].data

    threads = [threading.Thread(target=run, args=(x,)) for x in (3, 3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {3: 6, 4: 8, 5: 10}
    assert len({execution.name for execution in store.all()}) == 4


def test_an_interrupt_stops_the_kernels_and_says_so(runner, store, notebook, tmp_path):
    notebook(
        "from pathlib import Path; Path('on').touch()",
        "import time; time.sleep(60)",
        name="long.ipynb",
    )
    notebook("# parameters\nn: str = ''  # n", name="after.ipynb")
    long = Step("long", "long.ipynb")
    pipeline = Pipeline("p", (long, Step("after", "after.ipynb", {"n": long.output("notebook")})))

    def interrupt():
        end = time.monotonic() + 30
        while not (tmp_path / "on").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        start(runner, store, pipeline)
    assert time.monotonic() - began < 30
    execution = next(iter(store.all()))
    assert states(execution) == {"long": "interrupted", "after": "not run"}
    assert execution.seen_state == "interrupted"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": 1}', "\x00"])
def test_a_broken_state_is_named_and_hides_no_other(runner, store, double, content):
    good = start(runner, store, double, x=3)
    broken = store.create("double", {}, [])
    broken.release()
    (broken.folder / "execution.json").write_text(content)
    assert [execution.name for execution in store.all()] == [good.name]
    with fails("project.unreadable", broken.name, "execution.json"):
        store.open(broken.name)


@pytest.mark.parametrize("name", ["", "..", "nope", "double-20260101-000000-abcd", "../x"])
def test_an_unknown_execution_is_refused(store, name):
    with fails("project.no-execution", repr(name)):
        store.open(name)


def test_states_are_the_words_that_people_see():
    assert {"succeeded", "cached"} == executions.DONE
