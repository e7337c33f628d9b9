"""Argo's controller in small: it runs a rendered template's commands as processes, by its rules.

Values go in as text, files come by artifact, a gate is an expression, an output that was never
written is its default. What the pods share on a cluster (MLflow, Git) is one state folder here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"\{\{([^{}=]+)\}\}")
_MEMO = re.compile(r"([\w-]+)\{\{= sprig\.sha256sum\(toJson\(\[(.*)\]\)\) \}\}")
_CONTENT = re.compile(r"'([^']*)'|(workflow|inputs)\.parameters(?:\.(\w+)|\['([^']+)'\])")
_GATE = re.compile(r"\{\{= (.*) \}\}")
_TERM = re.compile(
    r"tasks(?:\.(\w+)|\['([^']+)'\])\.outputs\.parameters(?:\.(\w+)|\['([^']+)'\]) == '([^']*)'"
)


@dataclass
class Node:
    """One task: its phase as Argo calls it, its outputs, and what it said."""

    phase: str
    parameters: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    code: int | None = None
    log: str = ""
    memoized: bool = False


@dataclass
class Controller:
    """Runs workflows of one template over a project's files, below a folder of its own."""

    template: Mapping[str, Any]
    project: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cache: dict[str, Node] = field(default_factory=dict)

    def submit(self, name: str, **given: str) -> dict[str, Node]:
        """Run a workflow to its end, and return its nodes by the tasks' names."""
        spec = self.template["spec"]
        values = {
            f"workflow.parameters.{each['name']}": each.get("value", "")
            for each in spec["arguments"]["parameters"]
        }
        values |= {f"workflow.parameters.{key}": value for key, value in given.items()}
        values["workflow.name"] = name
        (dag,) = (each["dag"] for each in spec["templates"] if each["name"] == spec["entrypoint"])
        nodes: dict[str, Node] = {}
        waiting = {task["name"]: task for task in dag["tasks"]}
        while waiting:
            task = next(each for each in waiting.values() if not _waits(each, waiting))
            nodes[task["name"]] = self._node(task, nodes, values, self.folder / name)
            del waiting[task["name"]]
        return nodes

    def _node(
        self, task: Mapping[str, Any], nodes: Mapping[str, Node], values: dict[str, str], work: Path
    ) -> Node:
        needed = [nodes[name].phase for name in _needed(task)]
        if any(phase != "Succeeded" for phase in needed):
            return Node("Omitted")
        if "when" in task and not _holds(task["when"], nodes):
            return Node("Skipped")
        template = next(
            each for each in self.template["spec"]["templates"] if each["name"] == task["template"]
        )
        pod = work / task["name"]
        arguments = task.get("arguments", {})
        given = dict(values)
        for each in arguments.get("parameters", ()):
            given[f"inputs.parameters.{each['name']}"] = _parameter(each["value"], nodes)
        brought = {
            each["name"]: _artifact(each["from"], nodes) for each in arguments.get("artifacts", ())
        }
        key = _key(template["memoize"]["key"], given) if "memoize" in template else ""
        if key in self.cache:
            return replace(self.cache[key], memoized=True)
        self._bring(template, brought, pod)
        node = self.run(template, given, pod)
        if key and node.phase == "Succeeded":
            self.cache[key] = node
        return node

    def _bring(
        self, template: Mapping[str, Any], brought: Mapping[str, Path | None], pod: Path
    ) -> None:
        for each in template["inputs"].get("artifacts", ()):
            target = _inside(pod, each["path"])
            source = self.project if "git" in each else brought[each["name"]]
            if source is None:
                assert each.get("optional"), each
                continue
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".mlops-kit"))
        (pod / "state").symlink_to(self.folder / "state")
        (self.folder / "state").mkdir(exist_ok=True)

    def run(self, template: Mapping[str, Any], given: Mapping[str, str], pod: Path) -> Node:
        """Run a container's command in a pod's folder, and take its outputs."""
        container = template["container"]
        words = [*container["command"], *container["args"]]
        filled = [_REFERENCE.sub(lambda found: given[found[1]], word) for word in words]
        command = [str(_inside(pod, word)) if word.startswith("/work") else word for word in filled]
        command[0] = sys.executable if command[0] == "python" else command[0]
        own = {each["name"]: str(_inside(pod, each["value"])) for each in container["env"]}
        done = subprocess.run(
            command,
            cwd=pod,
            env={**_machine(), **own, **self.environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        node = Node("Succeeded" if done.returncode == 0 else "Failed", code=done.returncode)
        node.log = done.stdout + done.stderr
        for each in template["outputs"].get("parameters", ()):
            file = _inside(pod, each["valueFrom"]["path"])
            node.parameters[each["name"]] = (
                file.read_text() if file.exists() else each["valueFrom"]["default"]
            )
        for each in template["outputs"].get("artifacts", ()):
            if (path := _inside(pod, each["path"])).exists():
                node.artifacts[each["name"]] = path
            else:
                assert each.get("optional"), each
        return node


def _inside(pod: Path, path: str) -> Path:
    return pod / path.removeprefix("/work").lstrip("/") if path.startswith("/work") else Path(path)


def _needed(task: Mapping[str, Any]) -> list[str]:
    """Return the tasks that must have succeeded: the one form of `depends` that the kit writes."""
    terms = task["depends"].split(" && ") if "depends" in task else []
    assert all(term.endswith(".Succeeded") for term in terms), terms
    return [term.removesuffix(".Succeeded") for term in terms]


def _waits(task: Mapping[str, Any], waiting: Mapping[str, Any]) -> bool:
    return any(name in waiting for name in _needed(task))


def _holds(when: str, nodes: Mapping[str, Node]) -> bool:
    """Decide a gate; a form that the kit doesn't write is an error."""
    gate = _GATE.fullmatch(when)
    assert gate, when
    for term in gate[1].split(" && "):
        found = _TERM.fullmatch(term)
        assert found, term
        task, output = found[1] or found[2], found[3] or found[4]
        if nodes[task].parameters[output] != found[5]:
            return False
    return True


def _key(text: str, given: Mapping[str, str]) -> str:
    """Return a cache's key; a form that the kit doesn't write, or an unknown name, is an error."""
    form = _MEMO.fullmatch(text)
    assert form, text
    found = list(_CONTENT.finditer(form[2]))
    assert ", ".join(each[0] for each in found) == form[2], text
    values = [
        each[1] if each[2] is None else given[f"{each[2]}.parameters.{each[3] or each[4]}"]
        for each in found
    ]
    return form[1] + hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _parameter(value: str, nodes: Mapping[str, Node]) -> str:
    def text(found: re.Match[str]) -> str:
        tasks, task, outputs, parameters, name = found[1].split(".")
        assert (tasks, outputs, parameters) == ("tasks", "outputs", "parameters")
        return nodes[task].parameters[name]

    return _REFERENCE.sub(text, value)


def _artifact(source: str, nodes: Mapping[str, Node]) -> Path | None:
    found = _REFERENCE.fullmatch(source)
    assert found, source
    tasks, task, outputs, artifacts, name = found[1].split(".")
    assert (tasks, outputs, artifacts) == ("tasks", "outputs", "artifacts")
    return nodes[task].artifacts.get(name)


def _machine() -> dict[str, str]:
    """Return what a machine sets for all its processes: where programs are, which BLAS kernels."""
    return {n: v for n, v in os.environ.items() if n == "PATH" or n.startswith("OPENBLAS_")}
