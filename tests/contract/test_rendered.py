"""What `mlops-kit render` writes: the golden files, their schemas, and the rules for Argo.

python -m tests.contract.test_rendered    writes the golden files anew; read them before a commit
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_kit import Condition, Input, Pipeline, Step, Workspace
from mlops_kit.argo import expressions
from mlops_kit.argo.manifests import rendered
from mlops_kit.argo.templates import Place
from mlops_kit.errors import DefinitionError
from mlops_kit.project.settings import Argo
from tests.manifests import check

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHA = "0123456789abcdef0123456789abcdef01234567"
PLACE = Place(**Argo(revision=SHA).model_dump(include={*Place.__dataclass_fields__}))
FORMS = ("step", "fused")


def files(form: str) -> dict[str, bytes]:
    """Render the example, with everything that may start it."""
    pipeline = Workspace.open(ROOT).pipeline("fraud-training")
    changed = dataclasses.replace(pipeline, pods=form, schedule="7 3 * * *", on_push=True)
    return rendered([changed], PLACE, branch="main", bot="mlops-kit@localhost")


def documents(form: str) -> Iterator[dict[str, Any]]:
    for path, content in files(form).items():
        if not path.endswith("kustomization.yaml"):
            yield from yaml.safe_load_all(content)


def template(form: str) -> dict[str, Any]:
    (found,) = (each for each in documents(form) if each["kind"] == "WorkflowTemplate")
    return found


def containers(form: str) -> list[dict[str, Any]]:
    return [each for each in template(form)["spec"]["templates"] if "container" in each]


@pytest.mark.parametrize("form", FORMS)
def test_the_golden_files_are_what_is_rendered(form: str) -> None:
    kept = {
        path.relative_to(GOLDEN / form).as_posix(): path.read_bytes()
        for path in (GOLDEN / form).rglob("*.yaml")
    }
    assert files(form) == kept, "read the change, then: python -m tests.contract.test_rendered"
    assert files(form) == files(form)


@pytest.mark.parametrize("form", FORMS)
def test_every_manifest_keeps_its_schema(form: str) -> None:
    found = list(documents(form))
    assert {each["kind"] for each in found} == {
        *("WorkflowTemplate", "CronWorkflow", "WorkflowEventBinding"),
        *("ServiceAccount", "Role", "RoleBinding", "Secret"),
    }
    assert [fault for each in found for fault in check(each)] == []


@pytest.mark.parametrize("form", FORMS)
def test_every_output_has_a_default_that_no_gate_lets_pass(form: str) -> None:
    outputs = [
        output
        for each in containers(form)
        for output in each.get("outputs", {}).get("parameters", ())
    ]
    assert outputs
    assert {output["valueFrom"]["default"] for output in outputs} == {"-absent-"}
    assert all(output["valueFrom"]["path"].startswith("/work/") for output in outputs)
    artifacts = [
        a for each in containers(form) for a in each.get("outputs", {}).get("artifacts", ())
    ]
    assert all(each["optional"] for each in artifacts)


def test_every_reference_leads_to_a_task_before_and_an_output_that_it_has() -> None:
    spec = template("step")["spec"]
    outputs = {
        each["name"]: {
            kind: {output["name"] for output in each.get("outputs", {}).get(kind, ())}
            for kind in ("parameters", "artifacts")
        }
        for each in spec["templates"]
    }
    (dag,) = (each["dag"] for each in spec["templates"] if "dag" in each)
    done: set[str] = set()
    for task in dag["tasks"]:
        found = re.findall(r"tasks\.([\w-]+)\.outputs\.(\w+)\.([\w-]+)", str(task))
        for name, kind, output in found:
            assert name in done
            assert output in outputs[name][kind]
            assert f"{name}.Succeeded" in task["depends"]
        done.add(task["name"])
    assert done == {step.name for step in Workspace.open(ROOT).pipeline("fraud-training").steps}


def test_the_promotion_s_gate_is_an_expression() -> None:
    (dag,) = (each["dag"] for each in template("step")["spec"]["templates"] if "dag" in each)
    gates = {task["name"]: task["when"] for task in dag["tasks"] if "when" in task}
    assert gates == {
        "promote": "{{= tasks.evaluate.outputs.parameters.decision == 'promote' }}",
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_container_may_run_in_a_restricted_namespace(form: str) -> None:
    spec = template(form)["spec"]
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(form):
        assert each["container"]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    patch = yaml.safe_load(spec["podSpecPatch"])
    patched = [*patch["initContainers"], *patch["containers"]]
    assert [each["name"] for each in patched] == ["init", "wait"]
    assert all(each["securityContext"]["capabilities"] == {"drop": ["ALL"]} for each in patched)


@pytest.mark.parametrize("form", FORMS)
def test_lost_pods_come_again_and_everything_ends(form: str) -> None:
    spec = template(form)["spec"]
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["ttlStrategy"]["secondsAfterFailure"] > spec["ttlStrategy"]["secondsAfterSuccess"]
    for each in containers(form):
        assert each["activeDeadlineSeconds"] > 0
        if each["name"] != "report":
            assert each["retryStrategy"]["expression"] == expressions.RETRY


@pytest.mark.parametrize("form", FORMS)
def test_the_code_is_one_commit_of_which_a_later_push_takes_nothing(form: str) -> None:
    codes = [
        artifact["git"]
        for each in containers(form)
        for artifact in each.get("inputs", {}).get("artifacts", ())
        if "git" in artifact
    ]
    assert codes
    for code in codes:
        assert code["revision"] == "{{workflow.parameters.revision}}"
        assert "depth" not in code


def test_two_workflows_never_write_one_environment_at_once() -> None:
    locks = {
        each["name"]: each["synchronization"]["mutexes"]
        for each in containers("step")
        if "synchronization" in each
    }
    assert locks.keys() == {"evaluate", "promote", "watch-rollout"}
    names = {mutex["name"] for each in locks.values() for mutex in each}
    assert names == {"mlops-kit-{{workflow.parameters.environment}}"}


def test_only_a_full_commit_on_main_by_a_person_starts_a_training() -> None:
    (binding,) = (each for each in documents("step") if each["kind"] == "WorkflowEventBinding")
    selector = binding["spec"]["event"]["selector"]
    for part in (
        'metadata["x-github-event"] == ["push"]',
        'payload.ref == "refs/heads/main"',
        "payload.deleted != true",
        'payload.after matches "^[0-9a-f]{40}$"',
        "mlops-kit@localhost",
    ):
        assert part in selector
    assert "pull_request" not in selector


def test_the_accounts_may_do_exactly_what_they_need() -> None:
    rules = {
        each["metadata"]["name"]: [(rule["resources"], rule["verbs"]) for rule in each["rules"]]
        for each in documents("step")
        if each["kind"] == "Role"
    }
    assert rules == {
        "mlops-runner": [(["workflowtaskresults"], ["create", "patch"])],
        "mlops-events": [
            (["workfloweventbindings"], ["list"]),
            (["workflowtemplates"], ["get"]),
            (["workflows"], ["create"]),
        ],
    }


def test_a_schedule_without_a_commit_is_refused() -> None:
    pipeline = Pipeline("p", (Step("a", "a.ipynb"),), schedule="@daily")
    with pytest.raises(DefinitionError, match="needs a commit"):
        rendered([pipeline], dataclasses.replace(PLACE, revision=""), branch="main", bot="b")


def test_values_that_argo_would_evaluate_are_packed() -> None:
    step = Step("a", "a.ipynb", {"x": Input("x")})
    pipeline = Pipeline("p", (step,), inputs={"x": "{{workflow.name}} $(HOME)"})
    content = rendered([pipeline], PLACE, branch="main", bot="b")["pipelines/p.yaml"]
    (given, *_) = yaml.safe_load(content)["spec"]["arguments"]["parameters"]
    assert given["value"].startswith("b64.")


def test_a_hook_edits_the_template_before_it_is_written() -> None:
    def edit(template: Any) -> None:
        template.priority = 7

    pipeline = Pipeline("p", (Step("a", "a.ipynb"),), edit=edit)
    content = rendered([pipeline], PLACE, branch="main", bot="b")["pipelines/p.yaml"]
    assert yaml.safe_load(content)["spec"]["priority"] == 7


def test_objects_of_hera_s_pass_through() -> None:
    from hera.workflows import Container, WorkflowTemplate

    with WorkflowTemplate(name="mine", entrypoint="c") as mine:
        Container(name="c", image="a@sha256:0")
    found = rendered([], PLACE, branch="main", bot="b", own={"mine": mine})
    document = yaml.safe_load(found["pipelines/mine.yaml"])
    assert (document["kind"], document["metadata"]["name"]) == ("WorkflowTemplate", "mine")
    assert check(document) == []


def test_a_condition_on_a_skipped_step_s_output_never_holds() -> None:
    first = Step("a", "a.ipynb", outputs={"ok": bool})
    late = Step("b", "b.ipynb", when=Condition(first.output("ok"), equals="true"))
    content = rendered([Pipeline("p", (first, late))], PLACE, branch="main", bot="b")
    spec = yaml.safe_load(content["pipelines/p.yaml"])["spec"]
    (dag,) = (each["dag"] for each in spec["templates"] if "dag" in each)
    assert dag["tasks"][1]["when"] == "{{= tasks.a.outputs.parameters.ok == 'true' }}"
    (output,) = spec["templates"][0]["outputs"]["parameters"]
    assert output["valueFrom"]["default"] == "-absent-"


if __name__ == "__main__":
    for form in FORMS:
        for path, content in files(form).items():
            (GOLDEN / form / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / form / path).write_bytes(content)
