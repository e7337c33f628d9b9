"""Which steps share a pod, what passes between pods, and which gates stand before one."""

from __future__ import annotations

import pytest

from mlops_kit import Condition, Pipeline, Step
from mlops_kit.argo import expressions
from mlops_kit.argo.pod_plan import Pod, named, plan
from tests.failures import fails

a = Step("a", "a.ipynb", outputs={"verdict": str, "table": dict})
b = Step("b-b", "b.ipynb", {"table": a.output("table")}, {"n": int})
PASSED = Condition(a.output("verdict"), equals="pass")
c = Step("c", "c.ipynb", {"n": b.output("n")}, {"done": bool}, when=PASSED)
d = Step("d", "d.ipynb", {"done": c.output("done")})
ALL = (a, b, c, d)


def shown(pods: tuple[Pod, ...]) -> list[tuple[str, list[str]]]:
    return [(pod.name, [step.name for step in pod.steps]) for pod in pods]


def test_a_step_has_a_pod_of_its_own_unless_said_otherwise() -> None:
    pods = plan(Pipeline("p", ALL))
    assert shown(pods) == [("a", ["a"]), ("b-b", ["b-b"]), ("c", ["c"]), ("d", ["d"])]
    assert [repr(output) for output in pods[2].reads] == ["b-b.output('n')", "a.output('verdict')"]
    assert [pod.gates for pod in pods] == [(), (), (PASSED,), ()]
    assert pods[1].exported(b.output("n")) == "n"


def test_fused_steps_share_one_pod_and_decide_their_gates_inside() -> None:
    (pod,) = plan(Pipeline("p", ALL, pods="fused"))
    assert (pod.name, pod.steps, pod.reads, pod.gates) == ("p", ALL, (), ())
    assert pod.exported(b.output("n")) == "b-b-n"


def test_steps_that_name_a_pod_share_it_whatever_the_rest_does() -> None:
    e = Step("e", "e.ipynb", {"done": c.output("done")}, when=PASSED, pod="late")
    f = Step("f", "f.ipynb", {"nb": e.output("notebook")}, pod="late")
    pods = plan(Pipeline("p", (*ALL, e, f), pods="fused"))
    assert shown(pods) == [("p", ["a", "b-b", "c", "d"]), ("late", ["e", "f"])]
    assert pods[1].gates == (PASSED,), "f only runs where e does"


def test_a_pod_in_which_something_runs_anyway_has_no_gate() -> None:
    e = Step("e", "e.ipynb", {"n": b.output("n")}, when=PASSED, pod="late")
    f = Step("f", "f.ipynb", {"n": b.output("n")}, pod="late")
    assert plan(Pipeline("p", (a, b, e, f)))[-1].gates == ()


def test_pods_that_would_wait_for_each_other_are_refused() -> None:
    first = Step("first", "a.ipynb", outputs={"n": int}, pod="x")
    middle = Step("middle", "b.ipynb", {"n": first.output("n")}, {"n": int})
    last = Step("last", "c.ipynb", {"n": middle.output("n")}, pod="x")
    with fails("definition.pod-cycle", "'p'"):
        plan(Pipeline("p", (first, middle, last)))


def test_an_unknown_pod_is_refused_with_the_nearest_name() -> None:
    with fails("definition", "'b_b'", "'b-b'"):
        named(plan(Pipeline("p", ALL)), "b_b")


def test_a_gate_compares_by_an_expression_alone() -> None:
    pods = plan(Pipeline("p", ALL))
    assert (
        expressions.gate((PASSED,), pods) == "{{= tasks.a.outputs.parameters.verdict == 'pass' }}"
    )
    fused = plan(Pipeline("p-1", (a, b, Step("x", "x.ipynb", when=PASSED, pod="x")), pods="fused"))
    assert expressions.gate((PASSED,), fused) == (
        "{{= tasks['p-1'].outputs.parameters['a-verdict'] == 'pass' }}"
    )


@pytest.mark.parametrize("equals", ["it's", "a b", "", "-absent-", "{{x}}", "pass' || 'a' == 'a"])
def test_a_gate_that_argo_could_read_otherwise_is_refused(equals: str) -> None:
    pods = plan(Pipeline("p", ALL))
    with fails("definition.gate-text", repr(equals)):
        expressions.gate((Condition(a.output("verdict"), equals=equals),), pods)


def test_a_gate_on_a_file_is_refused() -> None:
    with fails("definition.gate-on-file", "a.output('table')"):
        expressions.gate((Condition(a.output("table"), equals="x"),), plan(Pipeline("p", ALL)))
