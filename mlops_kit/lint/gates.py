"""Rules for gates: who may pass, and what a value or an absent one can do to that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlops_kit.lint.calls import called
from mlops_kit.lint.workflows import all_tasks, all_templates, specs, tasks, templates
from mlops_kit.lint.yaml_documents import Document, Finding, fields, named

_EXPRESSION = re.compile(r"\{\{=(.*?)\}\}", re.DOTALL)
_OUTPUT = re.compile(
    r"(?:tasks|steps)(?:\.([\w-]+)|\[['\"]([^'\"]+)['\"]\])"
    r"\.outputs\.(parameters|artifacts)(?:\.([\w-]+)|\[['\"]([^'\"]+)['\"]\])"
)
_NODE = re.compile(
    r"\b(?:tasks|steps)(?:\.([\w-]+)|\[['\"]([^'\"]+)['\"]\])"
    r"\.(?:outputs|status|exitCode|id|ip|startedAt|finishedAt)\b"
)
_INPUT = re.compile(r"(inputs|workflow)\.parameters(?:\.(\w[\w-]*)|\[['\"]([^'\"]+)['\"]\])")
_STATUS = re.compile(
    r"\.(Succeeded|Failed|Errored|Skipped|Omitted|Daemoned|AnySucceeded|AllFailed)"
)
# No gate is longer; text that is would only cost time.
_MAX_GATE_LENGTH = 5_000
_TERM = re.compile(r"[\w-]+(?:\.\w+)?")
_COMPARED = re.compile(r"==\s*['\"]([^'\"]*)['\"]")
# A lone "=" that is no part of ==, !=, <=, >= or the operators of `when` =~ and !~.
_ASSIGNMENT = re.compile(r"(?<![=!<>])=(?![=~])")
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# What the controller writes alone, so that no value can rewrite the gate.
_CONTROLLED = re.compile(
    r"\s*((tasks|steps)\.[\w-]+\.(status|exitCode|id|startedAt|finishedAt|hostNodeName)"
    r"|workflow\.(name|namespace|uid|status|duration|creationTimestamp(\.[\w-]+)?"
    r"|serviceAccountName|mainEntrypoint)"
    r"|node\.name|pod\.name|retries)\s*"
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_ONE_SIDED = re.compile(
    r"(&&|\|\||==|!=|[<>+*/,]|\b(in|and|or|not|contains))$|^(&&|\|\||==|!=|\)|,)"
)
_RETRY_NUMBER = re.compile(r"(?<!asInt\()lastRetry\.exitCode\s*(==|!=|<|>|in)\s*[-\d\[]")


def whens(documents: list[Document]) -> Iterator[Finding]:
    """Find a gate in a form in which the value can rewrite the test, or that can't be read."""
    for document, _, path, task in all_tasks(documents):
        when = task.get("when")
        if not isinstance(when, str) or len(when) > _MAX_GATE_LENGTH:
            continue
        place = (*path, "when")
        expressions = _EXPRESSION.findall(when)
        tags = [tag for tag in _TAG.findall(when) if not tag.startswith("=")]
        bare = _TAG.sub("x", when)
        if "{{" in bare or not all(map(_CONTROLLED.fullmatch, tags)):
            yield document.finding(
                place,
                "rewritable-gate",
                f"In {when!r} a value like \"x || 'a' == 'a\" rewrites the test, and lets it pass.",
                "Write \"{{= tasks.NAME.outputs.parameters.VALUE == 'pass' }}\".",
            )
        tests = [_QUOTED.sub("x", each) for each in (bare, *expressions)]
        if any("===" in each or _ASSIGNMENT.search(each) for each in tests):
            yield document.finding(
                place,
                "invalid-gate",
                f"{when!r} is no expression: the task ends with an error.",
                "Compare with ==.",
            )


def bare_depends(documents: list[Document]) -> Iterator[Finding]:
    """Find a bare dependency, which also runs after a step that was skipped by its gate."""
    for document, others, path, task in all_tasks(documents):
        for key in ("depends", "dependencies"):
            given = task.get(key)
            terms = _TERM.findall(given) if isinstance(given, str) else given
            for term in map(str, terms if isinstance(terms, list) else ()):
                name = term.partition(".")[0]
                if name not in others:
                    yield document.finding(
                        (*path, key),
                        "undefined-task",
                        f"{name!r} is no task of this template: the workflow is refused.",
                        f"Use one of {sorted(others)}.",
                    )
                elif not _STATUS.search(term) and ("when" in others[name] or "when" in task):
                    yield document.finding(
                        (*path, key),
                        "bare-depends",
                        f"It also runs after {name!r} was skipped, by a gate of its own.",
                        f"Write {name}.Succeeded.",
                    )
        if "depends" in task and "dependencies" in task:
            yield document.finding(
                (*path, "dependencies"),
                "two-depends",
                "depends and dependencies in one task: the workflow is refused.",
                "Keep depends.",
            )


def references(documents: list[Document]) -> Iterator[Finding]:
    """Find a name in an expression that leads nowhere: the workflow hangs for ever."""
    for document, spec in specs(documents):
        inputs = named(document.at(*spec, "arguments", "parameters"))
        for path, template in templates(document, spec):
            own = {
                str(task.get("name")): called(documents, document, spec, task)
                for _, task in tasks(document, path)
            }
            for place, text in document.texts(*path):
                for found in _EXPRESSION.findall(text):
                    wrong = _wrong(found, own, template, inputs)
                    if wrong:
                        yield document.finding(
                            place,
                            "lost-reference",
                            f"{wrong} leads nowhere: the workflow hangs for ever.",
                            "Name an output that the task's template has.",
                        )


