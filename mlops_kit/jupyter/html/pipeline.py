"""Render a running pipeline as HTML, and an ended one as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_kit.jupyter.html import svg
from mlops_kit.reporting import markdown
from mlops_kit.reporting.markup import Html, control, joined, tag

# In rem: a step's column and row.
_COLUMN, _ROW, _WIDE, _HIGH = 12.0, 4.6, 10.6, 3.8


@dataclass(frozen=True)
class StepView:
    """One step: its state, the steps before it, and how it failed.

    The cell with this `index` of `count` is running; `seconds` is the step's time so far. `error`
    is the execution's record of a failure.
    """

    name: str
    state: str
    after: tuple[str, ...] = ()
    cell: str = ""
    index: int = 0
    count: int = 0
    seconds: float | None = None
    reason: str = ""
    error: Mapping[str, Any] | None = None
    notebook: str = ""
    reproduce: str = ""


@dataclass(frozen=True)
class PipelineView:
    """A pipeline's steps at one moment, and the one that a person chose."""

    title: str
    sentence: str
    state: str
    steps: tuple[StepView, ...]
    chosen: str = ""
    told: tuple[str, ...] = ()
    # Whether a person may cancel it; a workflow on a cluster is read-only.
    can_cancel: bool = True

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in ("running", "waiting")


def page(view: PipelineView) -> Html:
    """Return the graph, the messages, and the chosen step."""
    cancel = control("button", "Cancel", data_act="cancel", type="button")
    chosen = next((step for step in view.steps if step.name == view.chosen), None)
    return joined(
        [
            tag(
                "div",
                tag("strong", view.title),
                tag(
                    "span",
                    svg.word(view.state),
                    " ",
                    view.sentence,
                    role="status",
                    data_state=view.state,
                ),
                cancel if view.can_cancel and not view.is_over else None,
                class_="bar",
            ),
            _graph(view),
            tag("pre", "\n".join(view.told), data_key="told") if view.told else None,
            _detail(chosen) if chosen else None,
        ]
    )


def as_markdown(view: PipelineView) -> str:
    """Return the steps as Markdown, for a notebook without a kernel."""
    rows = [
        (step.name, step.state, _seconds(step), step.reason or step.cell) for step in view.steps
    ]
    table = markdown.table(("step", "state", "took", ""), rows, left=4)
    failed = [step for step in view.steps if step.error]
    lines = [f"Reproduce: {markdown.escape(step.reproduce)}" for step in failed if step.reproduce]
    said = f"**{markdown.escape(view.title)}: {markdown.escape(view.sentence)}**"
    return "\n\n".join([said, table, *lines])


def _graph(view: PipelineView) -> Html:
    places = _places(view.steps)
    columns = max((column for column, _ in places.values()), default=0) + 1
    rows = max((row for _, row in places.values()), default=0) + 1
    width, height = columns * _COLUMN, rows * _ROW
    edges = []
    for step in view.steps:
        for before in step.after:
            if before in places:
                (a, b), (c, d) = places[before], places[step.name]
                x1, y1 = a * _COLUMN + _WIDE, b * _ROW + _HIGH / 2
                x2, y2 = c * _COLUMN, d * _ROW + _HIGH / 2
                edges.append(tag("path", d=f"M{x1:g} {y1:g}L{x2:g} {y2:g}"))
    drawn = tag(
        "svg",
        *edges,
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"width:{width:g}rem;height:{height:g}rem;max-width:none",
        stroke="currentColor",
        stroke_width=0.1,
        fill="none",
        aria_hidden="true",
    )
    nodes = (_node(step, *places[step.name], step.name == view.chosen) for step in view.steps)
    return tag("div", drawn, *nodes, class_="steps", role="group", aria_label="Steps")


def _node(step: StepView, column: int, row: int, is_chosen: bool) -> Html:
    doing = f"{step.index + 1}/{step.count} {step.cell}" if step.cell else step.reason
    after = f", after {', '.join(step.after)}" if step.after else ""
    return control(
        "button",
        svg.word(step.state, step.name),
        tag("small", f"{step.state} {_seconds(step)}".strip()),
        tag("small", doing) if doing else None,
        type="button",
        data_act="choose",
        data_step=step.name,
        data_key=f"step-{step.name}",
        aria_pressed="true" if is_chosen else "false",
        aria_label=f"{step.name}: {step.state} {_seconds(step)}{after}. {doing}".strip(),
        style=f"left:{column * _COLUMN:g}rem;top:{row * _ROW:g}rem",
    )


def _detail(step: StepView) -> Html:
    parts = [tag("h3", step.name), tag("p", f"{step.state} {_seconds(step)}".strip())]
    if step.error:
        where = f"cell {step.error.get('cell')}" if step.error.get("cell") else "no cell"
        line = f", line {step.error.get('line')}" if step.error.get("line") else ""
        reason = step.error.get("reason") or step.error.get("message", "")
        parts.append(tag("p", f"Stopped at {where}{line}:"))
        parts.append(control("pre", str(reason), tabindex=0, role="group", aria_label="The error"))
    elif step.reason:
        parts.append(tag("p", step.reason))
    if step.reproduce:
        parts.append(tag("p", "Reproduce: ", tag("code", step.reproduce)))
    if step.notebook:
        parts.append(tag("p", "Executed notebook: ", tag("code", step.notebook)))
        # Its content travels apart from this markup, and can run nothing.
        parts.append(tag("iframe", sandbox="", title=f"Executed notebook of {step.name}"))
    return tag("section", *parts, data_key="detail")


def _places(steps: tuple[StepView, ...]) -> dict[str, tuple[int, int]]:
    """Return each step's column, right of the steps it reads from, and its row."""
    columns: dict[str, int] = {}
    for step in steps:
        columns[step.name] = max((columns.get(each, -1) + 1 for each in step.after), default=0)
    rows: dict[int, int] = {}
    places = {}
    for name, column in columns.items():
        places[name] = (column, rows.get(column, 0))
        rows[column] = rows.get(column, 0) + 1
    return places


def _seconds(step: StepView) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"
