"""The white card that every chart is drawn on: its colours, heading and remarks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from mlops_kit.reporting.charts.series import number

# Okabe and Ito's, without orange and sky blue: those two are too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#6F5BA7", "#8B6B00", "#666666")
INK, GREY = "#222222", "#8A8A8A"
STYLE = {
    "svg.hashsalt": "mlops-kit",
    "date.converter": "concise",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9.5,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def clean(text: object) -> str:
    """Return text on one line, without characters that can't be drawn."""
    return "".join(
        character for character in " ".join(str(text).split()) if character.isprintable()
    )


def heading(figure: Any, text: object) -> None:
    """Write the title at the left, on at most two lines."""
    lines = textwrap.wrap(clean(text), 88)[:2]
    if lines:
        title = figure.suptitle(
            "\n".join(lines), x=0.012, ha="left", fontsize=11.5, fontweight="bold"
        )
        title.set_color(INK)


def notes(figure: Any, said: Sequence[str]) -> None:
    """Write what is not drawn under the chart."""
    if said:
        text = textwrap.shorten(clean("; ".join(said)), 125, placeholder=" …")
        figure.supxlabel(text, x=0.012, ha="left", fontsize=8, color="#555555")


def nothing(axes: Any, text: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")


def log_scale(axes: Any, which: str) -> None:
    """Make an axis logarithmic, with its powers of ten written out."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(lambda value, _: number(float(value)))
    axis.set_minor_formatter(lambda *_: "")
