"""Render the promotion panel as HTML: pure functions of a board."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from mlops_kit.jupyter.html import rollout, svg
from mlops_kit.jupyter.panel import evaluation
from mlops_kit.jupyter.panel.state import Board, Offer, Opened, Unfolded
from mlops_kit.releases.ledger import Entry
from mlops_kit.reporting.markup import Html, control, folded, joined, link, tag
from mlops_kit.reporting.markup import table as html_table

MORE_ROWS = 50


def page(board: Board, unfolded: Unfolded | None = None) -> Html:
    """Return the whole panel."""
    asked = unfolded or Unfolded()
    running = board.evidence is not None
    return joined(
        [
            _bar(board),
            _notice(board),
            _sentence(board),
            _acts(board),
            None if running else _candidates(board, asked),
            rollout.rollout(board.evidence) if board.evidence is not None else None,
            None if running else evaluation.evaluation(board.evaluation),
            _change(board),
            _history(board, asked),
            _opened(asked.opened) if asked.opened else None,
        ]
    )


def _bar(board: Board) -> Html:
    options = (
        tag("option", name, value=name, selected=name == board.environment)
        for name in board.environments
    )
    chosen = control("select", *options, data_act="environment", data_key="environment")
    return tag(
        "div",
        tag("label", f"{board.model} in ", chosen),
        tag("span", board.headline),
        tag(
            "span",
            tag("span", f"checked {board.checked} "),
            control("button", "Refresh", data_act="refresh", type="button"),
        ),
        class_="bar",
    )


def _notice(board: Board) -> Html | None:
    notice = board.notice
    if not notice.text:
        return None
    return tag(
        "div",
        notice.text,
        class_="notice done" if notice.is_done else "notice",
        role="alert",
        data_key="notice",
        data_about=notice.act,
        data_fault=notice.fault or None,
    )


def _sentence(board: Board) -> Html:
    heading = tag("h2", svg.word(board.standing), " ", board.sentence)
    following = tag("p", tag("strong", "Next: "), board.next) if board.next else None
    remarks = [tag("p", remark) for remark in board.remarks]
    return tag(
        "div",
        heading,
        following,
        *remarks,
        role="status",
        data_key="sentence",
        data_standing=board.standing,
        data_version=board.chosen or None,
    )


def _acts(board: Board) -> Html:
    able = [offer for offer in board.offers if not offer.why_not]
    unable = [offer for offer in board.offers if offer.why_not]
    buttons = (
        control("button", f"{offer.label}…", data_opens=offer.act, type="button") for offer in able
    )
    return tag(
        "section",
        tag("div", *buttons, class_="acts"),
        *(tag("p", tag("strong", f"{offer.label}: "), offer.why_not) for offer in unable),
        *(_dialog(board, offer) for offer in able),
        aria_label="Actions",
        data_key="acts",
    )


def _dialog(board: Board, offer: Offer) -> Html:
    """Return the dialog that confirms an action: its effect, and a field for the reason."""
    name = f"reason-{offer.act}"
    needed = offer.reason == "required"
    is_quick = not needed
    why = (
        tag(
            "label",
            "Reason" if needed else "Reason (optional)",
            control(
                "input",
                type="text",
                name="reason",
                id=name,
                required=needed,
                maxlength=500,
                autocomplete="off",
                data_first=needed,
            ),
        )
        if offer.reason
        else None
    )
    form = tag(
        "form",
        tag("p", offer.says),
        why,
        tag(
            "div",
            control("button", "Cancel", type="button", data_closes="", data_first=is_quick),
            control("button", offer.label, type="submit"),
            class_="acts",
        ),
        data_act=offer.act,
        data_version=board.chosen,
    )
    return tag(
        "dialog",
        tag("h3", offer.label, id=f"title-{offer.act}"),
        _diff(board.change) if offer.shows_change else None,
        form,
        data_key=offer.act,
        aria_labelledby=f"title-{offer.act}",
    )


def _candidates(board: Board, asked: Unfolded) -> Html:
    shown = board.candidates[: asked.candidates]
    rows = []
    for each in shown:
        is_chosen = each.version == board.chosen
        look = (
            "shown"
            if is_chosen
            else control(
                "button",
                "Show",
                data_act="choose",
                data_version=each.version,
                aria_label=f"Show v{each.version}",
                type="button",
            )
        )
        rows.append((f"v{each.version}", svg.word(each.verdict), each.said, look))
    total = len(board.candidates)
    if not rows:
        said = "No other version is registered."
        return tag("section", tag("h3", "Candidates"), tag("p", said), data_key="candidates")
    return tag(
        "section",
        tag(
            "div",
            html_table("Candidates", ("version", "verdict", "note", "evaluation"), rows),
            class_="wide",
        ),
        _more("candidates", total, len(shown)),
        data_key="candidates",
    )


def _change(board: Board) -> Html | None:
    if not board.change:
        return None
    changed = sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in board.change)
    return tag(
        "section",
        tag("h3", f"The commit: {changed} changed lines in release.yaml"),
        _diff(board.change),
        data_key="change",
    )


def _diff(lines: Sequence[str]) -> Html:
    kinds = {"+": "ins", "-": "del"}
    marked = (tag(kinds.get(line[:1], "span"), line) for line in lines)
    return control("pre", *marked, tabindex=0, aria_label="Changes in release.yaml", role="group")


def _history(board: Board, asked: Unfolded) -> Html:
    found = [entry for entry in board.history if _has(entry, asked.search)]
    rows = [_entry(entry, board.repository_page) for entry in found[: asked.history]]
    header = (
        *("when, UTC", "action", "version", "weight", "verdict", "who", "why", "commit"),
        "evidence",
    )
    search = tag(
        "form",
        tag(
            "label",
            "Search the history",
            control("input", type="text", name="text", value=asked.search, maxlength=100),
        ),
        control("button", "Search", type="submit"),
        data_act="search",
    )
    return tag(
        "section",
        tag("div", html_table("History", header, rows), class_="wide")
        if board.history
        else joined([tag("h3", "History"), tag("p", "No releases yet.")]),
        _more("history", len(found), len(rows)),
        folded("Search", search, key="search") if board.history else None,
        data_key="history",
    )


def _entry(entry: Entry, repository: str) -> tuple[object, ...]:
    commit = tag("code", entry.revision[:10])
    evidence = control(
        "button",
        "Show",
        type="button",
        data_act="evidence",
        data_revision=entry.revision,
        aria_label=f"Show the evidence of {entry.revision[:10]}",
    )
    return (
        tag("span", f"{entry.when.astimezone(UTC):%Y-%m-%d %H:%M}", class_="whole"),
        entry.action or entry.subject,
        f"v{entry.version}" if entry.version else "–",
        "all" if entry.makes_champion else f"{entry.weight or 0} %",
        svg.word(entry.verdict) if entry.verdict else "–",
        entry.who,
        entry.why,
        link(commit, f"{repository}/commit/{entry.revision}") if repository else commit,
        evidence if entry.evidence else "–",
    )


def _opened(opened: Opened) -> Html:
    """Return a release's evidence: a button for each file, and the chosen file."""
    files = (
        control(
            "button",
            name,
            type="button",
            data_act="evidence",
            data_revision=opened.revision,
            data_file=name,
            aria_pressed="true" if name == opened.file else "false",
        )
        for name in opened.files
    )
    close = control(
        "button", "Close the evidence", type="button", data_act="evidence", data_revision=""
    )
    return tag(
        "section",
        tag("h3", opened.title),
        tag("div", *files, close, class_="acts"),
        # Its content travels apart from this markup, and can run nothing.
        tag("iframe", sandbox="", title=f"{opened.file} of {opened.title}"),
        data_key="evidence",
    )


def _has(entry: Entry, text: str) -> bool:
    told = (entry.action, entry.version, entry.who, entry.why, entry.revision, entry.verdict)
    return text.lower() in " ".join(told).lower()


def _more(what: str, total: int, shown: int) -> Html | None:
    if total <= shown:
        return None
    noun = "actions" if what == "history" else what
    return tag(
        "p",
        f"{shown:,} of {total:,} {noun}. ",
        control("button", f"Show more {noun}", data_act="more", data_what=what, type="button"),
    )
