"""A definition: references are objects, mistakes fail on import, order follows from use."""

from pathlib import Path

import pytest

from mlops_kit.errors import DefinitionError
from mlops_kit.pipelines.definition import Condition, Input, Output, Pipeline, Step, as_text
from tests.failures import fails

first = Step("first", "a.ipynb", outputs={"value": str, "data": Path})
second = Step("second", "b.ipynb", {"value": first.output("value")}, {"verdict": str})
third = Step("third", "c.ipynb", when=Condition(second.output("verdict"), "pass"))


def test_a_misspelt_output_is_refused_with_the_nearest_name():
    with fails("definition", "'valeu'", "'value'"):
        first.output("valeu")


def test_every_step_has_its_executed_notebook_as_an_output():
    assert first.output("notebook").type is Path


def test_needs_follow_from_parameters_and_condition():
    assert second.needs == (first,)
    assert third.needs == (second,)


def test_steps_are_ordered_by_what_they_read_not_by_how_they_are_listed():
    pipeline = Pipeline("p", (third, second, first))
    assert pipeline.ordered == (first, second, third)


def test_several_outputs_can_be_one_parameter():
    step = Step("all", "d.ipynb", {"both": [first.output("value"), second.output("verdict")]})
    assert step.needs == (first, second)


@pytest.mark.parametrize("name", ["Train", "train_model", "-x", "x-", "", "a" * 64, "a/b", "a b"])
def test_a_step_name_that_argo_would_refuse_is_refused(name):
    with fails("definition.name", repr(name)):
        Step(name, "a.ipynb")


@pytest.mark.parametrize("outputs", [{"notebook": str}, {"2x": str}, {"x": set}, {"a-b": str}])
def test_outputs_need_a_python_name_and_a_plain_type(outputs):
    with pytest.raises(DefinitionError):
        Step("s", "a.ipynb", outputs=outputs)


@pytest.mark.parametrize(
    ("retries", "timeout"), [(-1, 1.0), (0, 0.0), (0, -1.0), (0, float("nan"))]
)
def test_retries_and_timeouts_that_make_no_sense_are_refused(retries, timeout):
    with fails("definition.attempts", repr(retries), repr(timeout)):
        Step("s", "a.ipynb", retries=retries, timeout=timeout)


def test_a_pipeline_refuses_steps_of_another_one():
    with fails("definition.foreign-step", "'first'", "'second'"):
        Pipeline("p", (second,))


def test_a_pipeline_refuses_two_steps_of_one_name():
    with fails("definition.same-name", "'p'", "'first'"):
        Pipeline("p", (first, Step("first", "z.ipynb")))


def test_a_pipeline_refuses_an_input_that_it_does_not_have():
    step = Step("s", "a.ipynb", {"x": Input("rosw")})
    with fails("definition", "'rows'"):
        Pipeline("p", (step,), inputs={"rows": 1})


def test_the_execution_is_an_input_of_every_pipeline():
    step = Step("s", "a.ipynb", {"x": Input("execution")})
    assert Pipeline("p", (step,)).steps == (step,)
    with fails("definition.reserved", "'execution'"):
        Pipeline("p", (step,), inputs={"execution": "x"})


def test_an_unknown_step_is_refused_with_the_nearest_name():
    with fails("definition", "'secnd'", "'second'"):
        Pipeline("p", (first, second)).step("secnd")


@pytest.mark.parametrize(
    ("value", "equals", "holds"),
    [
        ("pass", "pass", True),
        ("", "pass", False),
        (None, "None", False),
        (True, "true", True),
        (7, "7", True),
        ("pass == pass || x", "pass", False),
    ],
)
def test_a_condition_compares_text_and_an_absent_value_never_holds(value, equals, holds):
    assert Condition(Output(second, "verdict"), equals).holds(value) is holds


def test_booleans_are_text_as_argo_writes_them():
    assert (as_text(True), as_text(1.10), as_text("007")) == ("true", "1.1", "007")
