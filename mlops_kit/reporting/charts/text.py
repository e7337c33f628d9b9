"""How wide a text is, and what of it fits: by DejaVu Sans, the widest of the usual fonts."""

from __future__ import annotations

from mlops_kit.reporting.charts.style import clean

# Advance widths in shares of the letters' height, rounded up; other letters are as `_OTHER`.
_WIDTHS = {
    **dict.fromkeys("ijl'", 0.29),
    **dict.fromkeys(" ,.I/:;|f-r()[]t!J\\", 0.41),
    **dict.fromkeys('szcLF*_`k?vxyP"', 0.61),
    **dict.fromkeys("HNDG&OQUwXZRBVAC", 0.82),
    **dict.fromkeys("#+<=>^~Mm%W@—…→", 1.0),
}
_OTHER, _IDEOGRAPH, _BOLD = 0.65, 1.1, 1.12
_FIRST_IDEOGRAPH = 0x1100


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width in pixels of letters of this height in pixels."""
    total = sum(
        _IDEOGRAPH
        if ord(letter) >= _FIRST_IDEOGRAPH and letter not in "—…→"
        else _WIDTHS.get(letter, _OTHER)
        for letter in text
    )
    return total * size * (_BOLD if bold else 1)


def shortened(text: object, size: float, room: float) -> str:
    """Return the text on one line, cut with an ellipsis where it is wider than the room."""
    whole = clean(text)
    if width(whole, size) <= room:
        return whole
    kept = whole
    while kept and width(f"{kept}…", size) > room:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def wrapped(text: object, size: float, room: float, most: int) -> list[str]:
    """Return the text in at most so many lines that fit, bold; the last one may be cut."""
    lines: list[str] = []
    words = clean(text).split()
    while words and len(lines) < most:
        line = words.pop(0)
        while words and width(f"{line} {words[0]}", size, bold=True) <= room:
            line += f" {words.pop(0)}"
        if len(lines) == most - 1 and words:
            line = f"{line} {' '.join(words)}"
        lines.append(shortened(line, size * _BOLD, room))
    return lines
