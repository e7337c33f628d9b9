"""How a chart looks: in the colours of a page, or on a white card of its own."""

from __future__ import annotations

from dataclasses import dataclass

# Okabe and Ito's, without orange and sky blue: those two are too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#6F5BA7", "#8B6B00", "#666666")
INK = "#222222"
FONT = "DejaVu Sans, sans-serif"


@dataclass(frozen=True)
class Look:
    """Colours and sizes in CSS pixels; a card has its title and its remarks in the picture."""

    width: float
    height: float
    size: float
    ink: str
    muted: str
    axis: str
    grid: str
    ground: str
    colours: tuple[str, ...]
    is_card: bool


# A page's own stylesheet sets its letters, 11 px high, and says what these variables are.
PAGE = Look(
    width=400,
    height=240,
    size=11,
    ink="currentColor",
    muted="currentColor",
    axis="var(--line)",
    grid="var(--line)",
    ground="var(--ground)",
    colours=("currentColor",) * len(COLOURS),
    is_card=False,
)
CARD = Look(
    width=720,
    height=346,
    size=12,
    ink=INK,
    muted="#555555",
    axis="#8A8A8A",
    grid="#E6E6E6",
    ground="#FFFFFF",
    colours=COLOURS,
    is_card=True,
)


def clean(text: object) -> str:
    """Return text on one line, without characters that can't be drawn."""
    return "".join(
        character for character in " ".join(str(text).split()) if character.isprintable()
    )
