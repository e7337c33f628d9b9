"""YAML documents as plain data, with the line of every value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
# More values than any repository's files have; what has more is a bomb of aliases.
_MAX_NODES = 200_000
_MAX_DEPTH = 100
_MAX_SCALAR_LENGTH = 20_000
# What kubectl reads from a folder; JSON is YAML, too.
SUFFIXES = (".yaml", ".yml", ".json")
_NEVER_APPLIED = ("kustomize.config.k8s.io/", "mlops-kit.dev/")
_LOCAL = "config.kubernetes.io/local-config"


@dataclass(frozen=True)
class Finding:
    """What would fail, hang or pass unseen on a cluster, and what to write instead."""

    file: str
    line: int
    rule: str
    message: str
    mend: str

    def __str__(self) -> str:
        """As one line, which an editor can jump to."""
        return f"{self.file}:{self.line}: {self.message} {self.mend} [{self.rule}]"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return vars(self) | {}


@dataclass(frozen=True)
class Document:
    """One object of a file: its data, and the line of each value by its path."""

    file: str
    data: Any
    lines: Mapping[Path, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its kind; empty for what is no Kubernetes object."""
        return str(self.data.get("kind", "")) if self._is_object else ""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.at("metadata", "name") or "")

    @property
    def namespace(self) -> str:
        """Its namespace; empty where it names none."""
        return str(self.at("metadata", "namespace") or "")

    @property
    def _is_object(self) -> bool:
        if not isinstance(self.data, dict) or "apiVersion" not in self.data:
            return False
        # What kustomize reads and never emits, as release.yaml.
        version = str(self.data["apiVersion"])
        notes = self.at("metadata", "annotations")
        is_local = isinstance(notes, dict) and str(notes.get(_LOCAL)).lower() == "true"
        return not is_local and not version.startswith(_NEVER_APPLIED)

    def at(self, *path: str | int) -> Any:
        """Return the value at a path, or None."""
        found = self.data
        for part in path:
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found

    def items(self, *path: str | int) -> Iterator[tuple[Path, Any]]:
        """Yield the entries of a list at a path, with their paths."""
        found = self.at(*path)
        if isinstance(found, list):
            yield from (((*path, number), item) for number, item in enumerate(found))

    def texts(self, *path: str | int) -> Iterator[tuple[Path, str]]:
        """Yield every text below a path with its own; of a very long one its start alone."""
        yield from (
            (path, text[:_MAX_SCALAR_LENGTH]) for path, text in _texts(self.at(*path), path)
        )

    def finding(self, path: Path, rule: str, message: str, mend: str) -> Finding:
        """Return a finding at the value's line, or its nearest parent's."""
        while path and path not in self.lines:
            path = path[:-1]
        return Finding(self.file, self.lines.get(path, 1), rule, message, mend)


def read(files: Mapping[str, bytes]) -> tuple[list[Document], list[Finding]]:
    """Return the documents of all YAML files, and what can't be read."""
    documents: list[Document] = []
    faults: list[Finding] = []
    for file, content in sorted(files.items()):
        if not file.endswith(SUFFIXES):
            continue
        try:
            documents += _documents(file, content.decode())
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            said = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
            line = mark.line + 1 if mark else 1
            mend = "Write one that 'kubectl' reads, too."
            faults.append(Finding(file, line, "no-yaml", f"It is no YAML: {said}.", mend))
    return documents, faults


def _documents(file: str, text: str) -> list[Document]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = []
    budget = [_MAX_NODES]
    for node in yaml.compose_all(text, Loader=loader):
        if node is not None:
            lines: dict[Path, int] = {}
            found += _listed(Document(file, _data(node, (), lines, budget), lines))
    return found


def _listed(document: Document) -> list[Document]:
    """Return the objects of a List, which Argo's own lint skips; any other document as it is."""
    if document.kind != "List":
        return [document]
    found = []
    for path, item in document.items("items"):
        inside = {p[2:]: line for p, line in document.lines.items() if p[:2] == path}
        found.append(Document(document.file, item, inside))
    return found


def _data(node: Any, path: Path, lines: dict[Path, int], budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or len(path) > _MAX_DEPTH:
        raise ValueError("it holds more values than any manifest, as a bomb of aliases does")
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found = {}
        for key, value in _pairs(node, budget):
            name = str(getattr(key, "value", ""))
            found[name] = _data(value, (*path, name), lines, budget)
            lines[(*path, name)] = key.start_mark.line + 1
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_data(each, (*path, n), lines, budget) for n, each in enumerate(node.value)]
    return _scalar(node)


def _pairs(node: Any, budget: list[int]) -> list[tuple[Any, Any]]:
    """Return a mapping's keys and values with those merged by `<<` before its own, which win."""
    merged: list[tuple[Any, Any]] = []
    own: list[tuple[Any, Any]] = []
    for key, value in node.value:
        if not key.tag.endswith(":merge"):
            own.append((key, value))
            continue
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        # The first of several sources wins, so it comes last.
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                raise ValueError("<< merges what is no mapping")
            merged += _pairs(source, budget)
    budget[0] -= len(merged)
    if budget[0] < 0:
        raise ValueError("it holds more values than any manifest, as a bomb of aliases does")
    return merged + own


def _scalar(node: Any) -> Any:
    """Return text as text, and what YAML takes for a number, a truth or nothing as that."""
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() in ("true", "yes", "on", "y")
    if kind in ("int", "float"):
        return yaml.safe_load(node.value)
    return node.value


def _texts(data: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _texts(value, (*path, name))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _texts(value, (*path, number))
    elif isinstance(data, str):
        yield path, data


def inner(text: str) -> dict[str, Any]:
    """Return the mapping that stands as YAML inside of a value; empty where it is none."""
    try:
        return fields(yaml.safe_load(text))
    except yaml.YAMLError:
        return {}


def fields(value: Any) -> dict[str, Any]:
    """Return a mapping as it is, and whatever else stands in its place as an empty one."""
    return value if isinstance(value, dict) else {}


def named(items: Any) -> dict[str, Any]:
    """Return the entries of a list by their names."""
    if not isinstance(items, Sequence) or isinstance(items, str):
        return {}
    return {str(each["name"]): each for each in items if isinstance(each, dict) and "name" in each}
