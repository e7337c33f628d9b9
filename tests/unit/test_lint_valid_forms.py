"""The lint takes every valid form of a manifest, and reads one wherever it is written."""

from __future__ import annotations

import json

import pytest
import yaml

from mlops_kit.lint import lint
from tests.unit.test_lint import GOOD

GATE = "\"{{= tasks.evaluate.outputs.parameters.verdict == 'pass' }}\""
OTHER = GOOD.replace("name: train,", "name: other,")


def rules(text: str, file: str = "w.yaml") -> set[str]:
    return {finding.rule for finding in lint({file: text.encode()})}


def with_gate(gate: str) -> str:
    assert GOOD.count(GATE) == 1
    return GOOD.replace(GATE, json.dumps(gate))


@pytest.mark.parametrize(
    "gate",
    [
        "{{tasks.evaluate.status}} == Succeeded",
        "{{ tasks.evaluate.exitCode }} != 0",
        "{{workflow.name}} =~ '^train-'",
        "{{workflow.status}} == Failed && {{= tasks.evaluate.outputs.parameters.verdict == 'a' }}",
        "{{= tasks.evaluate.outputs.parameters.verdict == 'a = b' }}",
        "{{= jsonpath(workflow.parameters.json, '$[0].value') == '1' }}",
        "'a' !~ '^b=c'",
        "1 <= 2",
    ],
)
def test_a_gate_that_no_value_can_rewrite_is_fine(gate: str) -> None:
    assert rules(with_gate(gate)) <= {"ungated-commit"}


@pytest.mark.parametrize(
    "gate",
    [
        "{{tasks.evaluate.outputs.parameters.verdict}} == pass",
        "{{tasks.evaluate.outputs.result}} =~ '^pass'",
        "{{workflow.parameters.rows}} == 1",
        "{{inputs.parameters.rows}} == 1",
        "{{item}} == a",
        "{{= true }} && {{tasks.evaluate.outputs.parameters.verdict}} == pass",
        "{{tasks.evaluate.status}} == Succeeded && {{workflow.parameters.rows}} == 1",
        "{{ = true }}",
        "{{workflow.parameters.rows == 1",
    ],
)
def test_a_gate_that_a_value_can_rewrite_is_found_whatever_stands_beside_it(gate: str) -> None:
    assert "rewritable-gate" in rules(with_gate(gate))


@pytest.mark.parametrize("gate", ["a = b", "{{= a = b }}", "{{= workflow.name = 'a' }}", "a === b"])
def test_an_assignment_is_no_gate(gate: str) -> None:
    assert "invalid-gate" in rules(with_gate(gate))


@pytest.mark.parametrize(
    "merge",
    [
        "  <<: &c {serviceAccountName: runner}\n",
        "  <<: [{serviceAccountName: runner}, {entrypoint: nowhere}]\n",
        "  <<: {<<: {serviceAccountName: runner}}\n",
    ],
)
def test_a_merged_mapping_is_read_and_its_own_keys_win(merge: str) -> None:
    assert rules(GOOD.replace("  serviceAccountName: runner\n", merge)) == set()


def test_the_first_of_several_merged_mappings_wins() -> None:
    merge = "  <<: [{entrypoint: nowhere}, {entrypoint: pipeline}]\n"
    assert rules(GOOD.replace("  entrypoint: pipeline\n", merge)) == {"undefined-template"}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {<<: *a}\n",
        "a: {<<: 1}\n",
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)),
    ],
    ids=["itself", "no mapping", "a bomb"],
)
def test_a_merge_that_cannot_be_read_is_found(text: str) -> None:
    assert rules(text) == {"no-yaml"}


def test_json_is_read_as_yaml_is() -> None:
    data = yaml.safe_load(GOOD)
    assert rules(json.dumps(data, indent="\t"), "w.json") == set()
    data["spec"]["entrypoint"] = "nowhere"
    assert rules(json.dumps(data), "w.json") == {"undefined-template"}


CALL = "template: step\n        arguments: {parameters: [{name: rows, value:"


@pytest.mark.parametrize(
    ("ref", "argument", "found"),
    [
        ("{name: other, template: step}", "rows", set()),
        ("{name: other, template: nowhere}", "rows", {"undefined-template"}),
        ("{name: other, template: step}", "rowz", {"extra-argument", "missing-argument"}),
        ("{name: other, template: commit}", "rows", {"extra-argument", "lost-reference"}),
        ("{name: elsewhere, template: nowhere}", "rowz", set()),
        ("{name: other, template: nowhere, clusterScope: true}", "rowz", set()),
    ],
)
def test_a_call_of_another_file_is_checked_against_it(
    ref: str, argument: str, found: set[str]
) -> None:
    assert GOOD.count(CALL) == 1
    calls = f"templateRef: {ref}\n        arguments: {{parameters: [{{name: {argument}, value:"
    files = {"w.yaml": GOOD.replace(CALL, calls).encode(), "other.yaml": OTHER.encode()}
    assert {finding.rule for finding in lint(files)} == found


def test_a_call_looks_in_its_own_namespace() -> None:
    calls = CALL.replace("template: step", "templateRef: {name: other, template: nowhere}")
    other = OTHER.replace("namespace: argowf", "namespace: elsewhere")
    files = {"w.yaml": GOOD.replace(CALL, calls).encode(), "other.yaml": other.encode()}
    assert lint(files) == ()


@pytest.mark.parametrize(
    "place",
    [
        "  hooks: {exit: {template: nowhere}}\n",
        "  hooks: {exit: {templateRef: {name: other, template: nowhere}}}\n",
    ],
)
def test_a_hook_calls_a_template_that_exists(place: str) -> None:
    text = GOOD.replace("  volumes:\n", f"{place}  volumes:\n", 1)
    files = {"w.yaml": text.encode(), "other.yaml": OTHER.encode()}
    assert {finding.rule for finding in lint(files)} == {"undefined-template"}


@pytest.mark.parametrize(
    ("entrypoint", "found"), [("step", set()), ("stp", {"undefined-template"})]
)
def test_a_workflow_of_a_template_starts_at_one_of_its_templates(
    entrypoint: str, found: set[str]
) -> None:
    text = (
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n"
        "metadata: {name: a, namespace: argowf}\n"
        f"spec: {{workflowTemplateRef: {{name: other}}, entrypoint: {entrypoint}}}\n"
    )
    files = {"w.yaml": text.encode(), "other.yaml": OTHER.encode()}
    assert {finding.rule for finding in lint(files)} == found
