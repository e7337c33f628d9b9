"""The image that pods run in: what the Dockerfile and its workflow promise."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# Without comments, which may stand in the middle of an instruction.
DOCKERFILE = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
INSTRUCTIONS = DOCKERFILE.replace("\\\n", " ").split("\n")
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "image.yml").read_text())


def test_the_base_is_named_by_digest_once() -> None:
    (base,) = [line for line in INSTRUCTIONS if line.startswith("ARG BASE=")]
    assert re.fullmatch(r"ARG BASE=python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    stages = [line.split()[1] for line in INSTRUCTIONS if line.startswith("FROM ")]
    assert stages == ["${BASE}", "base", "base"]


def test_it_runs_as_the_user_of_the_pods() -> None:
    assert [line for line in INSTRUCTIONS if line.startswith("USER ")] == ["USER 1000:1000"]
    rendered = ROOT / "tests" / "golden" / "step" / "pipelines" / "fraud-training.yaml"
    assert "runAsUser: 1000" in rendered.read_text()


def test_it_has_neither_jupyterlab_nor_what_developers_need() -> None:
    locked, install = [line for line in INSTRUCTIONS if "/opt/kit/bin/pip install" in line]
    assert "/opt/kit/bin/pip install --require-hashes --requirement lock/base.txt" in locked
    assert "pip install --no-deps /opt/wheel/*.whl" in install, "the kit alone, without an extra"
    assert "[lab]" not in DOCKERFILE
    assert "jupyterlab==" not in (ROOT / "lock" / "base.txt").read_text()
    # Without -f it would leave what pip compiled, which a copy of the files makes stale.
    assert "compileall -q -f --invalidation-mode unchecked-hash" in install


def test_what_is_copied_is_in_the_build_s_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored, "else a project's state and secrets would be sent to the builder"
    copied = {
        word
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == {line[1:] for line in ignored if line.startswith("!")}


def test_only_a_tested_commit_of_main_becomes_an_image() -> None:
    assert WORKFLOW[True] == {"push": {"branches": ["main"]}}, "never a pull request"
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["jobs"]["image"]["needs"] == "test"
    (test,) = [step for step in WORKFLOW["jobs"]["test"]["steps"] if "run" in step]
    assert test["run"] == "bash .ci/run"


def test_no_expression_stands_in_a_script() -> None:
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "a value could add commands to it"
