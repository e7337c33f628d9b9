"""The parts of every picture: the card, its heading and remarks, axes with ticks, a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_kit.reporting.charts import text as texts
from mlops_kit.reporting.charts.scale import Tick
from mlops_kit.reporting.charts.style import FONT, Look, clean
from mlops_kit.reporting.markup import Html, joined, tag

MARGIN, LINE = 12.0, 16.0
_TICK, _TITLE = 6.0, 15.5


@dataclass(frozen=True)
class Drawing:
    """A picture as one SVG element, of this height in pixels."""

    svg: Html
    height: float


@dataclass(frozen=True)
class Area:
    """Where the data are drawn, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    name: str
    colour: str
    dashes: str | None = None


def px(value: float) -> str:
    """Return a length as short as a tenth of a pixel allows."""
    return f"{value:.1f}".removesuffix(".0")


def word(
    said: str,
    x: float,
    y: float,
    look: Look,
    anchor: str = "start",
    *,
    size: float = 0,
    colour: str = "",
    bold: bool = False,
    is_over: bool = False,
    turn: str | None = None,
) -> Html:
    """Return a text whose baseline starts, ends or has its middle there.

    Args:
        said: the text, which is escaped.
        x: pixels from the left.
        y: pixels from the top.
        look: whose letters and colours are taken.
        anchor: start, middle or end.
        size: of the letters, where it isn't the look's.
        colour: where it isn't the look's.
        bold: whether the letters are.
        is_over: whether it gets a border in the ground's colour, to be read over a grid.
        turn: an SVG transform.
    """
    # A page's stylesheet sets size and colour of its letters.
    own = {"font_size": px(size or look.size), "fill": colour or look.ink} if look.is_card else {}
    if is_over:
        own |= {"stroke": look.ground, "stroke_width": "3", "paint_order": "stroke"}
    weight = "bold" if bold else None
    place = {"x": px(x), "y": px(y), "text_anchor": None if anchor == "start" else anchor}
    return tag("text", said, **place, **own, font_weight=weight, transform=turn)


def line(start: tuple[float, float], end: tuple[float, float], colour: str, **more: object) -> Html:
    """Return a straight line."""
    ends = {"x1": px(start[0]), "y1": px(start[1]), "x2": px(end[0]), "y2": px(end[1])}
    return tag("line", **ends, stroke=colour, **more)


def drawing(look: Look, height: float, label: str, parts: Sequence[Html]) -> Drawing:
    """Return the parts as one picture, which says its label to whoever can't see it."""
    box = f"0 0 {px(look.width)} {px(height)}"
    if not look.is_card:
        return Drawing(tag("svg", *parts, viewBox=box, role="img", aria_label=clean(label)), height)
    card = tag("rect", width=px(look.width), height=px(height), fill=look.ground)
    return Drawing(
        tag(
            "svg",
            card,
            *parts,
            role="img",
            aria_label=clean(label),
            style="max-width:100%;height:auto",
            xmlns="http://www.w3.org/2000/svg",
            width=px(look.width),
            height=px(height),
            viewBox=box,
            font_family=FONT,
        ),
        height,
    )


def heading(title: str, look: Look) -> tuple[list[Html], float]:
    """Return a card's title on at most two lines, and where the room under it begins."""
    if not look.is_card:
        return [], 10.0
    lines = texts.wrapped(title, _TITLE, look.width - 2 * MARGIN, 2)
    parts = [
        word(said, MARGIN, 24 + 20 * i, look, size=_TITLE, bold=True)
        for i, said in enumerate(lines)
    ]
    return parts, 20.0 + 20 * len(lines)


def remarks(said: Sequence[str], look: Look, height: float) -> tuple[list[Html], float]:
    """Return what isn't drawn as a line under the picture, and where the room over it ends."""
    if not (look.is_card and said):
        return [], height - 6
    room = look.width - 2 * MARGIN
    text = texts.shortened("; ".join(said), 10.5, room)
    return [word(text, MARGIN, height - 8, look, size=10.5, colour=look.muted)], height - 24