def _wrong(
    expression: str,
    own: dict[str, dict[str, Any] | None],
    template: dict[str, Any],
    inputs: dict[str, Any],
) -> str:
    """Return the first reference of an expression that leads nowhere, or nothing.

    `own` maps each task to the template that it calls, None for one that isn't in these files.
    """
    for found in _OUTPUT.finditer(expression):
        task, kind, name = found[1] or found[2], found[3], found[4] or found[5]
        if task not in own:
            return found[0]
        target = own[task]
        outputs = named(fields(fields(target).get("outputs")).get(kind))
        if target is not None and name not in outputs and name != "result":
            return found[0]
    for found in _NODE.finditer(expression):
        if (found[1] or found[2]) not in own:
            return found[0]
    for found in _INPUT.finditer(expression):
        name = found[2] or found[3]
        if found[1] == "workflow" and name == "json":
            continue  # all parameters at once
        of_template = named(fields(template.get("inputs")).get("parameters"))
        if name not in (of_template if found[1] == "inputs" else inputs):
            return found[0]
    return ""


def defaults(documents: list[Document]) -> Iterator[Finding]:
    """Find an output without a default, or one whose default a gate lets pass."""
    for document, spec in specs(documents):
        passes: dict[tuple[str, str], set[str]] = {}
        for path, _ in templates(document, spec):
            own = {str(t.get("name")): t for _, t in tasks(document, path)}
            for task in own.values():
                when = str(task.get("when", ""))
                for found in _OUTPUT.finditer(when):
                    source = own.get(found[1] or found[2], {})
                    key = (str(source.get("template")), found[4] or found[5])
                    passes.setdefault(key, set()).update(_COMPARED.findall(when) or [when[-4:]])
        for path, template in templates(document, spec):
            for place, output in document.items(*path, "outputs", "parameters"):
                given = fields(fields(output).get("valueFrom"))
                if "path" not in given:
                    continue
                key = (str(template.get("name")), str(output.get("name")))
                if "default" not in given:
                    yield document.finding(
                        place,
                        "no-default",
                        f"Output {key[1]!r} has no default: without its file the step ends with "
                        "an error, and who reads it after a failure hangs for ever.",
                        "Give it one that means no.",
                    )
                elif str(given["default"]) in passes.get(key, set()):
                    yield document.finding(
                        (*place, "valueFrom", "default"),
                        "default-passes",
                        f"The default {given['default']!r} of {key[1]!r} passes the gate: an "
                        "absent verdict promotes.",
                        "Give it one that means no.",
                    )


def arguments(documents: list[Document]) -> Iterator[Finding]:
    """Find arguments that a template doesn't have, which are ignored, or that it lacks."""
    for document, spec in specs(documents):
        for path, _ in templates(document, spec):
            for place, task in tasks(document, path):
                target = called(documents, document, spec, task)
                if target is None:
                    continue
                name_of = target.get("name")
                wanted = named(fields(target.get("inputs")).get("parameters"))
                given = named(fields(task.get("arguments")).get("parameters"))
                for name in given.keys() - wanted.keys():
                    yield document.finding(
                        (*place, "arguments"),
                        "extra-argument",
                        f"Template {name_of!r} has no input {name!r}: it is ignored.",
                        f"It has {sorted(wanted)}.",
                    )
                for name, each in wanted.items():
                    if name not in given and not each.keys() & {"value", "default", "valueFrom"}:
                        yield document.finding(
                            place,
                            "missing-argument",
                            f"Input {name!r} of {name_of!r} gets no value: the workflow "
                            "is refused.",
                            "Give it in arguments.",
                        )


def retries(documents: list[Document]) -> Iterator[Finding]:
    """Find a retry expression that is none, or compares the exit code, which is text."""
    for document, path, template in all_templates(documents):
        expression = str(fields(template.get("retryStrategy")).get("expression") or "")
        place = (*path, "retryStrategy", "expression")
        if expression and not _is_whole(expression[:_MAX_GATE_LENGTH]):
            yield document.finding(
                place,
                "invalid-retry",
                "It is no expression, which shows only when the step fails: then with an error.",
                "Close each bracket and quote, and end with a value.",
            )
        elif _RETRY_NUMBER.search(expression):
            yield document.finding(
                place,
                "retry-type",
                "lastRetry.exitCode is text: compared with a number it is silently false.",
                "Write asInt(lastRetry.exitCode).",
            )


def _is_whole(expression: str) -> bool:
    """Tell whether brackets and quotes close, and no operator lacks a side."""
    bare = _QUOTED.sub("x", expression).strip()
    opened: list[str] = []
    for mark in re.findall(r"[()\[\]{}]", bare):
        if mark in _CLOSES.values():
            opened.append(mark)
        elif not opened or opened.pop() != _CLOSES[mark]:
            return False
    return not (opened or set(bare) & set("'\"`") or _ONE_SIDED.search(bare))


def labels(documents: list[Document]) -> Iterator[Finding]:
    """Find a label from a parameter that there isn't: the workflow ends before its first pod."""
    for document, spec in specs(documents):
        known = named(document.at(*spec, "arguments", "parameters"))
        for place, text in document.texts(*spec, "workflowMetadata", "labelsFrom"):
            for scope, *names in _INPUT.findall(text):
                name = "".join(names)
                if scope == "workflow" and known and name not in known:
                    yield document.finding(
                        place,
                        "lost-label",
                        f"There is no workflow.parameters.{name}: the workflow ends with an error.",
                        f"It has {sorted(known)}.",
                    )


RULES = (whens, bare_depends, references, defaults, arguments, retries, labels)
