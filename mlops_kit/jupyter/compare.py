"""Compare two executions: inputs, outputs, scores, code, files and figures."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit import notebook_file
from mlops_kit.errors import EvaluationError, NotebookError
from mlops_kit.models import evaluation_summary
from mlops_kit.pipelines.definition import NOTEBOOK
from mlops_kit.reporting import markdown

if TYPE_CHECKING:
    from mlops_kit.pipelines.executions import Execution
    from mlops_kit.pipelines.sources import Sources
    from mlops_kit.project.workspace import Workspace

_MAX_SHOWN_LENGTH = 60


@dataclass(frozen=True)
class Difference:
    """One value in two executions; None where an execution lacks it."""

    name: str
    before: str | None
    after: str | None

    @property
    def is_same(self) -> bool:
        """Whether both executions have the same value."""
        return self.before == self.after


@dataclass(frozen=True)
class CellDifference:
    """A code cell that differs, as the lines of a unified diff."""

    step: str
    cell: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """How two executions differ; `figures` are the pictures of both, by step and cell.

    `modules` are the project's Python files, and `files` those that steps named, by path, with
    their digests.
    """

    names: tuple[str, str]
    inputs: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    scores: tuple[Difference, ...]
    cells: tuple[CellDifference, ...]
    figures: tuple[tuple[str, str | None, str | None], ...] = ()
    modules: tuple[Difference, ...] = ()
    files: tuple[Difference, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All values that differ."""
        every = (*self.inputs, *self.outputs, *self.scores)
        return tuple(each for each in every if not each.is_same)

    @property
    def changed(self) -> tuple[str, ...]:
        """The modules and files that differ, as in `code: features.py changed`."""
        kinds = (("code", self.modules), ("file", self.files))
        return tuple(
            f"{kind}: {each.name} {_change(each)}"
            for kind, found in kinds
            for each in found
            if not each.is_same
        )

    @property
    def sentence(self) -> str:
        """The differences in one sentence."""
        counts = {
            "value": len(self.differences),
            "code cell": len(self.cells),
            "module": sum(not each.is_same for each in self.modules),
            "file": sum(not each.is_same for each in self.files),
        }
        said = [f"{n:,} {noun}{'s' if n > 1 else ''}" for noun, n in counts.items() if n]
        if not said:
            return "Nothing differs."
        verb = "differs" if sum(counts.values()) == 1 else "differ"
        return f"{' and '.join(filter(None, (', '.join(said[:-1]), said[-1])))} {verb}."

    def __repr__(self) -> str:
        return f"Comparison({self.names[0]!r}, {self.names[1]!r}: {self.sentence})"

    def _repr_markdown_(self) -> str:
        parts = [f"**{markdown.escape(self.sentence)}**"]
        groups = {"inputs": self.inputs, "scores": self.scores, "outputs": self.outputs}
        for title, found in groups.items():
            rows = [(d.name, _shown(d.before), _shown(d.after)) for d in found if not d.is_same]
            same = sum(each.is_same for each in found)
            if rows:
                parts.append(markdown.table((title, *self.names), rows, left=3))
            if same:
                noun = title if same > 1 else title.removesuffix("s")
                parts.append(f"{same} equal {noun}.")
        if self.changed:
            parts.append("\n".join(f"- {markdown.escape(line)}" for line in self.changed))
        for cell in self.cells:
            parts.append(markdown.escape(f"{cell.step}, cell {cell.cell}"))
            ticks = max(map(len, re.findall("`+", "\n".join(cell.lines))), default=0)
            fence = "`" * max(3, ticks + 1)
            parts.append("\n".join([f"{fence}diff", *cell.lines, fence]))
        return "\n\n".join(parts)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {
            "text/markdown": "\n\n".join([self._repr_markdown_(), *self._pictures()]),
            "text/plain": repr(self),
        }

    def _pictures(self) -> Iterator[str]:
        """Yield the figures side by side, a dash for a missing one."""
        for title, *pair in self.figures:
            cells = [f"![{title}](data:image/png;base64,{png})" if png else "–" for png in pair]
            header = (markdown.escape(f"{title}, {name}") for name in self.names)
            yield f"| {' | '.join(header)} |\n|---|---|\n| {' | '.join(cells)} |"