def legend(keys: Sequence[Key], look: Look, top: float) -> tuple[list[Html], float]:
    """Return names beside samples of their lines, in rows, and where the room under it begins."""
    x, parts = MARGIN, []
    for key in keys:
        name = texts.shortened(key.name, look.size, look.width / 2)
        wide = 34 + texts.width(name, look.size) + 16
        if x + wide > look.width and x > MARGIN:
            x, top = MARGIN, top + LINE
        sample = (x, top + 8), (x + 26, top + 8)
        parts.append(line(*sample, key.colour, stroke_width=3, stroke_dasharray=key.dashes))
        parts.append(word(name, x + 32, top + 12, look))
        x += wide
    return parts, top + (LINE + 6 if keys else 0)


def nothing(look: Look, height: float, title: str, said: Sequence[str]) -> Drawing:
    """Return a picture of nothing but the reason, in the middle."""
    parts, top = heading(title, look)
    first = (top + height) / 2 - LINE * (len(said) - 1) / 2
    for i, each in enumerate(said):
        text = texts.shortened(each, look.size, look.width - 2 * MARGIN)
        at = first + LINE * i
        parts.append(word(text, look.width / 2, at, look, "middle", colour=look.muted))
    return drawing(look, height, f"{clean(title)}. {' '.join(said)}", parts)


def tick_room(ticks: Sequence[Tick], label: str, look: Look) -> float:
    """Return how much room the ticks and the label of a vertical axis take at its left."""
    widest = max((texts.width(told, look.size) for _, told in ticks), default=0.0)
    return widest + 2 * _TICK + (LINE + 4 if label else 4)


def under(label: str, look: Look) -> float:
    """Return how much room the ticks and the label of a horizontal axis take under it."""
    return look.size + _TICK + 4 + (LINE + 4 if label else 4)


def frame(area: Area, look: Look) -> Html:
    """Return the two axes as lines."""
    path = f"M{px(area.left)} {px(area.top)}V{px(area.bottom)}H{px(area.right)}"
    return tag("path", d=path, stroke=look.axis, fill="none")


def across(area: Area, look: Look, ticks: Sequence[Tick], label: str) -> list[Html]:
    """Return the horizontal axis' ticks, whose numbers are pixels, with a grid in a card."""
    parts = []
    for at, told in ticks:
        if look.is_card:
            parts.append(line((at, area.top), (at, area.bottom), look.grid))
        parts.append(line((at, area.bottom), (at, area.bottom + 3), look.axis))
        wide = texts.width(told, look.size) / 2
        middle = min(max(at, wide + 2), look.width - wide - 2)
        parts.append(word(told, middle, area.bottom + look.size + _TICK, look, "middle"))
    middle, low = (area.left + area.right) / 2, area.bottom + look.size + _TICK + LINE + 3
    room = look.width - 2 * MARGIN
    said = texts.shortened(label, look.size, room)
    half = texts.width(said, look.size) / 2
    middle = min(max(middle, half + MARGIN), look.width - half - MARGIN)
    return [*parts, word(said, middle, low, look, "middle")] if said else parts


def along(area: Area, look: Look, ticks: Sequence[Tick], label: str) -> list[Html]:
    """Return the vertical axis' ticks, whose numbers are pixels, with a grid."""
    parts = []
    for at, told in ticks:
        faint = {} if look.is_card else {"opacity": 0.3}
        parts.append(line((area.left, at), (area.right, at), look.grid, **faint))
        parts.append(word(told, area.left - _TICK, at + look.size * 0.36, look, "end"))
    said = texts.shortened(label, look.size, area.bottom - area.top + 2 * LINE)
    if said:
        middle, x = (area.top + area.bottom) / 2, look.size + 3
        turn = f"rotate(-90 {px(x)} {px(middle)})"
        parts.append(word(said, x, middle, look, "middle", turn=turn))
    return parts


def polyline(points: Sequence[tuple[float, float]], colour: str, **more: object) -> Html:
    """Return straight lines from point to point."""
    path = " ".join(f"{px(x)},{px(y)}" for x, y in points)
    return tag("polyline", points=path, fill="none", stroke=colour, **more)


def stack(pictures: Sequence[Drawing], look: Look, label: str) -> Drawing:
    """Return pictures of one width, one under the other."""
    top, parts = 0.0, []
    for each in pictures:
        parts.append(tag("g", each.svg, transform=f"translate(0 {px(top)})"))
        top += each.height
    return drawing(look, top, label, [joined(parts)])