def compare(
    first: Execution | str, second: Execution | str, *, workspace: Workspace | None = None
) -> Comparison:
    """Compare two executions, given as objects or by name.

    Cells are matched by id, figures by step and cell, and files by path: those that a step which
    ran in both could read. Raises ProjectError for an unknown execution.
    """
    from mlops_kit.project.workspace import Workspace

    def opened(asked: Execution | str) -> Execution:
        if not isinstance(asked, str):
            return asked
        return (workspace or Workspace.open()).executions.open(asked)

    pair = (opened(first), opened(second))
    notebooks = [dict(_notebooks(each)) for each in pair]
    before, after = _sources(*pair)
    return Comparison(
        (pair[0].name, pair[1].name),
        _differences(*({k: _text(v) for k, v in e.state.inputs.items()} for e in pair)),
        _differences(*(dict(_published(each)) for each in pair)),
        _differences(*(dict(_scores(each)) for each in pair)),
        tuple(_cells(*notebooks)),
        tuple(_figures(*notebooks)),
        _differences(before.code, after.code),
        _differences(before.files, after.files),
    )


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[Difference, ...]:
    names = dict.fromkeys((*first, *second))
    return tuple(Difference(name, first.get(name), second.get(name)) for name in names)


def _sources(first: Execution, second: Execution) -> tuple[Sources, Sources]:
    """Return what the steps that ran in both executions could read."""
    from mlops_kit.pipelines.sources import Sources

    code: tuple[dict[str, str], dict[str, str]] = ({}, {})
    files: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for step in first.state.steps:
        pair = [Sources.load(each.step_folder(step)) for each in (first, second)]
        for number, found in enumerate(pair if all(pair) else ()):
            if found is not None:
                code[number].update(found.code)
                files[number].update(found.files)
    return Sources(code[0], files[0]), Sources(code[1], files[1])


def _change(found: Difference) -> str:
    if found.before is None:
        return "added"
    return "removed" if found.after is None else "changed"


def _published(execution: Execution) -> Iterator[tuple[str, str]]:
    for step in execution.state.steps:
        for name, value in (execution.outputs(step) or {}).items():
            if name != NOTEBOOK and name != "evaluation":
                # A file is compared by its content, not by its path.
                said = _digest(Path(value.file)) if value.file else _text(value.data)
                yield f"{step}.{name}", said


def _scores(execution: Execution) -> Iterator[tuple[str, str]]:
    for step in execution.state.steps:
        outputs = execution.outputs(step) or {}
        if "evaluation" not in outputs:
            continue
        with suppress(EvaluationError):  # a pipeline may publish something else under that name
            found = evaluation_summary.read(outputs["evaluation"].data, execution.name)
            for row in found.scores:
                yield f"{row.metric} of the candidate", str(row.candidate)


def _notebooks(execution: Execution) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the cells of each executed notebook by id, skipping one that can't be read."""
    for step in execution.state.steps:
        for path in sorted(execution.step_folder(step).glob("*.ipynb")):
            try:
                found = notebook_file.cells(path)
            except NotebookError:
                continue
            yield step, {str(c.get("id", i)): c for i, c in enumerate(found)}


def _cells(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]
) -> Iterator[CellDifference]:
    for step in dict.fromkeys((*first, *second)):
        before, after = first.get(step, {}), second.get(step, {})
        if not before or not after:
            continue
        for cell in dict.fromkeys((*before, *after)):
            old, new = (_source(side.get(cell)) for side in (before, after))
            if old != new and notebook_file.INJECTED not in _tags(before, after, cell):
                lines = difflib.unified_diff(
                    old.splitlines(), new.splitlines(), "before", "after", lineterm="", n=2
                )
                yield CellDifference(step, cell, tuple(lines))


def _figures(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str | None, str | None]]:
    for step in first.keys() & second.keys():
        for cell in first[step].keys() & second[step].keys():
            pair = [_picture(side[step][cell]) for side in (first, second)]
            if any(pair) and pair[0] != pair[1]:
                yield f"{step} {cell}", pair[0], pair[1]


def _picture(cell: Mapping[str, Any]) -> str | None:
    for output in cell.get("outputs", ()):
        if png := output.get("data", {}).get("image/png"):
            return "".join(png).replace("\n", "")
    return None


def _tags(first: Mapping[str, Any], second: Mapping[str, Any], cell: str) -> list[str]:
    found = first.get(cell) or second.get(cell) or {}
    return notebook_file.tags(found)


def _source(cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell.get("cell_type") != "code":
        return ""
    return notebook_file.source(cell)


def _digest(path: Path) -> str:
    from mlops_kit.pipelines.values import file_digest

    return f"sha256:{file_digest(path)}" if path.exists() else "a deleted file"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _shown(value: str | None) -> str:
    if value is None:
        return "–"
    return value if len(value) <= _MAX_SHOWN_LENGTH else f"{value[:_MAX_SHOWN_LENGTH]}…"
